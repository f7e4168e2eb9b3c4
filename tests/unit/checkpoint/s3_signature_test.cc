#include "runtime/checkpoint/s3/s3_signature.h"

#include "gtest/gtest.h"
#include "runtime/base/digests.h"

namespace millrace {
namespace {

// The examples of Amazon's documentation: "Signature Calculations for the Authorization Header".
struct Example {
  const char* name;
  S3SignedParts request;
  const char* body;
  const char* signature;
};

TEST(S3SignatureTest, SignsAsTheExamplesOfAmazonDo) {
  const S3Credentials credentials{
      .access_key_id = "AKIAIOSFODNN7EXAMPLE",
      .secret_access_key = Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")};
  const std::string host = "examplebucket.s3.amazonaws.com";
  const Example examples[] = {
      {"get",
       {.method = "GET", .path = "/test.txt", .headers = {{"host", host}, {"range", "bytes=0-9"}}},
       "",
       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
      {"put",
       {.method = "PUT",
        .path = UriEncoded("/test$file.text", true),
        .headers = {{"host", host},
                    {"date", "Fri, 24 May 2013 00:00:00 GMT"},
                    {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}},
       "Welcome to Amazon S3.",
       "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
      {"lifecycle",
       {.method = "GET", .path = "/", .query = {{"lifecycle", ""}}, .headers = {{"host", host}}},
       "",
       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
      {"list",
       {.method = "GET",
        .path = "/",
        .query = {{"max-keys", "2"}, {"prefix", "J"}},
        .headers = {{"host", host}}},
       "",
       "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
  };
  for (Example example : examples) {
    SCOPED_TRACE(example.name);
    Sha256Hex(example.body, example.request.body_sha256);
    SignS3Request(credentials, "us-east-1", absl::FromUnixSeconds(1369353600), example.request);
    const std::string& header = example.request.headers["authorization"];
    EXPECT_EQ(header.substr(header.find("Signature=") + 10), example.signature) << header;
  }
}

TEST(S3SignatureTest, EncodesAndSortsAsItIsSigned) {
  EXPECT_EQ(UriEncoded("a/b %=+~-_.", true), "a/b%20%25%3D%2B~-_.");
  EXPECT_EQ(UriEncoded("a/b\xC3", false), "a%2Fb%C3");
  EXPECT_EQ(S3Query({{"uploads", ""}, {"prefix", "a/"}, {"list-type", "2"}}),
            "list-type=2&prefix=a%2F&uploads=");
}

TEST(S3SignatureTest, TemporaryKeysSendTheirToken) {
  S3SignedParts request{.method = "GET", .path = "/"};
  SignS3Request(
      {.access_key_id = "a", .secret_access_key = Secret("b"), .session_token = Secret("token")},
      "r", absl::UnixEpoch(), request);
  EXPECT_EQ(request.headers["x-amz-security-token"], "token");
  EXPECT_NE(request.headers["authorization"].find("x-amz-security-token"), std::string::npos);
}

}  // namespace
}  // namespace millrace
