// What the native producer writes, read by librdkafka: the same as librdkafka would have written.
#include <fstream>
#include <random>
#include <sstream>

#include "kafka_fixture.h"
#include "operators/connectors/kafka/kafka_producer.h"

namespace millrace {
namespace {

using testing::SizeIs;

class KafkaProduceTest : public KafkaTest {
 protected:
  struct Record {
    int32_t partition;
    std::optional<std::string> key, value;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  };

  std::unique_ptr<KafkaProducer> Make(bool native, const std::string& topic,
                                      const std::map<std::string, std::string>& properties = {},
                                      const std::string& id = Unique("txn")) {
    auto& options = options_.emplace_back(std::make_unique<KafkaSinkOptions>());
    options->client.brokers = brokers_;
    options->native_produce = native;
    for (const auto& [name, value] : properties) {
      if (name == "brokers") {
        options->client.brokers = value;
      } else {
        options->client.properties.emplace(name, Secret(value));
      }
    }
    auto producer = MakeKafkaProducer(*options, env_value_, id, {topic}, stop_);
    EXPECT_TRUE(producer.ok()) << producer.status();
    return *std::move(producer);
  }
  KafkaDeadline Soon() { return KafkaDeadline(env_value_.clock, absl::Seconds(40)); }

  absl::Status Add(KafkaProducer& producer, const std::vector<Record>& records) {
    const KafkaDeadline deadline = Soon();
    if (absl::Status status = producer.Begin(deadline); !status.ok()) return status;
    for (const Record& record : records) {
      std::vector<KafkaHeader> headers;
      for (const auto& [name, value] : record.headers) headers.push_back({name, value});
      absl::Status status = producer.Add(0,
                                         {.partition = record.partition,
                                          .key = record.key,
                                          .value = record.value,
                                          .headers = headers},
                                         deadline);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  absl::Status Write(KafkaProducer& producer, const std::vector<Record>& records) {
    if (absl::Status status = Add(producer, records); !status.ok()) return status;
    return producer.Commit(Soon());
  }

  // Of any bytes and many sizes, none among them.
  std::vector<Record> AnyRecords(int count, int partitions) {
    const auto any = [&](size_t size_max) -> std::optional<std::string> {
      if (random_() % 10 == 0) return std::nullopt;
      std::string bytes(random_() % size_max, static_cast<char>('a' + random_() % 26));
      for (size_t at = 0; at < bytes.size(); at += 7) bytes[at] = static_cast<char>(random_());
      return bytes;
    };
    std::vector<Record> records;
    for (int i = 0; i < count; ++i) {
      Record record{
          .partition = static_cast<int32_t>(random_() % static_cast<uint64_t>(partitions)),
          .key = any(40),
          .value = any(random_() % 50 == 0 ? 100'000 : 200),
          .headers = {}};
      for (uint64_t n = random_() % 4 == 0 ? random_() % 4 : 0; n > 0; --n) {
        record.headers.emplace_back("name" + std::to_string(n), any(20));
      }
      records.push_back(std::move(record));
    }
    return records;
  }

  std::vector<std::string> ReadAll(const std::string& topic,
                                   const std::string& isolation = "read_committed") {
    const int64_t now_ms = absl::ToUnixMillis(env_value_.clock.Now());
    return ReadRecords(topic, isolation, [&](const rd_kafka_message_t& m) {
      const auto text = [](const void* bytes, size_t size) {
        return bytes == nullptr ? "-"
                                : "'" + std::string(static_cast<const char*>(bytes), size) + "'";
      };
      rd_kafka_timestamp_type_t type;
      const int64_t time_ms = rd_kafka_message_timestamp(&m, &type);
      EXPECT_EQ(type, RD_KAFKA_TIMESTAMP_CREATE_TIME);
      EXPECT_LE(time_ms, now_ms);
      EXPECT_GT(time_ms, now_ms - 100'000);
      std::string all =
          std::to_string(m.partition) + " " + text(m.key, m.key_len) + " " + text(m.payload, m.len);
      rd_kafka_headers_t* headers = nullptr;
      if (rd_kafka_message_headers(&m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char* name = nullptr;
        const void* value = nullptr;
        size_t size = 0;
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
                           RD_KAFKA_RESP_ERR_NO_ERROR;
             ++i) {
          all += std::string(" ") + name + "=" + text(value, size);
        }
      }
      return all;
    });
  }

  Env env_value_ = env_.env();
  absl::Notification stop_;
  std::vector<std::unique_ptr<KafkaSinkOptions>> options_;  // Outlive the producers.
  std::mt19937_64 random_{4711};
};

TEST_F(KafkaProduceTest, BothProducersWriteTheSame) {
  for (const char* codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
    SCOPED_TRACE(codec);
    const std::vector<Record> records = AnyRecords(5000, 3);
    std::vector<std::string> found[2];
    for (const bool native : {false, true}) {
      const std::string topic = CreateTopic(3);
      const auto producer = Make(native, topic, {{"compression.codec", codec}});
      ASSERT_TRUE(producer->Fence(Soon()).ok());
      absl::Status status = Write(*producer, records);
      ASSERT_TRUE(status.ok()) << status;
      // And the next transaction.
      status = Write(*producer, {records.begin(), records.begin() + 10});
      ASSERT_TRUE(status.ok()) << status;
      found[native] = ReadAll(topic);
    }
    ASSERT_THAT(found[0], SizeIs(5010));
    ASSERT_EQ(found[1].size(), found[0].size());
    for (size_t i = 0; i < found[0].size(); ++i) {
      ASSERT_TRUE(found[1][i] == found[0][i])
          << found[1][i].substr(0, 100) << " is not " << found[0][i].substr(0, 100);
    }
  }
}

TEST_F(KafkaProduceTest, ManySmallBatchesUnderWayKeepTheirOrder) {
  const std::string topic = CreateTopic(2);
  const auto producer = Make(true, topic, {{"batch.num.messages", "1"}});
  ASSERT_TRUE(producer->Fence(Soon()).ok());
  std::vector<Record> records;
  for (int i = 0; i < 2000; ++i) {
    records.push_back({.partition = i % 2, .key = {}, .value = std::to_string(i), .headers = {}});
  }
  const absl::Status status = Write(*producer, records);
  ASSERT_TRUE(status.ok()) << status;
  std::vector<std::string> expected;
  for (int partition = 0; partition < 2; ++partition) {
    for (int i = partition; i < 2000; i += 2) expected.push_back(std::to_string(i));
  }
  EXPECT_EQ(ReadTopic(topic), expected);
}

TEST_F(KafkaProduceTest, AbortedRecordsAreNotSeenAndTheNextTransactionIs) {
  const std::string topic = CreateTopic(1);
  const auto producer = Make(true, topic, {{"batch.num.messages", "1"}});
  ASSERT_TRUE(producer->Fence(Soon()).ok());
  ASSERT_TRUE(Write(*producer, {{.partition = 0, .value = "one"}}).ok());
  ASSERT_TRUE(Add(*producer, AnyRecords(20, 1)).ok());
  absl::Status status = producer->Abort(Soon());
  ASSERT_TRUE(status.ok()) << status;
  status = Write(*producer, {{.partition = 0, .value = "two"}});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(ReadTopic(topic), (std::vector<std::string>{"one", "two"}));
}

TEST_F(KafkaProduceTest, AZombieIsRefusedAtEachStep) {
  const std::string topic = CreateTopic(1);
  for (const std::string step : {"add", "commit", "abort"}) {
    SCOPED_TRACE(step);
    const std::string id = Unique("txn");
    const auto zombie = Make(true, topic, {}, id);
    ASSERT_TRUE(zombie->Fence(Soon()).ok());
    ASSERT_TRUE(Write(*zombie, {{.partition = 0, .value = step + " before"}}).ok());
    const auto owner = Make(true, topic, {}, id);
    if (step == "commit") {
      ASSERT_TRUE(Add(*zombie, {{.partition = 0, .value = "lost"}}).ok());
    }
    ASSERT_TRUE(owner->Fence(Soon()).ok());
    const absl::Status status = step == "abort"
                                    ? zombie->Abort(Soon())
                                    : Write(*zombie, {{.partition = 0, .value = "lost"}});
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    EXPECT_EQ(zombie->remedy(), TransactionRemedy::kFenced);
    const absl::Status written = Write(*owner, {{.partition = 0, .value = step + " after"}});
    ASSERT_TRUE(written.ok()) << written;
  }
  EXPECT_EQ(ReadTopic(topic),
            (std::vector<std::string>{"add before", "add after", "commit before", "commit after",
                                      "abort before", "abort after"}));
}

TEST_F(KafkaProduceTest, AuthenticatesAndSpeaksTls) {
  const char* sasl = std::getenv("MILLRACE_TEST_KAFKA_SASL");
  const char* tls = std::getenv("MILLRACE_TEST_KAFKA_TLS");
  const char* ca_file = std::getenv("MILLRACE_TEST_KAFKA_CA");
  if (sasl == nullptr || tls == nullptr || ca_file == nullptr) {
    GTEST_SKIP() << "needs MILLRACE_TEST_KAFKA_SASL, _TLS and _CA";
  }
  std::stringstream ca;
  ca << std::ifstream(ca_file).rdbuf();
  std::vector<std::map<std::string, std::string>> ways = {
      {{"brokers", tls}, {"security.protocol", "ssl"}, {"ssl.ca.pem", ca.str()}}};
  for (const char* mechanism : {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}) {
    ways.push_back({{"brokers", sasl},
                    {"security.protocol", "sasl_plaintext"},
                    {"sasl.mechanism", mechanism},
                    {"sasl.username", "millrace"},
                    {"sasl.password", "secret"}});
  }
  for (auto& properties : ways) {
    SCOPED_TRACE(properties["security.protocol"] + properties["sasl.mechanism"]);
    const std::string topic = CreateTopic(2);
    const auto producer = Make(true, topic, properties);
    absl::Status status = producer->Fence(Soon());
    ASSERT_TRUE(status.ok()) << status;
    // More than a socket takes at once.
    status = Write(*producer, AnyRecords(20'000, 2));
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(ReadTopic(topic), SizeIs(20'000));
  }
  ways.back()["sasl.password"] = "wrong";
  const auto producer = Make(true, CreateTopic(1), ways.back());
  const absl::Status status = producer->Fence(Soon());
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
  EXPECT_EQ(producer->remedy(), TransactionRemedy::kGiveUp);
}

}  // namespace
}  // namespace millrace
