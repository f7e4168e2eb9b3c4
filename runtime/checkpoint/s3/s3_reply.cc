#include "runtime/checkpoint/s3/s3_reply.h"

#include <pugixml.hpp>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kShownBytes = 200;
constexpr size_t kTextBytesMax = 4096;

std::string TextOf(const pugi::xml_node& node, const char* name) {
  return std::string(std::string_view(node.child_value(name)).substr(0, kTextBytesMax));
}

absl::Status NotAsExpected(std::string_view wanted, std::string_view body) {
  return absl::InternalError(
      Concat("the store answered something else than ", wanted, ": ", body.substr(0, kShownBytes)));
}

absl::Status Load(std::string_view body, pugi::xml_document& document) {
  if (body.size() > kS3ReplyBytesMax) {
    return absl::InternalError(Concat("a reply of the store has ", body.size(), " bytes"));
  }
  // Values of entities that a document declares are not replaced: it cannot grow.
  if (!document.load_buffer(body.data(), body.size(), pugi::parse_default)) {
    return NotAsExpected("XML", body);
  }
  return absl::OkStatus();
}

// The root, if it is called `name`.
absl::StatusOr<pugi::xml_node> Root(std::string_view body, const char* name,
                                    pugi::xml_document& document) {
  MILLRACE_RETURN_IF_ERROR(Load(body, document));
  const pugi::xml_node root = document.child(name);
  if (!root) return NotAsExpected(name, body);
  return root;
}

bool IsTruncated(const pugi::xml_node& root) { return TextOf(root, "IsTruncated") == "true"; }

S3Error ErrorOf(const pugi::xml_node& root) {
  return {.code = TextOf(root, "Code"),
          .message = TextOf(root, "Message"),
          .region = TextOf(root, "Region")};
}

}  // namespace

S3Error ParseS3Error(std::string_view body) {
  pugi::xml_document document;
  if (!Load(body, document).ok()) return {};
  return ErrorOf(document.child("Error"));
}

absl::StatusOr<S3Listing> ParseS3Listing(std::string_view body) {
  pugi::xml_document document;
  MILLRACE_ASSIGN_OR_RETURN(const pugi::xml_node root, Root(body, "ListBucketResult", document));
  S3Listing listing;
  for (const pugi::xml_node& entry : root.children("Contents")) {
    listing.keys.push_back(TextOf(entry, "Key"));
  }
  if (!IsTruncated(root)) return listing;
  listing.next = TextOf(root, "NextContinuationToken");
  if (listing.next.empty()) return NotAsExpected("a list with its continuation", body);
  return listing;
}

absl::StatusOr<S3UploadListing> ParseS3UploadListing(std::string_view body) {
  pugi::xml_document document;
  MILLRACE_ASSIGN_OR_RETURN(const pugi::xml_node root,
                            Root(body, "ListMultipartUploadsResult", document));
  S3UploadListing listing;
  for (const pugi::xml_node& entry : root.children("Upload")) {
    listing.uploads.push_back({.key = TextOf(entry, "Key"), .id = TextOf(entry, "UploadId")});
  }
  if (!IsTruncated(root)) return listing;
  listing.next = {.key = TextOf(root, "NextKeyMarker"), .id = TextOf(root, "NextUploadIdMarker")};
  if (listing.next.key.empty()) return NotAsExpected("a list with its continuation", body);
  return listing;
}

absl::StatusOr<std::string> ParseS3UploadId(std::string_view body) {
  pugi::xml_document document;
  MILLRACE_ASSIGN_OR_RETURN(const pugi::xml_node root,
                            Root(body, "InitiateMultipartUploadResult", document));
  std::string id = TextOf(root, "UploadId");
  if (id.empty()) return NotAsExpected("the id of an upload", body);
  return id;
}

absl::Status ParseS3Deletion(std::string_view body) {
  pugi::xml_document document;
  MILLRACE_ASSIGN_OR_RETURN(const pugi::xml_node root, Root(body, "DeleteResult", document));
  const pugi::xml_node error = root.child("Error");
  if (!error) return absl::OkStatus();
  const std::string code = TextOf(error, "Code");
  const std::string text =
      Concat("cannot delete ", TextOf(error, "Key"), ": ", code, " ", TextOf(error, "Message"));
  return code == "AccessDenied" ? absl::PermissionDeniedError(text) : absl::UnavailableError(text);
}

absl::StatusOr<S3Error> ParseS3Completion(std::string_view body) {
  pugi::xml_document document;
  MILLRACE_RETURN_IF_ERROR(Load(body, document));
  if (const pugi::xml_node error = document.child("Error")) return ErrorOf(error);
  if (!document.child("CompleteMultipartUploadResult")) {
    return NotAsExpected("the end of an upload", body);
  }
  return S3Error{};
}

absl::Status StatusOfS3Failure(const S3Failure& failure) {
  const S3Error& error = failure.error;
  const auto text = [&](std::string_view advice) {
    std::string out = Concat(failure.attempted, ": HTTP ", failure.http_status);
    if (!error.code.empty()) out += Concat(" ", error.code);
    if (!error.message.empty()) out += Concat(" (", error.message, ")");
    if (!advice.empty()) out += Concat("; ", advice);
    return out;
  };
  const std::string& code = error.code;
  const int http = failure.http_status;
  if (code == "NoSuchBucket") {
    return absl::FailedPreconditionError(
        text(Concat("make the bucket ", failure.bucket, ", or correct its name or the endpoint")));
  }
  if (code == "RequestTimeTooSkewed") {
    return absl::FailedPreconditionError(
        text(Concat("set this machine's clock (NTP): the store's says ", failure.server_date)));
  }
  if (code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "ExpiredToken" ||
      code == "InvalidToken" || http == 401) {
    return absl::UnauthenticatedError(
        text("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), or the "
             "secrets that the URI names"));
  }
  if (code == "PermanentRedirect" || code == "AuthorizationHeaderMalformed" ||
      code == "IllegalLocationConstraintException" || http == 301 || http == 307) {
    return absl::FailedPreconditionError(text(Concat(
        "the bucket ", failure.bucket, " is not in region ", failure.region, ": set ",
        error.region.empty() ? "the right ?region= in the URI, or AWS_REGION"
                             : Concat("?region=", error.region, " in the URI, or AWS_REGION"),
        "")));
  }
  if (code == "NotImplemented" || http == 501) {
    return absl::UnimplementedError(text("the store does not know this request"));
  }
  if (http == 429 || http >= 500 || http == 408 || http == 409 || code == "SlowDown" ||
      code == "RequestTimeout" || code == "BadDigest" || code == "XAmzContentSHA256Mismatch" ||
      code == "InvalidDigest") {
    return absl::UnavailableError(text(""));
  }
  if (http == 403) {
    return absl::PermissionDeniedError(
        text(Concat("the key needs s3:GetObject, s3:PutObject, s3:DeleteObject, "
                    "s3:AbortMultipartUpload on ",
                    failure.bucket, "/* and s3:ListBucket, s3:ListBucketMultipartUploads on ",
                    failure.bucket)));
  }
  if (http == 404) return absl::NotFoundError(text(""));
  if (http == 412) return absl::AlreadyExistsError(text(""));
  return absl::FailedPreconditionError(text(""));
}

}  // namespace millrace
