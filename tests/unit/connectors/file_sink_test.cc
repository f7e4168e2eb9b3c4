// Files appear whole, once, when their epoch is committed, whoever commits it.
#include <gmock/gmock.h>

#include "tests/unit/connectors/connector_harness.h"
#include "tests/unit/connectors/stored_outbox.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class FileSinkTest : public ConnectorTest {
 protected:
  struct Writer {
    v1::Node node;
    OperatorCounters counters;
    std::unique_ptr<SinkContext> context;
    std::unique_ptr<Sink> sink;
  };

  std::unique_ptr<Writer> MustOpen(Outbox& outbox, uint64_t generation,
                                   const Options& options = {}) {
    auto writer = std::make_unique<Writer>();
    writer->node.set_uid("out");
    writer->node.mutable_sink()->set_connector("file");
    writer->node.mutable_sink()->set_format("csv");
    auto& map = *writer->node.mutable_sink()->mutable_options();
    map["path"] = out().string();
    for (const auto& [name, value] : options) map[name] = value;
    writer->context = std::make_unique<SinkContext>(SinkContext{.node = writer->node,
                                                                .schema = schema_,
                                                                .counters = writer->counters,
                                                                .env = env_,
                                                                .job_id = "j1",
                                                                .generation = {generation},
                                                                .slot = 3,
                                                                .outbox = outbox});
    auto sink = (*FindConnector("file"))->make_sink(writer->node);
    EXPECT_TRUE(sink.ok()) << sink.status();
    writer->sink = *std::move(sink);
    EXPECT_TRUE(writer->sink->Open(*writer->context).ok());
    return writer;
  }

  void Write(Writer& writer, int64_t first, int64_t count) {
    BatchBuilder builder(schema_);
    for (int64_t i = 0; i < count; ++i) {
      builder.column(0).AppendInt64(first + i);
      builder.column(1).AppendString("a,b");
    }
    ASSERT_TRUE(writer.sink->Write(builder.Finish()).ok());
  }
  static v1::CommitToken MustPrepare(Writer& writer, uint64_t epoch) {
    auto token = writer.sink->Prepare({epoch});
    EXPECT_TRUE(token.ok()) << token.status();
    return *token;
  }

  std::filesystem::path out() { return folder() / "out"; }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(out())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  const SchemaPtr schema_ = Schema::Make({{.id = 1, .name = "n", .type = TypeKind::kInt64},
                                          {.id = 2, .name = "text", .type = TypeKind::kString}});
};

TEST_F(FileSinkTest, NothingIsThereBeforeTheCommit) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1);
  Write(*writer, 1, 2);
  const v1::CommitToken token = MustPrepare(*writer, 7);
  EXPECT_THAT(Names(), IsEmpty());
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_THAT(Names(), ElementsAre("part-j1-00003-0000000007"));
  EXPECT_EQ(ReadFile(out() / Names()[0]), "1,\"a,b\"\n2,\"a,b\"\n");
}

TEST_F(FileSinkTest, AnEmptyEpochMakesNoFile) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1);
  ASSERT_TRUE(writer->sink->Commit(MustPrepare(*writer, 1)).ok());
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(FileSinkTest, TheNextOwnerFinishesWhatTheFormerBegan) {
  StoredOutbox outbox("out", 3);
  auto first = MustOpen(outbox, 1);
  Write(*first, 1, 1);
  const v1::CommitToken token = MustPrepare(*first, 7);
  // What a process leaves that dies while it writes.
  WriteFile("out/.part-j1-00003-0000000007.1.tmp", "1,\"a,");
  first.reset();
  const auto second = MustOpen(outbox, 2);
  ASSERT_TRUE(second->sink->Commit(token).ok());
  EXPECT_EQ(ReadFile(out() / "part-j1-00003-0000000007"), "1,\"a,b\"\n");
}

TEST_F(FileSinkTest, CommittingAgainChangesNothing) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1);
  Write(*writer, 1, 1);
  const v1::CommitToken token = MustPrepare(*writer, 7);
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  const int reads = outbox.reads();
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_EQ(outbox.reads(), reads);
  EXPECT_THAT(Names(), ElementsAre("part-j1-00003-0000000007"));
}

TEST_F(FileSinkTest, AnAbandonedEpochComesWithTheNextOne) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1);
  Write(*writer, 1, 1);
  const v1::CommitToken abandoned = MustPrepare(*writer, 7);
  Write(*writer, 2, 1);
  const v1::CommitToken token = MustPrepare(*writer, 8);
  // The task commits both, because epoch 8 includes what 7 had sealed.
  ASSERT_TRUE(writer->sink->Commit(abandoned).ok());
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_THAT(Names(),
              UnorderedElementsAre("part-j1-00003-0000000007", "part-j1-00003-0000000008"));
}

TEST_F(FileSinkTest, EveryFileHasTheHeader) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1, {{"csv.header", "true"}});
  Write(*writer, 1, 1);
  ASSERT_TRUE(writer->sink->Commit(MustPrepare(*writer, 1)).ok());
  Write(*writer, 2, 1);
  ASSERT_TRUE(writer->sink->Commit(MustPrepare(*writer, 2)).ok());
  EXPECT_EQ(ReadFile(out() / "part-j1-00003-0000000001"), "n,text\n1,\"a,b\"\n");
  EXPECT_EQ(ReadFile(out() / "part-j1-00003-0000000002"), "n,text\n2,\"a,b\"\n");
}

TEST_F(FileSinkTest, OutputThatIsGoneFromTheCheckpointFailsTheCommit) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1);
  Write(*writer, 1, 1);
  const v1::CommitToken token = MustPrepare(*writer, 7);
  outbox.segments().clear();
  EXPECT_EQ(writer->sink->Commit(token).code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(std::filesystem::exists(out() / "part-j1-00003-0000000007"));
}

// The columns of PARTITIONED BY name folders and are not in the files; every folder has its own
// file.
TEST_F(FileSinkTest, RowsGoIntoTheFoldersOfTheirPartitions) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1, {{"partition-by", "text"}, {"csv.header", "true"}});
  BatchBuilder builder(schema_);
  const char* texts[] = {"12:00", "a/../b", "", "..", "12:00", "plain 1"};
  for (int64_t i = 0; i < 6; ++i) {
    builder.column(0).AppendInt64(i);
    builder.column(1).AppendString(texts[i]);
  }
  builder.column(0).AppendInt64(6);
  builder.column(1).AppendNull();
  ASSERT_TRUE(writer->sink->Write(builder.Finish()).ok());
  const v1::CommitToken token = MustPrepare(*writer, 7);
  EXPECT_THAT(Names(), IsEmpty());
  // A process that died between two of the files.
  std::filesystem::create_directories(out() / "text=plain 1");
  WriteFile("out/text=plain 1/part-j1-00003-0000000007", "n\n5\n");
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("text=12%3A00", "text=a%2F..%2Fb", "text=%2E%2E",
                                            "text=__DEFAULT_PARTITION__", "text=plain 1"));
  const auto file = [&](const std::string& folder) {
    return ReadFile(out() / folder / "part-j1-00003-0000000007");
  };
  EXPECT_EQ(file("text=12%3A00"), "n\n0\n4\n");
  EXPECT_EQ(file("text=__DEFAULT_PARTITION__"), "n\n2\n6\n");
  EXPECT_EQ(file("text=plain 1"), "n\n5\n");
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_EQ(file("text=12%3A00"), "n\n0\n4\n");
}

TEST_F(FileSinkTest, MorePartitionsThanOpenFiles) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 1, {{"partition-by", "n"}});
  Write(*writer, 0, 150);
  Write(*writer, 0, 150);
  ASSERT_TRUE(writer->sink->Commit(MustPrepare(*writer, 1)).ok());
  ASSERT_EQ(Names().size(), 150u);
  for (int n = 0; n < 150; ++n) {
    ASSERT_EQ(ReadFile(out() / ("n=" + std::to_string(n)) / "part-j1-00003-0000000001"),
              "\"a,b\"\n\"a,b\"\n");
  }
}

}  // namespace
}  // namespace millrace
