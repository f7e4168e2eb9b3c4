#include "runtime/columns/row_codec.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <optional>

#include "tests/unit/columns/random_batches.h"

namespace millrace {
namespace {

std::vector<int> AllColumns(const Batch& batch) {
  std::vector<int> columns(static_cast<size_t>(batch.column_count()));
  std::iota(columns.begin(), columns.end(), 0);
  return columns;
}

TEST(RowCodecTest, EveryRowComesBackBitForBit) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    const Batch batch = RandomValues(seed).AllTypes(50);
    const RowCodec codec(batch.schema());
    BatchBuilder decoded(batch.schema());
    for (int64_t row = 0; row < batch.rows(); ++row) {
      std::string bytes;
      codec.Append(batch, AllColumns(batch), row, bytes);
      ASSERT_TRUE(codec.Decode(bytes, decoded).ok());
      decoded.SetKind(batch.kind(row));
    }
    EXPECT_TRUE(SameRows(decoded.Finish(), batch));
  }
}

TEST(RowCodecTest, EveryCutAndEveryTailIsRefused) {
  const Batch batch = RandomValues(1).AllTypes(20);
  const RowCodec codec(batch.schema());
  for (int64_t row = 0; row < batch.rows(); ++row) {
    std::string bytes;
    codec.Append(batch, AllColumns(batch), row, bytes);
    for (size_t size = 0; size < bytes.size(); ++size) {
      BatchBuilder decoded(batch.schema());
      EXPECT_EQ(codec.Decode(std::string_view(bytes).substr(0, size), decoded).code(),
                absl::StatusCode::kDataLoss)
          << "cut to " << size;
    }
    BatchBuilder decoded(batch.schema());
    EXPECT_EQ(codec.Decode(bytes + "x", decoded).code(), absl::StatusCode::kDataLoss);
  }
}

TEST(RowCodecTest, RowsOfOtherColumnsAreRefused) {
  const Batch batch = RandomValues(1).AllTypes(1);
  std::vector<Field> fields = batch.schema()->fields();
  std::string bytes;
  RowCodec(batch.schema()).Append(batch, AllColumns(batch), 0, bytes);
  fields.pop_back();
  const SchemaPtr other = Schema::Make(fields);
  BatchBuilder decoded(other);
  EXPECT_EQ(RowCodec(other).Decode(bytes, decoded).code(), absl::StatusCode::kFailedPrecondition);
}

// ---- RowConverter

SchemaPtr SchemaOf(const std::vector<DataType>& types) {
  std::vector<Field> fields;
  for (const DataType type : types) {
    fields.push_back({.id = static_cast<uint32_t>(fields.size()) + 1,
                      .name = std::string(1, static_cast<char>('a' + fields.size())),
                      .type = type});
  }
  return Schema::Make(fields);
}

TEST(RowConverterTest, ColumnsMoveGoComeAndWiden) {
  const SchemaPtr from =
      SchemaOf({TypeKind::kInt32, TypeKind::kString, TypeKind::kBool, DataType::Decimal(5, 2)});
  const SchemaPtr to =
      SchemaOf({TypeKind::kString, TypeKind::kFloat64, DataType::Decimal(9, 2), TypeKind::kInt64});
  BatchBuilder before(from), after(to);
  const auto add = [&](std::optional<int32_t> number, std::string_view text) {
    if (number) {
      before.column(0).AppendInt32(*number);
      after.column(3).AppendInt64(*number);
    } else {
      before.column(0).AppendNull();
      after.column(3).AppendNull();
    }
    before.column(1).AppendString(text);
    before.column(2).AppendBool(true);
    before.column(3).AppendDecimal(-1234);
    after.column(0).AppendString(text);
    after.column(1).AppendNull();
    after.column(2).AppendDecimal(-1234);
  };
  add(-7, "seven");
  add(std::nullopt, "");
  add(std::numeric_limits<int32_t>::min(), "least");
  const Batch rows = before.Finish();
  const RowConverter converter(*from, *to, {1, -1, 3, 0});
  BatchBuilder converted(to);
  for (int64_t row = 0; row < rows.rows(); ++row) {
    std::string bytes, out;
    RowCodec(from).Append(rows, AllColumns(rows), row, bytes);
    ASSERT_TRUE(converter.Convert(bytes, out).ok());
    ASSERT_TRUE(RowCodec(to).Decode(out, converted).ok());
    for (size_t size = 0; size < bytes.size(); ++size) {
      std::string ignored;
      EXPECT_EQ(converter.Convert(bytes.substr(0, size), ignored).code(),
                absl::StatusCode::kDataLoss)
          << "cut to " << size;
    }
  }
  EXPECT_TRUE(SameRows(converted.Finish(), after.Finish()));
}

TEST(RowConverterTest, RowsOfAThirdKindAreRefused) {
  const SchemaPtr from = SchemaOf({TypeKind::kInt32});
  const SchemaPtr to = SchemaOf({TypeKind::kInt64});
  BatchBuilder row(to);
  row.column(0).AppendInt64(1);
  const Batch rows = row.Finish();
  std::string bytes, out;
  RowCodec(to).Append(rows, {0}, 0, bytes);
  EXPECT_EQ(RowConverter(*from, *to, {0}).Convert(bytes, out).code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace millrace
