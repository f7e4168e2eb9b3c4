// The admin pages of a process: /metrics, /livez, /readyz, / and further JSON routes. The only home
// of cpp-httplib is http_server.cc.
//
// Threading: Add* before Start; Start and Stop on one thread; handlers run on the server's threads.
// The destructor stops it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/metrics/metrics.h"

namespace millrace {

class HttpServer {
 public:
  // A check returns OK, or why the process is not ready.
  using Check = std::function<absl::Status()>;

  HttpServer(std::string title, MetricsRegistry& registry);
  ~HttpServer();

  void AddReadinessCheck(std::string name, Check check);
  void AddJsonRoute(const std::string& path, std::function<std::string()> json);
  // `address`: host:port, port 0 = any. Returns the address that it really listens on.
  absl::StatusOr<std::string> Start(const std::string& address);
  // Waits for the handlers that run, then answers nobody any more: what they read may go away. For
  // owners whose handlers read what was made after the server. Idempotent.
  void Stop();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
