#include "runtime/columns/keys.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "tests/unit/columns/random_batches.h"

namespace millrace {
namespace {

EncodedKeys Encoded(const Batch& batch, const std::vector<int>& columns) {
  EncodedKeys keys;
  EncodeKeys(batch, columns, keys);
  return keys;
}

// The order that SQL gives two tuples, NULL first; what memcmp of the encodings must agree with.
int OrderOfTuples(const Batch& batch, const std::vector<int>& columns, int64_t a, int64_t b) {
  for (const int i : columns) {
    const Column& column = batch.column(i);
    const int nulls = (column.IsNull(b) ? 1 : 0) - (column.IsNull(a) ? 1 : 0);
    if (nulls != 0) return nulls;
    if (column.IsNull(a)) continue;
    if (const int order = CompareValues(column, a, column, b); order != 0) return order;
  }
  return 0;
}

int Sign(int order) { return (order > 0 ? 1 : 0) - (order < 0 ? 1 : 0); }

TEST(KeysTest, EncodingsSortAsTheirTuples) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    RandomValues values(seed);
    const Batch batch = values.AllTypes(40);
    std::vector<int> columns;
    for (uint64_t n = 1 + values.Below(3); n > 0; --n) {
      columns.push_back(static_cast<int>(values.Below(std::size(kAllTypes))));
    }
    const EncodedKeys keys = Encoded(batch, columns);
    ASSERT_EQ(keys.rows(), batch.rows());
    for (int64_t a = 0; a < batch.rows(); ++a) {
      for (int64_t b = 0; b < batch.rows(); ++b) {
        const int expected = OrderOfTuples(batch, columns, a, b);
        ASSERT_EQ(Sign(keys.key(a).compare(keys.key(b))), Sign(expected)) << a << " and " << b;
        if (expected == 0) {
          ASSERT_EQ(keys.hashes[static_cast<size_t>(a)], keys.hashes[static_cast<size_t>(b)]);
        }
      }
    }
  }
}

TEST(KeysTest, DecodingGivesTheTuplesBack) {
  const std::vector<int> columns = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    const Batch batch = RandomValues(seed).AllTypes(20);
    const EncodedKeys keys = Encoded(batch, columns);
    BatchBuilder builder(batch.schema());
    std::vector<ColumnBuilder*> builders;
    for (const int i : columns) builders.push_back(&builder.column(i));
    for (int64_t row = 0; row < batch.rows(); ++row) {
      std::string_view bytes = keys.key(row);
      ASSERT_TRUE(DecodeKey(bytes, builders).ok()) << row;
      EXPECT_TRUE(bytes.empty()) << row;
    }
    // Encoded again rather than compared: -0.0 comes back as 0.0.
    const EncodedKeys again = Encoded(builder.Finish(), columns);
    EXPECT_EQ(again.bytes, keys.bytes);
    EXPECT_EQ(again.hashes, keys.hashes);
  }
}

TEST(KeysTest, CutEncodingsAreRefused) {
  const std::vector<int> columns = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const Batch batch = RandomValues(1).AllTypes(20);
  const EncodedKeys keys = Encoded(batch, columns);
  for (int64_t row = 0; row < batch.rows(); ++row) {
    for (size_t size = 0; size < keys.key(row).size(); ++size) {
      BatchBuilder builder(batch.schema());
      std::vector<ColumnBuilder*> builders;
      for (const int i : columns) builders.push_back(&builder.column(i));
      std::string_view bytes = keys.key(row).substr(0, size);
      EXPECT_EQ(DecodeKey(bytes, builders).code(), absl::StatusCode::kDataLoss)
          << row << " cut to " << size;
    }
  }
}

TEST(KeysTest, WrongTagsAndEscapesAreRefused) {
  for (const std::string& bytes : {std::string("\x02", 1), std::string("\x01"
                                                                       "a\0\x01\0\0",
                                                                       6)}) {
    ColumnBuilder builder(TypeKind::kString);
    std::vector<ColumnBuilder*> builders = {&builder};
    std::string_view rest = bytes;
    EXPECT_EQ(DecodeKey(rest, builders).code(), absl::StatusCode::kDataLoss);
  }
}

// Computed by hand and by another implementation of XXH64. A change of any of these loses the state
// of every job that runs.
TEST(KeysTest, EncodingHashAndKeyGroupAreFrozen) {
  struct Golden {
    TypeKind type;
    void (*append)(ColumnBuilder&);
    std::string_view hexadecimal;
    uint64_t hash;
    uint32_t key_group;  // Of 128.
  };
  const Golden goldens[] = {
      {TypeKind::kInt64, [](ColumnBuilder& c) { c.AppendInt64(1); }, "018000000000000001",
       0xd7cc94ee6eaa6c1f, 31},
      {TypeKind::kInt64, [](ColumnBuilder& c) { c.AppendInt64(-1); }, "017fffffffffffffff",
       0xa2177c9d4c88bcca, 74},
      {TypeKind::kInt64, [](ColumnBuilder& c) { c.AppendNull(); }, "00", 0xe934a84adb052768, 104},
      {TypeKind::kInt32, [](ColumnBuilder& c) { c.AppendInt32(7); }, "0180000007",
       0xf40b5990024be548, 72},
      {TypeKind::kString, [](ColumnBuilder& c) { c.AppendString("Zürich"); },
       "015ac3bc726963680000", 0x739219ac17b8bef2, 114},
      {TypeKind::kBytes, [](ColumnBuilder& c) { c.AppendString(std::string_view("a\0b", 3)); },
       "016100ff620000", 0x17c6af5451471752, 82},
      {TypeKind::kFloat64, [](ColumnBuilder& c) { c.AppendFloat64(-2.5); }, "013ffbffffffffffff",
       0x1fbe921cb876c283, 3},
  };
  for (const Golden& golden : goldens) {
    SCOPED_TRACE(golden.hexadecimal);
    ColumnBuilder builder(golden.type);
    golden.append(builder);
    const Batch batch(Schema::Make({{.id = 1, .name = "k", .type = golden.type}}), 1,
                      {builder.Finish()});
    const EncodedKeys keys = Encoded(batch, {0});
    EXPECT_EQ(absl::BytesToHexString(std::string(keys.key(0))), golden.hexadecimal);
    EXPECT_EQ(keys.hashes[0], golden.hash);
    EXPECT_EQ(HashKey(keys.key(0)), golden.hash);
    EXPECT_EQ(KeyGroupOf(golden.hash, 128), golden.key_group);
  }
  EXPECT_EQ(HashKey(""), 0xef46db3751d8e999) << "the key of no columns";
}

TEST(KeysTest, NoColumnsGiveEveryRowTheEmptyKey) {
  const EncodedKeys keys = Encoded(RandomValues(1).AllTypes(3), {});
  ASSERT_EQ(keys.rows(), 3);
  for (int64_t row = 0; row < 3; ++row) EXPECT_EQ(keys.key(row), "");
}

}  // namespace
}  // namespace millrace
