#include "runtime/checkpoint/s3/s3_uri.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(S3UriTest, ReadsBucketPrefixAndOptions) {
  const S3Location plain = ParseS3Uri("s3://my-bucket.eu").value();
  EXPECT_EQ(plain.bucket, "my-bucket.eu");
  EXPECT_EQ(plain.prefix, "");
  EXPECT_FALSE(plain.path_style.has_value());
  const S3Location full =
      ParseS3Uri(
          "s3://bucket/a/b=1/?region=eu-central-1&endpoint=http://127.0.0.1:9000&path-style=false"
          "&access-key-id=${secret:id}&secret-access-key=${secret:key}&session-token=${secret:t}")
          .value();
  EXPECT_EQ(full.prefix, "a/b=1");
  EXPECT_EQ(full.region, "eu-central-1");
  EXPECT_EQ(full.endpoint, "http://127.0.0.1:9000");
  EXPECT_EQ(full.path_style, false);
  EXPECT_EQ(full.access_key_id_secret, "id");
  EXPECT_EQ(full.secret_access_key_secret, "key");
  EXPECT_EQ(full.session_token_secret, "t");
}

TEST(S3UriTest, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"file:///a", "not a place in S3"},
      {"s3://", "not a name of a bucket"},
      {"s3://Bucket/a", "not a name of a bucket"},
      {"s3://ab/a", "not a name of a bucket"},
      {"s3://bucket//a", "part of a prefix"},
      {"s3://bucket/../a", "part of a prefix"},
      {"s3://bucket/a b", "part of a prefix"},
      {"s3://bucket/a?regoin=x", "unknown option 'regoin'"},
      {"s3://bucket/a?region=", "not a region"},
      {"s3://bucket/a?endpoint=host:9000", "endpoint must be"},
      {"s3://bucket/a?endpoint=http://user:x@host", "endpoint must be"},
      {"s3://bucket/a?endpoint=http://host/path", "endpoint must be"},
      {"s3://bucket/a?path-style=yes", "path-style is true or false"},
      {"s3://bucket/a?access-key-id=AKIA", "must be a reference"},
      {"s3://bucket/a?access-key-id=${secret:id}", "belong together"},
      {"s3://bucket/a?access-key-id=${secret:../id}", "names no secret"},
  };
  for (const auto& [uri, message] : cases) {
    const absl::Status status = ParseS3Uri(uri).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << uri;
    EXPECT_NE(status.ToString().find(message), std::string::npos) << status;
  }
  EXPECT_FALSE(ParseS3Uri("s3://bucket/" + std::string(kS3PrefixBytesMax + 1, 'a')).ok());
  EXPECT_FALSE(ParseS3Uri("s3://bucket/a?" + std::string(5000, '&')).ok());
}

}  // namespace
}  // namespace millrace
