#include "operators/connectors/kafka/native/native_settings.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "operators/connectors/kafka/native/sasl.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Allowed, and not done here.
constexpr std::string_view kOnlyFetchedByLibrdkafka[] = {"broker.address.family", "client.rack",
                                                         "ssl.cipher.suites"};
constexpr std::string_view kOnlyProducedByLibrdkafka[] = {
    "acks", "broker.address.family", "delivery.timeout.ms", "message.timeout.ms",
    "ssl.cipher.suites"};
constexpr std::string_view kDefaultPort = "9092";

class Properties {
 public:
  explicit Properties(const KafkaClientOptions& options) : options_(options) {}

  std::string TextOf(std::string_view name, std::string_view otherwise = {}) const {
    const auto found = options_.properties.find(name);
    return found == options_.properties.end() ? std::string(otherwise) : found->second.Reveal();
  }
  Secret SecretOf(std::string_view name) const { return Secret(TextOf(name)); }
  absl::Status Number(std::string_view name, int32_t& out) const {
    const std::string text = TextOf(name);
    if (text.empty()) return absl::OkStatus();
    if (!absl::SimpleAtoi(text, &out) || out < 0) {
      return absl::InvalidArgumentError(
          Text("option 'properties.", name, "': expected a whole number"));
    }
    return absl::OkStatus();
  }
  absl::Status Millis(std::string_view name, absl::Duration& out) const {
    auto millis = static_cast<int32_t>(absl::ToInt64Milliseconds(out));
    MILLRACE_RETURN_IF_ERROR(Number(name, millis));
    out = absl::Milliseconds(millis);
    return absl::OkStatus();
  }

 private:
  const KafkaClientOptions& options_;
};

std::string Protocol(const Properties& properties) {
  return LowerAscii(properties.TextOf("security.protocol", "plaintext"));
}

// As librdkafka: two names for one thing, of several the first. Empty: no SASL.
std::string SaslMechanism(const Properties& properties) {
  if (!Protocol(properties).starts_with("sasl_")) return {};
  const std::string mechanisms =
      properties.TextOf("sasl.mechanism", properties.TextOf("sasl.mechanisms", "GSSAPI"));
  return mechanisms.substr(0, mechanisms.find(','));
}

absl::Status ReadSecurity(const Properties& properties, ConnectionSettings& out) {
  out.sasl_mechanism = SaslMechanism(properties);
  out.sasl_user = properties.TextOf("sasl.username");
  out.sasl_password = properties.SecretOf("sasl.password");
  if (!Protocol(properties).ends_with("ssl")) return absl::OkStatus();
  const bool verify = properties.TextOf("enable.ssl.certificate.verification", "true") != "false";
  MILLRACE_ASSIGN_OR_RETURN(
      out.tls,
      TlsClient::Make({.ca = properties.TextOf("ssl.ca.pem"),
                       .certificate = properties.TextOf("ssl.certificate.pem"),
                       .key = properties.SecretOf("ssl.key.pem"),
                       .key_password = properties.SecretOf("ssl.key.password"),
                       .verify_peer = verify,
                       .verify_name = properties.TextOf("ssl.endpoint.identification.algorithm",
                                                        "https") == "https"}));
  return absl::OkStatus();
}

absl::Status ReadConnection(const KafkaClientOptions& options, const Properties& properties,
                            ConnectionSettings& out) {
  for (const absl::string_view item :
       absl::StrSplit(options.brokers, ',', absl::SkipWhitespace())) {
    const std::string_view broker = ToStd(absl::StripAsciiWhitespace(item));
    const bool has_port = broker.find(':') != broker.npos && !broker.ends_with(']');
    out.brokers.push_back(has_port ? std::string(broker) : Text(broker, ":", kDefaultPort));
  }
  if (out.brokers.empty()) {
    return absl::InvalidArgumentError("option 'properties.bootstrap.servers' names no broker");
  }
  out.client_id = properties.TextOf("client.id", out.client_id);
  MILLRACE_RETURN_IF_ERROR(ReadSecurity(properties, out));
  MILLRACE_RETURN_IF_ERROR(properties.Number("receive.message.max.bytes", out.response_bytes_max));
  MILLRACE_RETURN_IF_ERROR(properties.Millis("reconnect.backoff.ms", out.reconnect_backoff));
  MILLRACE_RETURN_IF_ERROR(
      properties.Millis("reconnect.backoff.max.ms", out.reconnect_backoff_max));
  return properties.Millis("socket.timeout.ms", out.silence_max);
}

absl::Status Check(const KafkaClientOptions& options, std::string_view option,
                   std::span<const std::string_view> only_librdkafka) {
  for (const std::string_view name : only_librdkafka) {
    if (options.properties.contains(name)) {
      return absl::InvalidArgumentError(
          Text("option 'properties.", name, "' needs option '", option, "' = 'librdkafka'"));
    }
  }
  const std::string mechanism = SaslMechanism(Properties(options));
  return mechanism.empty() ? absl::OkStatus() : CheckSaslMechanism(mechanism);
}

absl::Status ReadCodec(const Properties& properties, ProduceSettings& out) {
  constexpr std::string_view kCodecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
  const std::string name =
      properties.TextOf("compression.codec", properties.TextOf("compression.type", kCodecs[0]));
  const auto found = std::find(std::begin(kCodecs), std::end(kCodecs), LowerAscii(name));
  if (found == std::end(kCodecs)) {
    return absl::InvalidArgumentError(
        Text("option 'properties.compression.codec': expected one of ", Join(kCodecs, ", "),
             ", found '", name, "'"));
  }
  out.codec = static_cast<KafkaCodec>(found - std::begin(kCodecs));
  // -1, which librdkafka has as the default, is no whole number here.
  if (properties.TextOf("compression.level") == "-1") return absl::OkStatus();
  return properties.Number("compression.level", out.codec_level);
}

}  // namespace

absl::Status CheckNativeFetch(const KafkaClientOptions& options) {
  return Check(options, "fetch", kOnlyFetchedByLibrdkafka);
}

absl::Status CheckNativeProduce(const KafkaClientOptions& options) {
  return Check(options, "produce", kOnlyProducedByLibrdkafka);
}

absl::StatusOr<FetchSettings> MakeFetchSettings(const KafkaClientOptions& options) {
  MILLRACE_RETURN_IF_ERROR(CheckNativeFetch(options));
  const Properties properties(options);
  FetchSettings out;
  MILLRACE_RETURN_IF_ERROR(ReadConnection(options, properties, out));
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.max.bytes", out.bytes_max));
  // Two names for one thing.
  MILLRACE_RETURN_IF_ERROR(properties.Number("max.partition.fetch.bytes", out.partition_bytes_max));
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.message.max.bytes", out.partition_bytes_max));
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.min.bytes", out.bytes_min));
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.wait.max.ms", out.wait_max_ms));
  MILLRACE_RETURN_IF_ERROR(properties.Millis("fetch.error.backoff.ms", out.error_backoff));
  return out;
}

absl::StatusOr<ProduceSettings> MakeProduceSettings(const KafkaClientOptions& options) {
  MILLRACE_RETURN_IF_ERROR(CheckNativeProduce(options));
  const Properties properties(options);
  ProduceSettings out;
  MILLRACE_RETURN_IF_ERROR(ReadConnection(options, properties, out));
  MILLRACE_RETURN_IF_ERROR(ReadCodec(properties, out));
  MILLRACE_RETURN_IF_ERROR(properties.Number("batch.size", out.batch_bytes));
  MILLRACE_RETURN_IF_ERROR(properties.Number("batch.num.messages", out.batch_records));
  MILLRACE_RETURN_IF_ERROR(properties.Number("message.max.bytes", out.record_bytes_max));
  auto kbytes = static_cast<int32_t>(out.unacknowledged_bytes_max >> 10);
  MILLRACE_RETURN_IF_ERROR(properties.Number("queue.buffering.max.kbytes", kbytes));
  out.unacknowledged_bytes_max = static_cast<size_t>(kbytes) << 10;
  MILLRACE_RETURN_IF_ERROR(properties.Millis("retry.backoff.ms", out.retry_backoff));
  MILLRACE_RETURN_IF_ERROR(properties.Number("request.timeout.ms", out.replicas_timeout_ms));
  MILLRACE_RETURN_IF_ERROR(properties.Number("transaction.timeout.ms", out.transaction_timeout_ms));
  return out;
}

}  // namespace millrace
