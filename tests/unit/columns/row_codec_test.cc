#include "runtime/columns/row_codec.h"

#include <gtest/gtest.h>

#include <numeric>

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
  fields.back().id += 100;
  const SchemaPtr other = Schema::Make(fields);
  BatchBuilder decoded(other);
  EXPECT_EQ(RowCodec(other).Decode(bytes, decoded).code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace millrace
