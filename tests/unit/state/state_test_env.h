// What state tests share: an Env with a disk in memory, storage on it, a SUM and COUNT layout,
// keys.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/env.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/columns/keys.h"
#include "runtime/state/memory_budget.h"
#include "runtime/state/open_state_store.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {

// State uses the disk alone. Timers run when the test says so, and move the clock.
class StateTestEnv : public Clock, public Network, public Executor, public Random {
 public:
  MemoryDisk disk;
  Env env{.clock = *this, .disk = disk, .network = *this, .executor = *this, .random = *this};

  // Moved by the test alone.
  absl::Time now = absl::UnixEpoch();

  absl::Time Now() override { return now; }
  int64_t MonotonicNanos() override { return now_ns_; }
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string&, Accept) override {
    return absl::UnimplementedError("no network");
  }
  std::shared_ptr<Connection> Connect(const std::string&, ConnectionHandlers) override {
    return nullptr;
  }
  void RunBlocking(absl::AnyInvocable<void() &&> work) override { std::move(work)(); }
  void RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) override {
    timers_.emplace(now_ns_ + absl::ToInt64Nanoseconds(delay), std::move(work));
  }
  // False when there is no timer.
  bool RunTimer() {
    if (timers_.empty()) return false;
    auto timer = timers_.extract(timers_.begin());
    now_ns_ = std::max(now_ns_, timer.key());
    std::move(timer.mapped())();
    return true;
  }
  uint64_t Next() override { return 4; }
  bool OneIn(uint32_t) override { return false; }

 private:
  int64_t now_ns_ = 0;
  std::multimap<int64_t, absl::AnyInvocable<void() &&>> timers_;
};

// Two words: a sum and a count.
class SumCountLayout final : public AccumulatorLayout {
 public:
  size_t width() const override { return 16; }
  void Merge(uint8_t* into, const uint8_t* from) const override {
    for (size_t at = 0; at < 16; at += 8) {
      int64_t a;
      int64_t b;
      std::memcpy(&a, into + at, 8);
      std::memcpy(&b, from + at, 8);
      a += b;
      std::memcpy(into + at, &a, 8);
    }
  }
};

inline EncodedKeys KeysOf(const std::vector<std::string>& keys) {
  EncodedKeys encoded;
  encoded.offsets.push_back(0);
  for (const std::string& key : keys) {
    encoded.bytes += key;
    encoded.offsets.push_back(static_cast<uint32_t>(encoded.bytes.size()));
    encoded.hashes.push_back(HashKey(key));
  }
  return encoded;
}

// Adds `amount` to the sum and 1 to the count of every key.
inline absl::Status AddAll(PaneTable& table, int64_t pane, const std::vector<std::string>& keys,
                           int64_t amount) {
  const EncodedKeys encoded = KeysOf(keys);
  std::vector<uint8_t*> values(keys.size());
  if (absl::Status status = table.Upsert(pane, encoded, {}, values); !status.ok()) return status;
  for (uint8_t* value : values) {
    int64_t words[2];
    std::memcpy(words, value, 16);
    words[0] += amount;
    words[1] += 1;
    std::memcpy(value, words, 16);
  }
  return absl::OkStatus();
}

using SumAndCount = std::pair<int64_t, int64_t>;
using MergedMap = std::map<std::string, SumAndCount>;

inline MergedMap MergeAll(PaneTable& table, const std::vector<int64_t>& panes, size_t rows_max,
                          uint32_t max_parallelism) {
  MergedMap merged;
  auto cursor = table.Merge(panes);
  EXPECT_TRUE(cursor.ok()) << cursor.status();
  PaneTable::MergedRows rows;
  while (true) {
    const absl::Status status = (*cursor)->Next(rows_max, rows);
    EXPECT_TRUE(status.ok()) << status;
    if (rows.rows() == 0 || !status.ok()) break;
    EXPECT_LE(rows.rows(), rows_max);
    for (size_t i = 0; i < rows.rows(); ++i) {
      SumAndCount value;
      std::memcpy(&value.first, rows.values.data() + i * 16, 8);
      std::memcpy(&value.second, rows.values.data() + i * 16 + 8, 8);
      const std::string key(rows.key(i));
      EXPECT_TRUE(merged.emplace(key, value).second) << "twice: " << key;
      EXPECT_EQ(rows.key_groups[i], KeyGroupOf(HashKey(key), max_parallelism));
    }
  }
  return merged;
}

inline std::unique_ptr<CheckpointStorage> OpenTestStorage(Disk& disk) {
  auto storage = OpenCheckpointStorage("file:///checkpoints", {.disk = &disk});
  EXPECT_TRUE(storage.ok()) << storage.status();
  return *std::move(storage);
}

inline std::vector<v1::Segment> Checkpoint(StateStore& store, uint64_t epoch) {
  absl::StatusOr<SegmentWork> work = store.FreezeEpoch(Epoch{epoch});
  EXPECT_TRUE(work.ok()) << work.status();
  if (!work.ok()) return {};
  absl::StatusOr<std::vector<v1::Segment>> segments = (*std::move(work))();
  EXPECT_TRUE(segments.ok()) << segments.status();
  return segments.ok() ? *segments : std::vector<v1::Segment>{};
}

}  // namespace millrace
