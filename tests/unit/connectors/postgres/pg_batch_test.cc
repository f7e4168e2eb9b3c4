#include "operators/connectors/postgres/pg_batch.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(PgBatchTest, RowsOfTheOutboxComeBack) {
  std::string bytes;
  const PgValues first = {"1", std::nullopt, ""};
  const PgValues second = {"2", std::string("a\0b", 3), "x"};
  AppendPgRow(false, first, bytes);
  AppendPgRow(true, second, bytes);
  std::string_view rest = bytes;
  bool deleted = true;
  PgValues values;
  ASSERT_TRUE(ReadPgRow(rest, 3, &deleted, &values).ok());
  EXPECT_FALSE(deleted);
  EXPECT_EQ(values, first);
  ASSERT_TRUE(ReadPgRow(rest, 3, &deleted, &values).ok());
  EXPECT_TRUE(deleted);
  EXPECT_EQ(values, second);
  EXPECT_TRUE(rest.empty());
}

TEST(PgBatchTest, EveryCutOfARowIsRefused) {
  std::string bytes;
  AppendPgRow(false, {"12345", std::nullopt, "x"}, bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::string_view cut = std::string_view(bytes).substr(0, size);
    bool deleted = false;
    PgValues values;
    EXPECT_EQ(ReadPgRow(cut, 3, &deleted, &values).code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST(PgBatchTest, TheLastRowOfAKeyIsTheOneThatCounts) {
  PgBatch batch("t",
                {{.name = "id", .type = "bigint", .in_key = true}, {.name = "v", .type = "text"}});
  batch.Add(false, {"1", "a"});
  batch.Add(true, {"1", "a"});
  batch.Add(false, {"1", "b"});
  batch.Add(false, {"2", "c"});
  EXPECT_EQ(batch.rows(), 2u);
  PgBatch inserts("t", {{.name = "id", .type = "bigint"}});
  inserts.Add(false, {"1"});
  inserts.Add(false, {"1"});
  EXPECT_EQ(inserts.rows(), 2u) << "without a key every row is one";
}

}  // namespace
}  // namespace millrace
