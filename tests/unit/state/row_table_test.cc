#include "runtime/state/row_table.h"

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(RowTableTest, FindsEveryKeyAgainAndKeepsAddressesWhileItGrows) {
  RowTable table(8, 9);
  std::map<std::string, uint8_t*> addresses;
  std::mt19937_64 random(1);
  for (int i = 0; i < 50'000; ++i) {
    const uint64_t number = random() % 20'000;
    const std::string key = std::string(number % 40, 'a') + std::to_string(number);
    uint8_t* value = table.UpsertOne(HashKey(key), key, number % 3 == 0);
    const auto [at, added] = addresses.emplace(key, value);
    ASSERT_EQ(at->second, value);
    uint64_t count;
    std::memcpy(&count, value, 8);
    ASSERT_EQ(count == 0, added);
    ++count;
    std::memcpy(value, &count, 8);
  }
  ASSERT_EQ(table.rows(), addresses.size());
  for (uint32_t row = 0; row < table.rows(); ++row) {
    ASSERT_EQ(addresses.at(std::string(table.key(row))), table.value(row));
    ASSERT_EQ(table.hash(row), HashKey(table.key(row)));
  }
}

TEST(RowTableTest, TellsEqualHashesApart) {
  RowTable table(8, 9);
  uint8_t* a = table.UpsertOne(7, "a", false);
  uint8_t* b = table.UpsertOne(7, "b", false);
  EXPECT_NE(a, b);
  EXPECT_EQ(table.UpsertOne(7, "a", false), a);
  EXPECT_EQ(table.UpsertOne(7, "b", false), b);
  EXPECT_EQ(table.UpsertOne(7, "", false), table.UpsertOne(7, "", false));
  EXPECT_EQ(table.rows(), 3u);
}

TEST(RowTableTest, ListsEachDirtyRowOnceUntilItIsCleared) {
  RowTable table(0, 30);
  table.UpsertOne(1, "a", true);
  table.UpsertOne(2, "b", false);
  table.UpsertOne(1, "a", true);
  ASSERT_EQ(table.dirty_rows().size(), 1u);
  EXPECT_EQ(table.dirty_rows()[0], 0u);
  EXPECT_EQ(table.key(0), "a");
  table.ClearDirty();
  EXPECT_TRUE(table.dirty_rows().empty());
  table.UpsertOne(2, "b", true);
  ASSERT_EQ(table.dirty_rows().size(), 1u);
  EXPECT_EQ(table.dirty_rows()[0], 1u);
}

}  // namespace
}  // namespace millrace
