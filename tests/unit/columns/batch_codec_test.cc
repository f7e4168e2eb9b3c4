#include "runtime/columns/batch_codec.h"

#include <gtest/gtest.h>

#include "tests/unit/columns/random_batches.h"

namespace millrace {
namespace {

std::string Encoded(const Batch& batch) {
  const EncodedBatch encoded = EncodeBatch(batch);
  std::string bytes = encoded.head;
  for (const BufferPtr& buffer : encoded.body) bytes += buffer->view();
  return bytes;
}

TEST(BatchCodecTest, EveryBatchComesBack) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    RandomValues values(seed);
    Batch batch = values.AllTypes(static_cast<int64_t>(values.Below(200)));
    batch.split = static_cast<uint32_t>(values.Below(1000));
    // Behind other bytes, as in a frame.
    const std::string bytes = std::string(16, 'x') + Encoded(batch);
    const absl::StatusOr<Batch> decoded = DecodeBatch(batch.schema(), Buffer::CopyOf(bytes), 16);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_TRUE(SameRows(*decoded, batch));
    EXPECT_EQ(decoded->split, batch.split);
    EXPECT_EQ(Encoded(*decoded), Encoded(batch));
  }
}

TEST(BatchCodecTest, ColumnsKeepTheFrameAlive) {
  const Batch batch = RandomValues(1).AllTypes(10);
  BufferPtr frame = Buffer::CopyOf(Encoded(batch));
  const std::weak_ptr<const Buffer> watched = frame;
  absl::StatusOr<Batch> decoded = DecodeBatch(batch.schema(), frame, 0);
  ASSERT_TRUE(decoded.ok());
  frame = nullptr;
  EXPECT_FALSE(watched.expired());
  EXPECT_TRUE(SameRows(*decoded, batch));
  decoded = Batch();
  EXPECT_TRUE(watched.expired());
}

TEST(BatchCodecTest, EveryCutIsRefused) {
  const Batch batch = RandomValues(2).AllTypes(9);
  const std::string bytes = Encoded(batch);
  // The padding behind the last buffer carries nothing.
  ASSERT_TRUE(DecodeBatch(batch.schema(), Buffer::CopyOf(bytes), 0).ok());
  for (size_t size = 0; size + 8 <= bytes.size(); ++size) {
    const auto decoded =
        DecodeBatch(batch.schema(), Buffer::CopyOf(std::string_view(bytes).substr(0, size)), 0);
    EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss) << "cut to " << size;
  }
  EXPECT_FALSE(DecodeBatch(batch.schema(), Buffer::CopyOf(bytes), bytes.size() + 1).ok());
}

TEST(BatchCodecTest, AnotherSchemaIsRefused) {
  const Batch batch = RandomValues(3).AllTypes(9);
  const BufferPtr frame = Buffer::CopyOf(Encoded(batch));
  std::vector<Field> fields = batch.schema()->fields();
  std::swap(fields[1], fields[2]);
  EXPECT_EQ(DecodeBatch(Schema::Make(fields), frame, 0).status().message(),
            "malformed batch: type of a column");
  fields.pop_back();
  EXPECT_EQ(DecodeBatch(Schema::Make(fields), frame, 0).status().message(),
            "malformed batch: number of columns");
}

TEST(BatchCodecTest, AKindThatDoesNotExistIsRefused) {
  BatchBuilder builder(Schema::Make({{.name = "n", .type = TypeKind::kInt64}}));
  builder.column(0).AppendInt64(7);
  builder.SetKind(RowKind::kUpdateAfter);
  const Batch batch = builder.Finish();
  std::string bytes = Encoded(batch);
  const size_t kind = bytes.size() - 8 - 8;  // Before the values, each padded to 8 bytes.
  ASSERT_EQ(bytes[kind], static_cast<char>(RowKind::kUpdateAfter));
  bytes[kind] = kRowKindMax + 1;
  EXPECT_EQ(DecodeBatch(batch.schema(), Buffer::CopyOf(bytes), 0).status().message(),
            "malformed batch: kind of a row");
}

}  // namespace
}  // namespace millrace
