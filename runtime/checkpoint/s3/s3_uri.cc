#include "runtime/checkpoint/s3/s3_uri.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "runtime/base/secret.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr std::string_view kScheme = "s3://";
constexpr std::string_view kReferenceBegin = "${secret:";
constexpr size_t kUriBytesMax = 4096;

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool ConsistsOf(std::string_view text, std::string_view others) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           others.find(c) != std::string_view::npos;
  });
}

absl::Status Wrong(std::string_view what) {
  return absl::InvalidArgumentError(
      Concat(what,
             "; a place in S3 is s3://BUCKET/PREFIX, with ?region=R&endpoint=URL where the "
             "store is not Amazon's (docs/operations.md)"));
}

bool IsBucketName(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && IsLowerOrDigit(name.front()) &&
         IsLowerOrDigit(name.back()) && name.find("..") == std::string_view::npos &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return IsLowerOrDigit(c) || c == '.' || c == '-'; });
}

absl::Status CheckPrefix(std::string_view prefix) {
  if (prefix.size() > kS3PrefixBytesMax) {
    return Wrong(Concat("the prefix is longer than ", kS3PrefixBytesMax, " bytes"));
  }
  while (!prefix.empty()) {
    const size_t end = std::min(prefix.find('/'), prefix.size());
    const std::string_view part = prefix.substr(0, end);
    if (part.empty() || part.front() == '.' || !ConsistsOf(part, "._%=+~-")) {
      return Wrong(Concat("'", part, "' cannot be a part of a prefix"));
    }
    prefix.remove_prefix(std::min(end + 1, prefix.size()));
  }
  return absl::OkStatus();
}

absl::Status ReadReference(std::string_view name, std::string_view value, std::string& secret) {
  if (!value.starts_with(kReferenceBegin) || !value.ends_with("}")) {
    return Wrong(Concat(name, " must be a reference, ${secret:NAME}: a URI is logged and kept"));
  }
  value.remove_prefix(kReferenceBegin.size());
  value.remove_suffix(1);
  if (!IsSecretName(value)) return Wrong(Concat(name, " names no secret"));
  secret = value;
  return absl::OkStatus();
}

absl::Status ReadOption(std::string_view name, std::string_view value, S3Location& location) {
  if (name == "region") {
    if (value.empty() || !ConsistsOf(value, "-")) return Wrong(Concat("not a region: ", value));
    location.region = value;
  } else if (name == "endpoint") {
    if (!IsS3Endpoint(value)) {
      return Wrong(Concat("endpoint must be http[s]://HOST[:PORT]: ", value));
    }
    location.endpoint = value;
  } else if (name == "path-style") {
    if (value != "true" && value != "false") return Wrong("path-style is true or false");
    location.path_style = value == "true";
  } else if (name == "access-key-id") {
    return ReadReference(name, value, location.access_key_id_secret);
  } else if (name == "secret-access-key") {
    return ReadReference(name, value, location.secret_access_key_secret);
  } else if (name == "session-token") {
    return ReadReference(name, value, location.session_token_secret);
  } else {
    return Wrong(Concat("unknown option '", name,
                        "' (region, endpoint, path-style, access-key-id, secret-access-key, "
                        "session-token)"));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsS3Endpoint(std::string_view text) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!text.starts_with(scheme)) continue;
    const std::string_view authority = text.substr(scheme.size());
    return !authority.empty() && authority.size() <= 255 && ConsistsOf(authority, ".-_:[]");
  }
  return false;
}

absl::StatusOr<S3Location> ParseS3Uri(std::string_view uri) {
  if (uri.size() > kUriBytesMax) return Wrong("the URI is too long");
  if (!uri.starts_with(kScheme)) return Wrong(Concat("not a place in S3: ", uri));
  uri.remove_prefix(kScheme.size());
  const size_t query = std::min(uri.find('?'), uri.size());
  const std::string_view path = uri.substr(0, query);
  const size_t slash = std::min(path.find('/'), path.size());
  S3Location location;
  location.bucket = path.substr(0, slash);
  if (!IsBucketName(location.bucket)) {
    return Wrong(Concat("not a name of a bucket: '", location.bucket, "'"));
  }
  std::string_view prefix = path.substr(std::min(slash + 1, path.size()));
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  MILLRACE_RETURN_IF_ERROR(CheckPrefix(prefix));
  location.prefix = prefix;
  std::string_view options = uri.substr(std::min(query + 1, uri.size()));
  while (!options.empty()) {
    const size_t end = std::min(options.find('&'), options.size());
    const std::string_view option = options.substr(0, end);
    const size_t equals = std::min(option.find('='), option.size());
    MILLRACE_RETURN_IF_ERROR(ReadOption(
        option.substr(0, equals), option.substr(std::min(equals + 1, option.size())), location));
    options.remove_prefix(std::min(end + 1, options.size()));
  }
  if (location.access_key_id_secret.empty() != location.secret_access_key_secret.empty()) {
    return Wrong("access-key-id and secret-access-key belong together");
  }
  return location;
}

}  // namespace millrace
