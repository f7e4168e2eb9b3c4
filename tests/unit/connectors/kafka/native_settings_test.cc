#include "operators/connectors/kafka/native/native_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

absl::StatusOr<FetchSettings> Make(const std::string& brokers,
                                   const std::map<std::string, std::string>& properties = {}) {
  KafkaClientOptions options{.brokers = brokers, .properties = {}};
  for (const auto& [name, value] : properties) options.properties.emplace(name, Secret(value));
  return MakeFetchSettings(options);
}

TEST(NativeSettingsTest, BrokersHaveAPort) {
  const auto settings = Make("a:1, b ,[::1]:2,[::1]");
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_THAT(settings->brokers, ElementsAre("a:1", "b:9092", "[::1]:2", "[::1]:9092"));
  EXPECT_EQ(Make(" , ").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(NativeSettingsTest, TakesTheClientsProperties) {
  const auto settings = Make("a", {{"security.protocol", "SASL_PLAINTEXT"},
                                   {"sasl.mechanisms", "SCRAM-SHA-256,PLAIN"},
                                   {"sasl.username", "user"},
                                   {"sasl.password", "secret"},
                                   {"client.id", "me"},
                                   {"fetch.wait.max.ms", "7"},
                                   {"fetch.message.max.bytes", "1000"},
                                   {"reconnect.backoff.ms", "5"}});
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->sasl_mechanism, "SCRAM-SHA-256");
  EXPECT_EQ(settings->sasl_user, "user");
  EXPECT_EQ(settings->sasl_password.Reveal(), "secret");
  EXPECT_EQ(settings->client_id, "me");
  EXPECT_EQ(settings->wait_max_ms, 7);
  EXPECT_EQ(settings->partition_bytes_max, 1000);
  EXPECT_EQ(settings->reconnect_backoff, absl::Milliseconds(5));
  EXPECT_EQ(settings->tls, nullptr);
}

TEST(NativeSettingsTest, RefusesWhatItCannotDo) {
  const struct {
    std::map<std::string, std::string> properties;
    std::string message;
  } cases[] = {
      {{{"client.rack", "a"}}, "'properties.client.rack' needs option 'fetch' = 'librdkafka'"},
      {{{"security.protocol", "sasl_ssl"}}, "found 'GSSAPI'"},
      {{{"fetch.wait.max.ms", "soon"}}, "'properties.fetch.wait.max.ms': expected a whole number"},
      {{{"security.protocol", "ssl"}, {"ssl.ca.pem", "nonsense"}}, "cannot use the TLS CA"},
      {{{"security.protocol", "ssl"}, {"ssl.key.pem", "key"}}, "needs its key"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.message);
    const auto settings = Make("a", c.properties);
    EXPECT_EQ(settings.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(settings.status().message()), HasSubstr(c.message));
  }
}

absl::StatusOr<ProduceSettings> MakeProducer(const std::map<std::string, std::string>& properties) {
  KafkaClientOptions options{.brokers = "a", .properties = {}};
  for (const auto& [name, value] : properties) options.properties.emplace(name, Secret(value));
  return MakeProduceSettings(options);
}

TEST(NativeSettingsTest, TakesTheProducersProperties) {
  const auto settings = MakeProducer({{"compression.type", "LZ4"},
                                      {"compression.level", "3"},
                                      {"batch.size", "2000"},
                                      {"message.max.bytes", "3000"},
                                      {"queue.buffering.max.kbytes", "4"},
                                      {"transaction.timeout.ms", "5"},
                                      {"linger.ms", "0.5"}});
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->codec, KafkaCodec::kLz4);
  EXPECT_EQ(settings->codec_level, 3);
  EXPECT_EQ(settings->batch_bytes, 2000);
  EXPECT_EQ(settings->record_bytes_max, 3000);
  EXPECT_EQ(settings->unacknowledged_bytes_max, 4096u);
  EXPECT_EQ(settings->transaction_timeout_ms, 5);
  EXPECT_EQ(MakeProducer({{"compression.level", "-1"}})->codec_level, -1);
  EXPECT_EQ(MakeProducer({})->codec, KafkaCodec::kNone);
}

TEST(NativeSettingsTest, RefusesWhatTheProducerCannotDo) {
  EXPECT_THAT(std::string(MakeProducer({{"acks", "1"}}).status().message()),
              HasSubstr("'properties.acks' needs option 'produce' = 'librdkafka'"));
  EXPECT_THAT(std::string(MakeProducer({{"compression.codec", "rar"}}).status().message()),
              HasSubstr("expected one of none, gzip, snappy, lz4, zstd, found 'rar'"));
}

}  // namespace
}  // namespace millrace
