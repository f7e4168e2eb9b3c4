// Signatures of requests to S3: AWS Signature Version 4, in the header Authorization.
//
// Threading: pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "runtime/base/secret.h"

namespace millrace {

struct S3Credentials {
  std::string access_key_id;
  Secret secret_access_key;
  Secret session_token;  // Of temporary credentials; else empty.
};

// A request as it is signed. Names of headers are in lower case; `host` is among them.
struct S3SignedParts {
  std::string method;
  std::string path;                          // Begins with '/', encoded.
  std::map<std::string, std::string> query;  // Not encoded.
  std::map<std::string, std::string> headers;
  std::string body_sha256;  // Lower-case hexadecimal.
};

// Adds x-amz-date, x-amz-content-sha256, x-amz-security-token and authorization to the headers.
void SignS3Request(const S3Credentials& credentials, std::string_view region, absl::Time now,
                   S3SignedParts& request);

// As RFC 3986 has it; a slash stays only when `keep_slash`.
std::string UriEncoded(std::string_view text, bool keep_slash);
// "a=1&b=", sorted and encoded, as it is signed and sent.
std::string S3Query(const std::map<std::string, std::string>& query);

}  // namespace millrace
