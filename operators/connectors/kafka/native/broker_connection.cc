#include "operators/connectors/kafka/native/broker_connection.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "operators/connectors/kafka/kafka_errors.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/check.h"
#include "runtime/base/socket_address.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr size_t kPiecesAtOnce = 16;

}  // namespace

absl::StatusOr<std::unique_ptr<BrokerConnection>> BrokerConnection::Open(
    const ConnectionSettings& settings, Env& env, const std::string& address, size_t attempt) {
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<SocketAddress> all, ResolveAddresses(address));
  MILLRACE_ASSIGN_OR_RETURN(const int fd, BeginConnect(all[attempt % all.size()]));
  std::unique_ptr<BrokerConnection> connection(new BrokerConnection(settings, env, address, fd));
  connection->stream_ = settings.tls == nullptr
                            ? MakePlainStream(fd)
                            : settings.tls->MakeStream(fd, address.substr(0, address.rfind(':')));
  connection->Send({KafkaApi::kApiVersions, 0}, std::string());
  return connection;
}

BrokerConnection::BrokerConnection(const ConnectionSettings& settings, Env& env,
                                   std::string address, int fd)
    : settings_(settings), env_(env), address_(std::move(address)), fd_(fd) {}

BrokerConnection::~BrokerConnection() {
  stream_.reset();
  close(fd_);
}

absl::StatusOr<int16_t> BrokerConnection::VersionFor(KafkaApi api, ApiRange range) const {
  const auto found = versions_.find(static_cast<int16_t>(api));
  const ApiRange known = found == versions_.end() ? ApiRange{0, -1} : found->second;
  const int16_t version = std::min(known.high, range.high);
  if (version < std::max(known.low, range.low)) {
    return absl::InvalidArgumentError(
        Text("the broker ", address_, " is too old or too new: it has versions ", known.low, " to ",
             known.high, " of request ", static_cast<int>(api), ", needed is one of ", range.low,
             " to ", range.high, "; try option 'fetch', of a sink 'produce', = 'librdkafka'"));
  }
  return version;
}

void BrokerConnection::Send(ApiVersion version, std::string body) {
  std::vector<RequestPiece> pieces;
  pieces.push_back({.text = std::move(body), .shared = nullptr});
  Send(version, std::move(pieces));
}

void BrokerConnection::Send(ApiVersion version, std::vector<RequestPiece> body) {
  // An answer is waited for from now on.
  if (under_way_.empty()) heard_ns_ = env_.clock.MonotonicNanos();
  size_t bytes = 0;
  for (const RequestPiece& piece : body) bytes += piece.bytes().size();
  outgoing_.push_back(
      {.text = EncodeRequestHead(version, next_correlation_id_, settings_.client_id, bytes),
       .shared = nullptr});
  for (RequestPiece& piece : body) {
    if (!piece.bytes().empty()) outgoing_.push_back(std::move(piece));
  }
  under_way_.push_back({version, next_correlation_id_});
  next_correlation_id_ = next_correlation_id_ == INT32_MAX ? 1 : next_correlation_id_ + 1;
}

absl::Status BrokerConnection::Advance() {
  MILLRACE_RETURN_IF_ERROR(Flush());
  while (!complete_ && !under_way_.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const bool complete, Read());
    if (!complete) break;
    complete_ = true;
    if (state_ == State::kReady) break;
    MILLRACE_ASSIGN_OR_RETURN(std::optional<Response> response, TakeAny());
    MILLRACE_RETURN_IF_ERROR(Greet(*response));
    Recycle(std::move(response->block));
    MILLRACE_RETURN_IF_ERROR(Flush());
  }
  if (complete_ || under_way_.empty()) return absl::OkStatus();
  const int64_t silent_ns = env_.clock.MonotonicNanos() - heard_ns_;
  if (silent_ns <= absl::ToInt64Nanoseconds(settings_.silence_max)) return absl::OkStatus();
  return absl::UnavailableError(Text("no answer in ", absl::FormatDuration(settings_.silence_max)));
}

absl::Status BrokerConnection::Flush() {
  while (!outgoing_.empty()) {
    std::array<iovec, kPiecesAtOnce> parts;
    const size_t count = std::min(parts.size(), outgoing_.size());
    for (size_t i = 0; i < count; ++i) {
      std::string_view bytes = outgoing_[i].bytes();
      if (i == 0) bytes.remove_prefix(written_);
      parts[i] = {const_cast<char*>(bytes.data()), bytes.size()};
    }
    ByteStream::Outcome outcome = stream_->Write(parts.data(), static_cast<int>(count));
    if (outcome.result == ByteStream::Result::kWouldBlock) return absl::OkStatus();
    if (outcome.result == ByteStream::Result::kFailed) return outcome.status;
    heard_ns_ = env_.clock.MonotonicNanos();
    written_ += outcome.bytes;
    while (!outgoing_.empty() && written_ >= outgoing_.front().bytes().size()) {
      written_ -= outgoing_.front().bytes().size();
      outgoing_.pop_front();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> BrokerConnection::Read() {
  while (true) {
    const bool in_length = length_have_ < sizeof(length_);
    if (!in_length && block_have_ == block_.size()) return true;
    ByteStream::Outcome outcome =
        in_length ? stream_->Read(length_ + length_have_, sizeof(length_) - length_have_)
                  : stream_->Read(block_.data() + block_have_, block_.size() - block_have_);
    if (outcome.result == ByteStream::Result::kWouldBlock) return false;
    if (outcome.result == ByteStream::Result::kFailed) return outcome.status;
    heard_ns_ = env_.clock.MonotonicNanos();
    (in_length ? length_have_ : block_have_) += outcome.bytes;
    if (!in_length || length_have_ < sizeof(length_)) continue;
    const auto length = LoadBigEndian<int32_t>(length_);
    if (length < 4) return absl::DataLossError("not an answer of Kafka");
    if (length > settings_.response_bytes_max) {
      return absl::InvalidArgumentError(
          Text("an answer has ", length, " bytes, at most ", settings_.response_bytes_max,
               " are taken: set 'properties.receive.message.max.bytes' higher"));
    }
    block_ = std::exchange(spare_, {});
    block_.Resize(static_cast<size_t>(length));
    block_have_ = 0;
  }
}

absl::StatusOr<std::optional<BrokerConnection::Response>> BrokerConnection::Take() {
  if (!ready()) return std::nullopt;
  return TakeAny();
}

absl::StatusOr<std::optional<BrokerConnection::Response>> BrokerConnection::TakeAny() {
  if (!complete_) return std::nullopt;
  MILLRACE_CHECK(!under_way_.empty());
  const Request request = under_way_.front();
  under_way_.pop_front();
  complete_ = false;
  length_have_ = block_have_ = 0;
  Response response{.version = request.version, .block = std::exchange(block_, {}), .body = {}};
  MILLRACE_ASSIGN_OR_RETURN(
      response.body, ResponseBody(request.version, request.correlation_id, response.block.view()));
  return response;
}

absl::Status BrokerConnection::Greet(const Response& response) {
  const auto failed = [](int16_t error, std::string_view attempted, std::string_view detail) {
    return KafkaStatus(static_cast<rd_kafka_resp_err_t>(error), attempted, detail);
  };
  switch (state_) {
    case State::kVersions: {
      MILLRACE_ASSIGN_OR_RETURN(const ApiVersionsResponse known, DecodeApiVersions(response.body));
      if (known.error != 0) return failed(known.error, "cannot ask for versions", {});
      for (const auto& [api, versions] : known.apis) versions_[api] = versions;
      return BeginSasl();
    }
    case State::kSaslHandshake: {
      MILLRACE_ASSIGN_OR_RETURN(const SaslHandshakeResponse known,
                                DecodeSaslHandshake(response.body));
      if (known.error != 0) {
        std::string mechanisms;
        for (const std::string_view mechanism : known.mechanisms) {
          mechanisms += Text(mechanisms.empty() ? "the broker knows " : ", ", mechanism);
        }
        return failed(known.error, Text("cannot authenticate by ", settings_.sasl_mechanism),
                      mechanisms);
      }
      state_ = State::kSaslAuthenticate;
      return SendSasl({});
    }
    case State::kSaslAuthenticate: {
      MILLRACE_ASSIGN_OR_RETURN(const SaslAuthenticateResponse answer,
                                DecodeSaslAuthenticate(response.body));
      if (answer.error != 0) {
        return failed(answer.error, Text("cannot authenticate user=", settings_.sasl_user),
                      answer.message);
      }
      return SendSasl(answer.bytes);
    }
    case State::kReady:
      break;
  }
  return absl::InternalError("a greeting after the greeting");
}

absl::Status BrokerConnection::BeginSasl() {
  if (settings_.sasl_mechanism.empty()) {
    state_ = State::kReady;
    return absl::OkStatus();
  }
  MILLRACE_ASSIGN_OR_RETURN(sasl_, MakeSaslClient(settings_.sasl_mechanism, settings_.sasl_user,
                                                  settings_.sasl_password, env_.random));
  state_ = State::kSaslHandshake;
  Send({KafkaApi::kSaslHandshake, 1}, EncodeSaslHandshake(settings_.sasl_mechanism));
  return absl::OkStatus();
}

absl::Status BrokerConnection::SendSasl(std::string_view answer) {
  MILLRACE_ASSIGN_OR_RETURN(const std::string next, sasl_->Next(answer));
  if (sasl_->done()) {
    state_ = State::kReady;
  } else {
    Send({KafkaApi::kSaslAuthenticate, 0}, EncodeSaslAuthenticate(next));
  }
  return absl::OkStatus();
}

// ---- BrokerLink.

absl::StatusOr<bool> BrokerLink::Connect(const ConnectionSettings& settings, Env& env,
                                         int64_t now_ns) {
  if (connection != nullptr) return connection->ready();
  if (now_ns < connect_ns) return false;
  MILLRACE_ASSIGN_OR_RETURN(connection, BrokerConnection::Open(settings, env, address, attempts++));
  return false;
}

void BrokerLink::Lose(const ConnectionSettings& settings, int64_t now_ns) {
  connection.reset();
  backoff = std::clamp(backoff, settings.reconnect_backoff, settings.reconnect_backoff_max);
  connect_ns = now_ns + absl::ToInt64Nanoseconds(backoff);
  backoff *= 2;
}

void BrokerLink::MoveTo(const MetadataResponse::Broker& found, const ConnectionSettings& settings) {
  std::string there = HostAndPort(found.host, std::to_string(found.port));
  if (address == there) return;
  address = std::move(there);
  backoff = settings.reconnect_backoff;
  connect_ns = 0;
}

}  // namespace millrace
