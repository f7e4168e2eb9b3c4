// Places in S3-compatible stores:
//   s3://BUCKET/PREFIX?region=R&endpoint=http://HOST:PORT&path-style=true
//     &access-key-id=${secret:NAME}&secret-access-key=${secret:NAME}&session-token=${secret:NAME}
// Every option may be left out. Keys stand there by reference only: URIs are logged and kept.
//
// Threading: pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace {

// Longest prefix, so that every key fits into S3's 1024 bytes.
inline constexpr size_t kS3PrefixBytesMax = 700;

struct S3Location {
  std::string bucket;
  std::string prefix;    // Without slashes at its ends; may be empty.
  std::string region;    // Empty: by the environment.
  std::string endpoint;  // "http[s]://HOST[:PORT]"; empty: by the environment.
  std::optional<bool> path_style;
  std::string access_key_id_secret;  // Names of secrets; empty: keys of the environment.
  std::string secret_access_key_secret;
  std::string session_token_secret;
};

// kInvalidArgument says what is wrong with the URI and what it may look like.
absl::StatusOr<S3Location> ParseS3Uri(std::string_view uri);

// "http[s]://HOST[:PORT]", without user, path or query.
bool IsS3Endpoint(std::string_view text);

}  // namespace millrace
