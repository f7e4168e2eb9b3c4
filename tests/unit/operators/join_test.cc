// Joins under inserts, retractions and watermarks, against a nested loop over what is left.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "operators/joins/joins.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/row_codec.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kRight[] =
    "  - uid: other\n"
    "    source: {connector: kafka, format: csv,\n"
    "             options: {topic: o, properties.bootstrap.servers: \"h:1\"}}\n"
    "    schema: [c BIGINT, d STRING]\n";
constexpr char kNormalized[] =
    "  - {uid: left, inputs: [in], normalize: {key: [b]}}\n"
    "  - {uid: right, inputs: [other], normalize: {key: [d]}}\n";

OperatorHarness::Job Inserts(const std::string& kind, const std::string& more = "") {
  return {
      .columns = {"a BIGINT", "b STRING"},
      .node = absl::StrCat("join: {kind: ", kind, ", left_keys: [a], right_keys: [c]", more, "}"),
      .before = kRight,
      .right = "other"};
}
OperatorHarness::Job Changes(const std::string& kind, const std::string& more = "") {
  OperatorHarness::Job job = Inserts(kind, more);
  job.before += kNormalized;
  job.input = "left";
  job.right = "right";
  return job;
}
OperatorHarness::Job Timed(const std::string& kind, int lower_ms = 0, int upper_ms = 10) {
  return {.columns = {"a BIGINT", "t TIMESTAMP(3)"},
          .node = absl::StrCat("join: {kind: ", kind,
                               ", left_keys: [a], right_keys: [c], left_time: t, right_time: u, "
                               "lower_ms: ",
                               lower_ms, ", upper_ms: ", upper_ms, "}"),
          .before =
              "  - uid: other\n"
              "    source: {connector: kafka, format: csv,\n"
              "             options: {topic: o, properties.bootstrap.servers: \"h:1\"}}\n"
              "    schema: [c BIGINT, u TIMESTAMP(3)]\n"
              "  - {uid: left, inputs: [in], watermark: {time: t}}\n"
              "  - {uid: right, inputs: [other], watermark: {time: u}}\n",
          .input = "left",
          .right = "right"};
}

// The time is a part of the key, as that of windows is.
OperatorHarness::Job TimedByKey(const std::string& kind) {
  OperatorHarness::Job job = Timed(kind);
  job.node = absl::StrCat("join: {kind: ", kind,
                          ", left_keys: [a, t], right_keys: [c, u], left_time: t, right_time: u}");
  return job;
}

class JoinTest : public ::testing::TestWithParam<HarnessMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, JoinTest, ::testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

TEST_P(JoinTest, MakesEveryPairOnce) {
  OperatorHarness op(Inserts("INNER"), GetParam());
  op.Push({{"1", "x"}, {"2", "y"}, {"1", "x"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"1", "p"}, {"3", "q"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | x | 1 | p", "1 | x | 1 | p"));
  op.Push({{"3", "z"}, {"NULL", "n"}});
  op.Push({{"NULL", "n"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("3 | z | 3 | q"));
}

// Rows that differ in a column that is gone are one row twice; what was given stays so.
TEST_P(JoinTest, ANewVersionHasOtherColumns) {
  OperatorHarness::Job with_note = Changes("LEFT");
  with_note.columns = {"a BIGINT", "b STRING", "note STRING", "n INT"};
  OperatorHarness::Job wider = Changes("LEFT");
  wider.columns = {"a BIGINT", "more DOUBLE", "b STRING", "n BIGINT"};
  OperatorHarness op(with_note, GetParam());
  op.Push({{"+I", "1", "x", "p", "7"}, {"+I", "2", "y", "q", "NULL"}});
  op.Push({{"+I", "1", "r"}}, 1);
  EXPECT_THAT(
      op.TakeMain(),
      ElementsAre("+I | 1 | x | p | 7 | 1 | r", "+I | 1 | x | p | 7 | NULL | NULL",
                  "+I | 2 | y | q | NULL | NULL | NULL", "-D | 1 | x | p | 7 | NULL | NULL"));
  op.Upgrade(wider);
  op.Push({{"+I", "2", "s"}, {"-D", "1", "r"}}, 1);
  EXPECT_THAT(
      op.TakeMain(),
      ElementsAre("+I | 1 | NULL | x | 7 | NULL | NULL", "+I | 2 | NULL | y | NULL | 2 | s",
                  "-D | 1 | NULL | x | 7 | 1 | r", "-D | 2 | NULL | y | NULL | NULL | NULL"));
  op.Push({{"-D", "1", "NULL", "x", "7"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("-D | 1 | NULL | x | 7 | NULL | NULL"));
  EXPECT_EQ(op.rows_dead_lettered(), 0u);
}

TEST_P(JoinTest, ANewVersionForgetsRowsWithTimesWhenTheyAreDue) {
  OperatorHarness::Job with_note = Timed("LEFT");
  with_note.columns = {"a BIGINT", "t TIMESTAMP(3)", "note STRING"};
  OperatorHarness op(with_note, GetParam());
  op.Push({{"1", "100", "p"}, {"1", "100", "q"}, {"2", "100", "p"}});
  op.Upgrade(Timed("LEFT"));
  op.Push({{"2", "105"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("2 | 100 | 2 | 105"));
  op.Watermark(200);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 100 | NULL | NULL", "1 | 100 | NULL | NULL"));
  EXPECT_EQ(op.StateRows({"left", "left_ends"}), 0u);
  op.Watermark(2000);  // Those of the right lie in a slice of a second.
  EXPECT_EQ(op.StateRows({"right", "right_ends"}), 0u);
}

TEST_P(JoinTest, ANewVersionHasTheRowsOfSlices) {
  OperatorHarness::Job with_note = Timed("INNER", 0, 60'000);
  with_note.columns = {"a BIGINT", "t TIMESTAMP(3)", "note STRING"};
  OperatorHarness op(with_note, GetParam());
  op.Push({{"1", "100", "p"}, {"1", "100", "q"}, {"1", "50000", "p"}, {"2", "100", "p"}});
  op.Upgrade(Timed("INNER", 0, 60'000));
  op.Push({{"1", "50001"}, {"2", "70000"}}, 1);
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("1 | 100 | 1 | 50001", "1 | 100 | 1 | 50001", "1 | 50000 | 1 | 50001"));
  op.Watermark(200'000);
  EXPECT_EQ(op.StateRows({"left", "left_ends", "right", "right_ends"}), 0u);
}

// Writes rows of the left side, as they were kept before there were slices, into a state that has
// none; then it is a join.
class JoinWithFormerRows : public Operator {
 public:
  JoinWithFormerRows(std::vector<std::pair<int64_t, int64_t>> rows, bool& written)
      : rows_(std::move(rows)), written_(written) {}

  absl::Status Open(OperatorContext& context) override {
    if (!written_) {
      MILLRACE_RETURN_IF_ERROR(Write(context));
    }
    return join_->Open(context);
  }
  absl::Status Process(int input, const Batch& batch, Emitter& out) override {
    return join_->Process(input, batch, out);
  }
  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    return join_->OnWatermark(watermark, out);
  }

 private:
  absl::Status Write(OperatorContext& context) {
    MILLRACE_ASSIGN_OR_RETURN(KeyedTable* const table, context.state->OpenKeyedTable("left"));
    MILLRACE_ASSIGN_OR_RETURN(KeyedTable* const ends, context.state->OpenKeyedTable("left_ends"));
    const RowCodec codec(context.input_schemas[0]);
    BatchBuilder builder(context.input_schemas[0]);
    for (const auto& [key, time_ms] : rows_) {
      builder.column(0).AppendInt64(key);
      builder.column(1).AppendInt64(time_ms * 1000);
    }
    const Batch batch = builder.Finish();
    EncodedKeys keys;
    const int key_column = 0;
    EncodeKeys(batch, {&key_column, 1}, keys);
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const uint32_t group =
          KeyGroupOf(keys.hashes[static_cast<size_t>(row)], context.max_parallelism);
      if (!context.key_groups.Contains(group)) continue;
      std::string state_key(keys.key(row)), count, end;
      codec.Append(batch, {0, 1}, row, state_key);
      AppendOrderedInt64(1, count);
      AppendOrderedInt64(rows_[static_cast<size_t>(row)].second * 1000 + 10'001, end);
      MILLRACE_RETURN_IF_ERROR(table->Put(group, state_key, count));
      MILLRACE_RETURN_IF_ERROR(ends->Put(group, end + state_key, ""));
    }
    return absl::OkStatus();
  }

  const std::vector<std::pair<int64_t, int64_t>> rows_;
  bool& written_;
  const std::unique_ptr<Operator> join_ = MakeJoin();
};

TEST_P(JoinTest, GoesOnWithRowsFromBeforeThereWereSlices) {
  bool written = false;
  OperatorHarness op(Timed("INNER"), GetParam(), [&] {
    return std::make_unique<JoinWithFormerRows>(
        std::vector<std::pair<int64_t, int64_t>>{{1, 100}, {1, 109}, {1, 5000}, {2, 100}}, written);
  });
  written = true;
  EXPECT_EQ(op.StateRows({"left"}), 4u);
  op.Push({{"1", "105"}, {"1", "109"}, {"1", "5010"}, {"2", "111"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 100 | 1 | 105", "1 | 100 | 1 | 109",
                                         "1 | 109 | 1 | 109", "1 | 5000 | 1 | 5010"));
  op.Watermark(3000);
  EXPECT_EQ(op.StateRows({"left", "left_ends"}), 2u);
  op.Watermark(10'000);
  EXPECT_EQ(op.StateRows({"left", "left_ends", "right", "right_ends"}), 0u);
}

// Rows that come out of order and late, against pairs of what is there: a row is there from when it
// comes until the watermark is past its partners.
TEST_P(JoinTest, JoinsRowsByTheirTimesWhateverTheirOrder) {
  struct Bounds {
    int lower_ms, upper_ms;
  };
  std::mt19937 random(5);
  for (const std::string kind : {"INNER", "LEFT", "SEMI", "ANTI"}) {
    for (const Bounds bounds : {Bounds{0, 10}, Bounds{-4000, 9000}, Bounds{-90'000, -5000}}) {
      SCOPED_TRACE(absl::StrCat(kind, " ", bounds.lower_ms, " ", bounds.upper_ms));
      const int span_ms = bounds.upper_ms - bounds.lower_ms;
      struct Kept {
        int key;
        int64_t time, deadline;
        int partners = 0;
      };
      OperatorHarness op(Timed(kind, bounds.lower_ms, bounds.upper_ms), GetParam());
      std::vector<Kept> sides[2];
      int64_t watermark = INT64_MIN;
      uint64_t late = 0, pairs = 0;
      for (int step = 0; step < 150; ++step) {
        std::vector<std::string> expected;
        const auto show = [&](const Kept& left, const std::string& right) {
          const bool alone = kind == "SEMI" || kind == "ANTI";
          expected.push_back(absl::StrCat(left.key, " | ", left.time, alone ? "" : right));
        };
        if (step % 5 == 4) {
          watermark = std::max(
              watermark, int64_t{step - 8} * span_ms / 10 + static_cast<int64_t>(random() % 5));
          op.Watermark(watermark);
          for (std::vector<Kept>& side : sides) {
            const bool left = &side == &sides[0];
            for (const Kept& row : side) {
              const bool alone = left && row.deadline <= watermark && row.partners == 0;
              if (alone && (kind == "LEFT" || kind == "ANTI")) show(row, " | NULL | NULL");
            }
            std::erase_if(side, [&](const Kept& row) { return row.deadline <= watermark; });
          }
        } else {
          const int input = static_cast<int>(random() % 2);
          std::vector<TextRow> rows;
          for (int i = 0; i < 8; ++i) {
            const int64_t jitter = static_cast<int64_t>(random() % (3 * span_ms)) - 2 * span_ms;
            const int64_t time = int64_t{step} * span_ms / 10 + jitter;
            const int64_t lag = input == 0 ? bounds.upper_ms : -bounds.lower_ms;
            Kept row{.key = static_cast<int>(random() % 3), .time = time};
            // A microsecond after the last moment of a partner.
            row.deadline = time + lag + 1;
            const bool twice = std::any_of(
                sides[input].begin(), sides[input].end(),
                [&row](const Kept& one) { return one.key == row.key && one.time == row.time; });
            // Partners are those of all rows that are the same.
            if (twice && kind != "INNER") continue;
            rows.push_back({absl::StrCat(row.key), absl::StrCat(time)});
            if (time + lag < watermark) {
              ++late;
              continue;
            }
            for (Kept& other : sides[1 - input]) {
              Kept& left = input == 0 ? row : other;
              const Kept& right = input == 0 ? other : row;
              const int64_t apart = right.time - left.time;
              if (left.key != right.key || apart < bounds.lower_ms || apart > bounds.upper_ms) {
                continue;
              }
              ++pairs;
              const bool first = left.partners++ == 0;
              if (kind == "INNER" || kind == "LEFT" || (kind == "SEMI" && first)) {
                show(left, absl::StrCat(" | ", right.key, " | ", right.time));
              }
            }
            sides[input].push_back(row);
          }
          op.Push(rows, input);
        }
        std::sort(expected.begin(), expected.end());
        ASSERT_EQ(op.TakeMain(), expected) << "step " << step;
      }
      EXPECT_EQ(op.rows_late(), late);
      EXPECT_GT(late, 10u);
      EXPECT_GT(pairs, 500u);
      op.Watermark(int64_t{1} << 40);
      EXPECT_EQ(op.StateRows({"left", "left_ends", "right", "right_ends"}), 0u);
    }
  }
}

TEST_P(JoinTest, RowsOfAWindowGoTogether) {
  // Straight on, more than go in one step.
  const int rows = GetParam() == HarnessMode::kStraight ? 10'000 : 40;
  for (const char* kind : {"LEFT", "INNER"}) {
    SCOPED_TRACE(kind);
    const bool left = std::string(kind) == "LEFT";
    OperatorHarness::Job job = TimedByKey(kind);
    job.columns = {"a BIGINT", "t TIMESTAMP(3)", "n BIGINT"};
    OperatorHarness op(job, GetParam());
    std::vector<TextRow> batch;
    for (int n = 0; n < rows; ++n) batch.push_back({"1", "100", absl::StrCat(n)});
    batch.push_back({"2", "100", "7"});
    batch.push_back({"1", "101", "8"});
    op.Push(batch);
    EXPECT_EQ(op.StateRows({"left"}), static_cast<uint64_t>(rows) + 2);
    op.Push({{"2", "100"}}, 1);
    EXPECT_THAT(op.TakeMain(), ElementsAre("2 | 100 | 7 | 2 | 100"));
    op.Watermark(101);
    EXPECT_EQ(op.TakeMain().size(), left ? static_cast<size_t>(rows) : 0u);
    op.Watermark(200);
    EXPECT_EQ(op.TakeMain().size(), left ? 1u : 0u);
    EXPECT_EQ(op.StateRows({"left", "left_ends", "right", "right_ends"}), 0u);
  }
}

TEST_P(JoinTest, ANewVersionForgetsRowsOfAWindowWhenTheyAreDue) {
  OperatorHarness::Job with_note = TimedByKey("LEFT");
  with_note.columns = {"a BIGINT", "t TIMESTAMP(3)", "note STRING"};
  OperatorHarness op(with_note, GetParam());
  op.Push({{"1", "100", "p"}, {"1", "100", "q"}, {"2", "100", "p"}});
  op.Upgrade(TimedByKey("LEFT"));
  op.Push({{"2", "100"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("2 | 100 | 2 | 100"));
  op.Watermark(200);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 100 | NULL | NULL", "1 | 100 | NULL | NULL"));
  EXPECT_EQ(op.StateRows({"left", "left_ends", "right", "right_ends"}), 0u);
}

TEST_P(JoinTest, LooksAtTheCondition) {
  OperatorHarness op(Inserts("INNER", ", condition: b < d"), GetParam());
  op.Push({{"1", "m"}});
  op.Push({{"1", "a"}, {"1", "z"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | m | 1 | z"));
}

TEST_P(JoinTest, APairThatCannotBeComparedIsADeadLetter) {
  OperatorHarness op(Inserts("INNER", ", condition: CAST(b AS BIGINT) > 0"), GetParam());
  op.Push({{"1", "7"}, {"1", "seven"}});
  op.Push({{"1", "p"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 7 | 1 | p"));
  EXPECT_EQ(op.rows_dead_lettered(), 1);
}

TEST_P(JoinTest, ARowWithoutPartnerIsTakenBackWhenOneComes) {
  OperatorHarness op(Inserts("LEFT"), GetParam());
  op.Push({{"1", "x"}, {"NULL", "n"}});
  EXPECT_THAT(op.TakeMain(),
              ElementsAre("+I | 1 | x | NULL | NULL", "+I | NULL | n | NULL | NULL"));
  op.Push({{"1", "p"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | x | 1 | p", "-D | 1 | x | NULL | NULL"));
  op.Push({{"1", "q"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | x | 1 | q"));
}

TEST_P(JoinTest, ARowThatWasNeverThereCannotBeTakenBack) {
  OperatorHarness op(Changes("INNER"), GetParam());
  op.Push({{"-D", "1", "x"}});
  EXPECT_EQ(op.rows_dead_lettered(), 1);
}

TEST_P(JoinTest, TimesBoundThePairsAndTheState) {
  OperatorHarness op(Timed("INNER"), GetParam());
  op.Push({{"1", "100"}});
  op.Push({{"1", "99"}, {"1", "100"}, {"1", "110"}, {"1", "111"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 100 | 1 | 100", "1 | 100 | 1 | 110"));
  // Until 110 the left row may have a partner.
  op.Watermark(110);
  op.Push({{"1", "110"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 100 | 1 | 110"));
  op.Watermark(111);
  op.Push({{"1", "110"}}, 1);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  EXPECT_EQ(op.rows_late(), 1);
}

TEST_P(JoinTest, ARowWithTimesIsAloneWhenNoPartnerCanCome) {
  OperatorHarness op(Timed("LEFT"), GetParam());
  op.Push({{"1", "100"}, {"2", "100"}});
  op.Push({{"1", "105"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("1 | 100 | 1 | 105"));
  op.Watermark(110);
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Watermark(111);
  EXPECT_THAT(op.TakeMain(), ElementsAre("2 | 100 | NULL | NULL"));
  op.End();
  EXPECT_THAT(op.TakeMain(), IsEmpty());
}

// A random changelog in; what comes out adds up to the answer of a nested loop.
TEST_P(JoinTest, ChangesAddUpToTheBatchAnswer) {
  for (const std::string kind : {"INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI"}) {
    OperatorHarness op(Changes(kind, ", condition: b <> d"), GetParam());
    std::mt19937 random(7);
    std::multiset<TextRow> sides[2];
    std::map<std::string, int> table;
    for (int step = 0; step < 60; ++step) {
      const int input = static_cast<int>(random() % 2);
      std::vector<TextRow> rows;
      for (int i = 0; i < 6; ++i) {
        std::multiset<TextRow>& side = sides[input];
        if (!side.empty() && random() % 3 == 0) {
          auto it = side.begin();
          std::advance(it, random() % side.size());
          rows.push_back({"-D", (*it)[0], (*it)[1]});
          side.erase(it);
          continue;
        }
        const int key = static_cast<int>(random() % 5);
        TextRow row = {key == 4 ? "NULL" : absl::StrCat(key),
                       std::string(1, static_cast<char>('a' + random() % 3))};
        rows.push_back({"+I", row[0], row[1]});
        side.insert(std::move(row));
      }
      op.Push(rows, input);
      for (const std::string& line : op.TakeMain()) {
        const std::vector<std::string> values = absl::StrSplit(line, " | ");
        const bool has_kind = values[0] == "+I" || values[0] == "-D";
        const std::string row =
            absl::StrJoin(values.begin() + (has_kind ? 1 : 0), values.end(), " | ");
        table[row] += values[0] == "-D" ? -1 : 1;
      }
    }
    std::map<std::string, int> expected;
    const auto goes_with = [](const TextRow& l, const TextRow& r) {
      return l[0] != "NULL" && l[0] == r[0] && l[1] != r[1];
    };
    const bool pairs = kind != "SEMI" && kind != "ANTI";
    for (const TextRow& l : sides[0]) {
      bool any = false;
      for (const TextRow& r : sides[1]) {
        if (!goes_with(l, r)) continue;
        any = true;
        if (pairs) ++expected[absl::StrCat(l[0], " | ", l[1], " | ", r[0], " | ", r[1])];
      }
      if (!any && (kind == "LEFT" || kind == "FULL")) {
        ++expected[absl::StrCat(l[0], " | ", l[1], " | NULL | NULL")];
      }
      if ((any && kind == "SEMI") || (!any && kind == "ANTI")) {
        ++expected[absl::StrCat(l[0], " | ", l[1])];
      }
    }
    for (const TextRow& r : sides[1]) {
      const bool any = std::any_of(sides[0].begin(), sides[0].end(),
                                   [&](const TextRow& l) { return goes_with(l, r); });
      if (!any && (kind == "RIGHT" || kind == "FULL")) {
        ++expected[absl::StrCat("NULL | NULL | ", r[0], " | ", r[1])];
      }
    }
    std::erase_if(table, [](const auto& one) { return one.second == 0; });
    EXPECT_EQ(table, expected) << kind;
    EXPECT_GE(expected.size(), 3) << kind;
    EXPECT_EQ(op.rows_dead_lettered(), 0);
  }
}

// State TTL: a row is forgotten that long after it came last.
TEST_P(JoinTest, RowsLiveAsLongAsTheyAreAllowedTo) {
  OperatorHarness::Job job = Inserts("LEFT");
  job.node = "state_ttl_ms: 1000\n    " + job.node;
  OperatorHarness op(job, GetParam());
  op.Push({{"1", "x"}, {"2", "y"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | x | NULL | NULL", "+I | 2 | y | NULL | NULL"));
  op.Wait(900);
  op.Push({{"2", "y"}});  // Comes again: there twice, and from now on.
  op.Push({{"1", "p"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | x | 1 | p", "+I | 2 | y | NULL | NULL",
                                         "-D | 1 | x | NULL | NULL"));
  op.Wait(200);
  op.Push({{"1", "q"}, {"2", "r"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 2 | y | 2 | r", "+I | 2 | y | 2 | r",
                                         "-D | 2 | y | NULL | NULL", "-D | 2 | y | NULL | NULL"));
  op.Wait(2000);
  op.Push({{"3", "z"}});
  EXPECT_LE(op.StateRows({"left", "right", "left_ends", "right_ends"}),
            2u);  // The row and when it goes.
}

TEST_P(JoinTest, EachSideLivesAsLongAsItIsAllowedTo) {
  OperatorHarness::Job job = Changes("INNER", ", right_state_ttl_ms: 5000");
  job.node = "state_ttl_ms: 1000\n    " + job.node;
  OperatorHarness op(job, GetParam());
  op.Push({{"+I", "1", "x"}});
  op.Push({{"+I", "1", "p"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | x | 1 | p"));
  op.Wait(2000);
  op.Push({{"+I", "1", "q"}}, 1);  // The left row is gone.
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"+I", "1", "y"}});  // The right ones are not.
  EXPECT_THAT(op.TakeMain(),
              testing::UnorderedElementsAre("+I | 1 | y | 1 | p", "+I | 1 | y | 1 | q"));
  op.Wait(4000);
  op.Push({{"+I", "1", "z"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | z | 1 | q"));
}

// Partners that are forgotten leave pairs behind, but no row is taken back that was not given.
TEST_P(JoinTest, TakesBackOnlyWhatItGave) {
  std::mt19937 random(11);
  for (const std::string kind :
       {"LEFT", "RIGHT", "FULL", "SEMI", "ANTI", "LEFT, right_state_ttl_ms: 300",
        "FULL, right_state_ttl_ms: 5000", "ANTI, right_state_ttl_ms: 200"}) {
    OperatorHarness::Job job = Changes(kind, ", condition: b <> d");
    job.node = "state_ttl_ms: 1000\n    " + job.node;
    OperatorHarness op(job, GetParam());
    std::map<std::string, int> table;
    std::vector<TextRow> sides[2];
    int taken_back = 0;
    for (int batch = 0; batch < 600; ++batch) {
      const int input = static_cast<int>(random() % 2);
      std::vector<TextRow>& side = sides[input];
      TextRow row = {absl::StrCat(random() % 3),
                     std::string(1, static_cast<char>('a' + random() % 3))};
      if (!side.empty() && random() % 5 < 2) {
        const size_t which = random() % side.size();
        row = side[which];
        side.erase(side.begin() + static_cast<std::ptrdiff_t>(which));
        op.Push({{"-D", row[0], row[1]}}, input);  // A dead letter when it is forgotten.
      } else {
        op.Push({{"+I", row[0], row[1]}}, input);
        side.push_back(std::move(row));
      }
      for (const std::string& line : op.TakeMain()) {
        const std::pair<std::string, std::string> change =
            absl::StrSplit(line, absl::MaxSplits(" | ", 1));
        if (change.first == "-D") ++taken_back;
        EXPECT_GE(table[change.second] += change.first == "-D" ? -1 : 1, 0)
            << kind << ", batch " << batch << ": " << line;
      }
      op.Wait(static_cast<int64_t>(random() % 300));
    }
    EXPECT_GT(taken_back, 20) << kind;
    EXPECT_GT(op.rows_dead_lettered(), 20) << kind;
  }
}

TEST_P(JoinTest, RowsOfASemiJoinComeOnceWhenTheirPartnerIsForgotten) {
  OperatorHarness::Job job = Changes("SEMI");
  job.node = "state_ttl_ms: 1000\n    " + job.node;
  OperatorHarness op(job, GetParam());
  op.Push({{"+I", "1", "p"}}, 1);
  op.Wait(800);
  op.Push({{"+I", "1", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | x"));
  op.Wait(400);  // The partner is forgotten.
  op.Push({{"+I", "1", "x"}});
  EXPECT_THAT(op.TakeMain(), IsEmpty());
  op.Push({{"+I", "1", "q"}}, 1);
  EXPECT_THAT(op.TakeMain(), ElementsAre("+I | 1 | x"));
  op.Push({{"-D", "1", "x"}, {"-D", "1", "x"}});
  EXPECT_THAT(op.TakeMain(), ElementsAre("-D | 1 | x", "-D | 1 | x"));
}

TEST_P(JoinTest, StateOfRowsThatComeAndGoStaysFlat) {
  OperatorHarness::Job job = Inserts("FULL");
  job.node = "state_ttl_ms: 1000\n    " + job.node;
  OperatorHarness op(job, GetParam());
  uint64_t rows_after_two = 0, rows_most = 0;
  for (int step = 0; step < 500; ++step) {
    op.Push({{absl::StrCat(step), "l"}});
    op.Push({{absl::StrCat(step), "r"}}, 1);
    op.Wait(100);
    if (step == 20) rows_after_two = op.StateRows({"left", "right", "left_ends", "right_ends"});
    if (step > 20)
      rows_most = std::max(rows_most, op.StateRows({"left", "right", "left_ends", "right_ends"}));
  }
  EXPECT_GT(rows_after_two, 0u);
  EXPECT_LE(rows_most, rows_after_two + 4);
}

}  // namespace
}  // namespace millrace
