// A proxy before an HTTP server that does to requests what a test says.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace millrace {

enum class Fault {
  kNone,
  kServerError,     // 500 in place of the server.
  kSlowDown,        // 503 in place of the server.
  kDropRequest,     // Closed before the server sees it.
  kLoseReply,       // Done by the server, and closed without an answer.
  kCutReply,        // Half of the answer.
  kStall,           // No answer, until the client gives up.
  kDamageReply,     // One bit of the body.
  kErrorInSuccess,  // 200 with an error in its body, in place of the server.
};

class FaultProxy {
 public:
  // `first_line`: "PUT /bucket/key?query HTTP/1.1"; called for each request, on any thread.
  using Plan = std::function<Fault(const std::string& first_line)>;

  explicit FaultProxy(int server_port) : server_port_(server_port) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = Local(0);
    socklen_t size = sizeof(address);
    MILLRACE_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    MILLRACE_CHECK(listen(listener_, 64) == 0);
    MILLRACE_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~FaultProxy() {
    stop_ = true;
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
    for (std::thread& thread : connections_) thread.join();
  }

  std::string url() const { return Concat("http://127.0.0.1:", port_); }
  void SetPlan(Plan plan) {
    absl::MutexLock lock(&mutex_);
    plan_ = std::move(plan);
  }

 private:
  static sockaddr_in Local(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  void Accept() {
    while (true) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      connections_.emplace_back([this, client] {
        Serve(client);
        close(client);
      });
    }
  }

  // One request per connection.
  void Serve(int client) {
    std::string request;
    size_t head_end = std::string::npos;
    while ((head_end = request.find("\r\n\r\n")) == std::string::npos) {
      if (!ReadSome(client, request)) return;
    }
    const size_t whole = head_end + 4 + LengthOf(request.substr(0, head_end));
    while (request.size() < whole) {
      if (!ReadSome(client, request)) return;
    }
    const std::string first_line = request.substr(0, request.find("\r\n"));
    Plan plan;
    {
      absl::MutexLock lock(&mutex_);
      plan = plan_;
    }
    const Fault fault = plan ? plan(first_line) : Fault::kNone;
    if (fault == Fault::kDropRequest) return;
    if (fault == Fault::kServerError) {
      return Write(client, Answer("500 Oops", "<Error><Code>InternalError</Code></Error>"));
    }
    if (fault == Fault::kSlowDown) {
      return Write(client, Answer("503 Busy", "<Error><Code>SlowDown</Code></Error>"));
    }
    if (fault == Fault::kErrorInSuccess) {
      return Write(client, Answer("200 OK", "<Error><Code>InternalError</Code></Error>"));
    }
    if (fault == Fault::kStall) {
      std::string more;
      while (!stop_ && ReadSome(client, more)) {
      }
      return;
    }
    request.insert(head_end, "\r\nConnection: close");
    std::string reply = Forward(request);
    if (fault == Fault::kLoseReply) return;
    if (fault == Fault::kCutReply) reply.resize(reply.size() / 2);
    if (fault == Fault::kDamageReply) reply.back() = static_cast<char>(reply.back() ^ 1);
    Write(client, reply);
  }

  std::string Forward(const std::string& request) const {
    const int server = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = Local(server_port_);
    std::string reply;
    if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      Write(server, request);
      while (ReadSome(server, reply)) {
      }
    }
    close(server);
    return reply;
  }

  static std::string Answer(std::string_view status, std::string_view body) {
    return Concat("HTTP/1.1 ", status, "\r\nConnection: close\r\nContent-Length: ", body.size(),
                  "\r\n\r\n", body);
  }

  static size_t LengthOf(const std::string& head) {
    const std::string lower = LowerAscii(head);
    const size_t at = lower.find("\r\ncontent-length:");
    return at == std::string::npos ? 0 : std::stoull(lower.substr(at + 17));
  }

  static bool ReadSome(int from, std::string& into) {
    char buffer[65536];
    const ssize_t got = read(from, buffer, sizeof(buffer));
    if (got <= 0) return false;
    into.append(buffer, static_cast<size_t>(got));
    return true;
  }

  static void Write(int to, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

  const int server_port_;
  int listener_;
  int port_ = 0;
  std::atomic<bool> stop_{false};
  std::thread acceptor_;
  std::vector<std::thread> connections_;  // Of the acceptor, until it is joined.
  absl::Mutex mutex_;
  Plan plan_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace millrace
