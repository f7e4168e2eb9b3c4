// Requests to one S3-compatible store, signed, tried again where that may help, counted.
//
// What is tried again: no whole answer (connection, time-out), HTTP 5xx, 429, SlowDown and the
// like, with pauses that grow and are drawn by chance, for at most `retry_time`. A request of which
// an earlier try got no answer may have been done twice; who calls looks (S3Storage does).
//
// Threading: every method, from any thread; calls block.
// Errors:    those of s3_reply.h; kUnavailable and kDeadlineExceeded when trying again did not
// help,
//            kCancelled after Stop.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/base/env.h"
#include "runtime/base/secret.h"
#include "runtime/checkpoint/s3/http_client.h"
#include "runtime/checkpoint/s3/s3_reply.h"
#include "runtime/checkpoint/s3/s3_uri.h"
#include "runtime/metrics/metrics.h"

namespace millrace {

struct S3Credentials;
struct S3SignedParts;

// What the environment says, by the names that Amazon's own tools read.
struct S3Environment {
  std::string access_key_id;  // AWS_ACCESS_KEY_ID
  Secret secret_access_key;   // AWS_SECRET_ACCESS_KEY
  Secret session_token;       // AWS_SESSION_TOKEN
  std::string region;         // AWS_REGION, AWS_DEFAULT_REGION
  std::string endpoint;       // AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
  std::string ca_file;        // AWS_CA_BUNDLE
  static S3Environment OfProcess();
};

struct S3Options {
  S3Environment environment;
  const SecretStore* secrets = nullptr;  // Of references in URIs; outlives the client.
  HttpClientOptions http;
  int tries_max = 30;
  absl::Duration retry_time = absl::Minutes(1);  // No try begins later than this.
  absl::Duration pause_min = absl::Milliseconds(50);
  absl::Duration pause_max = absl::Seconds(5);
  uint64_t part_bytes = 8 << 20;  // Of an upload in parts; larger files go in parts. 5 MiB or more.
};

enum class S3Operation { kGet, kHead, kPut, kPart, kBegin, kComplete, kAbort, kList, kDelete };
inline constexpr size_t kS3Operations = 9;
std::string_view NameOf(S3Operation operation);

// Relaxed: a scrape may see a request without its time.
struct S3Counters {
  std::atomic<uint64_t> requests{0};  // With those that were tried again.
  std::atomic<uint64_t> retries{0};
  std::atomic<uint64_t> failures{0};  // Calls that failed in the end, absent objects aside.
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> bytes_received{0};
  DurationHistogram seconds;  // Of each try.
};

struct S3Request {
  S3Operation operation;
  std::string method;
  std::string key;  // Empty: of the bucket.
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string_view body;
  // As HttpRequest::sink. May change the headers between two tries by `before_try`.
  std::function<absl::Status(const HttpResponse& head, std::string_view piece)> sink;
  std::function<void(std::map<std::string, std::string>& headers)> before_try;
};

class S3Client {
 public:
  // `clock` and `random` outlive it.
  S3Client(S3Options options, Clock& clock, Random& random);

  // An answer 2xx.
  absl::StatusOr<HttpResponse> Call(const S3Location& location, const S3Request& request);
  // Ends what waits and runs, at the end of the process. Once.
  void Stop() { http_.Stop(); }

  const S3Options& options() const { return options_; }
  const S3Counters& counters(S3Operation operation) const {
    return counters_[static_cast<size_t>(operation)];
  }

 private:
  absl::StatusOr<HttpResponse> Try(const S3Location& location, const S3Request& request);
  absl::StatusOr<S3Credentials> CredentialsFor(const S3Location& location) const;
  std::string RegionOf(const S3Location& location) const;
  // The URL, with `signed_parts` ready to be signed but for the time.
  std::string Address(const S3Location& location, const S3Request& request,
                      S3SignedParts& signed_parts) const;
  absl::Duration PauseAfter(int tries);

  const S3Options options_;
  Clock& clock_;
  Random& random_;
  HttpClient http_;
  std::array<S3Counters, kS3Operations> counters_;
};

}  // namespace millrace
