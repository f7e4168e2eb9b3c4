// What the tests against a real broker share. The broker is named by MILLRACE_TEST_KAFKA
// (host:port); topics, jobs and groups of each test are its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "operators/connectors/kafka/kafka_client.h"
#include "runtime/base/real_env.h"
#include "runtime/columns/batch.h"
#include "runtime/task/counters.h"
#include "tests/unit/connectors/connector_harness.h"

namespace millrace {

class KafkaTest : public testing::Test {
 protected:
  struct Sent {
    std::string value;
    int32_t partition = 0;
    std::string key;
    int64_t timestamp_ms = 0;
  };

  void SetUp() override {
    const char* brokers = std::getenv("MILLRACE_TEST_KAFKA");
    if (brokers == nullptr || *brokers == '\0') {
      GTEST_SKIP() << "needs a broker: MILLRACE_TEST_KAFKA=host:port";
    }
    brokers_ = brokers;
    // Idempotent: a retry to a new topic's leader must not change the order.
    auto producer = KafkaClient::Make(
        KafkaClient::Role::kProducer, ClientOptions(),
        {{"linger.ms", "0"}, {"enable.idempotence", "true"}}, [](const rd_kafka_message_t& lost) {
          ADD_FAILURE() << "not delivered: " << rd_kafka_err2str(lost.err);
        });
    ASSERT_TRUE(producer.ok()) << producer.status();
    producer_ = *std::move(producer);
  }

  KafkaClientOptions ClientOptions() const { return {.brokers = brokers_}; }

  // A name that no other test and no other run has.
  static std::string Unique(const std::string& what) {
    static int number = 0;
    return what + "-" + std::to_string(getpid()) + "-" + std::to_string(time(nullptr)) + "-" +
           std::to_string(++number);
  }

  std::string CreateTopic(int partitions, const std::map<std::string, std::string>& config = {}) {
    const std::string name = Unique("test");
    CreateTopicNamed(name, partitions, config);
    return name;
  }
  void CreateTopicNamed(const std::string& name, int partitions,
                        const std::map<std::string, std::string>& config) {
    char error[256];
    rd_kafka_NewTopic_t* topic =
        rd_kafka_NewTopic_new(name.c_str(), partitions, 1, error, sizeof(error));
    for (const auto& [key, value] : config) {
      rd_kafka_NewTopic_set_config(topic, key.c_str(), value.c_str());
    }
    const KafkaQueueHandle queue(rd_kafka_queue_new(producer_->handle()));
    rd_kafka_CreateTopics(producer_->handle(), &topic, 1, nullptr, queue.get());
    const KafkaEventHandle event(rd_kafka_queue_poll(queue.get(), 20'000));
    rd_kafka_NewTopic_destroy(topic);
    EXPECT_TRUE(event != nullptr && rd_kafka_event_error(event.get()) == 0);
    const KafkaDeadline deadline(env_.env().clock, absl::Seconds(10));
    EXPECT_TRUE(producer_->PartitionCount(name, deadline).ok());
  }

  void AddPartitions(const std::string& topic, int total) {
    char error[256];
    rd_kafka_NewPartitions_t* more =
        rd_kafka_NewPartitions_new(topic.c_str(), total, error, sizeof(error));
    const KafkaQueueHandle queue(rd_kafka_queue_new(producer_->handle()));
    rd_kafka_CreatePartitions(producer_->handle(), &more, 1, nullptr, queue.get());
    const KafkaEventHandle event(rd_kafka_queue_poll(queue.get(), 20'000));
    rd_kafka_NewPartitions_destroy(more);
    ASSERT_TRUE(event != nullptr && rd_kafka_event_error(event.get()) == 0);
    const KafkaDeadline deadline(env_.env().clock, absl::Seconds(10));
    while (!deadline.passed()) {
      const auto count = producer_->PartitionCount(topic, deadline);
      if (count.ok() && *count == total) return;
      producer_->Poll(10);
    }
    FAIL() << "the new partitions did not appear";
  }

  void DeleteRecordsBefore(const std::string& topic, int32_t partition, int64_t offset) {
    const KafkaListHandle list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition)->offset = offset;
    rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(list.get());
    const KafkaQueueHandle queue(rd_kafka_queue_new(producer_->handle()));
    rd_kafka_DeleteRecords(producer_->handle(), &request, 1, nullptr, queue.get());
    const KafkaEventHandle event(rd_kafka_queue_poll(queue.get(), 20'000));
    rd_kafka_DeleteRecords_destroy(request);
    ASSERT_TRUE(event != nullptr && rd_kafka_event_error(event.get()) == 0);
  }

  static void ProduceWith(rd_kafka_t* rk, const std::string& topic, const std::vector<Sent>& sent) {
    const KafkaTopicHandle handle(rd_kafka_topic_new(rk, topic.c_str(), nullptr));
    for (const Sent& s : sent) {
      // "<null>" stands for a tombstone.
      const bool null = s.value == "<null>";
      const rd_kafka_vu_t vus[] = {
          {.vtype = RD_KAFKA_VTYPE_RKT, .u = {.rkt = handle.get()}},
          {.vtype = RD_KAFKA_VTYPE_PARTITION, .u = {.i32 = s.partition}},
          {.vtype = RD_KAFKA_VTYPE_VALUE,
           .u = {.mem = {null ? nullptr : const_cast<char*>(s.value.data()),
                         null ? 0 : s.value.size()}}},
          {.vtype = RD_KAFKA_VTYPE_KEY,
           .u = {.mem = {s.key.empty() ? nullptr : const_cast<char*>(s.key.data()), s.key.size()}}},
          {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u = {.i64 = s.timestamp_ms}},
          {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u = {.i = RD_KAFKA_MSG_F_COPY}},
      };
      const KafkaErrorHandle error(rd_kafka_produceva(rk, vus, std::size(vus)));
      ASSERT_EQ(error, nullptr) << rd_kafka_error_string(error.get());
    }
    ASSERT_EQ(rd_kafka_flush(rk, 20'000), RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  void Produce(const std::string& topic, const std::vector<Sent>& sent) {
    ProduceWith(producer_->handle(), topic, sent);
  }
  void ProduceTransaction(const std::string& topic, const std::vector<Sent>& sent, bool commit) {
    auto client = KafkaClient::Make(KafkaClient::Role::kProducer, ClientOptions(),
                                    {{"transactional.id", Unique("txn")}});
    ASSERT_TRUE(client.ok());
    rd_kafka_t* rk = (*client)->handle();
    ASSERT_EQ(rd_kafka_init_transactions(rk, 20'000), nullptr);
    ASSERT_EQ(rd_kafka_begin_transaction(rk), nullptr);
    ProduceWith(rk, topic, sent);
    ASSERT_EQ(
        commit ? rd_kafka_commit_transaction(rk, 20'000) : rd_kafka_abort_transaction(rk, 20'000),
        nullptr);
  }

  // All values of a topic as a reader sees them, per partition in order; "<null>" for none.
  std::vector<std::string> ReadTopic(const std::string& topic,
                                     const std::string& isolation = "read_committed") {
    return ReadRecords(topic, isolation, [](const rd_kafka_message_t& m) { return ValueOf(m); });
  }
  // "key=value" of each.
  std::vector<std::string> ReadTopicWithKeys(const std::string& topic) {
    return ReadRecords(topic, "read_committed", [](const rd_kafka_message_t& m) {
      return std::string(static_cast<char*>(m.key), m.key_len) + "=" + ValueOf(m);
    });
  }

  static std::string ValueOf(const rd_kafka_message_t& message) {
    return message.payload == nullptr
               ? "<null>"
               : std::string(static_cast<char*>(message.payload), message.len);
  }
  std::vector<std::string> ReadRecords(
      const std::string& topic, const std::string& isolation,
      const std::function<std::string(const rd_kafka_message_t&)>& text) {
    std::vector<std::string> values;
    auto client = KafkaClient::Make(KafkaClient::Role::kConsumer, ClientOptions(),
                                    {{"group.id", "reader"},
                                     {"isolation.level", isolation},
                                     {"enable.partition.eof", "true"},
                                     {"fetch.wait.max.ms", "10"},
                                     {"auto.offset.reset", "error"}});
    EXPECT_TRUE(client.ok()) << client.status();
    // To the end of the log, not of what is committed so far: the broker writes the markers of a
    // transaction after it has answered the producer.
    auto asker = KafkaClient::Make(KafkaClient::Role::kConsumer, ClientOptions(),
                                   {{"isolation.level", "read_uncommitted"}});
    EXPECT_TRUE(asker.ok()) << asker.status();
    const KafkaDeadline deadline(env_.env().clock, absl::Seconds(40));
    const auto count = (*client)->PartitionCount(topic, deadline);
    EXPECT_TRUE(count.ok()) << count.status();
    rd_kafka_poll_set_consumer((*client)->handle());
    const KafkaListHandle list(rd_kafka_topic_partition_list_new(*count));
    std::map<int32_t, int64_t> ends;
    for (int32_t p = 0; p < *count; ++p) {
      const auto range = (*asker)->OffsetRange({topic, p}, deadline);
      EXPECT_TRUE(range.ok()) << range.status();
      if (range->low == range->high) continue;
      ends[p] = range->high;
      rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), p)->offset = range->low;
    }
    std::map<int32_t, std::vector<std::string>> by_partition;
    rd_kafka_assign((*client)->handle(), list.get());
    while (!ends.empty() && !deadline.passed()) {
      rd_kafka_message_t* message = rd_kafka_consumer_poll((*client)->handle(), 100);
      if (message == nullptr) continue;
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        by_partition[message->partition].push_back(text(*message));
      } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF &&
                 message->offset >= ends[message->partition]) {
        ends.erase(message->partition);
      }
      rd_kafka_message_destroy(message);
    }
    EXPECT_TRUE(ends.empty()) << "the topic was not read to its end: an open transaction?";
    for (auto& [partition, more] : by_partition) {
      values.insert(values.end(), more.begin(), more.end());
    }
    return values;
  }

  RealEnv env_{RealEnvOptions{}};
  std::string brokers_;
  std::unique_ptr<KafkaClient> producer_;
};

}  // namespace millrace
