// The native producer against a broker that fails on purpose.
#include "operators/connectors/kafka/native/native_producer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/real_env.h"
#include "tests/unit/connectors/kafka/fake_broker.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;
using Fault = FakeBroker::Fault;

constexpr KafkaApi kEachApi[] = {KafkaApi::kMetadata,       KafkaApi::kFindCoordinator,
                                 KafkaApi::kInitProducerId, KafkaApi::kAddPartitionsToTxn,
                                 KafkaApi::kProduce,        KafkaApi::kEndTxn};

class NativeProducerTest : public testing::Test {
 protected:
  std::unique_ptr<NativeProducer> Make(const FakeBroker& broker,
                                       std::map<std::string, std::string> properties = {}) {
    KafkaClientOptions options{.brokers = broker.address(), .properties = {}};
    properties.emplace("retry.backoff.ms", "1");
    properties.emplace("reconnect.backoff.ms", "1");
    for (const auto& [name, value] : properties) options.properties.emplace(name, Secret(value));
    return std::make_unique<NativeProducer>(*MakeProduceSettings(options), env_, "id",
                                            std::vector<std::string>{"a", "b"}, stop_);
  }
  KafkaDeadline Soon() { return KafkaDeadline(env_.clock, absl::Seconds(20)); }

  // One transaction of some records in several batches each.
  static constexpr int kRecords = 12;
  absl::Status Produce(NativeProducer& producer, const std::string& name) {
    const KafkaDeadline deadline = Soon();
    for (int i = 0; i < kRecords; ++i) {
      const std::string value = name + std::to_string(i);
      absl::Status status =
          producer.Add(i % 2 == 0 ? 0 : 1, {.partition = i % 3, .value = value}, deadline);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  absl::Status Transact(NativeProducer& producer, const std::string& name) {
    const KafkaDeadline deadline = Soon();
    if (absl::Status status = producer.Begin(deadline); !status.ok()) return status;
    if (absl::Status status = Produce(producer, name); !status.ok()) return status;
    return producer.Commit(deadline);
  }
  static std::vector<std::string> ValuesOf(const std::string& name) {
    std::vector<std::string> values;
    for (int i = 0; i < kRecords; ++i) {
      values.push_back(std::string(i % 2 == 0 ? "a" : "b") + "/" + std::to_string(i % 3) + " " +
                       name + std::to_string(i));
    }
    return values;
  }
  static void ExpectOnceAndInOrder(FakeBroker& broker, const std::vector<std::string>& names) {
    std::vector<std::string> expected;
    for (const std::string& name : names) {
      for (const std::string& value : ValuesOf(name)) expected.push_back(value);
    }
    const std::vector<std::string> committed = broker.Committed();
    EXPECT_THAT(committed, UnorderedElementsAreArray(expected));
    for (const std::string place : {"a/0", "b/1", "a/2", "b/0", "a/1", "b/2"}) {
      const auto of = [&](const std::vector<std::string>& all) {
        std::vector<std::string> some;
        for (const std::string& one : all) {
          if (one.starts_with(place)) some.push_back(one);
        }
        return some;
      };
      EXPECT_EQ(of(committed), of(expected)) << place;
    }
  }

  RealEnv real_{RealEnvOptions{.io_threads = 1}};
  Env env_ = real_.env();
  absl::Notification stop_;
};

TEST_F(NativeProducerTest, CommitsInOrderWithManySmallBatches) {
  FakeBroker broker;
  const auto producer = Make(broker, {{"batch.num.messages", "1"}});
  ASSERT_TRUE(producer->Fence(Soon()).ok());
  for (const char* name : {"one ", "two ", "three "}) {
    const absl::Status status = Transact(*producer, name);
    ASSERT_TRUE(status.ok()) << status;
  }
  ExpectOnceAndInOrder(broker, {"one ", "two ", "three "});
  EXPECT_EQ(broker.Requests(KafkaApi::kInitProducerId), 1);
}

// What another request, or another place, would repair is repaired, and nothing is written twice.
// The leader takes any first sequence (see kafka_producer_test.cc): a batch that was sent behind a
// refused one would be that.
TEST_F(NativeProducerTest, ErrorsThatPassAreTriedAgain) {
  const std::map<KafkaApi, std::vector<int16_t>> passing = {
      {KafkaApi::kMetadata, {3, 5, 6}},
      {KafkaApi::kFindCoordinator, {7, 14, 15, 16}},
      {KafkaApi::kInitProducerId, {7, 14, 15, 16, 51}},
      {KafkaApi::kAddPartitionsToTxn, {3, 7, 14, 15, 16, 51, 55}},
      {KafkaApi::kProduce, {2, 3, 5, 6, 7, 13, 19, 20, 51, 56, 74, 75, 89}},
      {KafkaApi::kEndTxn, {7, 14, 15, 16, 51}},
  };
  for (const auto& [api, errors] : passing) {
    for (const int16_t error : errors) {
      for (const bool done_anyway : {false, true}) {
        if (done_anyway && error != 7 && error != 13 && error != 20) continue;
        SCOPED_TRACE(testing::Message() << "api " << static_cast<int>(api) << " error " << error
                                        << (done_anyway ? " although it was done" : ""));
        FakeBroker broker;
        // Twice in a row.
        broker.Script(api, {.error = error, .done_anyway = done_anyway});
        broker.Script(api, {.error = error, .done_anyway = done_anyway});
        const auto producer = Make(broker, {{"batch.num.messages", "1"}});
        absl::Status status = producer->Fence(Soon());
        ASSERT_TRUE(status.ok()) << status;
        for (const char* name : {"one ", "two "}) {
          status = Transact(*producer, name);
          ASSERT_TRUE(status.ok()) << status;
        }
        EXPECT_TRUE(broker.ScriptDone());
        ExpectOnceAndInOrder(broker, {"one ", "two "});
      }
    }
  }
}

// What fails for certain says so, with what to do, and leaves nothing to be seen.
TEST_F(NativeProducerTest, OtherErrorsFailWithTheirRemedy) {
  using enum TransactionRemedy;
  const struct {
    KafkaApi api;
    TransactionRemedy remedy;
    std::vector<int16_t> errors;
  } cases[] = {
      {KafkaApi::kMetadata, kGiveUp, {17, 29}},
      {KafkaApi::kFindCoordinator, kGiveUp, {35, 53}},
      {KafkaApi::kFindCoordinator, kNewProducer, {-1}},
      {KafkaApi::kInitProducerId, kGiveUp, {31, 42, 50, 53}},
      {KafkaApi::kInitProducerId, kFenced, {47, 90}},
      {KafkaApi::kInitProducerId, kNewProducer, {-1, 48, 49}},
      {KafkaApi::kAddPartitionsToTxn, kGiveUp, {17, 29, 53}},
      {KafkaApi::kAddPartitionsToTxn, kFenced, {47, 90}},
      {KafkaApi::kAddPartitionsToTxn, kAbort, {120}},
      {KafkaApi::kAddPartitionsToTxn, kNewProducer, {-1, 48, 49, 59}},
      {KafkaApi::kProduce, kGiveUp, {10, 17, 18, 21, 29, 31, 32, 35, 43, 44, 53, 76, 87}},
      {KafkaApi::kProduce, kFenced, {47, 90}},
      {KafkaApi::kProduce, kAbort, {45, 48, 59, 120}},
      {KafkaApi::kProduce, kNewProducer, {-1, 49, 1000}},
      {KafkaApi::kEndTxn, kGiveUp, {53}},
      {KafkaApi::kEndTxn, kFenced, {47, 90}},
      {KafkaApi::kEndTxn, kAbort, {120}},
      {KafkaApi::kEndTxn, kNewProducer, {-1, 48, 49, 59}},
  };
  for (const auto& [api, remedy, errors] : cases) {
    for (const int16_t error : errors) {
      SCOPED_TRACE(testing::Message() << "api " << static_cast<int>(api) << " error " << error);
      FakeBroker broker;
      broker.Script(api, {.error = error});
      const auto producer = Make(broker);
      absl::Status status = producer->Fence(Soon());
      const bool begun = status.ok();
      if (begun) status = Transact(*producer, "lost ");
      ASSERT_FALSE(status.ok());
      EXPECT_EQ(producer->remedy(), remedy) << status;
      EXPECT_EQ(status.code() == absl::StatusCode::kAborted, remedy == kFenced) << status;
      EXPECT_TRUE(broker.ScriptDone());
      EXPECT_THAT(broker.Committed(), IsEmpty());
      if (!begun || remedy == kFenced) continue;
      // It may go on after an abort.
      status = producer->Abort(Soon());
      ASSERT_TRUE(status.ok()) << status;
      status = Transact(*producer, "again ");
      ASSERT_TRUE(status.ok()) << status;
      ExpectOnceAndInOrder(broker, {"again "});
    }
  }
}

TEST_F(NativeProducerTest, LostRequestsAndAnswersAreRepairedOrUnknown) {
  for (const KafkaApi api : kEachApi) {
    for (const bool answer : {false, true}) {
      SCOPED_TRACE(testing::Message() << "api " << static_cast<int>(api)
                                      << (answer ? " answer" : " request") << " lost");
      FakeBroker broker;
      broker.Script(api, {.request_lost = !answer, .answer_lost = answer});
      const auto producer = Make(broker, {{"batch.num.messages", "1"}});
      absl::Status status = producer->Fence(Soon());
      ASSERT_TRUE(status.ok()) << status;
      status = Transact(*producer, "one ");
      EXPECT_TRUE(broker.ScriptDone());
      if (api != KafkaApi::kEndTxn) {
        ASSERT_TRUE(status.ok()) << status;
        ExpectOnceAndInOrder(broker, {"one "});
        continue;
      }
      // Never assumed.
      EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
      EXPECT_EQ(producer->remedy(), TransactionRemedy::kNewProducer);
      EXPECT_THAT(std::string(status.message()), HasSubstr("the outcome is unknown"));
      EXPECT_EQ(broker.Committed().size(), answer ? size_t{kRecords} : 0u);
    }
  }
}

TEST_F(NativeProducerTest, AnotherOwnerFencesThisOne) {
  FakeBroker broker;
  const auto producer = Make(broker);
  ASSERT_TRUE(producer->Fence(Soon()).ok());
  ASSERT_TRUE(Transact(*producer, "one ").ok());
  broker.FenceByAnother();
  const absl::Status status = Transact(*producer, "two ");
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
  EXPECT_EQ(producer->remedy(), TransactionRemedy::kFenced);
  ExpectOnceAndInOrder(broker, {"one "});
}

TEST_F(NativeProducerTest, WhatIsNotAcknowledgedIsBounded) {
  FakeBroker broker;
  const auto producer = Make(broker, {{"queue.buffering.max.kbytes", "64"}});
  ASSERT_TRUE(producer->Fence(Soon()).ok());
  const KafkaDeadline deadline = Soon();
  const std::string value(10'000, 'x');
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(producer->Add(0, {.partition = i % 3, .value = value}, deadline).ok());
  }
  // It could not keep two megabytes.
  EXPECT_GT(broker.Requests(KafkaApi::kProduce), 10);
  ASSERT_TRUE(producer->Commit(deadline).ok());
  EXPECT_EQ(broker.Committed().size(), 200u);
}

TEST_F(NativeProducerTest, RecordsThatCannotBeWrittenAreNamed) {
  FakeBroker broker;
  const auto producer = Make(broker, {{"message.max.bytes", "1000"}});
  ASSERT_TRUE(producer->Fence(Soon()).ok());
  const std::string large(1001, 'x');
  absl::Status status = producer->Add(0, {.partition = 1, .value = large}, Soon());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("properties.message.max.bytes"));
  EXPECT_EQ(producer->remedy(), TransactionRemedy::kGiveUp);
  ASSERT_TRUE(producer->Abort(Soon()).ok());
  status = producer->Add(0, {.partition = 3, .value = "x"}, Soon());
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
}

TEST_F(NativeProducerTest, ABrokerThatIsAwayIsUnavailableAtTheDeadlineOrWhenTheSinkIsClosed) {
  auto broker = std::make_unique<FakeBroker>();
  const auto producer = Make(*broker);
  const std::string address = broker->address();
  ASSERT_TRUE(producer->Fence(Soon()).ok());
  broker.reset();
  const KafkaDeadline deadline(env_.clock, absl::Milliseconds(100));
  ASSERT_TRUE(producer->Add(0, {.partition = 0, .value = "x"}, deadline).ok());
  absl::Status status = producer->Commit(deadline);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(producer->remedy(), TransactionRemedy::kNewProducer);
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
  stop_.Notify();
  EXPECT_EQ(producer->Abort(Soon()).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace millrace
