#include "runtime/task/split_watermarks.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr EventTime At(int64_t us) { return {us}; }

TEST(SplitWatermarksTest, TheSlowestSplitLeads) {
  SplitWatermarks watermarks;
  watermarks.Configure({.out_of_orderness_us = 10});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  watermarks.AddSplit(1, EventTime::Min(), 0);
  watermarks.Observe(0, At(100), 1);
  EXPECT_EQ(watermarks.Current(1, false), EventTime::Min()) << "split 1 has shown nothing yet";
  watermarks.Observe(1, At(50), 2);
  EXPECT_EQ(watermarks.Current(2, false), At(40));
  watermarks.Observe(1, At(200), 3);
  EXPECT_EQ(watermarks.Current(3, false), At(90));
}

TEST(SplitWatermarksTest, NothingGoesBack) {
  SplitWatermarks watermarks;
  watermarks.Configure({.out_of_orderness_us = 10});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  watermarks.Observe(0, At(100), 1);
  watermarks.Observe(0, At(30), 2);
  EXPECT_EQ(watermarks.OfSplit(0), At(90));
  EXPECT_EQ(watermarks.Current(2, false), At(90));
  // A split found while running starts behind: its rows may be late, the watermark stays.
  watermarks.AddSplit(1, EventTime::Min(), 3);
  watermarks.Observe(1, At(20), 4);
  EXPECT_EQ(watermarks.Current(4, false), At(90));
}

TEST(SplitWatermarksTest, ASplitGoesOnFromItsCheckpoint) {
  SplitWatermarks watermarks;
  watermarks.Configure({});
  watermarks.AddSplit(0, At(500), 0);
  EXPECT_EQ(watermarks.Current(0, false), At(500));
  watermarks.Observe(0, At(400), 1);
  EXPECT_EQ(watermarks.OfSplit(0), At(500));
}

TEST(SplitWatermarksTest, IdleSplitsDoNotHoldTheOthers) {
  SplitWatermarks watermarks;
  watermarks.Configure({.out_of_orderness_us = 0, .idle_timeout_ns = 100});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  watermarks.AddSplit(1, EventTime::Min(), 0);
  watermarks.Observe(0, At(7), 50);
  EXPECT_EQ(watermarks.Current(99, false), EventTime::Min());
  EXPECT_FALSE(watermarks.IsIdle(1, 99));
  EXPECT_TRUE(watermarks.IsIdle(1, 100));
  EXPECT_FALSE(watermarks.AllIdle(100));
  EXPECT_EQ(watermarks.Current(100, false), At(7));
  EXPECT_TRUE(watermarks.AllIdle(150));
  EXPECT_EQ(watermarks.Current(150, false), At(7)) << "with all idle it stays";
  // Rows wake it, behind the others.
  watermarks.Observe(1, At(3), 160);
  EXPECT_FALSE(watermarks.IsIdle(1, 160));
  EXPECT_EQ(watermarks.Current(160, false), At(7));
}

TEST(SplitWatermarksTest, TheLastSplitThatFallsSilentHoldsNothingBack) {
  SplitWatermarks watermarks;
  watermarks.Configure({.out_of_orderness_us = 0, .idle_timeout_ns = 100});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  watermarks.AddSplit(1, EventTime::Min(), 0);
  watermarks.Observe(0, At(7), 10);
  watermarks.Observe(1, At(3), 20);
  EXPECT_EQ(watermarks.Current(119, false), At(3));
  EXPECT_EQ(watermarks.Current(120, false), At(7)) << "as if the second had been silent first";
}

TEST(SplitWatermarksTest, WithoutTimeoutNothingIsIdle) {
  SplitWatermarks watermarks;
  watermarks.Configure({});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  EXPECT_FALSE(watermarks.AllIdle(std::numeric_limits<int64_t>::max()));
}

TEST(SplitWatermarksTest, BlockedTimeIsNotIdleTime) {
  SplitWatermarks watermarks;
  watermarks.Configure({.out_of_orderness_us = 0, .idle_timeout_ns = 100});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  watermarks.ExcludeBlockedTime(20, 1020);
  EXPECT_FALSE(watermarks.IsIdle(0, 1099));
  EXPECT_TRUE(watermarks.IsIdle(0, 1100));
  // Time before the last rows was not idle and is not excluded twice.
  watermarks.Observe(0, At(1), 2000);
  watermarks.ExcludeBlockedTime(1500, 2010);
  EXPECT_FALSE(watermarks.IsIdle(0, 2109));
  EXPECT_TRUE(watermarks.IsIdle(0, 2110));
}

TEST(SplitWatermarksTest, TheEndNeedsAllSplitsAndNoneToCome) {
  SplitWatermarks watermarks;
  watermarks.Configure({});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  watermarks.AddSplit(1, EventTime::Min(), 0);
  watermarks.Observe(0, At(5), 1);
  watermarks.Observe(1, At(9), 1);
  watermarks.FinishSplit(0);
  EXPECT_EQ(watermarks.Current(1, true), At(9)) << "a finished split holds nobody";
  watermarks.FinishSplit(1);
  EXPECT_EQ(watermarks.Current(1, false), At(9)) << "more splits may come";
  EXPECT_EQ(watermarks.Current(1, true), EventTime::Max());
  EXPECT_TRUE(watermarks.AllIdle(1));
}

TEST(SplitWatermarksTest, TheBeginningOfTimeSaturates) {
  SplitWatermarks watermarks;
  watermarks.Configure({.out_of_orderness_us = 1000});
  watermarks.AddSplit(0, EventTime::Min(), 0);
  watermarks.Observe(0, At(EventTime::Min().us + 1), 1);
  EXPECT_EQ(watermarks.Current(1, false), EventTime::Min());
}

}  // namespace
}  // namespace millrace
