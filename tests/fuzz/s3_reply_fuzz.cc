// Any bytes as an answer of an object store, and as a place in one: reading ends with a value or a
// status, never a crash, and what is taken over is bounded.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/base/check.h"
#include "runtime/checkpoint/s3/s3_reply.h"
#include "runtime/checkpoint/s3/s3_uri.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;  // NOLINT: a fuzz target has one function.
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto page = ParseS3Listing(bytes); page.ok()) {
    for (const std::string& key : page->keys) MILLRACE_CHECK(key.size() <= size);
  }
  // Whether they are OK is not asked here.
  (void)ParseS3UploadListing(bytes);
  (void)ParseS3UploadId(bytes);
  (void)ParseS3Deletion(bytes);
  (void)ParseS3Completion(bytes);
  const absl::Status status =
      StatusOfS3Failure({.http_status = 400, .error = ParseS3Error(bytes), .attempted = "put"});
  MILLRACE_CHECK(!status.ok());
  if (const auto location = ParseS3Uri(bytes); location.ok()) {
    MILLRACE_CHECK(location->bucket.size() <= 63 && location->prefix.size() <= kS3PrefixBytesMax);
  }
  return 0;
}
