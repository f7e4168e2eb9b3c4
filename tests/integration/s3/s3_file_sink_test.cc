// Files in a store: whatever happens to requests and writers, each row is there once in the end,
// and nothing is left that nobody sees.
#include <gmock/gmock.h>

#include <algorithm>
#include <sstream>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/connector.h"
#include "runtime/columns/batch.h"
#include "runtime/task/counters.h"
#include "tests/integration/s3/fault_proxy.h"
#include "tests/integration/s3/s3_fixture.h"
#include "tests/unit/connectors/stored_outbox.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class S3FileSinkTest : public ::testing::Test {
 protected:
  using Options = std::map<std::string, std::string>;

  struct Writer {
    v1::Node node;
    OperatorCounters counters;
    std::unique_ptr<SinkContext> context;
    std::unique_ptr<Sink> sink;
  };

  static void SetUpTestSuite() { MakeBucket(ServerUrl("MILLRACE_TEST_S3")); }

  static int ServerPort() {
    const std::string url = ServerUrl("MILLRACE_TEST_S3");
    return std::stoi(url.substr(url.rfind(':') + 1));
  }
  static S3Options Impatient(const std::string& url) {
    S3Options options = OptionsFor(url);
    options.tries_max = 3;
    return options;
  }
  std::string path(const std::string& below = "") const {
    return Concat("s3://", kBucket, "/", prefix_, below);
  }

  std::unique_ptr<Writer> MustOpen(Outbox& outbox, uint64_t restored_epoch,
                                   const Options& options = {}) {
    auto writer = std::make_unique<Writer>();
    writer->node.set_uid("out");
    writer->node.mutable_sink()->set_connector("file");
    writer->node.mutable_sink()->set_format("csv");
    auto& map = *writer->node.mutable_sink()->mutable_options();
    map["path"] = path();
    for (const auto& [name, value] : options) map[name] = value;
    writer->context = std::make_unique<SinkContext>(SinkContext{.node = writer->node,
                                                                .schema = schema_,
                                                                .counters = writer->counters,
                                                                .env = by_proxy_.env(),
                                                                .job_id = "j1",
                                                                .generation = {++generations_},
                                                                .restored_epoch = {restored_epoch},
                                                                .slot = 3,
                                                                .outbox = outbox,
                                                                .s3 = by_proxy_.shared_access()});
    auto sink = (*FindConnector("file"))->make_sink(writer->node);
    EXPECT_TRUE(sink.ok()) << sink.status();
    writer->sink = *std::move(sink);
    const absl::Status opened = writer->sink->Open(*writer->context);
    EXPECT_TRUE(opened.ok()) << opened;
    return writer;
  }
  void Write(Writer& writer, int64_t first, int64_t count, std::string_view text = "x") {
    BatchBuilder builder(schema_);
    for (int64_t i = 0; i < count; ++i) {
      builder.column(0).AppendInt64(first + i);
      builder.column(1).AppendString(text);
    }
    ASSERT_TRUE(writer.sink->Write(builder.Finish()).ok());
  }
  static v1::CommitToken MustPrepare(Writer& writer, uint64_t epoch) {
    auto token = writer.sink->Prepare({epoch});
    EXPECT_TRUE(token.ok()) << token.status();
    return *token;
  }

  // The lines of all parts of a folder, by the way around the proxy.
  std::vector<std::string> Lines(const std::string& below = "") {
    const auto storage = direct_.access().Open(path(below)).value();
    std::vector<std::string> lines;
    const std::vector<std::string> names = storage->List().value();
    for (const std::string& name : names) {
      const auto file = storage->Open(name).value();
      std::string bytes(file->size(), '\0');
      EXPECT_TRUE(file->Read(0, bytes.size(), bytes.data()).ok());
      std::istringstream in(bytes);
      for (std::string line; std::getline(in, line);) lines.push_back(line);
    }
    return lines;
  }
  std::vector<UnfinishedFile> Unfinished() {
    return direct_.access().Open(path()).value()->ListUnfinished().value();
  }

  const std::string prefix_ = NewPrefix();
  FaultProxy proxy_{ServerPort()};
  Fixture by_proxy_{Impatient(proxy_.url()), TestEnv()};
  Fixture direct_{OptionsFor(ServerUrl("MILLRACE_TEST_S3")), TestEnv()};
  uint64_t generations_ = 0;
  const SchemaPtr schema_ = Schema::Make({{.id = 1, .name = "n", .type = TypeKind::kInt64},
                                          {.id = 2, .name = "text", .type = TypeKind::kString}});
};

TEST_F(S3FileSinkTest, APartIsThereFromTheCommitOn) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 0, {{"csv.header", "true"}});
  Write(*writer, 1, 2);
  const v1::CommitToken token = MustPrepare(*writer, 7);
  EXPECT_THAT(Lines(), IsEmpty());
  for (int times = 0; times < 2; ++times) {
    ASSERT_TRUE(writer->sink->Commit(token).ok());
    EXPECT_THAT(Lines(), ElementsAre("n,text", "1,x", "2,x"));
  }
  EXPECT_THAT(direct_.access().Open(path()).value()->List().value(),
              ElementsAre("part-j1-00003-0000000007"));
}

TEST_F(S3FileSinkTest, PartitionsArePrefixes) {
  StoredOutbox outbox("out", 3);
  const auto writer = MustOpen(outbox, 0, {{"partition-by", "text"}});
  Write(*writer, 1, 2, "a:b");
  Write(*writer, 3, 1, "c");
  ASSERT_TRUE(writer->sink->Commit(MustPrepare(*writer, 1)).ok());
  EXPECT_THAT(Lines("/text=a%3Ab"), ElementsAre("1", "2"));
  EXPECT_THAT(Lines("/text=c"), ElementsAre("3"));
}

// Requests fail in every way, also after the store has done what they asked for. Whoever commits
// gives up after a few tries; then a new owner begins. 1000 faults: MILLRACE_TEST_SCALE=4.
TEST_F(S3FileSinkTest, NoRowIsLostOrDoubledWhateverHappensToRequests) {
  uint64_t state = 1;
  const auto chance = [&state](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  absl::Mutex mutex;
  int faults = 0;
  proxy_.SetPlan([&](const std::string&) {
    constexpr Fault kFaults[] = {Fault::kServerError, Fault::kSlowDown, Fault::kDropRequest,
                                 Fault::kLoseReply, Fault::kCutReply};
    absl::MutexLock lock(&mutex);
    if (chance(3) != 0) return Fault::kNone;
    ++faults;
    return kFaults[chance(std::size(kFaults))];
  });
  const std::string block(100'000, 'z');
  std::vector<std::string> expected;
  StoredOutbox outbox("out", 3);
  auto writer = MustOpen(outbox, 0);
  int64_t next = 0;
  int restarts = 0;
  uint64_t epoch = 0;
  const char* scale = std::getenv("MILLRACE_TEST_SCALE");
  const int faults_wanted = 250 * (scale == nullptr ? 1 : std::atoi(scale));
  while (faults < faults_wanted) {
    ++epoch;
    // One in twenty goes up in parts.
    const bool large = chance(20) == 0;
    const auto rows = static_cast<int64_t>(large ? 60 : chance(4));
    Write(*writer, next, rows, large ? block : "x");
    for (int64_t i = 0; i < rows; ++i) expected.push_back(Concat(next + i, large ? ",z" : ",x"));
    next += rows;
    const v1::CommitToken token = MustPrepare(*writer, epoch);
    while (true) {
      const absl::Status committed = writer->sink->Commit(token);
      if (committed.ok()) break;
      ASSERT_TRUE(absl::IsUnavailable(committed) || absl::IsDeadlineExceeded(committed))
          << committed;
      ++restarts;
      writer = MustOpen(outbox, epoch);
    }
  }
  proxy_.SetPlan(nullptr);
  std::vector<std::string> lines = Lines();
  for (std::string& line : lines) line.resize(line.find(',') + 2);
  std::sort(lines.begin(), lines.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(lines == expected, true) << lines.size() << " of " << expected.size();
  EXPECT_GT(restarts, 3);
  EXPECT_THAT(Unfinished(), IsEmpty());
}

TEST_F(S3FileSinkTest, WhatACrashLeftInTheStoreGoes) {
  StoredOutbox outbox("out", 3);
  auto first = MustOpen(outbox, 0);
  Write(*first, 1, 1, std::string(6 << 20, 'a'));
  const v1::CommitToken token = MustPrepare(*first, 7);
  // As if it were killed before the last request: neither that nor the cleaning comes through.
  proxy_.SetPlan([](const std::string& line) {
    const bool ends = line.find("uploadId=") != line.npos && !line.starts_with("PUT");
    return ends ? Fault::kDropRequest : Fault::kNone;
  });
  ASSERT_FALSE(first->sink->Commit(token).ok());
  proxy_.SetPlan(nullptr);
  ASSERT_THAT(Unfinished(), SizeIs(1));
  const auto second = MustOpen(outbox, 7);
  ASSERT_TRUE(second->sink->Commit(token).ok());
  EXPECT_THAT(Lines(), SizeIs(1));
  EXPECT_THAT(Unfinished(), IsEmpty());
  // The former owner wakes up.
  EXPECT_TRUE(first->sink->Commit(token).ok());
  EXPECT_THAT(Lines(), SizeIs(1));
}

TEST_F(S3FileSinkTest, APlaceThatIsWrongIsSaid) {
  Writer writer;
  writer.node.mutable_sink()->set_connector("file");
  writer.node.mutable_sink()->set_format("csv");
  StoredOutbox outbox("out", 3);
  const auto open = [&](const std::string& path, std::shared_ptr<S3Access> s3) {
    (*writer.node.mutable_sink()->mutable_options())["path"] = path;
    writer.context = std::make_unique<SinkContext>(SinkContext{.node = writer.node,
                                                               .schema = schema_,
                                                               .counters = writer.counters,
                                                               .env = direct_.env(),
                                                               .outbox = outbox,
                                                               .s3 = std::move(s3)});
    writer.sink = (*FindConnector("file"))->make_sink(writer.node).value();
    return writer.sink->Open(*writer.context).ToString();
  };
  EXPECT_THAT(open("s3://b/x", direct_.shared_access()), HasSubstr("not a name of a bucket: 'b'"));
  EXPECT_THAT(open("s3://bucket/x?secret-access-key=plain", direct_.shared_access()),
              HasSubstr("must be a reference"));
  EXPECT_THAT(open(path(), nullptr), HasSubstr("no way to object stores"));
}

}  // namespace
}  // namespace millrace
