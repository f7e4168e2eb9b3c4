// A producer against a broker that fails on purpose: the mock cluster of librdkafka, which answers
// when and with what the test says. A real broker does the same, in one of thirty new topics.
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <memory>
#include <string>

#include "operators/connectors/kafka/kafka_client.h"
#include "runtime/base/real_env.h"

namespace millrace {
namespace {

using MockCluster =
    std::unique_ptr<rd_kafka_mock_cluster_t, decltype(&rd_kafka_mock_cluster_destroy)>;

constexpr int kProduce = 0;  // ApiKey, Kafka protocol guide.
constexpr int kPatienceMs = 20'000;

// The broker refuses a producer's first records and, because it knows nothing of that producer yet,
// accepts those that were already on their way behind them. librdkafka takes that for a proof that
// the first ones were written, too (it calls them implicitly acknowledged): they are lost, and
// nothing says so.
TEST(KafkaProducerTest, RefusedRecordsAreNotLostBehindLaterOnes) {
  RealEnv env({.io_threads = 1});
  const KafkaClientOptions nowhere{.brokers = "127.0.0.1:1"};
  auto host = KafkaClient::Make(KafkaClient::Role::kProducer, nowhere, {});
  ASSERT_TRUE(host.ok()) << host.status();
  const MockCluster cluster(rd_kafka_mock_cluster_new((*host)->handle(), 1),
                            rd_kafka_mock_cluster_destroy);
  ASSERT_NE(cluster, nullptr);
  ASSERT_EQ(rd_kafka_mock_topic_create(cluster.get(), "new", 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
  // Long enough for the second request to leave before the first answer arrives.
  rd_kafka_mock_broker_set_rtt(cluster.get(), 1, 100);
  rd_kafka_mock_push_request_errors(cluster.get(), kProduce, 1,
                                    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);

  const KafkaClientOptions options{.brokers = rd_kafka_mock_cluster_bootstraps(cluster.get())};
  int failed = 0;
  auto producer = KafkaClient::Make(
      KafkaClient::Role::kProducer, options,
      {{"enable.idempotence", "true"}, {"linger.ms", "0"}, {"batch.num.messages", "1"}},
      [&failed](const rd_kafka_message_t&) { ++failed; });
  ASSERT_TRUE(producer.ok()) << producer.status();
  constexpr int kRecords = 3;
  const KafkaTopicHandle topic(rd_kafka_topic_new((*producer)->handle(), "new", nullptr));
  for (int i = 0; i < kRecords; ++i) {
    std::string value = std::to_string(i);
    ASSERT_EQ(rd_kafka_produce(topic.get(), 0, RD_KAFKA_MSG_F_COPY, value.data(), value.size(),
                               nullptr, 0, nullptr),
              0);
  }
  ASSERT_EQ(rd_kafka_flush((*producer)->handle(), kPatienceMs), RD_KAFKA_RESP_ERR_NO_ERROR);
  EXPECT_EQ(failed, 0);
  const KafkaDeadline deadline(env.env().clock, absl::Seconds(20));
  const auto range = (*producer)->OffsetRange({"new", 0}, deadline);
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_EQ(range->high - range->low, kRecords);
}

}  // namespace
}  // namespace millrace
