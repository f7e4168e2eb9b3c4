#include "operators/connectors/kafka/kafka_sink.h"

#include "kafka_fixture.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/kafka/kafka_connector.h"
#include "runtime/base/failpoint.h"
#include "tests/unit/connectors/stored_outbox.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// By both producers.
class KafkaSinkTest : public KafkaTest, public testing::WithParamInterface<const char*> {
 protected:
  struct Writer {
    Writer(uint32_t slot) : outbox("snk", slot) {}
    v1::Node node;
    OperatorCounters counters;
    StoredOutbox outbox;
    std::unique_ptr<SinkContext> context;
    std::unique_ptr<Sink> sink;
  };

  void SetUp() override {
    KafkaTest::SetUp();
    job_id_ = Unique("job");
  }
  void TearDown() override { Failpoints::DisarmAll(); }

  v1::Node Node(const std::string& topic, const std::map<std::string, std::string>& options = {}) {
    v1::Node node;
    node.set_uid("snk");
    node.mutable_sink()->set_connector("kafka");
    node.mutable_sink()->set_format("raw");
    auto& map = *node.mutable_sink()->mutable_options();
    map["topic"] = topic;
    map["properties.bootstrap.servers"] = brokers_;
    map["produce"] = GetParam();
    for (const auto& [name, value] : options) map[name] = value;
    return node;
  }

  absl::StatusOr<std::unique_ptr<Writer>> Open(const v1::Node& node, uint64_t generation = 1,
                                               uint32_t slot = 0, uint64_t restored_epoch = 0) {
    auto writer = std::make_unique<Writer>(slot);
    writer->node = node;
    writer->context = std::make_unique<SinkContext>(SinkContext{.node = writer->node,
                                                                .schema = schema_,
                                                                .counters = writer->counters,
                                                                .env = env_value_,
                                                                .job_id = job_id_,
                                                                .job_name = "test",
                                                                .generation = {generation},
                                                                .restored_epoch = {restored_epoch},
                                                                .slot = slot,
                                                                .parallelism = 2,
                                                                .outbox = writer->outbox});
    auto sink =
        node.sink().connector() == "upsert-kafka" ? MakeUpsertKafkaSink(node) : MakeKafkaSink(node);
    if (!sink.ok()) return sink.status();
    writer->sink = *std::move(sink);
    absl::Status status = writer->sink->Open(*writer->context);
    if (!status.ok()) return status;
    return writer;
  }
  std::unique_ptr<Writer> MustOpen(const v1::Node& node, uint64_t generation = 1, uint32_t slot = 0,
                                   uint64_t restored_epoch = 0) {
    auto writer = Open(node, generation, slot, restored_epoch);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }

  Batch Rows(const std::vector<std::string>& values) {
    BatchBuilder builder(schema_);
    for (const std::string& value : values) builder.column(0).AppendString(value);
    return builder.Finish();
  }

  v1::CommitToken WriteEpoch(Writer& writer, uint64_t epoch,
                             const std::vector<std::string>& values) {
    EXPECT_TRUE(writer.sink->Write(Rows(values)).ok());
    auto token = writer.sink->Prepare({epoch});
    EXPECT_TRUE(token.ok()) << token.status();
    return *token;
  }

  const SchemaPtr schema_ = Schema::Make({{.id = 1, .name = "line", .type = TypeKind::kString}});
  Env env_value_ = env_.env();
  std::string job_id_;
};

TEST_P(KafkaSinkTest, NothingIsVisibleBeforeTheCommit) {
  const std::string topic = CreateTopic(2);
  auto writer = MustOpen(Node(topic));
  const auto token = WriteEpoch(*writer, 1, {"a", "b", "c"});
  EXPECT_THAT(ReadTopic(topic, "read_uncommitted"), IsEmpty());
  const absl::Status status = writer->sink->Commit(token);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(ReadTopic(topic), UnorderedElementsAre("a", "b", "c"));
}

TEST_P(KafkaSinkTest, TheChangesOfARowWithoutKeyStayInOrder) {
  const std::string topic = CreateTopic(4);
  v1::Node node = Node(topic, {{"key.fields", "line"}});
  node.mutable_sink()->set_format("json");
  node.set_changelog_mode(v1::CHANGELOG_MODE_RETRACT);
  auto writer = MustOpen(node);
  BatchBuilder builder(schema_);
  std::vector<std::string> expected;
  for (int i = 0; i < 8; ++i) {
    builder.column(0).AppendNull();
    builder.SetKind(i % 2 == 0 ? RowKind::kInsert : RowKind::kDelete);
    expected.push_back(i % 2 == 0 ? R"({"line":null,"op":"+I"})" : R"({"line":null,"op":"-D"})");
  }
  ASSERT_TRUE(writer->sink->Write(builder.Finish()).ok());
  const auto token = writer->sink->Prepare({1});
  ASSERT_TRUE(token.ok());
  ASSERT_TRUE(writer->sink->Commit(*token).ok());
  // Read by partition: the order is only this one when there is a single one.
  EXPECT_EQ(ReadTopic(topic), expected);
}

TEST_P(KafkaSinkTest, UpsertsReplaceAndDeletesHaveNoValue) {
  for (const auto guarantee :
       {v1::DELIVERY_GUARANTEE_EXACTLY_ONCE, v1::DELIVERY_GUARANTEE_AT_LEAST_ONCE}) {
    const std::string topic = CreateTopic(1);
    v1::Node node = Node(topic);
    node.mutable_sink()->set_connector("upsert-kafka");
    node.mutable_sink()->set_guarantee(guarantee);
    node.set_changelog_mode(v1::CHANGELOG_MODE_RETRACT);
    node.mutable_key()->add_ids(1);
    auto writer = MustOpen(node);
    BatchBuilder builder(schema_);
    const auto add = [&builder](RowKind kind, const std::string& line) {
      builder.column(0).AppendString(line);
      builder.SetKind(kind);
    };
    add(RowKind::kInsert, "a");
    add(RowKind::kUpdateBefore, "a");
    add(RowKind::kUpdateAfter, "a");
    add(RowKind::kInsert, "b");
    add(RowKind::kDelete, "a");
    ASSERT_TRUE(writer->sink->Write(builder.Finish()).ok());
    const auto token = writer->sink->Prepare({1});
    ASSERT_TRUE(token.ok()) << token.status();
    ASSERT_TRUE(writer->sink->Commit(*token).ok());
    EXPECT_THAT(ReadTopicWithKeys(topic), ElementsAre("a=a", "a=a", "b=b", "a=<null>"));
  }
}

TEST_P(KafkaSinkTest, CommitIsIdempotentAlsoInANewProcess) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  const auto first = WriteEpoch(*writer, 1, {"a"});
  const auto second = WriteEpoch(*writer, 2, {"b"});
  ASSERT_TRUE(writer->sink->Commit(first).ok());
  ASSERT_TRUE(writer->sink->Commit(second).ok());
  ASSERT_TRUE(writer->sink->Commit(second).ok());
  auto next = MustOpen(Node(topic), 2);
  next->outbox.segments() = writer->outbox.segments();
  ASSERT_TRUE(next->sink->Commit(second).ok());
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
}

TEST_P(KafkaSinkTest, AnotherProcessCommitsWhatTheFirstPrepared) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  ASSERT_TRUE(writer->sink->Commit(WriteEpoch(*writer, 1, {"a"})).ok());
  const auto pending = WriteEpoch(*writer, 2, {"b", "c"});
  auto segments = writer->outbox.segments();
  writer.reset();
  auto next = MustOpen(Node(topic), 2);
  next->outbox.segments() = segments;
  ASSERT_TRUE(next->sink->Commit(pending).ok());
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b", "c"));
}

// A checkpoint carries what was not committed when it was taken: perhaps the epoch before it too,
// whose commit, and its own, were done before the crash.
TEST_P(KafkaSinkTest, EpochsOfOneCheckpointThatAreAllCommittedAreDone) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  const auto first = WriteEpoch(*writer, 17, {"a"});
  const auto second = WriteEpoch(*writer, 18, {"b"});
  ASSERT_TRUE(writer->sink->Commit(first).ok());
  ASSERT_TRUE(writer->sink->Commit(second).ok());
  auto next = MustOpen(Node(topic), 2, 0, 18);
  next->outbox.segments() = writer->outbox.segments();
  const absl::Status status = next->sink->Commit(first);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(next->sink->Commit(second).ok());
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
}

TEST_P(KafkaSinkTest, AMarkerAheadOfTheCheckpointIsRefusedWithBothEpochs) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  const auto first = WriteEpoch(*writer, 4, {"a"});
  ASSERT_TRUE(writer->sink->Commit(first).ok());
  ASSERT_TRUE(writer->sink->Commit(WriteEpoch(*writer, 7, {"b"})).ok());
  auto next = MustOpen(Node(topic), 2);
  next->outbox.segments() = writer->outbox.segments();
  const absl::Status status = next->sink->Commit(first);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("checkpoint_epoch=4"), HasSubstr("committed_epoch=7")));
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
}

TEST_P(KafkaSinkTest, ANewOwnerFencesTheOldOne) {
  const std::string topic = CreateTopic(1);
  auto old_owner = MustOpen(Node(topic), 1);
  ASSERT_TRUE(old_owner->sink->Commit(WriteEpoch(*old_owner, 1, {"a"})).ok());
  const auto pending = WriteEpoch(*old_owner, 2, {"b"});
  auto new_owner = MustOpen(Node(topic), 2);
  new_owner->outbox.segments() = old_owner->outbox.segments();
  ASSERT_TRUE(new_owner->sink->Commit(pending).ok());
  EXPECT_EQ(old_owner->sink->Commit(WriteEpoch(*old_owner, 3, {"zombie"})).code(),
            absl::StatusCode::kAborted);
  // It may try again as often as it likes: the marker carries the newer generation.
  EXPECT_EQ(old_owner->sink->Commit(WriteEpoch(*old_owner, 4, {"zombie"})).code(),
            absl::StatusCode::kAborted);
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
}

TEST_P(KafkaSinkTest, CompletesTheEpochOfASlotThatHasNoTaskAnyMore) {
  const std::string topic = CreateTopic(1);
  auto slot_1 = MustOpen(Node(topic), 1, 1);
  const auto orphan = WriteEpoch(*slot_1, 1, {"from slot 1"});
  auto slot_0 = MustOpen(Node(topic), 2, 0);
  slot_0->outbox.segments() = slot_1->outbox.segments();
  const auto own = WriteEpoch(*slot_0, 2, {"from slot 0"});
  ASSERT_TRUE(slot_0->sink->Commit(orphan).ok());
  ASSERT_TRUE(slot_0->sink->Commit(orphan).ok());
  ASSERT_TRUE(slot_0->sink->Commit(own).ok());
  EXPECT_THAT(ReadTopic(topic), ElementsAre("from slot 1", "from slot 0"));
  EXPECT_EQ(slot_1->sink->Commit(WriteEpoch(*slot_1, 2, {"zombie"})).code(),
            absl::StatusCode::kAborted);
}

TEST_P(KafkaSinkTest, EmptyEpochsNeedNoTransactionAndLeaveTheMarkerRight) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  ASSERT_TRUE(writer->sink->Commit(WriteEpoch(*writer, 1, {"a"})).ok());
  for (uint64_t epoch = 2; epoch < 5; ++epoch) {
    ASSERT_TRUE(writer->sink->Commit(WriteEpoch(*writer, epoch, {})).ok());
  }
  EXPECT_EQ(writer->outbox.reads(), 1);
  auto next = MustOpen(Node(topic), 2);
  next->outbox.segments() = writer->outbox.segments();
  ASSERT_TRUE(next->sink->Commit(WriteEpoch(*next, 4, {})).ok());
  ASSERT_TRUE(next->sink->Commit(WriteEpoch(*next, 5, {"b"})).ok());
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
}

TEST_P(KafkaSinkTest, OutputOfAnAbandonedEpochBelongsToTheNextOne) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  writer->outbox.Abandon(WriteEpoch(*writer, 1, {"a"}));
  const auto token = WriteEpoch(*writer, 2, {"b"});
  ASSERT_EQ(token.outbox_size(), 2);
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
  writer->outbox.Completed();
  // Also when the next one is empty itself.
  writer->outbox.Abandon(WriteEpoch(*writer, 3, {"c"}));
  const absl::Status status = writer->sink->Commit(WriteEpoch(*writer, 4, {}));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b", "c"));
}

TEST_P(KafkaSinkTest, FindsItsMarkerBehindManyForeignAndAbortedOnes) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  const auto first = WriteEpoch(*writer, 1, {"a"});
  ASSERT_TRUE(writer->sink->Commit(first).ok());
  std::vector<Sent> foreign;
  for (int i = 0; i < 700; ++i) {
    foreign.push_back({EncodeKafkaMarker({.epoch = 99}), 0, "other/snk/" + std::to_string(i)});
  }
  ProduceTransaction(kMarkerTopic, foreign, true);
  ProduceTransaction(kMarkerTopic,
                     {{EncodeKafkaMarker({.epoch = 50}), 0, KafkaMarkerKey(job_id_, "snk", 0)}},
                     false);
  auto next = MustOpen(Node(topic), 2);
  next->outbox.segments() = writer->outbox.segments();
  const absl::Status status = next->sink->Commit(first);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a"));
}

TEST_P(KafkaSinkTest, EveryFaultBetweenTheStepsIsRepairedByTheSameCall) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  uint64_t epoch = 0;
  std::vector<std::string> expected;
  for (const char* point :
       {"kafka.init.after_fence", "kafka.commit.before_begin", "kafka.commit.after_begin",
        "kafka.commit.after_produce", "kafka.commit.after_marker", "kafka.commit.before_commit",
        "kafka.commit.after_commit"}) {
    SCOPED_TRACE(point);
    ++epoch;
    expected.push_back(point);
    const auto token = WriteEpoch(*writer, epoch, {point});
    ASSERT_TRUE(Failpoints::Arm(std::string(point) + "=error@1").ok());
    const absl::Status status = writer->sink->Commit(token);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_GE(Failpoints::Hits(point), 1);
    Failpoints::DisarmAll();
  }
  EXPECT_EQ(ReadTopic(topic), expected);
}

TEST_P(KafkaSinkTest, ADamagedOutboxIsDataLossAndNothingBecomesVisible) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  const auto token = WriteEpoch(*writer, 1, {"a", "b"});
  auto& blocks = writer->outbox.segments().begin()->second;
  blocks[0].back() = static_cast<char>(blocks[0].back() ^ 1);
  EXPECT_EQ(writer->sink->Commit(token).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(ReadTopic(topic), IsEmpty());
}

TEST_P(KafkaSinkTest, RowsOfOneKeyGoToThePartitionThatOtherProducersChoose) {
  const std::string topic = CreateTopic(5);
  auto writer = MustOpen(Node(topic, {{"key.fields", "line"}}));
  ASSERT_TRUE(writer->sink->Commit(WriteEpoch(*writer, 1, {"x", "y", "x", "y", "x"})).ok());
  const auto values = ReadTopic(topic);  // By partition.
  EXPECT_TRUE(values == (std::vector<std::string>{"x", "x", "x", "y", "y"}) ||
              values == (std::vector<std::string>{"y", "y", "x", "x", "x"}))
      << testing::PrintToString(values);
}

TEST_P(KafkaSinkTest, AMissingTopicIsNamedWhenTheSinkOpens) {
  const auto writer = Open(Node("no-such-topic"));
  EXPECT_EQ(writer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(writer.status().message()), HasSubstr("no-such-topic"));
}

TEST_P(KafkaSinkTest, AnUnreachableBrokerIsUnavailableAfterTheDeadline) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic));
  const auto token = WriteEpoch(*writer, 1, {"a"});
  // The same token, committed by a process that cannot reach the broker.
  KafkaSinkOptions options;
  options.client.brokers = "127.0.0.1:1";
  options.topic = topic;
  options.native_produce = GetParam() == std::string_view("native");
  options.delivery_timeout = absl::Milliseconds(400);
  const absl::Notification stop;
  KafkaCommitter committer(
      {.options = options, .env = env_value_, .job_id = job_id_, .generation = {2}, .stop = stop});
  const absl::Status status = committer.Commit(token, writer->outbox);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1:1"));
}

TEST_P(KafkaSinkTest, ARecordThatIsTooLargeFailsTheJob) {
  const std::string topic = CreateTopic(1, {{"max.message.bytes", "2000"}});
  auto writer = MustOpen(Node(topic));
  const absl::Status status =
      writer->sink->Commit(WriteEpoch(*writer, 1, {std::string(10'000, 'x')}));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(ReadTopic(topic), IsEmpty());
}

TEST_P(KafkaSinkTest, AtLeastOnceIsVisibleBeforeTheEpochEndsAndSureAfterPrepare) {
  const std::string topic = CreateTopic(1);
  auto writer = MustOpen(Node(topic, {{"sink.delivery-guarantee", "at-least-once"}}));
  const auto token = WriteEpoch(*writer, 1, {"a", "b"});
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
  EXPECT_EQ(token.epoch(), 1u);
  EXPECT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_THAT(ReadTopic(topic), ElementsAre("a", "b"));
}

TEST_P(KafkaSinkTest, AtLeastOnceFailsTheEpochOfARecordThatTheBrokerRefuses) {
  const std::string topic = CreateTopic(1, {{"max.message.bytes", "2000"}});
  auto writer = MustOpen(Node(topic, {{"sink.delivery-guarantee", "at-least-once"}}));
  ASSERT_TRUE(writer->sink->Write(Rows({std::string(10'000, 'x')})).ok());
  const auto token = writer->sink->Prepare({1});
  EXPECT_EQ(token.status().code(), absl::StatusCode::kInvalidArgument) << token.status();
  EXPECT_GE(writer->counters.sink_errors.value(), 1u);
}

INSTANTIATE_TEST_SUITE_P(By, KafkaSinkTest, testing::Values("native", "librdkafka"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace millrace
