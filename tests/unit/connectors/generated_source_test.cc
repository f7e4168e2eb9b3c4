// Generated rows are a function of their numbers: the same events on every machine, at any number
// of splits, and after any stop.
#include <gmock/gmock.h>

#include <algorithm>

#include "operators/connectors/nexmark/generator.h"
#include "runtime/columns/keys.h"
#include "tests/unit/connectors/connector_harness.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class GeneratedSourceTest : public ConnectorTest {
 protected:
  // All rows, sorted: splits interleave as they like.
  std::vector<std::string> SortedRows(const v1::Node& node) {
    const auto reader = MustOpen(node, 7);
    EXPECT_EQ(*reader->Poll(), PollResult::kEnd);
    std::vector<std::string> rows = reader->out.Rows();
    std::sort(rows.begin(), rows.end());
    return rows;
  }
};

const std::vector<Field> kBids = {
    {.name = "event_type", .type = TypeKind::kInt32},
    {.name = "at", .type = TypeKind::kTimestamp, .path = "dateTime"},
    {.name = "auction", .type = TypeKind::kInt64, .path = "bid.auction"},
    {.name = "person", .type = TypeKind::kString, .path = "person.name"}};

TEST_F(GeneratedSourceTest, SplitsPartitionTheEvents) {
  const auto rows = [&](const std::string& splits) {
    return SortedRows(
        SourceNode("nexmark", "", kBids, {{"number-of-events", "1001"}, {"splits", splits}}));
  };
  const std::vector<std::string> one = rows("1");
  EXPECT_EQ(one.size(), 1001u);
  EXPECT_EQ(rows("3"), one);
  EXPECT_EQ(rows("16"), one);
}

TEST_F(GeneratedSourceTest, GoesOnAfterAnyStop) {
  for (const std::string& connector : {std::string("nexmark"), std::string("datagen")}) {
    SCOPED_TRACE(connector);
    const bool nexmark = connector == "nexmark";
    const v1::Node node =
        SourceNode(connector, "",
                   nexmark ? kBids : std::vector<Field>{{.name = "n", .type = TypeKind::kInt64}},
                   {{nexmark ? "number-of-events" : "number-of-rows", "100"}, {"splits", "3"}});
    std::vector<std::string> got;
    auto splits = Discover(node);
    ASSERT_TRUE(splits.ok()) << splits.status();
    absl::StatusOr<PollResult> result = PollResult::kEmitted;
    while (*result != PollResult::kEnd) {
      auto reader = OpenAt(node, *splits, 6);
      ASSERT_TRUE(reader.ok()) << reader.status();
      result = (*reader)->Poll(2);
      ASSERT_TRUE(result.ok());
      for (const std::string& row : (*reader)->out.Rows()) got.push_back(row);
      splits = (*reader)->source->Positions();
    }
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, SortedRows(node));
  }
}

TEST_F(GeneratedSourceTest, PositionsThatDoNotBelongAreRefused) {
  const v1::Node node = SourceNode("nexmark", "", kBids, {{"splits", "2"}});
  EXPECT_THAT(
      std::string(OpenAt(node, {{.id = "generator/2", .position = "0"}}).status().message()),
      HasSubstr("the option 'splits' cannot change"));
  EXPECT_THAT(
      std::string(OpenAt(node, {{.id = "generator/1", .position = "?"}}).status().message()),
      HasSubstr("is not a number"));
}

TEST_F(GeneratedSourceTest, AColumnThatNexmarkDoesNotHaveIsNamed) {
  const v1::Node node = SourceNode(
      "nexmark", "", {{.name = "x", .type = TypeKind::kInt64, .path = "bid.acution"}}, {});
  EXPECT_THAT(std::string(OpenAt(node, {}).status().message()),
              HasSubstr("has no column 'bid.acution'; did you mean 'bid.auction'?"));
}

TEST_F(GeneratedSourceTest, DatagenKeepsItsLimits) {
  const std::vector<Field> fields = {{.name = "seq", .type = TypeKind::kInt64},
                                     {.name = "n", .type = TypeKind::kInt32},
                                     {.name = "share", .type = TypeKind::kFloat64},
                                     {.name = "text", .type = TypeKind::kString}};
  const auto reader = MustOpen(SourceNode("datagen", "", fields,
                                          {{"fields.seq.kind", "sequence"},
                                           {"fields.seq.start", "-2"},
                                           {"fields.seq.end", "997"},
                                           {"fields.n.min", "-3"},
                                           {"fields.n.max", "3"},
                                           {"fields.share.min", "0.5"},
                                           {"fields.share.max", "0.75"},
                                           {"fields.text.length", "20"},
                                           {"fields.text.null-rate", "0.25"},
                                           {"splits", "1"}}));
  EXPECT_EQ(*reader->Poll(), PollResult::kEnd);
  int64_t rows = 0, nulls = 0;
  std::array<int, 7> seen{};
  for (const Batch& batch : reader->out.batches[OutputPort::kMain]) {
    for (int64_t row = 0; row < batch.rows(); ++row) {
      EXPECT_EQ(batch.column(0).values<int64_t>()[row], rows++ - 2);
      const int32_t n = batch.column(1).values<int32_t>()[row];
      ASSERT_TRUE(n >= -3 && n <= 3) << n;
      ++seen[static_cast<size_t>(n + 3)];
      const double share = batch.column(2).values<double>()[row];
      ASSERT_TRUE(share >= 0.5 && share < 0.75) << share;
      if (batch.column(3).IsNull(row)) {
        ++nulls;
      } else {
        EXPECT_EQ(batch.column(3).StringAt(row).size(), 20u);
      }
    }
  }
  EXPECT_EQ(rows, 1000) << "until the sequence ends";
  // 1000 rows, seven values: 143 each, more or less.
  EXPECT_GT(*std::min_element(seen.begin(), seen.end()), 100);
  EXPECT_TRUE(nulls > 200 && nulls < 300) << nulls;
}

// Benchmarks, demos and the golden tests of other systems compare results over these events.
TEST(NexmarkGeneratorTest, EventsAreFrozen) {
  NexmarkGenerator generator({.seed = 1, .rate = 100'000});
  std::string text;
  std::array<int, 3> kinds{};
  for (uint64_t event = 0; event < 5000; ++event) {
    generator.AppendEventJson(event, text);
    text += '\n';
    ++kinds[static_cast<size_t>(NexmarkGenerator::KindOf(event))];
  }
  EXPECT_THAT(kinds, ElementsAre(100, 300, 4600));
  EXPECT_EQ(HashKey(text), 13467314179220793237u) << text.substr(0, 2000);
  EXPECT_EQ(generator.TimeUs(100'000) - generator.TimeUs(0), 1'000'000);
}

}  // namespace
}  // namespace millrace
