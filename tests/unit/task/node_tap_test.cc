#include "runtime/task/node_tap.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(NodeTapTest, ShowsTheRowsOfASecondAndCountsTheOthers) {
  NodeTap tap(10);
  EXPECT_EQ(tap.Take(4, kSecond).rows, 4);
  EXPECT_EQ(tap.Take(1000, kSecond).rows, 6);
  EXPECT_EQ(tap.Take(5, kSecond).rows, 0);
  const NodeTap::Share share = tap.Take(1000, kSecond + kSecond / 2);
  EXPECT_EQ(share.rows, 5);
  EXPECT_EQ(share.left_out, 994u + 5u) << "of before; its own are told later";
  EXPECT_EQ(tap.TakeLeftOut(kSecond + kSecond / 2), 0u) << "somebody was just told";
  EXPECT_EQ(tap.TakeLeftOut(3 * kSecond), 995u);
  EXPECT_EQ(tap.TakeLeftOut(5 * kSecond), 0u);
}

TEST(NodeTapTest, ARestSavesNoMoreThanASecond) {
  NodeTap tap(10);
  EXPECT_EQ(tap.Take(10, kSecond).rows, 10);
  EXPECT_EQ(tap.Take(1000, 100 * kSecond).rows, 10);
}

TEST(NodeTapTest, SlowTapsShowRowsInTheEnd) {
  NodeTap tap(1);
  int64_t shown = 0;
  for (int64_t i = 1; i <= 100; ++i) shown += tap.Take(1, i * kSecond / 10).rows;
  EXPECT_GE(shown, 9);
  EXPECT_LE(shown, 11);
}

}  // namespace
}  // namespace millrace
