// One connection to a broker: it greets, authenticates, then carries requests and responses, in
// order. Nothing waits.
//
// Threading: one thread. Ownership: settings and env outlive it; it owns the socket.
// Errors:    any makes it useless: kUnavailable for one that was lost or does not answer,
//            kPermissionDenied for credentials that were refused.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/connectors/kafka/native/byte_block.h"
#include "operators/connectors/kafka/native/messages.h"
#include "operators/connectors/kafka/native/native_settings.h"
#include "operators/connectors/kafka/native/sasl.h"
#include "runtime/base/env.h"
#include "runtime/base/tls.h"

namespace millrace {

class BrokerConnection {
 public:
  struct Response {
    ApiVersion version;
    ByteBlock block;
    std::string_view body;  // In `block`.
  };

  // `address`: host:port. Looks the host up, which may block; the rest is done by Advance. Of a
  // host with several addresses, each `attempt` takes the next one.
  static absl::StatusOr<std::unique_ptr<BrokerConnection>> Open(const ConnectionSettings& settings,
                                                                Env& env,
                                                                const std::string& address,
                                                                size_t attempt);
  ~BrokerConnection();
  BrokerConnection(const BrokerConnection&) = delete;
  BrokerConnection& operator=(const BrokerConnection&) = delete;

  int fd() const { return fd_; }  // To wait for.
  // Sends and receives what can be without waiting.
  absl::Status Advance();
  // May send requests of our own.
  bool ready() const { return state_ == State::kReady; }
  size_t under_way() const { return under_way_.size(); }
  // The highest version of `range` that the broker knows. kInvalidArgument: none.
  absl::StatusOr<int16_t> VersionFor(KafkaApi api, ApiRange range) const;
  // At the next Advance or Flush.
  void Send(ApiVersion version, std::vector<RequestPiece> body);
  void Send(ApiVersion version, std::string body);
  bool sending() const { return !outgoing_.empty(); }  // The socket did not take all yet.
  absl::Status Flush();
  // The response to the oldest request, once it is complete.
  absl::StatusOr<std::optional<Response>> Take();
  // A block of an earlier response, to be used again.
  void Recycle(ByteBlock block) { spare_ = std::move(block); }

 private:
  enum class State { kVersions, kSaslHandshake, kSaslAuthenticate, kReady };
  struct Request {
    ApiVersion version;
    int32_t correlation_id;
  };

  BrokerConnection(const ConnectionSettings& settings, Env& env, std::string address, int fd);
  // True: a response is complete.
  absl::StatusOr<bool> Read();
  absl::StatusOr<std::optional<Response>> TakeAny();
  // What a response of the greeting leads to.
  absl::Status Greet(const Response& response);
  absl::Status BeginSasl();
  absl::Status SendSasl(std::string_view answer);

  const ConnectionSettings& settings_;
  Env& env_;
  const std::string address_;
  const int fd_;
  std::unique_ptr<ByteStream> stream_;
  State state_ = State::kVersions;
  std::map<int16_t, ApiRange> versions_;
  std::unique_ptr<SaslClient> sasl_;

  int32_t next_correlation_id_ = 1;
  std::deque<Request> under_way_;
  std::deque<RequestPiece> outgoing_;
  size_t written_ = 0;  // Of the first piece.
  // Of the response that is arriving.
  char length_[4];
  size_t length_have_ = 0;
  ByteBlock block_;
  size_t block_have_ = 0;
  bool complete_ = false;
  ByteBlock spare_;
  int64_t heard_ns_ = 0;  // When something was last sent or received.
};

// A broker that is connected to again and again, ever more slowly while that fails.
struct BrokerLink {
  std::string address;
  std::unique_ptr<BrokerConnection> connection = nullptr;
  size_t attempts = 0;     // To connect.
  int64_t connect_ns = 0;  // Not before.
  absl::Duration backoff = absl::ZeroDuration();

  // True: ready. False: not yet, or not possible now.
  absl::StatusOr<bool> Connect(const ConnectionSettings& settings, Env& env, int64_t now_ns);
  void Lose(const ConnectionSettings& settings, int64_t now_ns);
  // One that moved is left when its connection breaks.
  void MoveTo(const MetadataResponse::Broker& found, const ConnectionSettings& settings);
};

}  // namespace millrace
