// One connection to a server of Redis: it greets, then carries questions and their answers, many
// at a time, in order.
//
// Threading: one thread at a time; calls block, up to the timeout.
// Errors:    any makes it useless. kUnavailable: lost, or no answer in time; kPermissionDenied: the
//            credentials are refused; kFailedPrecondition: the server does not do what is asked.
#pragma once

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/connectors/redis/resp.h"
#include "runtime/base/env.h"
#include "runtime/base/secret.h"
#include "runtime/base/tls.h"

namespace millrace {

struct RedisServer {
  std::string host;
  std::string port;
  std::string user;  // Empty: the default one.
  Secret password;
  int64_t database = 0;
  std::shared_ptr<TlsClient> tls;  // Null: plain.
  absl::Duration timeout;          // Of the connection, and of each Ask.
  std::string Text() const;        // For messages.
};

class RedisConnection {
 public:
  // Connects and greets. `env` and `server` outlive it.
  static absl::StatusOr<std::unique_ptr<RedisConnection>> Open(const RedisServer& server,
                                                               const Env& env);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // Sends `commands`, `count` of them, and hands on the answers one by one; an error of `on_reply`
  // ends it. What an error that Redis answers means: StatusOfRedisError.
  using OnReply = absl::FunctionRef<absl::Status(size_t index, const RespReply& reply)>;
  absl::Status Ask(const std::string& commands, size_t count, OnReply on_reply);

 private:
  RedisConnection(const RedisServer& server, const Env& env, int fd);
  absl::Status Greet();
  // Until something can be read, or written where `writes`; kUnavailable at the deadline.
  absl::Status Wait(bool writes, int64_t deadline_ns);
  // What can be without waiting; true: something was.
  absl::StatusOr<bool> Write(const std::string& bytes, size_t& written);
  absl::StatusOr<bool> Read();

  const RedisServer& server_;
  const Env env_;
  const int fd_;
  std::unique_ptr<ByteStream> stream_;
  bool is_greeted_ = false;
  std::string received_;
  size_t used_ = 0;  // Of received_.
};

// `text` is an error that Redis answered.
absl::Status StatusOfRedisError(std::string_view text, const RedisServer& server);

}  // namespace millrace
