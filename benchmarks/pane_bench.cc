// What does a pane table cost: per upserted row, per merged row, per frozen row, and with more
// state than memory?
//
//   pane_bench                          the kernels
//   pane_bench --spill [keys] [budget_mb]   one pane of many keys over the budget; prints peak RSS
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/check.h"
#include "runtime/base/real_env.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/columns/keys.h"
#include "runtime/state/memory_budget.h"
#include "runtime/state/open_state_store.h"

namespace millrace {
namespace {

constexpr size_t kBatchRows = 4096;

class CountLayout final : public AccumulatorLayout {
 public:
  size_t width() const override { return 8; }
  void Merge(uint8_t* into, const uint8_t* from) const override {
    int64_t a;
    int64_t b;
    std::memcpy(&a, into, 8);
    std::memcpy(&b, from, 8);
    a += b;
    std::memcpy(into, &a, 8);
  }
};

uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  return x;
}

// Keys as a BIGINT column encodes them.
void FillKeys(uint64_t first, uint64_t distinct, bool shuffled, EncodedKeys& keys) {
  keys.bytes.clear();
  keys.offsets.assign(1, 0);
  keys.hashes.clear();
  for (uint64_t i = first; i < first + kBatchRows; ++i) {
    const size_t begin = keys.bytes.size();
    keys.bytes += '\1';
    AppendOrderedInt64(static_cast<int64_t>((shuffled ? Mix(i) : i) % distinct), keys.bytes);
    keys.offsets.push_back(static_cast<uint32_t>(keys.bytes.size()));
    keys.hashes.push_back(HashKey(std::string_view(keys.bytes).substr(begin)));
  }
}

struct Store {
  explicit Store(uint64_t budget_bytes)
      : folder((std::filesystem::temp_directory_path() / "millrace-pane-bench").string()),
        budget(budget_bytes) {
    std::filesystem::remove_all(folder);
    auto opened = OpenCheckpointStorage("file://" + folder + "/checkpoints", {.disk = &env.disk});
    MILLRACE_CHECK(opened.ok());
    storage = *std::move(opened);
    auto made = OpenStateStore({.uid = "bench",
                                .key_groups = {0, 255},
                                .storage = *storage,
                                .env = env,
                                .budget = budget,
                                .cold_folder = folder + "/cold",
                                .name_prefix = "bench"});
    MILLRACE_CHECK(made.ok());
    store = *std::move(made);
    panes = store->OpenPaneTable("panes", std::make_shared<CountLayout>()).value();
  }
  ~Store() {
    store.reset();
    std::filesystem::remove_all(folder);
  }

  void Add(int64_t pane, const EncodedKeys& keys) {
    values.resize(kBatchRows);
    const absl::Status status = panes->Upsert(pane, keys, {}, values);
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    MILLRACE_CHECK(status.ok());
    for (uint8_t* value : values) ++*reinterpret_cast<int64_t*>(value);
  }

  const std::string folder;
  RealEnv real{RealEnvOptions{.io_threads = 1}};
  Env env = real.env();
  MemoryBudget budget;
  std::unique_ptr<CheckpointStorage> storage;
  std::unique_ptr<StateStore> store;
  PaneTable* panes = nullptr;
  std::vector<uint8_t*> values;
};

std::vector<EncodedKeys> Batches(uint64_t distinct) {
  std::vector<EncodedKeys> batches(64);
  for (size_t i = 0; i < batches.size(); ++i) {
    FillKeys(i * kBatchRows, distinct, /*shuffled=*/true, batches[i]);
  }
  return batches;
}

void BM_Upsert(benchmark::State& state) {
  const auto distinct = static_cast<uint64_t>(state.range(0));
  Store store(8ULL << 30);
  EncodedKeys keys;
  for (uint64_t first = 0; first < distinct; first += kBatchRows) {
    FillKeys(first, distinct, /*shuffled=*/false, keys);
    store.Add(1, keys);
  }
  const std::vector<EncodedKeys> batches = Batches(distinct);
  size_t next = 0;
  for (auto _ : state) store.Add(1, batches[next++ % batches.size()]);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBatchRows));
}
BENCHMARK(BM_Upsert)->Arg(60'000)->Arg(1'000'000)->Arg(10'000'000);

// Five panes of the same keys; items are rows of panes.
void BM_MergeFivePanes(benchmark::State& state) {
  const auto distinct = static_cast<uint64_t>(state.range(0));
  Store store(8ULL << 30);
  EncodedKeys keys;
  for (int64_t pane = 1; pane <= 5; ++pane) {
    for (uint64_t first = 0; first < distinct; first += kBatchRows) {
      FillKeys(first, distinct, /*shuffled=*/false, keys);
      store.Add(pane, keys);
    }
  }
  const std::vector<int64_t> panes = {1, 2, 3, 4, 5};
  PaneTable::MergedRows rows;
  for (auto _ : state) {
    auto cursor = store.panes->Merge(panes).value();
    size_t total = 0;
    do {
      MILLRACE_CHECK(cursor->Next(kBatchRows, rows).ok());
      total += rows.rows();
    } while (rows.rows() > 0);
    MILLRACE_CHECK(total == distinct);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(5 * distinct));
}
BENCHMARK(BM_MergeFivePanes)->Arg(60'000)->Arg(1'000'000);

// The pause of the task at a barrier, with this many dirty rows in a table of a million.
void BM_FreezeEpoch(benchmark::State& state) {
  Store store(8ULL << 30);
  EncodedKeys keys;
  uint64_t epoch = 0;
  const auto checkpoint = [&] {
    auto work = store.store->FreezeEpoch(Epoch{++epoch}).value();
    return std::move(work)().ok();
  };
  for (uint64_t first = 0; first < 1'000'000; first += kBatchRows) {
    FillKeys(first, 1'000'000, /*shuffled=*/false, keys);
    store.Add(1, keys);
  }
  MILLRACE_CHECK(checkpoint());
  for (auto _ : state) {
    state.PauseTiming();
    for (uint64_t first = 0; first < static_cast<uint64_t>(state.range(0)); first += kBatchRows) {
      FillKeys(first + epoch * 7919, 1'000'000, /*shuffled=*/true, keys);
      store.Add(1, keys);
    }
    state.ResumeTiming();
    auto work = store.store->FreezeEpoch(Epoch{++epoch}).value();
    state.PauseTiming();
    MILLRACE_CHECK(std::move(work)().ok());
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_FreezeEpoch)->Arg(4096)->Arg(102'400)->Iterations(10);

double Seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](timeval t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

uint64_t PeakRssBytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

// Every key twice in one pane, two checkpoints, one merge: the counts must all be 2.
int Spill(uint64_t distinct, uint64_t budget_bytes) {
  distinct = (distinct + kBatchRows - 1) / kBatchRows * kBatchRows;
  Store store(budget_bytes);
  EncodedKeys keys;
  const double begin = Seconds();
  uint64_t epoch = 0;
  for (int round = 0; round < 2; ++round) {
    for (uint64_t first = 0; first < distinct; first += kBatchRows) {
      FillKeys(first, distinct, /*shuffled=*/false, keys);
      store.Add(1, keys);
    }
    auto work = store.store->FreezeEpoch(Epoch{++epoch}).value();
    MILLRACE_CHECK(std::move(work)().ok());
  }
  const double written = Seconds();
  auto cursor = store.panes->Merge(std::vector<int64_t>{1}).value();
  PaneTable::MergedRows rows;
  uint64_t total = 0;
  bool right = true;
  do {
    const absl::Status status = cursor->Next(kBatchRows, rows);
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    MILLRACE_CHECK(status.ok());
    total += rows.rows();
    for (size_t i = 0; i < rows.rows(); ++i) {
      int64_t count;
      std::memcpy(&count, rows.values.data() + i * 8, 8);
      right &= count == 2;
    }
  } while (rows.rows() > 0);
  right &= total == distinct;
  const double merged = Seconds();
  std::printf("keys %" PRIu64 "  budget %" PRIu64 " MB  peak RSS %" PRIu64
              " MB  upsert+checkpoint %.0f ns/row  merge %.0f ns/key  cold %" PRIu64
              " MB  result %s\n",
              distinct, budget_bytes >> 20, PeakRssBytes() >> 20,
              (written - begin) * 1e9 / static_cast<double>(2 * distinct),
              (merged - written) * 1e9 / static_cast<double>(distinct),
              store.store->cold_bytes() >> 20, right ? "right" : "WRONG");
  return right ? 0 : 1;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--spill") {
    const uint64_t keys = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20'000'000;
    const uint64_t budget_mb = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 256;
    return millrace::Spill(keys, budget_mb << 20);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
