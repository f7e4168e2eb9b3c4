#include "runtime/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTest, WritesWhatCollectorsSayAtTheTimeOfTheScrape) {
  MetricsRegistry registry;
  double rows = 1;
  registry.Add([&](MetricsSink& sink) {
    sink.Counter("millrace_rows_total", "Rows.", {{"operator", "a\"b"}}, rows);
    sink.Gauge("millrace_depth", "Depth.", {}, -2.5);
  });
  EXPECT_THAT(registry.Text(false), HasSubstr("millrace_rows_total{operator=\"a\\\"b\"} 1\n"));
  rows = 7;
  const std::string text = registry.Text(false);
  EXPECT_THAT(text, HasSubstr("# TYPE millrace_rows_total counter\n"));
  EXPECT_THAT(text, HasSubstr("} 7\n"));
  EXPECT_THAT(text, HasSubstr("millrace_depth -2.5\n"));
  EXPECT_THAT(text, HasSubstr("process_resident_memory_bytes"));
  EXPECT_THAT(text, Not(HasSubstr("# EOF")));
  EXPECT_THAT(registry.Text(true), EndsWith("# EOF\n"));
}

TEST(MetricsTest, CountsDurationsIntoCumulativeBuckets) {
  DurationHistogram histogram;
  histogram.Observe(0.0005);
  histogram.Observe(0.3);
  histogram.Observe(1000);
  MetricsRegistry registry;
  registry.Add([&](MetricsSink& sink) { sink.Histogram("millrace_s", "S.", {}, histogram); });
  const std::string text = registry.Text(false);
  EXPECT_THAT(text, HasSubstr("millrace_s_bucket{le=\"0.001\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("millrace_s_bucket{le=\"0.5\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("millrace_s_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("millrace_s_count 3\n"));
}

}  // namespace
}  // namespace millrace
