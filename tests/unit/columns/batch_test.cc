// Builders, selections and copies against the plain meaning: row by row.
#include "runtime/columns/batch.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/unit/columns/random_batches.h"

namespace millrace {
namespace {

std::vector<int32_t> RandomRows(RandomValues& values, int64_t rows) {
  std::vector<int32_t> chosen;
  for (uint64_t n = values.Below(300); rows > 0 && n > 0; --n) {
    chosen.push_back(static_cast<int32_t>(values.Below(static_cast<uint64_t>(rows))));
  }
  return chosen;
}

void ExpectRow(const Batch& batch, int64_t row, const Batch& expected, int64_t expected_row) {
  for (int i = 0; i < batch.column_count(); ++i) {
    ASSERT_EQ(ValueText(batch.column(i), row), ValueText(expected.column(i), expected_row))
        << "column " << i << ", row " << row;
  }
  ASSERT_EQ(batch.kind(row), expected.kind(expected_row)) << "row " << row;
}

TEST(BatchTest, TakeConcatAndCopiesKeepEveryValue) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    RandomValues values(seed);
    const Batch batch = values.AllTypes(static_cast<int64_t>(values.Below(200)));

    const std::vector<int32_t> chosen = RandomRows(values, batch.rows());
    const Batch taken = Take(batch, chosen);
    ASSERT_EQ(taken.rows(), static_cast<int64_t>(chosen.size()));
    for (size_t i = 0; i < chosen.size(); ++i) {
      ExpectRow(taken, static_cast<int64_t>(i), batch, chosen[i]);
    }

    const auto begin = static_cast<int64_t>(values.Below(static_cast<uint64_t>(batch.rows() + 1)));
    const Batch head = CopyRange(batch, 0, begin);
    const Batch tail = CopyRange(batch, begin, batch.rows() - begin);
    EXPECT_EQ(head.rows() + tail.rows(), batch.rows());
    EXPECT_TRUE(SameRows(Concat(std::vector<Batch>{head, tail}), batch));

    BatchBuilder by_row(batch.schema());
    for (int64_t row = 0; row < batch.rows(); ++row) by_row.AppendRow(batch, row);
    EXPECT_TRUE(SameRows(by_row.Finish(), batch));
    EXPECT_EQ(by_row.rows(), 0) << "Finish leaves the builder empty";
  }
}

TEST(BatchTest, TruncateForgetsValuesAndNulls) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    RandomValues values(seed);
    const Batch batch = values.AllTypes(70);
    const auto kept = static_cast<int64_t>(values.Below(71));
    for (int i = 0; i < batch.column_count(); ++i) {
      ColumnBuilder builder(batch.column(i).type());
      builder.AppendColumn(batch.column(i));
      builder.Truncate(kept);
      builder.AppendNull();
      builder.AppendColumn(batch.column(i));
      const Column column = builder.Finish();
      ASSERT_EQ(column.length(), kept + 1 + 70);
      int64_t nulls = 0;
      for (int64_t row = 0; row < column.length(); ++row) {
        nulls += column.IsNull(row) ? 1 : 0;
        if (row == kept) {
          EXPECT_TRUE(column.IsNull(row));
          continue;
        }
        const int64_t from = row < kept ? row : row - kept - 1;
        EXPECT_EQ(ValueText(column, row), ValueText(batch.column(i), from)) << "row " << row;
      }
      EXPECT_EQ(column.null_count(), nulls);
    }
  }
}

TEST(BatchTest, SelectTrueLeavesOutFalseAndNull) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    RandomValues values(seed);
    const Batch batch = values.AllTypes(static_cast<int64_t>(values.Below(200)));
    const Column& condition = batch.column(0);
    std::vector<int32_t> expected = {-7};
    for (int32_t row = 0; row < condition.length(); ++row) {
      if (!condition.IsNull(row) && condition.BoolAt(row)) expected.push_back(row);
    }
    std::vector<int32_t> selected = {-7};  // Appends.
    SelectTrue(condition, selected);
    EXPECT_EQ(selected, expected);
  }
}

TEST(BatchTest, SameRowsSeesOneValue) {
  const Batch batch = RandomValues(4).AllTypes(50);
  for (int i = 0; i < batch.column_count(); ++i) {
    std::vector<Column> columns = batch.columns();
    columns[static_cast<size_t>(i)] = NullColumn(columns[static_cast<size_t>(i)].type(), 50);
    EXPECT_FALSE(SameRows(Batch(batch.schema(), 50, columns), batch)) << "column " << i;
  }
  EXPECT_FALSE(SameRows(CopyRange(batch, 0, 49), batch));
}

TEST(BatchTest, RowsWithoutAKindAreInserts) {
  BatchBuilder builder(Schema::Make({{.name = "n", .type = TypeKind::kInt64}}));
  for (int64_t n = 0; n < 4; ++n) {
    builder.column(0).AppendInt64(n);
    if (n == 1) builder.SetKind(RowKind::kDelete);
  }
  const Batch batch = builder.Finish();
  EXPECT_EQ(batch.kind(0), RowKind::kInsert);
  EXPECT_EQ(batch.kind(1), RowKind::kDelete);
  EXPECT_EQ(batch.kind(3), RowKind::kInsert);
  builder.column(0).AppendInt64(5);
  EXPECT_EQ(builder.Finish().kinds(), nullptr)
      << "the kinds of one batch do not leak into the next";
}

// Row i was made of the record at 100 + i.
class Numbered : public RowOrigins {
 public:
  RowOrigin Find(int64_t row) const override { return {.source = "s", .offset = 100 + row}; }
};

TEST(BatchTest, RowsThatAreTakenKeepTheirOrigins) {
  Batch batch = RandomValues(4).AllTypes(10);
  EXPECT_EQ(batch.OriginOf(3), std::nullopt);
  batch.set_origins(std::make_shared<Numbered>());
  EXPECT_EQ(batch.OriginOf(3)->offset, 103);
  const std::vector<int32_t> some = {1, 5, 7, 9}, of_those = {2, 0};
  const Batch taken = Take(Take(batch, some), of_those);
  EXPECT_EQ(taken.OriginOf(0)->offset, 107);
  EXPECT_EQ(taken.OriginOf(1)->offset, 101);
  EXPECT_EQ(CopyRange(taken, 1, 1).OriginOf(0)->offset, 101);
  EXPECT_EQ(taken.WithColumns(taken.schema(), taken.columns()).OriginOf(0)->offset, 107);
  EXPECT_FALSE(taken.WithoutOrigins().has_origins());
  EXPECT_TRUE(SameRows(taken.WithoutOrigins(), taken));
  const std::vector<Batch> two = {taken, taken};
  EXPECT_FALSE(Concat(two).has_origins()) << "rows of several batches are of none";
}

}  // namespace
}  // namespace millrace
