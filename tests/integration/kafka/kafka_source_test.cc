#include "operators/connectors/kafka/kafka_source.h"

#include "kafka_fixture.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/kafka/kafka_connector.h"
#include "operators/connectors/kafka/kafka_discovery.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

// By what fetches the records.
class KafkaSourceTest : public KafkaTest, public testing::WithParamInterface<const char*> {
 protected:
  using Reader = SourceReader;

  v1::Node Node(const std::string& topic, const std::map<std::string, std::string>& options = {}) {
    v1::Node node;
    node.set_uid("src");
    auto* field = node.mutable_schema()->add_fields();
    field->set_name("line");
    field->mutable_type()->set_kind(v1::Type::KIND_STRING);
    node.mutable_source()->set_connector("kafka");
    node.mutable_source()->set_format("raw");
    auto& map = *node.mutable_source()->mutable_options();
    map["topic"] = topic;
    map["properties.bootstrap.servers"] = brokers_;
    map["scan.startup.mode"] = "earliest-offset";
    map["fetch"] = GetParam();
    for (const auto& [name, value] : options) map[name] = value;
    return node;
  }

  static SchemaPtr SchemaOf(const v1::Node& node) {
    std::vector<Field> fields;
    for (const auto& f : node.schema().fields()) {
      fields.push_back({.id = f.id(), .name = f.name(), .type = DataType::FromProto(f.type())});
    }
    return Schema::Make(std::move(fields));
  }

  absl::StatusOr<std::vector<Split>> Discover(const v1::Node& node, bool first = true) {
    Env env = env_.env();
    auto discovery = MakeKafkaDiscovery(node, env);
    if (!discovery.ok()) return discovery.status();
    return (*discovery)->Discover(first);
  }

  absl::StatusOr<std::unique_ptr<Reader>> OpenAt(const v1::Node& node, std::vector<Split> splits) {
    auto reader = std::make_unique<Reader>();
    reader->node = node;
    reader->context =
        std::make_unique<SourceContext>(SourceContext{.node = reader->node,
                                                      .schema = SchemaOf(node),
                                                      .counters = reader->counters,
                                                      .env = env_value_,
                                                      .wake = [this] { wakes_.fetch_add(1); }});
    auto source = MakeKafkaSource(node);
    if (!source.ok()) return source.status();
    reader->source = *std::move(source);
    absl::Status status = reader->source->Open(*reader->context, std::move(splits));
    if (!status.ok()) return status;
    return reader;
  }
  std::unique_ptr<Reader> MustOpen(const v1::Node& node) {
    auto splits = Discover(node);
    EXPECT_TRUE(splits.ok()) << splits.status();
    auto reader = OpenAt(node, *splits);
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *std::move(reader);
  }

  // Polls until `rows` rows and dead letters have come, or the source ends or fails, or time is up.
  absl::Status ReadRows(Reader& reader, size_t rows) {
    const KafkaDeadline deadline(env_value_.clock, absl::Seconds(20));
    while (!deadline.passed()) {
      const auto result = reader.source->Poll(reader.out);
      if (!result.ok()) return result.status();
      if (*result == PollResult::kEnd) return absl::OkStatus();
      if (reader.counters.rows_in.value() >= rows) return absl::OkStatus();
      if (*result == PollResult::kIdle) producer_->Poll(1);
    }
    return absl::DeadlineExceededError("rows did not come");
  }
  absl::Status ReadToEnd(Reader& reader) { return ReadRows(reader, ~size_t{0}); }

  Env env_value_ = env_.env();
  std::atomic<int> wakes_{0};
};

TEST_P(KafkaSourceTest, ReadsFromTheEarliestOffset) {
  const std::string topic = CreateTopic(2);
  Produce(topic, {{"a", 0}, {"b", 1}, {"c", 0}});
  auto reader = MustOpen(Node(topic));
  ASSERT_TRUE(ReadRows(*reader, 3).ok());
  EXPECT_THAT(reader->out.Texts(), UnorderedElementsAre("a", "b", "c"));
  EXPECT_EQ(reader->counters.bytes_in.value(), 3u);
}

TEST_P(KafkaSourceTest, LatestBecomesNumbersBeforeTheFirstRow) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"old"}});
  const v1::Node node = Node(topic, {{"scan.startup.mode", "latest-offset"}});
  const auto splits = Discover(node);
  ASSERT_TRUE(splits.ok());
  EXPECT_EQ(DecodeKafkaPosition((*splits)[0].position)->offset, 1);
  Produce(topic, {{"between"}});
  auto reader = OpenAt(node, *splits);
  ASSERT_TRUE(reader.ok()) << reader.status();
  Produce(topic, {{"new"}});
  ASSERT_TRUE(ReadRows(**reader, 2).ok());
  EXPECT_THAT((*reader)->out.Texts(), ElementsAre("between", "new"));
}

TEST_P(KafkaSourceTest, StartsAtATimestamp) {
  const std::string topic = CreateTopic(2);
  Produce(topic, {{"t1", 0, "", 1'700'000'000'000},
                  {"t2", 0, "", 1'700'000'001'000},
                  {"t3", 0, "", 1'700'000'002'000},
                  {"t1", 1, "", 1'700'000'000'000}});
  auto reader = MustOpen(Node(topic, {{"scan.startup.mode", "timestamp"},
                                      {"scan.startup.timestamp-millis", "1700000001000"},
                                      {"scan.bounded.mode", "latest-offset"}}));
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(reader->out.Texts(), ElementsAre("t2", "t3"));
}

TEST_P(KafkaSourceTest, StartsAndEndsAtGivenOffsets) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"0"}, {"1"}, {"2"}, {"3"}, {"4"}});
  auto reader = MustOpen(Node(topic, {{"scan.startup.mode", "specific-offsets"},
                                      {"scan.startup.specific-offsets", "partition:0,offset:1"},
                                      {"scan.bounded.mode", "specific-offsets"},
                                      {"scan.bounded.specific-offsets", "partition:0,offset:4"}}));
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(reader->out.Texts(), ElementsAre("1", "2", "3"));
  EXPECT_TRUE(reader->source->Positions()[0].finished);
}

TEST_P(KafkaSourceTest, SpecificOffsetsOfAMissingPartitionAreRefused) {
  const std::string topic = CreateTopic(1);
  const auto splits =
      Discover(Node(topic, {{"scan.startup.mode", "specific-offsets"},
                            {"scan.startup.specific-offsets", "partition:7,offset:1"}}));
  EXPECT_EQ(splits.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(KafkaSourceTest, PublishesGroupOffsetsAfterTheEpochAndStartsFromThem) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"0"}, {"1"}});
  const std::string group = Unique("group");
  auto reader = MustOpen(Node(topic, {{"properties.group.id", group}}));
  ASSERT_TRUE(ReadRows(*reader, 2).ok());
  reader->source->OnEpochCompleted(reader->source->Positions());
  Produce(topic, {{"2"}});
  const v1::Node node = Node(topic, {{"properties.group.id", group},
                                     {"scan.startup.mode", "group-offsets"},
                                     {"scan.bounded.mode", "latest-offset"}});
  const KafkaDeadline deadline(env_value_.clock, absl::Seconds(20));
  absl::StatusOr<std::vector<Split>> splits;
  do {                                        // The commit is asynchronous.
    (void)reader->source->Poll(reader->out);  // Serves the client.
    splits = Discover(node);
    producer_->Poll(20);
  } while (!splits.ok() && splits.status().code() == absl::StatusCode::kFailedPrecondition &&
           !deadline.passed());
  ASSERT_TRUE(splits.ok()) << splits.status();
  EXPECT_EQ(DecodeKafkaPosition((*splits)[0].position)->offset, 2);
}

TEST_P(KafkaSourceTest, AGroupWithoutOffsetsNeedsAReset) {
  const std::string topic = CreateTopic(1);
  const auto splits = Discover(Node(
      topic, {{"properties.group.id", Unique("group")}, {"scan.startup.mode", "group-offsets"}}));
  EXPECT_EQ(splits.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(splits.status().message()), HasSubstr("properties.auto.offset.reset"));
}

TEST_P(KafkaSourceTest, ABoundedSourceEndsAlsoBehindAbortedRecords) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"plain"}});
  ProduceTransaction(topic, {{"committed"}}, true);
  ProduceTransaction(topic, {{"aborted 1"}, {"aborted 2"}}, false);
  const v1::Node node = Node(topic, {{"scan.bounded.mode", "latest-offset"}});
  // One plain, one committed and two aborted records, two markers. The broker writes the last
  // marker after it has answered the producer.
  constexpr int64_t kEnd = 6;
  const KafkaDeadline deadline(env_value_.clock, absl::Seconds(20));
  absl::StatusOr<std::vector<Split>> splits;
  do {
    splits = Discover(node);
    ASSERT_TRUE(splits.ok()) << splits.status();
  } while (*DecodeKafkaPosition((*splits)[0].position)->end != kEnd && !deadline.passed());

  auto reader = MustOpen(node);
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(reader->out.Texts(), ElementsAre("plain", "committed"));
  const auto position = DecodeKafkaPosition(reader->source->Positions()[0].position);
  EXPECT_EQ(*position->end, kEnd);
  EXPECT_EQ(position->offset, kEnd);
}

TEST_P(KafkaSourceTest, ABoundedSourceStopsAtItsEndWhateverFollows) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"plain"}});
  // The end lies inside the aborted records: only the end of the partition tells that it was
  // passed.
  ProduceTransaction(topic, {{"aborted 1"}, {"aborted 2"}}, false);
  auto reader = MustOpen(Node(topic, {{"scan.bounded.mode", "specific-offsets"},
                                      {"scan.bounded.specific-offsets", "partition:0,offset:2"}}));
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(reader->out.Texts(), ElementsAre("plain"));
  EXPECT_EQ(DecodeKafkaPosition(reader->source->Positions()[0].position)->offset, 2);
}

TEST_P(KafkaSourceTest, AnEmptyBoundedTopicEndsAtOnce) {
  auto reader = MustOpen(Node(CreateTopic(3), {{"scan.bounded.mode", "latest-offset"}}));
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(reader->out.Texts(), IsEmpty());
}

TEST_P(KafkaSourceTest, AnEmptyTopicIsIdleUntilTheFirstRowWakesTheTask) {
  const bool wakes = GetParam() == std::string_view("librdkafka");  // Native is only polled.
  const std::string topic = CreateTopic(1);
  auto reader = MustOpen(Node(topic));
  const KafkaDeadline settle(env_value_.clock, absl::Seconds(20));
  while (reader->source->Positions().empty() && !settle.passed()) producer_->Poll(1);
  auto result = reader->source->Poll(reader->out);
  ASSERT_TRUE(result.ok());
  // End-of-partition notices may come first; then nothing.
  while (*result == PollResult::kEmitted) result = reader->source->Poll(reader->out);
  EXPECT_EQ(*result, PollResult::kIdle);
  Produce(topic, {{"first"}});
  const KafkaDeadline deadline(env_value_.clock, absl::Seconds(20));
  while (reader->out.Texts().empty() && !deadline.passed()) {
    const int before = wakes_.load();
    ASSERT_TRUE(reader->source->Poll(reader->out).ok());
    if (!reader->out.Texts().empty()) break;
    while (wakes && wakes_.load() == before && !deadline.passed()) producer_->Poll(1);
  }
  EXPECT_THAT(reader->out.Texts(), ElementsAre("first"));
  EXPECT_EQ(wakes_.load() > 0, wakes);
}

TEST_P(KafkaSourceTest, ResumesFromItsPositions) {
  const std::string topic = CreateTopic(2);
  std::vector<Sent> sent;
  for (int i = 0; i < 200; ++i) sent.push_back({std::to_string(i), i % 2});
  Produce(topic, sent);
  const v1::Node node = Node(topic, {{"scan.bounded.mode", "latest-offset"}});
  auto splits = Discover(node);
  ASSERT_TRUE(splits.ok());
  std::vector<std::string> all;
  for (int restart = 0; restart < 100; ++restart) {
    auto reader = std::make_unique<Reader>();
    auto opened = OpenAt(node, *splits);
    ASSERT_TRUE(opened.ok()) << opened.status();
    reader = *std::move(opened);
    // Few rows at a time, so that it stops in the middle.
    ASSERT_TRUE(ReadRows(*reader, 30).ok());
    for (const std::string& text : reader->out.Texts()) all.push_back(text);
    splits = reader->source->Positions();
    if ((*splits)[0].finished && (*splits)[1].finished) break;
  }
  EXPECT_EQ(all.size(), 200u);
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end());
}

class UpsertKafkaSourceTest : public KafkaSourceTest {
 protected:
  // Columns id BIGINT, name STRING; the key is id.
  v1::Node UpsertNode(const std::string& topic) {
    v1::Node node = Node(topic, {{"scan.bounded.mode", "latest-offset"}});
    node.mutable_source()->set_connector("upsert-kafka");
    node.mutable_source()->set_format("json");
    node.set_changelog_mode(v1::CHANGELOG_MODE_UPSERT);
    node.clear_schema();
    const auto add = [&node](const char* name, v1::Type::Kind kind) {
      auto* field = node.mutable_schema()->add_fields();
      field->set_name(name);
      field->set_id(static_cast<uint32_t>(node.schema().fields_size()));
      field->mutable_type()->set_kind(kind);
    };
    add("id", v1::Type::KIND_INT64);
    add("name", v1::Type::KIND_STRING);
    node.mutable_key()->add_ids(1);
    return node;
  }
  static std::vector<std::string> Changes(Reader& reader) {
    std::vector<std::string> changes;
    for (const Batch& batch : reader.out.batches[OutputPort::kMain]) {
      for (int64_t row = 0; row < batch.rows(); ++row) {
        changes.push_back(std::string(RowKindText(batch.kind(row))) + " " +
                          ValueText(batch.column(0), row) + " " + ValueText(batch.column(1), row));
      }
    }
    return changes;
  }
};

TEST_P(UpsertKafkaSourceTest, ARecordWithoutValueDeletesItsKey) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{R"({"id":1,"name":"ada"})", 0, R"({"id":1})"},
                  {R"({"id":2,"name":"bob"})", 0, R"({"id":2})"},
                  {"<null>", 0, R"({"id":1})"},
                  {"<null>", 0, R"({"id":3})"},
                  {R"({"id":1,"name":"eve"})", 0, R"({"id":1})"}});
  auto reader = MustOpen(UpsertNode(topic));
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(Changes(*reader),
              ElementsAre("+I 1 'ada'", "+I 2 'bob'", "-D 1 NULL", "-D 3 NULL", "+I 1 'eve'"));
}

TEST_P(UpsertKafkaSourceTest, KeysThatCannotBeReadAreDeadLetters) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{R"({"id":1,"name":"ada"})", 0, R"({"id":1})"},
                  {"<null>", 0, "not json"},
                  {"<null>", 0, ""},
                  {"<null>", 0, R"({"id":1})"},
                  {"no value", 0, R"({"id":1})"}});
  auto reader = MustOpen(UpsertNode(topic));
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(Changes(*reader), ElementsAre("+I 1 'ada'", "-D 1 NULL"));
  EXPECT_THAT(reader->out.Texts(OutputPort::kDeadLetter, 5),
              ElementsAre("MR3101", "MR3104", "MR3101"));
  EXPECT_EQ(reader->counters.rows_in.value(), 5u);
}

TEST_P(KafkaSourceTest, TellsHowFarItIsBehind) {
  const std::string topic = CreateTopic(2);
  const int64_t now_ms = absl::ToUnixMillis(env_value_.clock.Now());
  Produce(topic,
          {{"new", 0, "", now_ms}, {"newer", 0, "", now_ms}, {"old", 1, "", now_ms - 3'600'000}});
  auto reader = MustOpen(Node(topic));
  const auto partition_lags = [&reader] {
    std::map<std::string, double> lags;
    for (const OperatorMetrics::Value& value : reader->counters.metrics.Read()) {
      if (value.name != "millrace_source_partition_lag_records") continue;
      lags[value.labels[1].second] = value.number;
    }
    return lags;
  };
  EXPECT_THAT(partition_lags(), IsEmpty()) << "not known yet";
  const auto fetch_lag_s = [&reader] {
    for (const OperatorMetrics::Value& value : reader->counters.metrics.Read()) {
      if (value.name == "millrace_source_fetch_lag_seconds") return value.number;
    }
    return -1.0;
  };
  EXPECT_EQ(fetch_lag_s(), 0);
  const KafkaDeadline deadline(env_value_.clock, absl::Seconds(20));
  while (fetch_lag_s() < 3600 && !deadline.passed()) {
    ASSERT_TRUE(reader->source->Poll(reader->out).ok());
  }
  EXPECT_GE(fetch_lag_s(), 3600);
  EXPECT_LT(fetch_lag_s(), 3700);
  while (partition_lags().size() < 2 && !deadline.passed()) {
    ASSERT_TRUE(reader->source->Poll(reader->out).ok());
  }
  // Everything that is there has been read.
  EXPECT_THAT(partition_lags(), ElementsAre(Pair("0", 0), Pair("1", 0)));
}

TEST_P(KafkaSourceTest, NothingWaitsBehindItsEnd) {
  const std::string topic = CreateTopic(1);
  std::vector<Sent> sent;
  for (int i = 0; i < 200; ++i) sent.push_back({std::to_string(i)});
  Produce(topic, sent);
  auto reader = MustOpen(Node(topic, {{"scan.bounded.mode", "latest-offset"}}));
  reader->counters.lag_rows.Set(200);
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_EQ(reader->counters.lag_rows.value(), 0u);
}

TEST_P(KafkaSourceTest, FindsNewPartitionsAndReadsThemFromTheBeginning) {
  const std::string topic = CreateTopic(1);
  const v1::Node node = Node(topic, {{"scan.startup.mode", "latest-offset"},
                                     {"scan.topic-partition-discovery.interval", "100ms"}});
  auto discovery = MakeKafkaDiscovery(node, env_value_);
  ASSERT_TRUE(discovery.ok());
  EXPECT_EQ((*discovery)->interval(), absl::Milliseconds(100));
  auto splits = (*discovery)->Discover(true);
  ASSERT_TRUE(splits.ok()) << splits.status();
  auto reader = OpenAt(node, *splits);
  ASSERT_TRUE(reader.ok()) << reader.status();
  AddPartitions(topic, 3);
  const KafkaDeadline deadline(env_value_.clock, absl::Seconds(20));
  std::vector<Split> found;
  while (found.size() < 2 && !deadline.passed()) {
    auto more = (*discovery)->Discover(false);
    ASSERT_TRUE(more.ok()) << more.status();
    found.insert(found.end(), more->begin(), more->end());
  }
  ASSERT_EQ(found.size(), 2u);
  Produce(topic, {{"in 1", 1}, {"in 2", 2}});
  ASSERT_TRUE((*reader)->source->AddSplits(found).ok());
  ASSERT_TRUE(ReadRows(**reader, 2).ok());
  EXPECT_THAT((*reader)->out.Texts(), UnorderedElementsAre("in 1", "in 2"));
  EXPECT_EQ((*reader)->source->Positions().size(), 3u);
}

TEST_P(KafkaSourceTest, FillsMetadataColumns) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"row", 0, "the key", 1'700'000'000'123}});
  v1::Node node;
  const auto add = [&](const std::string& name, v1::Type::Kind kind, const std::string& metadata) {
    auto* field = node.mutable_schema()->add_fields();
    field->set_name(name);
    field->mutable_type()->set_kind(kind);
    field->set_metadata(metadata);
  };
  add("o", v1::Type::KIND_INT64, "offset");
  add("line", v1::Type::KIND_STRING, "");
  add("k", v1::Type::KIND_STRING, "key");
  add("ts", v1::Type::KIND_TIMESTAMP, "timestamp");
  add("p", v1::Type::KIND_INT32, "partition");
  add("t", v1::Type::KIND_STRING, "topic");
  v1::Node with_options = Node(topic);
  *with_options.mutable_schema() = node.schema();
  auto reader = MustOpen(with_options);
  ASSERT_TRUE(ReadRows(*reader, 1).ok());
  const Batch& batch = reader->out.batches[OutputPort::kMain].at(0);
  EXPECT_EQ(batch.column(0).values<int64_t>()[0], 0);
  EXPECT_EQ(batch.column(1).StringAt(0), "row");
  EXPECT_EQ(batch.column(2).StringAt(0), "the key");
  EXPECT_EQ(batch.column(3).values<int64_t>()[0], 1'700'000'000'123'000);
  EXPECT_EQ(batch.column(4).values<int32_t>()[0], 0);
  EXPECT_EQ(batch.column(5).StringAt(0), topic);
}

TEST_P(KafkaSourceTest, BadMessagesBecomeDeadLettersWithTheirOrigin) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{R"({"line":"good"})", 0}, {"{broken", 0, "k"}, {R"({"line":"too"})", 0}});
  v1::Node node = Node(topic, {{"scan.bounded.mode", "latest-offset"}});
  node.mutable_source()->set_format("json");
  auto reader = MustOpen(node);
  ASSERT_TRUE(ReadToEnd(*reader).ok());
  EXPECT_THAT(reader->out.Texts(), ElementsAre("good", "too"));
  ASSERT_EQ(reader->out.batches[OutputPort::kDeadLetter].size(), 1u);
  const Batch& letters = reader->out.batches[OutputPort::kDeadLetter][0];
  ASSERT_EQ(letters.rows(), 1);
  EXPECT_EQ(letters.column(0).StringAt(0), "src");
  EXPECT_EQ(letters.column(1).StringAt(0), topic);
  EXPECT_EQ(letters.column(2).values<int32_t>()[0], 0);
  EXPECT_EQ(letters.column(3).values<int64_t>()[0], 1);
  EXPECT_EQ(letters.column(7).StringAt(0), "k");
  EXPECT_EQ(letters.column(8).StringAt(0), "{broken");
  EXPECT_EQ(reader->counters.rows_in.value(), 3u);
  EXPECT_EQ(reader->counters.rows_dead_lettered.value(), 1u);
}

TEST_P(KafkaSourceTest, AMissingTopicIsNamedWithAHint) {
  const auto splits = Discover(Node("no-such-topic"));
  EXPECT_EQ(splits.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(splits.status().message()),
              testing::AllOf(HasSubstr("no-such-topic"), HasSubstr("create it")));
}

TEST_P(KafkaSourceTest, AnUnreachableBrokerIsNamed) {
  const auto splits = Discover(Node("t", {{"properties.bootstrap.servers", "127.0.0.1:1"},
                                          {"properties.default.api.timeout.ms", "300"}}));
  EXPECT_EQ(splits.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(splits.status().message()), HasSubstr("127.0.0.1:1"));
}

TEST_P(KafkaSourceTest, APositionThatIsGoneIsDataLossWithTheGapInNumbers) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"0"}, {"1"}, {"2"}, {"3"}});
  DeleteRecordsBefore(topic, 0, 3);
  const v1::Node node = Node(topic);
  const auto before =
      OpenAt(node, {{.id = topic + "/0", .position = EncodeKafkaPosition({.offset = 1})}});
  EXPECT_EQ(before.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(
      std::string(before.status().message()),
      testing::AllOf(HasSubstr("next=1"), HasSubstr("first_available=3"), HasSubstr("missing=2")));
  const auto after =
      OpenAt(node, {{.id = topic + "/0", .position = EncodeKafkaPosition({.offset = 9})}});
  EXPECT_EQ(after.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(after.status().message()), HasSubstr("missing=5"));
}

TEST_P(KafkaSourceTest, TheFirstRowOfAFreshClientComesSoon) {
  const std::string topic = CreateTopic(1);
  Produce(topic, {{"row"}});
  const v1::Node node = Node(topic);
  const auto splits = Discover(node);
  ASSERT_TRUE(splits.ok());
  const int64_t begin_ns = env_value_.clock.MonotonicNanos();
  auto reader = OpenAt(node, *splits);
  ASSERT_TRUE(reader.ok());
  ASSERT_TRUE(ReadRows(**reader, 1).ok());
  RecordProperty("first_row_ms",
                 std::to_string((env_value_.clock.MonotonicNanos() - begin_ns) / 1'000'000));
  EXPECT_THAT((*reader)->out.Texts(), ElementsAre("row"));
}

const auto kFetchName = [](const testing::TestParamInfo<const char*>& info) {
  return std::string(info.param);
};
INSTANTIATE_TEST_SUITE_P(Fetch, KafkaSourceTest, testing::Values("native", "librdkafka"),
                         kFetchName);
INSTANTIATE_TEST_SUITE_P(Fetch, UpsertKafkaSourceTest, testing::Values("native", "librdkafka"),
                         kFetchName);

}  // namespace
}  // namespace millrace
