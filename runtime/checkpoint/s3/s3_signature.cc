#include "runtime/checkpoint/s3/s3_signature.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/time/time.h"
#include "runtime/base/digests.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string Sha256(std::string_view bytes) {
  std::string hex;
  Sha256Hex(bytes, hex);
  return hex;
}

std::string Hex(std::string_view bytes) {
  return absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
}

}  // namespace

std::string UriEncoded(std::string_view text, bool keep_slash) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '~' ||
        (c == '/' && keep_slash)) {
      out.push_back(c);
    } else {
      out.append({'%', kDigits[byte >> 4], kDigits[byte & 15]});
    }
  }
  return out;
}

std::string S3Query(const std::map<std::string, std::string>& query) {
  std::map<std::string, std::string> encoded;
  for (const auto& [name, value] : query) {
    encoded[UriEncoded(name, false)] = UriEncoded(value, false);
  }
  std::string out;
  for (const auto& [name, value] : encoded) {
    if (!out.empty()) out.push_back('&');
    out.append(Concat(name, "=", value));
  }
  return out;
}

void SignS3Request(const S3Credentials& credentials, std::string_view region, absl::Time now,
                   S3SignedParts& request) {
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone());
  const std::string_view day = std::string_view(time).substr(0, 8);
  request.headers["x-amz-date"] = time;
  request.headers["x-amz-content-sha256"] = request.body_sha256;
  if (!credentials.session_token.empty()) {
    request.headers["x-amz-security-token"] = credentials.session_token.Reveal();
  }
  std::string headers;
  std::string names;
  for (const auto& [name, value] : request.headers) {
    headers.append(Concat(name, ":", StripSpaces(value), "\n"));
    if (!names.empty()) names.push_back(';');
    names.append(name);
  }
  const std::string canonical =
      Concat(request.method, "\n", request.path, "\n", S3Query(request.query), "\n", headers, "\n",
             names, "\n", request.body_sha256);
  const std::string scope = Concat(day, "/", region, "/s3/aws4_request");
  const std::string to_sign = Concat(kAlgorithm, "\n", time, "\n", scope, "\n", Sha256(canonical));
  std::string key = Concat("AWS4", credentials.secret_access_key.Reveal());
  for (const std::string_view part :
       {day, region, std::string_view("s3"), std::string_view("aws4_request")}) {
    key = Hmac(ShaKind::kSha256, key, part);
  }
  request.headers["authorization"] =
      Concat(kAlgorithm, " Credential=", credentials.access_key_id, "/", scope,
             ",SignedHeaders=", names, ",Signature=", Hex(Hmac(ShaKind::kSha256, key, to_sign)));
}

}  // namespace millrace
