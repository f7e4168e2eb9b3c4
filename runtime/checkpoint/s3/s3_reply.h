// What S3-compatible stores answer, read from their XML. Bodies come from outside: they have
// limits.
//
// Threading: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace millrace {

// A page of a list has at most 1000 entries.
inline constexpr size_t kS3ReplyBytesMax = 8 << 20;

// <Error>: empty fields where the body has none.
struct S3Error {
  std::string code;
  std::string message;
  std::string region;  // Of the bucket, where the request went to another one.
};
S3Error ParseS3Error(std::string_view body);

// kInternal: not the reply that was asked for; the message has its beginning.
struct S3Listing {
  std::vector<std::string> keys;
  std::string next;  // Continuation token; empty at the end.
};
absl::StatusOr<S3Listing> ParseS3Listing(std::string_view body);

struct S3Upload {
  std::string key;
  std::string id;
};
struct S3UploadListing {
  std::vector<S3Upload> uploads;
  S3Upload next;  // Markers; an empty key at the end.
};
absl::StatusOr<S3UploadListing> ParseS3UploadListing(std::string_view body);

// The id of an upload that was begun.
absl::StatusOr<std::string> ParseS3UploadId(std::string_view body);

// OK when every key of a batch is deleted; else what the first one that is not met.
absl::Status ParseS3Deletion(std::string_view body);

// OK when the body says that the upload is complete: a reply 200 may have an error in it.
absl::StatusOr<S3Error> ParseS3Completion(std::string_view body);

struct S3Failure {
  int http_status = 0;
  S3Error error;
  std::string attempted;  // "PUT s3://bucket/key".
  std::string bucket;
  std::string region;       // That was used.
  std::string server_date;  // Header `date`; may be empty.
};
// The status that a failed request means, with what a person can do about it. kUnavailable: it may
// go well later.
absl::Status StatusOfS3Failure(const S3Failure& failure);

}  // namespace millrace
