// HTTP requests over connections that are kept: the home of libcurl.
//
// Threading: every method, from any thread; Do blocks.
// Errors:    kUnavailable and kDeadlineExceeded when there was no whole answer: whether the server
//            has done what was asked is unknown. An answer of any HTTP status is OK.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace millrace {

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string body;
  // Text of a header, empty where there is none.
  std::string Header(const std::string& name) const;
};

struct HttpRequest {
  std::string method;
  std::string url;
  std::map<std::string, std::string> headers;
  std::string_view body;
  // Takes the body of an answer 2xx piece by piece, behind its status and headers; without it the
  // body is kept.
  std::function<absl::Status(const HttpResponse& head, std::string_view piece)> sink;
  size_t kept_bytes_max = 8 << 20;
};

struct HttpClientOptions {
  absl::Duration connect_timeout = absl::Seconds(5);
  // Without a byte either way; what goes on may take as long as it takes.
  absl::Duration stall_timeout = absl::Seconds(20);
  std::string ca_file;  // PEM; empty: the system's CAs.
};

class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  absl::StatusOr<HttpResponse> Do(const HttpRequest& request) ABSL_LOCKS_EXCLUDED(mutex_);
  // Requests under way, and all later ones, end with kCancelled. Once.
  void Stop();
  // Until `duration` has passed; false when Stop came first.
  bool Pause(absl::Duration duration);

 private:
  struct Handle;
  std::unique_ptr<Handle> Take() ABSL_LOCKS_EXCLUDED(mutex_);

  const HttpClientOptions options_;
  absl::Notification stopped_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Handle>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace millrace
