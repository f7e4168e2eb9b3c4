// Random work on state stores against a model of ordered maps: upserts, puts, deletes, scans,
// merges, drops, freezes, abandoned epochs, restores at other key ranges, with budgets from "evict
// at every step" to "never".
#include <algorithm>
#include <array>
#include <filesystem>
#include <random>
#include <set>
#include <tuple>

#include "gmock/gmock.h"
#include "tests/unit/state/state_test_env.h"

namespace millrace {
namespace {

constexpr uint32_t kMaxParallelism = 16;

uint32_t GroupOf(const std::string& key) { return KeyGroupOf(HashKey(key), kMaxParallelism); }

// Key group, key, value.
using Rows = std::vector<std::tuple<uint32_t, std::string, std::string>>;

struct Model {
  std::map<int64_t, MergedMap> panes;
  std::map<std::tuple<uint32_t, std::string>, std::string> rows;
  int64_t horizon = INT64_MIN;

  MergedMap Merged(const std::vector<int64_t>& numbers) const {
    MergedMap merged;
    for (const int64_t number : numbers) {
      const auto found = panes.find(number);
      if (found == panes.end()) continue;
      for (const auto& [key, value] : found->second) {
        merged[key].first += value.first;
        merged[key].second += value.second;
      }
    }
    return merged;
  }
};

struct Task {
  KeyGroupRange range;
  std::unique_ptr<StateStore> store;
  PaneTable* panes = nullptr;
  KeyedTable* rows = nullptr;
  std::vector<v1::Segment> segments;         // Of the last complete epoch.
  std::vector<v1::Segment> segments_before;  // Of the one before.
};

struct Setup {
  uint64_t seed;
  uint64_t budget;
  bool rocksdb;
};

class ModelRun {
 public:
  ~ModelRun() {
    tasks_.clear();
    for (const std::string& folder : cold_folders_) std::filesystem::remove_all(folder);
  }

  explicit ModelRun(const Setup& setup)
      : setup_(setup), random_(setup.seed), storage_(OpenTestStorage(env_.disk)) {}

  void Run(int steps) {
    OpenTasks(1, {});
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      Step();
    }
    CheckAll();
  }

  // How often a base segment was part of an epoch, and a task had cold rows when one ended.
  int bases() const { return bases_; }
  int evictions() const { return evictions_; }
  // Restores that went on from those of an epoch before, and that could not.
  int prepared() const { return prepared_; }
  int rebuilt() const { return rebuilt_; }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }

  std::string RandomKey() {
    // Short ones, empty ones, ones that are prefixes of others, long ones.
    const uint64_t number = Below(60);
    std::string key = number == 0 ? "" : "k" + std::to_string(number);
    if (number % 11 == 3) key = std::string(number, 'n');
    if (number % 7 == 1) key += std::string(40, 'x');
    if (number % 5 == 1) key += std::string("\0\0\0\1", 4);
    return key;
  }

  Task& TaskOf(uint32_t group) {
    return tasks_[TaskForKeyGroup(group, static_cast<uint32_t>(tasks_.size()), kMaxParallelism)];
  }

  void OpenTasks(uint32_t parallelism, const std::vector<Task>& old) {
    std::vector<Task> tasks;
    ++attempt_;
    // Now and then a budget that evicts at every step, or never.
    const uint64_t dice = Below(6);
    budget_ = std::make_unique<MemoryBudget>(dice == 0 ? 1 : dice == 1 ? 1 << 30 : setup_.budget);
    for (uint32_t i = 0; i < parallelism; ++i) {
      Task task;
      task.range = KeyGroupsOfTask(i, parallelism, kMaxParallelism);
      std::vector<v1::Segment> restore;
      for (const Task& former : old) {
        if (!former.range.Overlaps(task.range)) continue;
        restore.insert(restore.end(), former.segments.begin(), former.segments.end());
      }
      task.segments = restore;
      // As of the epoch before; sometimes the segments are none that can be built on.
      std::vector<v1::Segment> restore_before;
      for (const Task& former : old) {
        if (!former.range.Overlaps(task.range)) continue;
        restore_before.insert(restore_before.end(), former.segments_before.begin(),
                              former.segments_before.end());
      }
      const std::string prefix = "a" + std::to_string(attempt_) + "-t" + std::to_string(i);
      std::string cold_folder;
      if (setup_.rocksdb) {
        cold_folder =
            ::testing::TempDir() + "millrace-model-" + std::to_string(setup_.seed) + "-" + prefix;
      }
      StateStoreOptions options{.uid = "model",
                                .key_groups = task.range,
                                .max_parallelism = kMaxParallelism,
                                .storage = *storage_,
                                .env = env_.env,
                                .budget = *budget_,
                                .cold_folder = cold_folder,
                                .name_prefix = prefix,
                                .restore = restore,
                                .limits = {.deltas_min = 3, .deltas_max = 12}};
      std::unique_ptr<StateRestore> prepared;
      if (Below(2) == 0) {
        prepared = std::make_unique<StateRestore>(options);
        ASSERT_TRUE(prepared->Advance(*storage_, restore_before).ok());
        const absl::StatusOr<bool> went_on = prepared->Advance(*storage_, restore);
        ASSERT_TRUE(went_on.ok()) << went_on.status();
        ++(*went_on ? prepared_ : rebuilt_);
      }
      auto store = OpenStateStore(options, std::move(prepared));
      ASSERT_TRUE(store.ok()) << store.status();
      task.store = *std::move(store);
      task.panes = task.store->OpenPaneTable("panes", std::make_shared<SumCountLayout>()).value();
      task.rows = task.store->OpenKeyedTable("rows").value();
      tasks.push_back(std::move(task));
    }
    tasks_ = std::move(tasks);
  }

  void Step() {
    switch (Below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return Upsert();
      case 5:
      case 6:
        return Write();
      case 7:
        return Scan();
      case 8:
        return CheckMerge();
      case 9:
        return CheckRows();
      case 10:
        if (Below(3) == 0) Drop();
        return;
      case 11:
      case 12:
        return Freeze(/*complete=*/true);
      case 13:
        return Freeze(/*complete=*/false);
      default:
        if (Below(4) == 0) Restart();
    }
  }

  void Upsert() {
    const int64_t pane = next_pane_ + static_cast<int64_t>(Below(4)) - 1;
    if (pane <= now_.horizon) return;
    const auto amount = static_cast<int64_t>(Below(1000)) - 500;
    std::map<Task*, std::vector<std::string>> by_task;
    std::set<std::string> keys;
    for (uint64_t n = Below(40); n > 0; --n) keys.insert(RandomKey());
    for (const std::string& key : keys) {
      by_task[&TaskOf(GroupOf(key))].push_back(key);
      SumAndCount& value = now_.panes[pane][key];
      value.first += amount;
      value.second += 1;
    }
    for (const auto& [task, task_keys] : by_task) {
      ASSERT_TRUE(AddAll(*task->panes, pane, task_keys, amount).ok());
    }
  }

  // Rows come, change, grow and go, some of them within one epoch.
  void Write() {
    for (uint64_t n = 1 + Below(12); n > 0 && !::testing::Test::HasFailure(); --n) {
      const std::string key = RandomKey();
      const uint64_t what = Below(16);
      if (what < 7) {
        Put(key);
      } else if (what < 10) {
        Insert(key);
      } else {
        what < 15 ? Delete(key) : DeletePrefix(key);
      }
      if (Below(4) == 0) Get(RandomKey());
      if (Below(8) == 0) Scan();
    }
  }

  void Put(const std::string& key) {
    const uint32_t group = GroupOf(key);
    std::string value = std::to_string(random_());
    if (Below(4) == 0) value = value.substr(0, Below(8));
    if (Below(8) == 0) value += std::string(Below(4000), 'v');
    ASSERT_TRUE(TaskOf(group).rows->Put(group, key, value).ok());
    now_.rows[{group, key}] = std::move(value);
  }

  void Delete(const std::string& key) {
    const uint32_t group = GroupOf(key);
    ASSERT_TRUE(TaskOf(group).rows->Delete(group, key).ok());
    now_.rows.erase({group, key});
  }

  void Insert(const std::string& key) {
    const uint32_t group = GroupOf(key);
    const std::string value = std::to_string(random_());
    std::string there;
    const absl::StatusOr<bool> added = TaskOf(group).rows->Insert(group, key, value, &there);
    ASSERT_TRUE(added.ok()) << added.status();
    const auto [at, is_new] = now_.rows.try_emplace({group, key}, value);
    ASSERT_EQ(*added, is_new);
    if (!is_new) {
      ASSERT_EQ(there, at->second);
    }
  }

  void DeletePrefix(const std::string& key) {
    const uint32_t group = GroupOf(key);
    // Seldom short: most rows should live on.
    const uint64_t cut = std::min<uint64_t>(Below(Below(8) == 0 ? 40 : 2), key.size());
    const std::string prefix = key.substr(0, key.size() - cut);
    ASSERT_TRUE(TaskOf(group).rows->DeletePrefix(group, prefix).ok());
    std::erase_if(now_.rows, [&](const auto& row) {
      const auto& [row_group, row_key] = row.first;
      return row_group == group && row_key.starts_with(prefix);
    });
  }

  void Get(const std::string& key) {
    const uint32_t group = GroupOf(key);
    std::string value;
    const absl::StatusOr<bool> exists = TaskOf(group).rows->Get(group, key, &value);
    ASSERT_TRUE(exists.ok()) << exists.status();
    const auto found = now_.rows.find({group, key});
    ASSERT_EQ(*exists, found != now_.rows.end());
    if (*exists) {
      ASSERT_EQ(value, found->second);
    }
  }

  // The first rows, or all, of a group whose keys begin with a part of a key.
  void Scan() {
    const std::string key = RandomKey();
    const uint32_t group = GroupOf(key);
    const std::string prefix = key.substr(0, Below(key.size() + 1));
    const uint64_t rows_max = 1 + Below(8);
    Rows scanned, expected;
    const absl::Status status = TaskOf(group).rows->Scan(
        group, prefix, [&](std::string_view row_key, std::string_view value) {
          scanned.emplace_back(group, row_key, value);
          return scanned.size() < rows_max;
        });
    ASSERT_TRUE(status.ok()) << status;
    for (auto at = now_.rows.lower_bound({group, prefix});
         at != now_.rows.end() && expected.size() < rows_max; ++at) {
      const auto& [row_group, row_key] = at->first;
      if (row_group != group || !row_key.starts_with(prefix)) break;
      expected.emplace_back(group, row_key, at->second);
    }
    ASSERT_EQ(scanned, expected);
  }

  void Drop() {
    now_.horizon = next_pane_ - static_cast<int64_t>(Below(2));
    ++next_pane_;
    // Sometimes one task is ahead of the others.
    const bool all = Below(2) == 0;
    for (Task& task : tasks_) {
      if (!all && Below(2) == 0) continue;
      ASSERT_TRUE(task.panes->DropPanesUpTo(now_.horizon).ok());
      for (auto& [pane, rows] : now_.panes) {
        if (pane > now_.horizon) break;
        std::erase_if(rows,
                      [&](const auto& row) { return task.range.Contains(GroupOf(row.first)); });
      }
    }
  }

  void CheckMerge() {
    std::vector<int64_t> panes;
    for (int64_t pane = next_pane_ - 5; pane <= next_pane_ + 3; ++pane) {
      if (Below(3) > 0) panes.push_back(pane);
    }
    MergedMap merged;
    for (Task& task : tasks_) {
      merged.merge(MergeAll(*task.panes, panes, 1 + Below(20), kMaxParallelism));
    }
    ASSERT_EQ(merged, now_.Merged(panes));
  }

  // All rows, in order: tasks have ascending key groups.
  void CheckRows() {
    Rows rows, expected;
    for (Task& task : tasks_) {
      const absl::Status status =
          task.rows->ScanAll([&](uint32_t group, std::string_view key, std::string_view value) {
            rows.emplace_back(group, key, value);
            return true;
          });
      ASSERT_TRUE(status.ok()) << status;
    }
    for (const auto& [key, value] : now_.rows) {
      expected.emplace_back(std::get<0>(key), std::get<1>(key), value);
    }
    ASSERT_EQ(rows, expected);
    Get(RandomKey());
  }

  void CheckAll() {
    std::set<int64_t> live;
    std::vector<int64_t> expected;
    for (Task& task : tasks_) {
      for (const int64_t pane : task.panes->Panes()) live.insert(pane);
    }
    for (const auto& [pane, rows] : now_.panes) {
      if (!rows.empty()) expected.push_back(pane);
    }
    ASSERT_THAT(std::vector<int64_t>(live.begin(), live.end()),
                ::testing::ElementsAreArray(expected));
    MergedMap merged;
    for (Task& task : tasks_) merged.merge(MergeAll(*task.panes, expected, 7, kMaxParallelism));
    ASSERT_EQ(merged, now_.Merged(expected));
    CheckRows();
  }

  // An incomplete epoch: some tasks have done their work, the others have dropped it.
  void Freeze(bool complete) {
    ++epoch_;
    for (Task& task : tasks_) {
      absl::StatusOr<SegmentWork> work = task.store->FreezeEpoch(Epoch{epoch_});
      ASSERT_TRUE(work.ok()) << work.status();
      if (complete || Below(2) == 0) {
        absl::StatusOr<std::vector<v1::Segment>> segments = (*std::move(work))();
        ASSERT_TRUE(segments.ok()) << segments.status();
        if (complete) {
          task.segments_before = std::exchange(task.segments, *std::move(segments));
        }
        bases_ += !task.segments.empty() && task.segments[0].kind() == v1::Segment::KIND_STATE_BASE
                      ? 1
                      : 0;
        evictions_ += task.store->cold_bytes() > 0 ? 1 : 0;
      }
      if (!complete) task.store->AbandonEpoch(Epoch{epoch_});
    }
    if (complete) durable_ = now_;
  }

  void Restart() {
    std::vector<Task> old = std::move(tasks_);
    tasks_.clear();
    for (Task& task : old) task.store.reset();
    EXPECT_EQ(budget_->used(), 0);
    env_.disk.Crash();
    now_ = durable_;
    OpenTasks(1 + static_cast<uint32_t>(Below(4)), old);
    if (!::testing::Test::HasFailure()) CheckAll();
  }

  const Setup setup_;
  std::mt19937_64 random_;
  StateTestEnv env_;
  std::unique_ptr<CheckpointStorage> storage_;
  std::unique_ptr<MemoryBudget> budget_;
  std::vector<std::string> cold_folders_;
  std::vector<Task> tasks_;
  Model now_;
  Model durable_;
  int64_t next_pane_ = 10;
  uint64_t epoch_ = 0;
  int attempt_ = 0;
  int bases_ = 0;
  int evictions_ = 0;
  int prepared_ = 0;
  int rebuilt_ = 0;
};

void RunSeeds(uint64_t first, uint64_t last, int steps, bool rocksdb) {
  int bases = 0;
  int evictions = 0;
  int prepared = 0;
  int rebuilt = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    const uint64_t budget = std::array<uint64_t, 4>{2'000, 10'000, 30'000, 60'000}[seed % 4];
    SCOPED_TRACE("seed=" + std::to_string(seed) + " budget=" + std::to_string(budget));
    ModelRun run({.seed = seed, .budget = budget, .rocksdb = rocksdb});
    run.Run(steps);
    bases += run.bases();
    evictions += run.evictions();
    prepared += run.prepared();
    rebuilt += run.rebuilt();
    if (::testing::Test::HasFailure()) return;
  }
  // The work was worth it.
  EXPECT_GT(bases, 0);
  EXPECT_GT(evictions, 0);
  EXPECT_GT(prepared, 0);
  EXPECT_GT(rebuilt, 0);
}

TEST(StateStoreModelTest, AgreesWithTheModelInMemory) { RunSeeds(1, 150, 400, false); }

TEST(StateStoreModelTest, AgreesWithTheModelOnRocksdb) { RunSeeds(1000, 1007, 300, true); }

}  // namespace
}  // namespace millrace
