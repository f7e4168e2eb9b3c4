#include "sql/time_literals.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(TimeLiteralsTest, ReadsTimestamps) {
  struct Case {
    const char* text;
    int64_t us;
  };
  for (const Case& one : {Case{"1970-01-01 00:00:00", 0}, Case{"1970-01-02", 86'400'000'000},
                          Case{"1969-12-31 23:59:59.999999", -1},
                          Case{"2026-01-01T00:00:00.5", 1'767'225'600'500'000},
                          Case{"2024-02-29 12:34", 1'709'210'040'000'000},
                          Case{" 2000-03-01 00:00:00 ", 951'868'800'000'000}}) {
    SCOPED_TRACE(one.text);
    int64_t us = 0;
    EXPECT_TRUE(ParseTimestampLiteral(one.text, &us));
    EXPECT_EQ(us, one.us);
  }
}

TEST(TimeLiteralsTest, RefusesWhatIsNoTimestamp) {
  for (const char* text :
       {"", "yesterday", "2026-13-01", "2026-02-29", "2026-00-10", "2026-01-01 24:00:00",
        "2026-01-01 10:60", "2026-01-01 10", "2026-01-01x", "26-01-01", "2026-01-01 10:00:00.",
        "2026-01-01 10:00:00 +02"}) {
    SCOPED_TRACE(text);
    int64_t us = 0;
    EXPECT_FALSE(ParseTimestampLiteral(text, &us));
  }
}

TEST(TimeLiteralsTest, ReadsIntervalsWithUnitsInTheText) {
  struct Case {
    const char* text;
    int64_t us;
  };
  for (const Case& one :
       {Case{"1 day", 86'400'000'000}, Case{"500 ms", 500'000}, Case{"10s", 10'000'000},
        Case{"1 hour 30 minutes", 5'400'000'000}, Case{"01:30:00", 5'400'000'000},
        Case{"-1.5 minutes", -90'000'000}, Case{"1 week -1 day", 518'400'000'000},
        Case{"2 days 03:04:05.000006", 183'845'000'006}}) {
    SCOPED_TRACE(one.text);
    int64_t us = 0;
    EXPECT_TRUE(ParseFreeInterval(one.text, &us));
    EXPECT_EQ(us, one.us);
  }
  int64_t us = 0;
  for (const char* text : {"", "10", "ten s", "1 month", "1 fortnight", "999999999999999 weeks"}) {
    SCOPED_TRACE(text);
    EXPECT_FALSE(ParseFreeInterval(text, &us));
  }
}

TEST(TimeLiteralsTest, ReadsIntervalsOfUnits) {
  int64_t us = 0;
  EXPECT_TRUE(ParseUnitInterval("10", IntervalUnit::kSecond, IntervalUnit::kSecond, &us));
  EXPECT_EQ(us, 10'000'000);
  EXPECT_TRUE(ParseUnitInterval("1 02:03:04.5", IntervalUnit::kDay, IntervalUnit::kSecond, &us));
  EXPECT_EQ(us, 93'784'500'000);
  EXPECT_TRUE(ParseUnitInterval("-1:30", IntervalUnit::kMinute, IntervalUnit::kSecond, &us));
  EXPECT_EQ(us, -90'000'000);
  EXPECT_FALSE(ParseUnitInterval("1:30", IntervalUnit::kSecond, IntervalUnit::kSecond, &us));
  EXPECT_FALSE(ParseUnitInterval("x", IntervalUnit::kDay, IntervalUnit::kDay, &us));
}

}  // namespace
}  // namespace millrace
