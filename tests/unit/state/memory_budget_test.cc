#include "runtime/state/memory_budget.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(MemoryBudgetTest, GivesWhatTheOthersLeaveAndAtLeastAnEqualShare) {
  MemoryBudget budget(1000);
  budget.AddStore();
  budget.AddStore();
  budget.Charge(100);  // The other one.
  EXPECT_EQ(budget.ShareOf(0), 900u);
  budget.Charge(300);  // This one.
  EXPECT_EQ(budget.ShareOf(300), 900u);
  budget.Charge(800);  // This one is over the budget now: its share does not grow with it.
  EXPECT_EQ(budget.ShareOf(1100), 900u);
  budget.Charge(700);
  EXPECT_EQ(budget.ShareOf(1100), 500u);
  budget.RemoveStore();
  EXPECT_EQ(budget.ShareOf(1900), 1000u);
}

}  // namespace
}  // namespace millrace
