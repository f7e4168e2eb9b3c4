#include "runtime/checkpoint/s3/s3_client.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "runtime/base/digests.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/s3/s3_signature.h"

namespace millrace {
namespace {

constexpr std::string_view kDefaultRegion = "us-east-1";

std::string Variable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return "";
}

bool MayGoWellLater(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

HttpClientOptions WithCa(HttpClientOptions http, const std::string& ca_file) {
  if (http.ca_file.empty()) http.ca_file = ca_file;
  return http;
}

std::string Attempted(const S3Location& location, const S3Request& request) {
  return Concat(NameOf(request.operation), " s3://", location.bucket, "/", request.key);
}

}  // namespace

S3Environment S3Environment::OfProcess() {
  return {.access_key_id = Variable({"AWS_ACCESS_KEY_ID"}),
          .secret_access_key = Secret(Variable({"AWS_SECRET_ACCESS_KEY"})),
          .session_token = Secret(Variable({"AWS_SESSION_TOKEN"})),
          .region = Variable({"AWS_REGION", "AWS_DEFAULT_REGION"}),
          .endpoint = Variable({"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}),
          .ca_file = Variable({"AWS_CA_BUNDLE"})};
}

std::string_view NameOf(S3Operation operation) {
  constexpr std::array<std::string_view, kS3Operations> kNames = {
      "get",          "head", "put",   "upload_part", "begin_upload", "complete_upload",
      "abort_upload", "list", "delete"};
  return kNames[static_cast<size_t>(operation)];
}

S3Client::S3Client(S3Options options, Clock& clock, Random& random)
    : options_(std::move(options)),
      clock_(clock),
      random_(random),
      http_(WithCa(options_.http, options_.environment.ca_file)) {}

absl::StatusOr<HttpResponse> S3Client::Call(const S3Location& location, const S3Request& request) {
  S3Counters& counters = counters_[static_cast<size_t>(request.operation)];
  const int64_t begin_ns = clock_.MonotonicNanos();
  for (int tries = 1;; ++tries) {
    const int64_t try_ns = clock_.MonotonicNanos();
    absl::StatusOr<HttpResponse> response = Try(location, request);
    const int64_t now_ns = clock_.MonotonicNanos();
    counters.requests.fetch_add(1, std::memory_order_relaxed);
    counters.seconds.Observe(static_cast<double>(now_ns - try_ns) / 1e9);
    if (response.ok()) return response;
    const absl::Duration pause = PauseAfter(tries);
    if (!MayGoWellLater(response.status()) || tries >= options_.tries_max ||
        absl::Nanoseconds(now_ns - begin_ns) + pause > options_.retry_time || !http_.Pause(pause)) {
      if (!absl::IsNotFound(response.status()) && !absl::IsAlreadyExists(response.status())) {
        counters.failures.fetch_add(1, std::memory_order_relaxed);
      }
      return tries == 1 ? response.status()
                        : Annotate(response.status(), Concat("tried ", tries, " times"));
    }
    counters.retries.fetch_add(1, std::memory_order_relaxed);
    LogDebug("request to S3 is tried again", {{"error", MessageOf(response.status())}});
  }
}

// Doubling from pause_min, and of that a part by chance: many writers must not come back at once.
absl::Duration S3Client::PauseAfter(int tries) {
  const absl::Duration longest =
      std::min(options_.pause_max, options_.pause_min * (1 << std::min(tries, 16)));
  const double share = static_cast<double>(random_.Next() >> 11) / static_cast<double>(1ull << 53);
  return longest / 4 + longest * 0.75 * share;
}

absl::StatusOr<HttpResponse> S3Client::Try(const S3Location& location, const S3Request& request) {
  MILLRACE_ASSIGN_OR_RETURN(const S3Credentials credentials, CredentialsFor(location));
  S3Counters& counters = counters_[static_cast<size_t>(request.operation)];
  S3SignedParts parts;
  parts.headers = request.headers;
  if (request.before_try) request.before_try(parts.headers);
  const std::string url = Address(location, request, parts);
  const std::string region = RegionOf(location);
  SignS3Request(credentials, region, clock_.Now(), parts);
  parts.headers.erase("host");  // libcurl's.
  HttpRequest http{.method = request.method,
                   .url = url,
                   .headers = std::move(parts.headers),
                   .body = request.body,
                   .kept_bytes_max = kS3ReplyBytesMax};
  if (request.sink) {
    http.sink = [&](const HttpResponse& head, std::string_view piece) {
      counters.bytes_received.fetch_add(piece.size(), std::memory_order_relaxed);
      return request.sink(head, piece);
    };
  }
  absl::StatusOr<HttpResponse> response = http_.Do(http);
  if (!response.ok()) return response;
  counters.bytes_sent.fetch_add(request.body.size(), std::memory_order_relaxed);
  counters.bytes_received.fetch_add(response->body.size(), std::memory_order_relaxed);
  S3Error error;
  if (response->status >= 200 && response->status < 300) {
    if (request.operation != S3Operation::kComplete) return response;
    // May be a failure in spite of its status.
    MILLRACE_ASSIGN_OR_RETURN(error, ParseS3Completion(response->body));
    if (error.code.empty()) return response;
    response->status = error.code == "PreconditionFailed" ? 412 : 500;
  } else {
    error = ParseS3Error(response->body);
  }
  if (error.region.empty()) error.region = response->Header("x-amz-bucket-region");
  return StatusOfS3Failure({.http_status = response->status,
                            .error = std::move(error),
                            .attempted = Attempted(location, request),
                            .bucket = location.bucket,
                            .region = region,
                            .server_date = response->Header("date")});
}

absl::StatusOr<S3Credentials> S3Client::CredentialsFor(const S3Location& location) const {
  const S3Environment& environment = options_.environment;
  if (location.access_key_id_secret.empty()) {
    if (environment.access_key_id.empty() || environment.secret_access_key.empty()) {
      return absl::FailedPreconditionError(
          Concat("no keys for s3://", location.bucket,
                 ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name secrets in the URI "
                 "(?access-key-id=${secret:NAME}&secret-access-key=${secret:NAME})"));
    }
    return S3Credentials{.access_key_id = environment.access_key_id,
                         .secret_access_key = environment.secret_access_key,
                         .session_token = environment.session_token};
  }
  // Read each time: secrets are renewed while we run.
  const auto secret = [&](const std::string& name) -> absl::StatusOr<Secret> {
    if (name.empty()) return Secret();
    if (options_.secrets == nullptr) {
      return absl::FailedPreconditionError(
          Concat("secret ", name, " is not there: this process has no folder of secrets"));
    }
    return options_.secrets->Get(name);
  };
  MILLRACE_ASSIGN_OR_RETURN(const Secret id, secret(location.access_key_id_secret));
  MILLRACE_ASSIGN_OR_RETURN(Secret key, secret(location.secret_access_key_secret));
  MILLRACE_ASSIGN_OR_RETURN(Secret token, secret(location.session_token_secret));
  return S3Credentials{.access_key_id = id.Reveal(),
                       .secret_access_key = std::move(key),
                       .session_token = std::move(token)};
}

std::string S3Client::RegionOf(const S3Location& location) const {
  if (!location.region.empty()) return location.region;
  return options_.environment.region.empty() ? std::string(kDefaultRegion)
                                             : options_.environment.region;
}

std::string S3Client::Address(const S3Location& location, const S3Request& request,
                              S3SignedParts& signed_parts) const {
  std::string endpoint =
      location.endpoint.empty() ? options_.environment.endpoint : location.endpoint;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  // Amazon wants the bucket in the host, most other stores in the path; a name with dots fits into
  // no certificate.
  const bool in_path = location.path_style.value_or(!endpoint.empty() ||
                                                    location.bucket.find('.') != std::string::npos);
  if (endpoint.empty()) {
    const std::string region = RegionOf(location);
    endpoint =
        Concat("https://s3.", region, ".amazonaws.com", region.starts_with("cn-") ? ".cn" : "");
  }
  const size_t scheme = endpoint.find("://") + 3;
  std::string host = endpoint.substr(scheme);
  if (!in_path) host = Concat(location.bucket, ".", host);
  signed_parts.method = request.method;
  signed_parts.path = UriEncoded(
      in_path ? Concat("/", location.bucket, "/", request.key) : Concat("/", request.key),
      /*keep_slash=*/true);
  if (in_path && request.key.empty()) signed_parts.path.pop_back();
  signed_parts.query = request.query;
  signed_parts.headers["host"] = host;
  Sha256Hex(request.body, signed_parts.body_sha256);
  const std::string query = S3Query(request.query);
  return Concat(endpoint.substr(0, scheme), host, signed_parts.path, query.empty() ? "" : "?",
                query);
}

}  // namespace millrace
