#include "operators/connectors/postgres/pg_batch.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(PgBatchTest, RowsSurviveTheOutbox) {
  const std::vector<std::pair<bool, PgValues>> rows = {
      {false, {"1", std::nullopt, ""}},
      {true, {std::string("\0\n\t\\", 4), std::string(100'000, 'x'), std::nullopt}},
  };
  std::string bytes;
  for (const auto& [deleted, values] : rows) AppendPgRow(deleted, values, bytes);
  std::string_view rest = bytes;
  for (const auto& [deleted, values] : rows) {
    bool read_deleted = !deleted;
    PgValues read;
    ASSERT_TRUE(ReadPgRow(rest, 3, &read_deleted, &read).ok());
    EXPECT_EQ(read_deleted, deleted);
    EXPECT_EQ(read, values);
  }
  EXPECT_TRUE(rest.empty());
}

TEST(PgBatchTest, RowsThatWereCutOffAreRefused) {
  std::string bytes;
  AppendPgRow(false, {"12", std::nullopt}, bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string_view rest = std::string_view(bytes).substr(0, size);
    bool deleted = false;
    PgValues values;
    EXPECT_EQ(ReadPgRow(rest, 2, &deleted, &values).code(), absl::StatusCode::kDataLoss) << size;
  }
  bytes[0] = 2;
  std::string_view rest = bytes;
  bool deleted = false;
  PgValues values;
  EXPECT_FALSE(ReadPgRow(rest, 2, &deleted, &values).ok());
}

TEST(PgBatchTest, OneRowOfEachKeyIsLeft) {
  PgBatch batch("t", {{"id", "bigint", true}, {"note", "text", false}});
  batch.Add(false, {"1", "a"});
  batch.Add(true, {"1", "a"});
  batch.Add(false, {"2", "b"});
  batch.Add(false, {std::nullopt, "c"});
  batch.Add(false, {std::nullopt, "d"});
  EXPECT_EQ(batch.rows(), 3u);
  EXPECT_GT(batch.bytes(), 0u);
}

TEST(PgBatchTest, WithoutAKeyEveryRowIsLeft) {
  PgBatch batch("t", {{"id", "bigint", false}});
  batch.Add(false, {"1"});
  batch.Add(false, {"1"});
  EXPECT_EQ(batch.rows(), 2u);
}

}  // namespace
}  // namespace millrace
