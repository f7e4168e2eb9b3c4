#include "operators/connectors/kafka/native/fetch_settings.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "operators/connectors/kafka/native/sasl.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Allowed for sources, and not done here.
constexpr std::string_view kOnlyLibrdkafka[] = {"broker.address.family", "client.rack",
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

absl::Status ReadSecurity(const Properties& properties, FetchSettings& out) {
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

}  // namespace

absl::Status CheckNativeFetch(const KafkaClientOptions& options) {
  for (const std::string_view name : kOnlyLibrdkafka) {
    if (options.properties.contains(name)) {
      return absl::InvalidArgumentError(
          Text("option 'properties.", name, "' needs option 'fetch' = 'librdkafka'"));
    }
  }
  const std::string mechanism = SaslMechanism(Properties(options));
  return mechanism.empty() ? absl::OkStatus() : CheckSaslMechanism(mechanism);
}

absl::StatusOr<FetchSettings> MakeFetchSettings(const KafkaClientOptions& options) {
  MILLRACE_RETURN_IF_ERROR(CheckNativeFetch(options));
  const Properties properties(options);
  FetchSettings out;
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
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.max.bytes", out.bytes_max));
  // Two names for one thing.
  MILLRACE_RETURN_IF_ERROR(properties.Number("max.partition.fetch.bytes", out.partition_bytes_max));
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.message.max.bytes", out.partition_bytes_max));
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.min.bytes", out.bytes_min));
  MILLRACE_RETURN_IF_ERROR(properties.Number("fetch.wait.max.ms", out.wait_max_ms));
  MILLRACE_RETURN_IF_ERROR(properties.Number("receive.message.max.bytes", out.response_bytes_max));
  MILLRACE_RETURN_IF_ERROR(properties.Millis("fetch.error.backoff.ms", out.error_backoff));
  MILLRACE_RETURN_IF_ERROR(properties.Millis("reconnect.backoff.ms", out.reconnect_backoff));
  MILLRACE_RETURN_IF_ERROR(
      properties.Millis("reconnect.backoff.max.ms", out.reconnect_backoff_max));
  MILLRACE_RETURN_IF_ERROR(properties.Millis("socket.timeout.ms", out.silence_max));
  return out;
}

}  // namespace millrace
