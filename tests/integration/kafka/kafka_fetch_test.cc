// What both ways to fetch bring of the same topics, byte for byte.
#include "operators/connectors/kafka/kafka_fetch.h"

#include <fstream>
#include <random>
#include <sstream>

#include "kafka_fixture.h"
#include "operators/connectors/kafka/native/native_fetch.h"
#include "operators/connectors/kafka/rdkafka_fetch.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

class KafkaFetchTest : public KafkaTest {
 protected:
  using Texts = std::map<int32_t, std::vector<std::string>>;  // By partition.

  FetchSettings Settings() const { return *MakeFetchSettings(ClientOptions()); }

  // Every record from `begin` to the end of the log as it is now.
  Texts ReadAll(KafkaFetch& fetch, const std::string& topic, int64_t begin = 0,
                size_t records_max = 1000) {
    const KafkaDeadline deadline(env_value_.clock, absl::Seconds(60));
    auto asker = KafkaClient::Make(KafkaClient::Role::kConsumer, ClientOptions(),
                                   {{"isolation.level", "read_uncommitted"}});
    const int32_t partitions = *(*asker)->PartitionCount(topic, deadline);
    std::vector<KafkaFetch::Split> splits;
    std::vector<int64_t> ends;
    Texts texts;
    for (int32_t p = 0; p < partitions; ++p) {
      const KafkaOffsetRange range = *(*asker)->OffsetRange({topic, p}, deadline);
      splits.push_back({static_cast<uint32_t>(p), {topic, p}, std::max(range.low, begin)});
      ends.push_back(range.high);
      texts[p];
    }
    size_t reading = splits.size();
    for (const KafkaFetch::Split& split : splits) reading -= split.offset >= ends[split.index];
    EXPECT_TRUE(fetch.Add(splits).ok());
    KafkaArrivals arrivals;
    std::vector<int64_t> next(splits.size(), begin);
    while (reading > 0 && !deadline.passed()) {
      arrivals.Clear();
      const absl::Status status = fetch.Poll(records_max, arrivals);
      EXPECT_TRUE(status.ok()) << status;
      if (!status.ok() || HasFatalFailure()) break;
      for (const KafkaFault& fault : arrivals.faults) ADD_FAILURE() << fault.code << fault.detail;
      for (const KafkaRun& run : arrivals.runs) {
        for (const KafkaRecord& record : run.records) {
          EXPECT_GE(record.offset, next[run.split]);
          next[run.split] = record.offset + 1;
          texts[static_cast<int32_t>(run.split)].push_back(TextOf(record));
        }
        EXPECT_GE(run.next_offset, next[run.split]);
        next[run.split] = run.next_offset;
        if (ends[run.split] >= 0 && run.next_offset >= ends[run.split]) {
          ends[run.split] = -1;
          --reading;
        }
      }
      if (arrivals.empty()) producer_->Poll(1);
    }
    EXPECT_EQ(reading, 0u) << "not read to the end";
    return texts;
  }
  Texts ReadNative(const std::string& topic, FetchSettings settings, int64_t begin = 0,
                   size_t records_max = 1000) {
    NativeFetch fetch(std::move(settings), env_value_, "test");
    return ReadAll(fetch, topic, begin, records_max);
  }
  Texts ReadLibrdkafka(const std::string& topic, int64_t begin = 0) {
    KafkaProperties settings = RdkafkaFetchSettings(ClientOptions());
    settings.emplace("group.id", "reader");
    settings.emplace("isolation.level", "read_committed");
    auto client = KafkaClient::Make(KafkaClient::Role::kConsumer, ClientOptions(), settings);
    EXPECT_TRUE(client.ok()) << client.status();
    RdkafkaFetch fetch(**client, "test", nullptr);
    return ReadAll(fetch, topic, begin);
  }
  static std::string TextOf(const KafkaRecord& record) {
    return std::to_string(record.offset) + "@" + std::to_string(record.timestamp_ms) + " " +
           (record.has_key ? "'" + std::string(record.key) + "'" : "-") + " " +
           (record.has_value ? "'" + std::string(record.value) + "'" : "-");
  }
  static size_t CountOf(const Texts& texts) {
    size_t count = 0;
    for (const auto& [partition, more] : texts) count += more.size();
    return count;
  }
  // Equal, without a flood of bytes when they are not.
  static void ExpectSame(const Texts& native, const Texts& librdkafka) {
    ASSERT_EQ(native.size(), librdkafka.size());
    for (const auto& [partition, texts] : native) {
      const auto& others = librdkafka.at(partition);
      EXPECT_EQ(texts.size(), others.size()) << "partition " << partition;
      for (size_t i = 0; i < std::min(texts.size(), others.size()); ++i) {
        ASSERT_TRUE(texts[i] == others[i])
            << texts[i].substr(0, 100) << " is not " << others[i].substr(0, 100);
      }
    }
  }

  // Keys and values of any bytes and many sizes, none among them.
  std::vector<Sent> AnyRecords(int count, int partitions, size_t bytes_max = 3000) {
    std::vector<Sent> sent;
    for (int i = 0; i < count; ++i) {
      const size_t size = random_() % (random_() % 10 == 0 ? bytes_max : 100);
      std::string value(size, static_cast<char>('a' + random_() % 26));
      for (size_t at = 0; at < size; at += 7) value[at] = static_cast<char>(random_());
      if (random_() % 20 == 0) value = "<null>";
      const std::string key = random_() % 3 == 0 ? "" : "key " + std::to_string(random_() % 50);
      sent.push_back({value, static_cast<int32_t>(random_() % static_cast<uint64_t>(partitions)),
                      key, 1'700'000'000'000 + static_cast<int64_t>(random_() % 100'000)});
    }
    return sent;
  }
  void ProduceAs(const KafkaProperties& settings, const std::string& topic,
                 const std::vector<Sent>& sent) {
    KafkaProperties all = settings;
    all.emplace("linger.ms", "5");
    auto client = KafkaClient::Make(KafkaClient::Role::kProducer, ClientOptions(), all);
    ASSERT_TRUE(client.ok()) << client.status();
    ProduceWith((*client)->handle(), topic, sent);
  }

  Env env_value_ = env_.env();
  std::mt19937_64 random_{4711};
};

TEST_F(KafkaFetchTest, RecordsOfEachCodec) {
  for (const char* codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
    SCOPED_TRACE(codec);
    const std::string topic = CreateTopic(3);
    ProduceAs({{"compression.codec", codec}}, topic, AnyRecords(5000, 3));
    // And batches of one record each.
    ProduceAs({{"compression.codec", codec}, {"batch.num.messages", "1"}}, topic,
              AnyRecords(50, 3));
    const Texts native = ReadNative(topic, Settings());
    EXPECT_EQ(CountOf(native), 5050u);
    ExpectSame(native, ReadLibrdkafka(topic));
    ExpectSame(ReadNative(topic, Settings(), 100, 7), ReadLibrdkafka(topic, 100));
  }
}

TEST_F(KafkaFetchTest, EachVersionOfTheProtocol) {
  const std::string topic = CreateTopic(3);
  ProduceAs({{"compression.codec", "lz4"}}, topic, AnyRecords(1000, 3));
  ProduceTransaction(topic, AnyRecords(100, 3), /*commit=*/false);
  const Texts expected = ReadLibrdkafka(topic);
  for (int16_t version = kFetchVersions.low; version <= kFetchVersions.high; ++version) {
    SCOPED_TRACE(version);
    FetchSettings settings = Settings();
    settings.fetch_versions = {version, version};
    ExpectSame(ReadNative(topic, std::move(settings)), expected);
  }
}

TEST_F(KafkaFetchTest, TransactionsSomeOfThemAborted) {
  const std::string topic = CreateTopic(2);
  for (int round = 0; round < 10; ++round) {
    // Two at a time, whose batches lie among each other.
    std::vector<std::unique_ptr<KafkaClient>> clients;
    for (int i = 0; i < 2; ++i) {
      auto client = KafkaClient::Make(
          KafkaClient::Role::kProducer, ClientOptions(),
          {{"transactional.id", Unique("txn")}, {"compression.codec", i == 0 ? "none" : "zstd"}});
      ASSERT_TRUE(client.ok());
      ASSERT_EQ(rd_kafka_init_transactions((*client)->handle(), 20'000), nullptr);
      ASSERT_EQ(rd_kafka_begin_transaction((*client)->handle()), nullptr);
      clients.push_back(*std::move(client));
    }
    for (int batch = 0; batch < 3; ++batch) {
      for (const auto& client : clients) {
        ProduceWith(client->handle(), topic, AnyRecords(20, 2, 500));
      }
      Produce(topic, AnyRecords(3, 2));
    }
    for (const auto& client : clients) {
      const bool commit = random_() % 2 == 0;
      ASSERT_EQ(commit ? rd_kafka_commit_transaction(client->handle(), 20'000)
                       : rd_kafka_abort_transaction(client->handle(), 20'000),
                nullptr);
    }
  }
  const Texts native = ReadNative(topic, Settings());
  EXPECT_GT(CountOf(native), 90u);
  EXPECT_LT(CountOf(native), 1290u);
  ExpectSame(native, ReadLibrdkafka(topic));
  // Answers so small that transactions begin and end in different ones.
  FetchSettings small = Settings();
  small.partition_bytes_max = 500;
  ExpectSame(ReadNative(topic, std::move(small)), native);
}

TEST_F(KafkaFetchTest, ACompactedTopic) {
  const std::string topic = CreateTopic(1, {{"cleanup.policy", "compact"},
                                            {"segment.bytes", "1048576"},
                                            {"min.cleanable.dirty.ratio", "0.01"},
                                            {"delete.retention.ms", "1"}});
  std::vector<Sent> sent = AnyRecords(2000, 1, 200);
  for (Sent& one : sent) {
    one.key = "key " + std::to_string(random_() % 50);
    if (one.value != "<null>") one.value.resize(2000, 'x');  // Several segments.
  }
  Produce(topic, sent);
  const KafkaDeadline deadline(env_value_.clock, absl::Seconds(90));
  Texts native;
  do {
    native = ReadNative(topic, Settings());
  } while (CountOf(native) > 1500 && !deadline.passed());
  EXPECT_LT(CountOf(native), 1500u) << "the broker did not compact it";
  // It may be compacted once more between the two.
  Texts others = ReadLibrdkafka(topic);
  while (others != native && !deadline.passed()) {
    native = ReadNative(topic, Settings());
    others = ReadLibrdkafka(topic);
  }
  ExpectSame(native, others);
}

TEST_F(KafkaFetchTest, RecordsLargerThanAFetch) {
  const std::string topic = CreateTopic(4);
  std::vector<Sent> sent;
  for (int i = 0; i < 20; ++i) {
    sent.push_back({std::string(900'000, static_cast<char>('a' + i)), i % 4});
    sent.push_back({"small", i % 4});
  }
  Produce(topic, sent);
  FetchSettings tiny = Settings();
  tiny.bytes_max = tiny.partition_bytes_max = 1000;
  const Texts native = ReadNative(topic, std::move(tiny));
  EXPECT_EQ(CountOf(native), 40u);
  ExpectSame(native, ReadNative(topic, Settings()));
  ExpectSame(native, ReadLibrdkafka(topic));
}

TEST_F(KafkaFetchTest, AnEmptyTopicAndOneWhoseRecordsAreDeleted) {
  EXPECT_EQ(CountOf(ReadNative(CreateTopic(3), Settings())), 0u);
  const std::string topic = CreateTopic(1);
  Produce(topic, AnyRecords(100, 1));
  DeleteRecordsBefore(topic, 0, 60);
  const Texts native = ReadNative(topic, Settings());
  EXPECT_EQ(CountOf(native), 40u);
  ExpectSame(native, ReadLibrdkafka(topic));
}

class KafkaSecurityTest : public KafkaFetchTest {
 protected:
  void SetUp() override {
    KafkaFetchTest::SetUp();
    if (IsSkipped()) return;
    const char* sasl = std::getenv("MILLRACE_TEST_KAFKA_SASL");
    const char* tls = std::getenv("MILLRACE_TEST_KAFKA_TLS");
    const char* ca = std::getenv("MILLRACE_TEST_KAFKA_CA");
    if (sasl == nullptr || tls == nullptr || ca == nullptr) {
      GTEST_SKIP()
          << "the broker has no listeners with SASL and TLS: dev/services down kafka --wipe";
    }
    sasl_ = sasl;
    tls_ = tls;
    std::stringstream text;
    text << std::ifstream(ca).rdbuf();
    ca_ = text.str();
    topic_ = CreateTopic(2);
    Produce(topic_, AnyRecords(500, 2));
  }
  absl::StatusOr<FetchSettings> SettingsWith(const std::string& brokers,
                                             const std::map<std::string, std::string>& properties) {
    KafkaClientOptions options{.brokers = brokers, .properties = {}};
    for (const auto& [name, value] : properties) options.properties.emplace(name, Secret(value));
    return MakeFetchSettings(options);
  }
  // The first error, or kDeadlineExceeded where there was none for a second.
  absl::Status ErrorOf(FetchSettings settings) {
    NativeFetch fetch(std::move(settings), env_value_, "test");
    EXPECT_TRUE(fetch.Add({{0, {topic_, 0}, 0}}).ok());
    const KafkaDeadline deadline(env_value_.clock, absl::Seconds(1));
    while (!deadline.passed()) {
      KafkaArrivals arrivals;
      if (absl::Status status = fetch.Poll(1000, arrivals); !status.ok()) return status;
      EXPECT_TRUE(arrivals.runs.empty()) << "came though it may not";
      producer_->Poll(10);
    }
    return absl::DeadlineExceededError("no error");
  }
  std::string sasl_, tls_, ca_, topic_;
};

TEST_F(KafkaSecurityTest, AuthenticatesByEachMechanism) {
  for (const char* mechanism : {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}) {
    SCOPED_TRACE(mechanism);
    const auto with_password = [&](const char* password) {
      return *SettingsWith(sasl_, {{"security.protocol", "sasl_plaintext"},
                                   {"sasl.mechanism", mechanism},
                                   {"sasl.username", "millrace"},
                                   {"sasl.password", password}});
    };
    EXPECT_EQ(CountOf(ReadNative(topic_, with_password("secret"))), 500u);
    const absl::Status refused = ErrorOf(with_password("wrong"));
    EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("user=millrace"));
  }
}

TEST_F(KafkaSecurityTest, SpeaksTlsWithABrokerWhoseCertificateItKnows) {
  EXPECT_EQ(CountOf(ReadNative(
                topic_, *SettingsWith(tls_, {{"security.protocol", "ssl"}, {"ssl.ca.pem", ca_}}))),
            500u);
  EXPECT_EQ(CountOf(ReadNative(
                topic_, *SettingsWith(tls_, {{"security.protocol", "ssl"},
                                             {"enable.ssl.certificate.verification", "false"}}))),
            500u);
  // Not one of the system's CAs: tried again, as a broker that is away, and nothing comes.
  EXPECT_EQ(ErrorOf(*SettingsWith(tls_, {{"security.protocol", "ssl"}})).code(),
            absl::StatusCode::kDeadlineExceeded);
  // The certificate is for 127.0.0.1 only.
  const std::string by_name = "localhost" + tls_.substr(tls_.find(':'));
  EXPECT_EQ(
      ErrorOf(*SettingsWith(by_name, {{"security.protocol", "ssl"}, {"ssl.ca.pem", ca_}})).code(),
      absl::StatusCode::kDeadlineExceeded);
}

class NativeFetchTest : public KafkaFetchTest {
 protected:
  // Polls until `done`, a fault or an error; what came is in arrivals_.
  absl::Status PollUntil(NativeFetch& fetch, const std::function<bool()>& done) {
    const KafkaDeadline deadline(env_value_.clock, absl::Seconds(30));
    while (!deadline.passed()) {
      arrivals_.Clear();
      if (absl::Status status = fetch.Poll(1000, arrivals_); !status.ok()) return status;
      if (done() || !arrivals_.faults.empty()) return absl::OkStatus();
      producer_->Poll(1);
    }
    return absl::DeadlineExceededError("nothing happened");
  }
  void DeleteTopic(const std::string& topic) {
    rd_kafka_DeleteTopic_t* request = rd_kafka_DeleteTopic_new(topic.c_str());
    const KafkaQueueHandle queue(rd_kafka_queue_new(producer_->handle()));
    rd_kafka_DeleteTopics(producer_->handle(), &request, 1, nullptr, queue.get());
    const KafkaEventHandle event(rd_kafka_queue_poll(queue.get(), 20'000));
    rd_kafka_DeleteTopic_destroy(request);
    ASSERT_TRUE(event != nullptr && rd_kafka_event_error(event.get()) == 0);
  }
  KafkaArrivals arrivals_;
};

TEST_F(NativeFetchTest, APositionThatIsNotInTheLogIsAFault) {
  const std::string topic = CreateTopic(1);
  Produce(topic, AnyRecords(10, 1));
  NativeFetch fetch(Settings(), env_value_, "test");
  ASSERT_TRUE(fetch.Add({{0, {topic, 0}, 50}}).ok());
  ASSERT_TRUE(PollUntil(fetch, [] { return false; }).ok());
  ASSERT_THAT(arrivals_.faults, SizeIs(1));
  EXPECT_EQ(arrivals_.faults[0].code, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE);
}

TEST_F(NativeFetchTest, ATopicThatIsCreatedAnewWhileItIsReadIsDataLoss) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"former"}});
  NativeFetch fetch(Settings(), env_value_, "test");
  ASSERT_TRUE(fetch.Add({{0, {topic, 0}, 0}}).ok());
  ASSERT_TRUE(PollUntil(fetch, [this] { return !arrivals_.runs.empty(); }).ok());
  DeleteTopic(topic);
  CreateTopicNamed(topic, 1, {});
  Produce(topic, {{"later 1"}, {"later 2"}});
  const absl::Status status = PollUntil(fetch, [this] { return !arrivals_.runs.empty(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("created anew"));
}

TEST_F(NativeFetchTest, ATopicThatWasCreatedAnewSinceThePositionWasTakenIsDataLoss) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"former"}});
  KafkaTopicId id{};
  {
    NativeFetch fetch(Settings(), env_value_, "test");
    ASSERT_TRUE(fetch.Add({{0, {topic, 0}, 0}}).ok());
    ASSERT_TRUE(PollUntil(fetch, [this] { return !arrivals_.runs.empty(); }).ok());
    id = fetch.TopicId(0);
    EXPECT_NE(id, KafkaTopicId{});
  }
  {
    NativeFetch fetch(Settings(), env_value_, "test");
    ASSERT_TRUE(fetch.Add({{0, {topic, 0}, 0, id}}).ok());
    ASSERT_TRUE(PollUntil(fetch, [this] { return !arrivals_.runs.empty(); }).ok());
  }
  DeleteTopic(topic);
  CreateTopicNamed(topic, 1, {});
  Produce(topic, {{"later 1"}, {"later 2"}});  // The position is there, and means another record.
  NativeFetch fetch(Settings(), env_value_, "test");
  ASSERT_TRUE(fetch.Add({{0, {topic, 0}, 1, id}}).ok());
  const absl::Status status = PollUntil(fetch, [this] { return !arrivals_.runs.empty(); });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("created anew"));
}

TEST_F(NativeFetchTest, ATopicThatIsGoneIsAFaultAfterAMoment) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"former"}});
  NativeFetch fetch(Settings(), env_value_, "test");
  ASSERT_TRUE(fetch.Add({{0, {topic, 0}, 0}}).ok());
  ASSERT_TRUE(PollUntil(fetch, [this] { return !arrivals_.runs.empty(); }).ok());
  DeleteTopic(topic);
  ASSERT_TRUE(PollUntil(fetch, [] { return false; }).ok());
  ASSERT_THAT(arrivals_.faults, SizeIs(1));
  EXPECT_EQ(arrivals_.faults[0].code, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
}

TEST_F(NativeFetchTest, BrokersThatDoNotAnswerAreNoError) {
  FetchSettings settings = Settings();
  // Nobody listens there; the second one is real.
  settings.brokers.insert(settings.brokers.begin(), "127.0.0.1:1");
  settings.reconnect_backoff = absl::Milliseconds(10);
  const std::string topic = CreateTopic(1);
  Produce(topic, AnyRecords(10, 1));
  EXPECT_EQ(CountOf(ReadNative(topic, std::move(settings))), 10u);
}

}  // namespace
}  // namespace millrace
