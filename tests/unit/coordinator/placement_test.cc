#include "coordinator/placement.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

v1::Chain MakeChain(uint32_t id, uint32_t parallelism) {
  v1::Chain chain;
  chain.set_id(id);
  chain.set_parallelism(parallelism);
  return chain;
}

PlacementWorker Host(const std::string& id, uint32_t cores) {
  return {.worker_id = id, .data_address = id + ":1", .cores = cores};
}

std::map<std::string, int> Counts(const std::vector<v1::Task>& tasks, int chain = -1) {
  std::map<std::string, int> counts;
  for (const v1::Task& task : tasks) {
    if (chain < 0 || task.key().chain() == static_cast<uint32_t>(chain)) ++counts[task.worker_id()];
  }
  return counts;
}

TEST(PlacementTest, SpreadsEveryChainEvenlyAndCoversAllKeyGroups) {
  const auto tasks =
      PlaceTasks({MakeChain(0, 4), MakeChain(1, 4)}, 256, {Host("a", 2), Host("b", 2)}, {});
  ASSERT_EQ(tasks.size(), 8u);
  EXPECT_THAT(Counts(tasks, 0), ElementsAre(Pair("a", 2), Pair("b", 2)));
  EXPECT_THAT(Counts(tasks, 1), ElementsAre(Pair("a", 2), Pair("b", 2)));
  uint32_t next = 0;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(tasks[i].key_group_first(), next);
    next = tasks[i].key_group_last() + 1;
    EXPECT_EQ(tasks[i].data_address(), tasks[i].worker_id() + ":1");
  }
  EXPECT_EQ(next, 256u);
}

TEST(PlacementTest, WorkersWithMoreCoresGetMore) {
  EXPECT_THAT(Counts(PlaceTasks({MakeChain(0, 6)}, 256, {Host("big", 4), Host("small", 2)}, {})),
              ElementsAre(Pair("big", 4), Pair("small", 2)));
}

TEST(PlacementTest, TheOrderOfWorkersDoesNotMatter) {
  const std::vector<v1::Chain> chains = {MakeChain(0, 3), MakeChain(1, 5)};
  const auto one = PlaceTasks(chains, 64, {Host("a", 2), Host("b", 1), Host("c", 4)}, {});
  const auto two = PlaceTasks(chains, 64, {Host("c", 4), Host("b", 1), Host("a", 2)}, {});
  ASSERT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].SerializeAsString(), two[i].SerializeAsString());
  }
}

TEST(PlacementTest, TasksStayWhereTheyWereWhenThatIsFair) {
  const std::vector<v1::Chain> chains = {MakeChain(0, 4)};
  const auto before = PlaceTasks(chains, 256, {Host("a", 2), Host("b", 2)}, {});
  // `a` is replaced by `c`: the tasks of `b` do not move.
  const auto after = PlaceTasks(chains, 256, {Host("b", 2), Host("c", 2)}, before);
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].worker_id() != "b") continue;
    EXPECT_EQ(after[i].worker_id(), "b") << i;
  }
  EXPECT_THAT(Counts(after), ElementsAre(Pair("b", 2), Pair("c", 2)));
}

TEST(PlacementTest, TasksOfOneIndexComeTogether) {
  const auto tasks =
      PlaceTasks({MakeChain(0, 2), MakeChain(1, 2)}, 256, {Host("a", 1), Host("b", 1)}, {});
  EXPECT_EQ(tasks[0].worker_id(), tasks[2].worker_id());
  EXPECT_EQ(tasks[1].worker_id(), tasks[3].worker_id());
}

TEST(PlacementTest, ASingleTaskAvoidsTheBusyWorker) {
  PlacementWorker busy = Host("a", 2);
  busy.tasks = 5;
  EXPECT_EQ(PlaceTasks({MakeChain(0, 1)}, 256, {busy, Host("b", 2)}, {})[0].worker_id(), "b");
}

}  // namespace
}  // namespace millrace
