#include "runtime/metrics/http_server.h"

#include <httplib.h>

#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace millrace {

struct HttpServer::Impl {
  std::string title;
  httplib::Server server;
  std::vector<std::pair<std::string, Check>> checks;
  std::vector<std::string> paths = {"/metrics", "/livez", "/readyz"};
  std::thread thread;
};

HttpServer::HttpServer(std::string title, MetricsRegistry& registry)
    : impl_(std::make_unique<Impl>()) {
  Impl* impl = impl_.get();
  impl->title = std::move(title);
  impl->server.set_keep_alive_timeout(1);  // Seconds; so long Stop may wait for a silent client.
  impl->server.new_task_queue = [] { return new httplib::ThreadPool(2); };
  impl->server.Get("/metrics", [&registry](const httplib::Request& in, httplib::Response& out) {
    const bool open_metrics =
        in.get_header_value("Accept").find("application/openmetrics-text") != std::string::npos;
    out.set_content(registry.Text(open_metrics),
                    open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                 : "text/plain; version=0.0.4; charset=utf-8");
  });
  impl->server.Get("/livez", [](const httplib::Request&, httplib::Response& out) {
    out.set_content("ok\n", "text/plain");
  });
  impl->server.Get("/readyz", [impl](const httplib::Request&, httplib::Response& out) {
    std::string failing;
    for (const auto& [name, check] : impl->checks) {
      const absl::Status status = check();
      if (!status.ok()) absl::StrAppend(&failing, name, ": ", status.message(), "\n");
    }
    out.status = failing.empty() ? 200 : 503;
    out.set_content(failing.empty() ? "ok\n" : failing, "text/plain");
  });
  impl->server.Get("/", [impl](const httplib::Request&, httplib::Response& out) {
    std::string page = absl::StrCat(impl->title, "\n");
    for (const std::string& path : impl->paths) absl::StrAppend(&page, path, "\n");
    out.set_content(page, "text/plain");
  });
}

HttpServer::~HttpServer() { Stop(); }

void HttpServer::Stop() {
  if (!impl_->thread.joinable()) return;
  impl_->server.stop();
  impl_->thread.join();
}

void HttpServer::AddReadinessCheck(std::string name, Check check) {
  impl_->checks.emplace_back(std::move(name), std::move(check));
}

void HttpServer::AddJsonRoute(const std::string& path, std::function<std::string()> json) {
  impl_->paths.push_back(path);
  impl_->server.Get(path,
                    [json = std::move(json)](const httplib::Request&, httplib::Response& out) {
                      out.set_content(json(), "application/json");
                    });
}

absl::StatusOr<std::string> HttpServer::Start(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon != std::string::npos) port = std::atoi(address.c_str() + colon + 1);
  if (port < 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("not a HOST:PORT: ", address));
  }
  const std::string host = address.substr(0, colon);
  if (port == 0) {
    port = impl_->server.bind_to_any_port(host);
  } else if (!impl_->server.bind_to_port(host, port)) {
    port = -1;
  }
  if (port < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, "; is another process using the port?"));
  }
  impl_->thread = std::thread([impl = impl_.get()] { impl->server.listen_after_bind(); });
  // stop() before the loop runs would be lost.
  while (!impl_->server.is_running()) std::this_thread::yield();
  return absl::StrCat(host, ":", port);
}

}  // namespace millrace
