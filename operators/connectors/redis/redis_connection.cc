#include "operators/connectors/redis/redis_connection.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "runtime/base/socket_address.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kReadBytes = 64 << 10;

}  // namespace

std::string RedisServer::Text() const {
  return Concat("redis=", host, ":", port, " database=", database);
}

absl::Status StatusOfRedisError(std::string_view text, const RedisServer& server) {
  const std::string_view kind = text.substr(0, text.find(' '));
  const auto is_one_of = [&](auto... kinds) { return ((kind == kinds) || ...); };
  const std::string about = Concat(server.Text(), " answers: ", text);
  if (is_one_of("WRONGPASS", "NOAUTH") || text.starts_with("ERR AUTH")) {
    return absl::PermissionDeniedError(
        Concat(about, "; see options 'username' and 'password', a reference to a secret"));
  }
  if (kind == "NOPERM") {
    return absl::PermissionDeniedError(
        Concat(about,
               "; the user needs the commands GET or HMGET, SELECT where a database is "
               "named, and the keys (ACL SETUSER)"));
  }
  if (is_one_of("LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN") ||
      text.starts_with("ERR max number of clients")) {
    return absl::UnavailableError(about);
  }
  if (is_one_of("MOVED", "ASK")) {
    return absl::FailedPreconditionError(
        Concat(about,
               "; the key is on another server of a cluster: lookups ask one server, name "
               "a proxy of the cluster"));
  }
  return absl::FailedPreconditionError(about);
}

RedisConnection::RedisConnection(const RedisServer& server, const Env& env, int fd)
    : server_(server), env_(env), fd_(fd) {}

RedisConnection::~RedisConnection() {
  stream_.reset();
  close(fd_);
}

absl::StatusOr<std::unique_ptr<RedisConnection>> RedisConnection::Open(const RedisServer& server,
                                                                       const Env& env) {
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses,
                            ResolveAddresses(HostAndPort(server.host, server.port)));
  absl::Status failure;
  for (const SocketAddress& address : addresses) {
    MILLRACE_ASSIGN_OR_RETURN(const int fd, BeginConnect(address));
    std::unique_ptr<RedisConnection> made(new RedisConnection(server, env, fd));
    made->stream_ =
        server.tls == nullptr ? MakePlainStream(fd) : server.tls->MakeStream(fd, server.host);
    failure = made->Greet();
    if (failure.ok()) return made;
    if (!absl::IsUnavailable(failure)) break;
  }
  return failure;
}

absl::Status RedisConnection::Greet() {
  // The stream is used only once the socket is connected, and TLS has shaken hands when the first
  // answer is there: from then on a write that would block waits for the socket alone.
  const int64_t deadline_ns =
      env_.clock.MonotonicNanos() + absl::ToInt64Nanoseconds(server_.timeout);
  MILLRACE_RETURN_IF_ERROR(Wait(/*writes=*/true, deadline_ns));
  std::string commands;
  size_t count = 1;
  const std::string database = std::to_string(server_.database);
  if (!server_.password.empty()) {
    std::vector<std::string_view> auth = {"AUTH"};
    if (!server_.user.empty()) auth.push_back(server_.user);
    auth.push_back(server_.password.Reveal());
    AppendRespCommand(auth, commands);
    ++count;
  }
  if (server_.database != 0) {
    AppendRespCommand(std::array<std::string_view, 2>{"SELECT", database}, commands);
  } else {
    AppendRespCommand(std::array<std::string_view, 1>{"PING"}, commands);
  }
  MILLRACE_RETURN_IF_ERROR(Ask(commands, count, [&](size_t, const RespReply& reply) {
    // PING only asks whether somebody answers; a user may not be allowed to.
    if (reply.kind != RespReply::Kind::kError ||
        (server_.database == 0 && reply.text.starts_with("NOPERM"))) {
      return absl::OkStatus();
    }
    return StatusOfRedisError(reply.text, server_);
  }));
  is_greeted_ = true;
  return absl::OkStatus();
}

absl::Status RedisConnection::Ask(const std::string& commands, size_t count, OnReply on_reply) {
  const int64_t deadline_ns =
      env_.clock.MonotonicNanos() + absl::ToInt64Nanoseconds(server_.timeout);
  size_t written = 0;
  RespReply reply;
  for (size_t index = 0; index < count;) {
    MILLRACE_ASSIGN_OR_RETURN(const bool wrote, Write(commands, written));
    MILLRACE_ASSIGN_OR_RETURN(const bool read, Read());
    while (index < count) {
      MILLRACE_ASSIGN_OR_RETURN(const size_t taken,
                                ReadRespReply(std::string_view(received_).substr(used_), reply));
      if (taken == 0) break;
      MILLRACE_RETURN_IF_ERROR(on_reply(index++, reply));
      used_ += taken;
    }
    if (index == count || wrote || read) continue;
    MILLRACE_RETURN_IF_ERROR(Wait(is_greeted_ && written < commands.size(), deadline_ns));
  }
  if (used_ == received_.size()) return absl::OkStatus();
  return absl::DataLossError(Concat(server_.Text(), " answers more than it was asked"));
}

absl::StatusOr<bool> RedisConnection::Write(const std::string& bytes, size_t& written) {
  bool any = false;
  while (written < bytes.size()) {
    const iovec part{const_cast<char*>(bytes.data()) + written, bytes.size() - written};
    const ByteStream::Outcome outcome = stream_->Write(&part, 1);
    if (outcome.result == ByteStream::Result::kFailed) {
      return Annotate(outcome.status, server_.Text());
    }
    if (outcome.result == ByteStream::Result::kWouldBlock) break;
    written += outcome.bytes;
    any = true;
  }
  return any;
}

absl::StatusOr<bool> RedisConnection::Read() {
  received_.erase(0, used_);
  used_ = 0;
  const size_t before = received_.size();
  received_.resize(before + kReadBytes);
  const ByteStream::Outcome outcome = stream_->Read(received_.data() + before, kReadBytes);
  const bool any = outcome.result == ByteStream::Result::kSome;
  received_.resize(before + (any ? outcome.bytes : 0));
  if (outcome.result == ByteStream::Result::kFailed) {
    return Annotate(outcome.status, server_.Text());
  }
  return any;
}

absl::Status RedisConnection::Wait(bool writes, int64_t deadline_ns) {
  while (true) {
    const int64_t left_ns = deadline_ns - env_.clock.MonotonicNanos();
    if (left_ns <= 0) {
      return absl::UnavailableError(
          Concat(server_.Text(), " does not answer within 'lookup.timeout'"));
    }
    pollfd wanted{.fd = fd_, .events = POLLIN, .revents = 0};
    if (writes) wanted.events |= POLLOUT;
    constexpr int64_t kStepMs = 1000;
    if (poll(&wanted, 1, static_cast<int>(std::min(left_ns / 1'000'000 + 1, kStepMs))) > 0) {
      return absl::OkStatus();
    }
  }
}

}  // namespace millrace
