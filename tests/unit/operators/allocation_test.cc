// No allocation per row between the source and the sink: the calls of malloc are counted while
// Nexmark's bids go from JSON through filter, projection, exchange and window to JSON.
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <map>

#include "gtest/gtest.h"
#include "operators/all_operators.h"
#include "operators/connectors/nexmark/generator.h"
#include "operators/formats/format.h"
#include "runtime/exchange/router.h"
#include "runtime/task/counters.h"
#include "sql/graph_compiler.h"
#include "sql/node_kinds.h"
#include "tests/unit/state/state_test_env.h"

namespace {
std::atomic<uint64_t> allocations{0};
}  // namespace

// The sanitizers have an allocator of their own, which cannot be stood before.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  ++allocations;
  return __libc_realloc(old, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  ++allocations;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}
}
#define MILLRACE_COUNTS_ALLOCATIONS 1
#endif

namespace millrace {
namespace {

constexpr char kJob[] = R"(
name: allocations
nodes:
  - uid: events
    source:
      connector: kafka
      format: json
      options: {topic: t, properties.bootstrap.servers: "h:1"}
    schema:
      - event_type INT
      - auction BIGINT FROM 'bid.auction'
      - price BIGINT FROM 'bid.price'
      - url STRING FROM 'bid.url'
      - ts TIMESTAMP(3) FROM 'bid.dateTime'
  - {uid: bids, inputs: [events], filter: {predicate: event_type = 2}}
  - {uid: time, inputs: [bids], watermark: {time: ts, out_of_orderness: 4s}}
  - uid: columns
    inputs: [time]
    project: {columns: [auction, price * 2 AS price, url, ts]}
  - uid: counts
    inputs: [columns]
    window_aggregate:
      window: {kind: hop, time: ts, size: 10s, slide: 2s}
      keys: [auction]
      aggregates: [count(*) AS num, max(price) AS best]
  - {uid: out, inputs: [counts], sink: {connector: blackhole}}
)";

// Keeps what was emitted last; the rest of the chain is called by hand.
class LastBatch : public Emitter {
 public:
  using Emitter::Emit;
  void Emit(OutputPort, Batch batch) override { last = std::move(batch); }
  bool full() const override { return false; }
  Batch last;
};

class KeepLast : public ChannelSender {
 public:
  explicit KeepLast(Batch& last) : last_(last) {}
  void Send(ChannelItem item) override { last_ = std::move(item.batch); }
  bool HasCredit() override { return true; }
  absl::Status status() const override { return absl::OkStatus(); }
  size_t queued_bytes() const override { return 0; }

 private:
  Batch& last_;
};

struct Step {
  const v1::Node* node = nullptr;
  std::unique_ptr<StateStore> state;
  std::unique_ptr<OperatorContext> context;
  std::unique_ptr<Operator> op;
  LastBatch out;
};

class AllocationTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if !defined(MILLRACE_COUNTS_ALLOCATIONS)
    GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
    compiled_ = CompileYaml(kJob, {});
    ASSERT_FALSE(compiled_.has_errors());
    for (const char* uid : {"bids", "columns", "counts"}) OpenStep(uid);
    NexmarkGenerator generator({});
    std::vector<size_t> ends;
    for (uint64_t event = 0; event < kBatches * kBatchRows; ++event) {
      generator.AppendEventJson(event, bytes_);
      ends.push_back(bytes_.size());
    }
    bytes_.append(kMessagePadding, ' ');
    size_t begin = 0;
    for (const size_t end : ends) {
      messages_.push_back({.value = std::string_view(bytes_).substr(begin, end - begin)});
      begin = end;
    }
  }

  const v1::Node& Find(const std::string& uid) const {
    for (const v1::Node& node : compiled_.graph.nodes()) {
      if (node.uid() == uid) return node;
    }
    ADD_FAILURE() << uid;
    return compiled_.graph.nodes(0);
  }

  void OpenStep(const std::string& uid) {
    Step& step = steps_[uid];
    step.node = &Find(uid);
    const std::string from = uid == "bids" ? "events" : uid == "columns" ? "time" : "columns";
    step.state = *OpenStateStore({.uid = uid,
                                  .key_groups = {0, 255},
                                  .storage = *storage_,
                                  .env = env_.env,
                                  .budget = budget_,
                                  .name_prefix = uid});
    step.context.reset(
        new OperatorContext{.node = *step.node,
                            .input_schemas = {Schema::FromProto(Find(from).schema())},
                            .output_schema = Schema::FromProto(step.node->schema()),
                            .key_groups = {0, 255},
                            .state = step.state.get(),
                            .counters = counters_,
                            .clock = env_});
    step.op = *AllNodes().MakeOperator(*step.node);
    ASSERT_TRUE(step.op->Open(*step.context).ok());
  }

  const Batch& Run(const std::string& uid, const Batch& batch) {
    Step& step = steps_[uid];
    EXPECT_TRUE(step.op->Process(0, batch, step.out).ok());
    return step.out.last;
  }

  static constexpr size_t kBatches = 24;
  static constexpr size_t kWarmUp = 8;  // Batches in which tables and buffers grow.
  static constexpr size_t kBatchRows = 4096;

  CompiledGraph compiled_;
  StateTestEnv env_;
  std::unique_ptr<CheckpointStorage> storage_ = OpenTestStorage(env_.disk);
  MemoryBudget budget_{uint64_t{256} << 20};
  OperatorCounters counters_;
  std::map<std::string, Step> steps_;
  std::string bytes_;
  std::vector<Message> messages_;
};

TEST_F(AllocationTest, ARowCostsNone) {
  const SchemaPtr schema = Schema::FromProto(Find("events").schema());
  auto decoder = *(*FindFormat("json"))->make_decoder({schema}, {});
  auto encoder =
      *(*FindFormat("json"))->make_encoder(Schema::FromProto(Find("columns").schema()), {});
  BatchBuilder builder(schema, kBatchRows);
  std::vector<NoRow> bad;
  EncodedRows encoded;
  Batch sent;
  std::vector<std::unique_ptr<ChannelSender>> senders;
  for (int i = 0; i < 2; ++i) senders.push_back(std::make_unique<KeepLast>(sent));
  Router router({.routing = Routing::kHash, .key_columns = {0}}, std::move(senders));

  std::map<std::string, uint64_t> counted;
  const auto count = [&](const char* part, size_t batch, auto&& work) {
    const uint64_t before = allocations;
    work();
    if (batch >= kWarmUp) counted[part] += allocations - before;
  };
  for (size_t i = 0; i < kBatches; ++i) {
    Batch batch;
    count("decode", i, [&] {
      decoder->Decode(std::span(messages_).subspan(i * kBatchRows, kBatchRows), builder, bad);
      batch = builder.Finish();
    });
    count("filter", i, [&] { batch = Run("bids", batch); });
    count("project", i, [&] { batch = Run("columns", batch); });
    count("exchange", i, [&] { router.SendBatch(batch); });
    count("window", i, [&] { (void)Run("counts", sent); });
    count("encode", i, [&] { ASSERT_TRUE(encoder->Encode(batch, encoded).ok()); });
  }
  EXPECT_TRUE(bad.empty());
  constexpr double kRows = static_cast<double>((kBatches - kWarmUp) * kBatchRows);
  for (const auto& [part, number] : counted) {
    const double per_row = static_cast<double>(number) / kRows;
    RecordProperty(part, std::to_string(per_row));
    std::printf("%-10s %.4f allocations per row\n", part.c_str(), per_row);
    EXPECT_LT(per_row, 0.012) << part;
  }
}

}  // namespace
}  // namespace millrace
