#include "runtime/checkpoint/s3/s3_reply.h"

#include "gmock/gmock.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(S3ReplyTest, ReadsPages) {
  const S3Listing page =
      ParseS3Listing(
          "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3\">"
          "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1"
          "</NextContinuationToken><Contents><Key>p/a</Key><Size>1</Size></Contents>"
          "<Contents><Key>p/b</Key></Contents></ListBucketResult>")
          .value();
  EXPECT_THAT(page.keys, ElementsAre("p/a", "p/b"));
  EXPECT_EQ(page.next, "t&1");
  EXPECT_EQ(ParseS3Listing("<ListBucketResult/>")->next, "");
  // A list that is said to go on, but not where, would be taken for the whole.
  EXPECT_FALSE(
      ParseS3Listing("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>").ok());
  EXPECT_FALSE(ParseS3Listing("<html>a proxy's page</html>").ok());
  EXPECT_FALSE(ParseS3Listing("").ok());
}

TEST(S3ReplyTest, ReadsUploads) {
  const S3UploadListing page =
      ParseS3UploadListing(
          "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k"
          "</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker><Upload><Key>k</Key>"
          "<UploadId>u</UploadId></Upload></ListMultipartUploadsResult>")
          .value();
  ASSERT_EQ(page.uploads.size(), 1u);
  EXPECT_EQ(page.uploads[0].id, "u");
  EXPECT_EQ(page.next.key, "k");
  EXPECT_EQ(*ParseS3UploadId("<InitiateMultipartUploadResult><UploadId>x</UploadId>"
                             "</InitiateMultipartUploadResult>"),
            "x");
  EXPECT_FALSE(ParseS3UploadId("<InitiateMultipartUploadResult/>").ok());
}

TEST(S3ReplyTest, ASuccessMayBeAFailure) {
  EXPECT_EQ(ParseS3Completion("<CompleteMultipartUploadResult/>")->code, "");
  EXPECT_EQ(ParseS3Completion("<Error><Code>InternalError</Code></Error>")->code, "InternalError");
  EXPECT_FALSE(ParseS3Completion("").ok());
  EXPECT_TRUE(ParseS3Deletion("<DeleteResult/>").ok());
  EXPECT_EQ(ParseS3Deletion("<DeleteResult><Error><Key>a</Key><Code>InternalError</Code></Error>"
                            "</DeleteResult>")
                .code(),
            absl::StatusCode::kUnavailable);
}

TEST(S3ReplyTest, SaysWhatToDo) {
  struct Case {
    int http;
    S3Error error;
    absl::StatusCode code;
    const char* advice;
  };
  const Case cases[] = {
      {404, {.code = "NoSuchBucket"}, absl::StatusCode::kFailedPrecondition, "make the bucket b"},
      {403, {.code = "AccessDenied"}, absl::StatusCode::kPermissionDenied, "s3:PutObject"},
      {403, {}, absl::StatusCode::kPermissionDenied, "s3:ListBucket"},
      {403,
       {.code = "SignatureDoesNotMatch"},
       absl::StatusCode::kUnauthenticated,
       "AWS_SECRET_ACCESS_KEY"},
      {403,
       {.code = "RequestTimeTooSkewed"},
       absl::StatusCode::kFailedPrecondition,
       "the store's says Fri"},
      {301,
       {.code = "PermanentRedirect", .region = "eu-west-1"},
       absl::StatusCode::kFailedPrecondition,
       "?region=eu-west-1"},
      {400,
       {.code = "AuthorizationHeaderMalformed", .region = "eu-west-1"},
       absl::StatusCode::kFailedPrecondition,
       "not in region us-east-1"},
      {404, {.code = "NoSuchKey"}, absl::StatusCode::kNotFound, ""},
      {412, {.code = "PreconditionFailed"}, absl::StatusCode::kAlreadyExists, ""},
      {503, {.code = "SlowDown"}, absl::StatusCode::kUnavailable, "SlowDown"},
      {500, {}, absl::StatusCode::kUnavailable, "HTTP 500"},
      {501, {.code = "NotImplemented"}, absl::StatusCode::kUnimplemented, ""},
      {400, {.code = "EntityTooLarge"}, absl::StatusCode::kFailedPrecondition, "EntityTooLarge"},
  };
  for (const Case& one : cases) {
    const absl::Status status = StatusOfS3Failure({.http_status = one.http,
                                                   .error = one.error,
                                                   .attempted = "put s3://b/k",
                                                   .bucket = "b",
                                                   .region = "us-east-1",
                                                   .server_date = "Fri, 24 May 2013"});
    EXPECT_EQ(status.code(), one.code) << status;
    EXPECT_THAT(status.ToString(), HasSubstr(one.advice));
    EXPECT_THAT(status.ToString(), HasSubstr("put s3://b/k"));
  }
}

}  // namespace
}  // namespace millrace
