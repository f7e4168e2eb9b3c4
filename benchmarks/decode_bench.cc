// What does an event cost before it is in a table: from JSON to columns, and to the tasks that own
// its key? Nexmark's events as the corpus has them; items are events.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "operators/connectors/nexmark/generator.h"
#include "operators/formats/format.h"
#include "runtime/base/check.h"
#include "runtime/columns/batch.h"
#include "runtime/exchange/router.h"

namespace millrace {
namespace {

constexpr uint64_t kEvents = 1 << 16;
constexpr size_t kBatchRows = 4096;

struct Corpus {
  Corpus() {
    NexmarkGenerator generator({});
    std::vector<size_t> ends;
    for (uint64_t event = 0; event < kEvents; ++event) {
      generator.AppendEventJson(event, bytes);
      ends.push_back(bytes.size());
    }
    bytes.append(kMessagePadding, ' ');
    size_t begin = 0;
    for (const size_t end : ends) {
      messages.push_back({.value = std::string_view(bytes).substr(begin, end - begin)});
      begin = end;
    }
  }
  std::string bytes;
  std::vector<Message> messages;
};

const Corpus& Events() {
  static const Corpus* const corpus = new Corpus;
  return *corpus;
}

Field Make(uint32_t id, const char* name, TypeKind type, const char* path = "") {
  return {.id = id, .name = name, .type = type, .path = path};
}

// The columns of q5 and of q0.
SchemaPtr Columns(int64_t count) {
  std::vector<Field> fields = {Make(1, "auction", TypeKind::kInt64, "bid.auction"),
                               Make(2, "dateTime", TypeKind::kTimestamp, "bid.dateTime"),
                               Make(3, "bidder", TypeKind::kInt64, "bid.bidder"),
                               Make(4, "price", TypeKind::kInt64, "bid.price"),
                               Make(5, "extra", TypeKind::kString, "bid.extra")};
  fields.resize(static_cast<size_t>(count));
  fields.push_back(Make(6, "event_type", TypeKind::kInt32));
  return Schema::Make(fields);
}

void BM_DecodeJson(benchmark::State& state) {
  const SchemaPtr schema = Columns(state.range(0));
  auto decoder = (*FindFormat("json"))->make_decoder({schema}, {}).value();
  BatchBuilder builder(schema, kBatchRows);
  std::vector<NoRow> bad;
  const std::span<const Message> all = Events().messages;
  for (auto _ : state) {
    for (size_t at = 0; at < all.size(); at += kBatchRows) {
      decoder->Decode(all.subspan(at, kBatchRows), builder, bad);
      benchmark::DoNotOptimize(builder.Finish());
    }
  }
  MILLRACE_CHECK(bad.empty());
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kEvents));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(Events().bytes.size()));
}
BENCHMARK(BM_DecodeJson)->Arg(2)->Arg(5);

// The bids of q0 as a sink writes them.
void BM_EncodeJson(benchmark::State& state) {
  const SchemaPtr schema = Columns(5);
  auto decoder = (*FindFormat("json"))->make_decoder({schema}, {}).value();
  auto encoder = (*FindFormat("json"))->make_encoder(schema, {}).value();
  BatchBuilder builder(schema, kBatchRows);
  std::vector<NoRow> bad;
  decoder->Decode(std::span(Events().messages).first(kBatchRows), builder, bad);
  const Batch batch = builder.Finish();
  EncodedRows rows;
  for (auto _ : state) {
    MILLRACE_CHECK(encoder->Encode(batch, rows).ok());
    benchmark::DoNotOptimize(rows.bytes.data());
  }
  state.SetItemsProcessed(state.iterations() * batch.rows());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(rows.bytes.size()));
}
BENCHMARK(BM_EncodeJson);

class Counter : public ChannelSender {
 public:
  void Send(ChannelItem item) override { benchmark::DoNotOptimize(item.batch.rows()); }
  bool HasCredit() override { return true; }
  absl::Status status() const override { return absl::OkStatus(); }
  size_t queued_bytes() const override { return 0; }
};

// Four BIGINT columns and a string of 68 bytes, to `range` tasks.
void BM_Partition(benchmark::State& state) {
  std::vector<Field> fields;
  for (uint32_t i = 1; i <= 4; ++i) fields.push_back(Make(i, "n", TypeKind::kInt64));
  fields.push_back(Make(5, "s", TypeKind::kString));
  BatchBuilder builder(Schema::Make(fields), kBatchRows);
  const std::string text(68, 'x');
  for (size_t row = 0; row < kBatchRows; ++row) {
    for (int c = 0; c < 4; ++c) builder.column(c).AppendInt64(static_cast<int64_t>(row * 7919));
    builder.column(4).AppendString(text);
  }
  const Batch batch = builder.Finish();
  std::vector<std::unique_ptr<ChannelSender>> senders;
  for (int64_t i = 0; i < state.range(0); ++i) senders.push_back(std::make_unique<Counter>());
  Router router({.routing = Routing::kHash, .key_columns = {0}}, std::move(senders));
  for (auto _ : state) router.SendBatch(batch);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatchRows));
}
BENCHMARK(BM_Partition)->Arg(2)->Arg(4);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
