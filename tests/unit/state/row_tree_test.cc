#include "runtime/state/row_tree.h"

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace millrace {
namespace {

using Model = std::map<std::pair<uint32_t, std::string>, std::string>;
constexpr KeyGroupRange kGroups{3, 5};

// Keys of few and of many different bytes, beginnings of one another, with long shared parts.
std::string RandomKey(std::mt19937_64& random, uint64_t bytes) {
  std::string key(random() % 4, '\0');
  if (random() % 4 == 0) key += std::string(20 + random() % 3, 'l');
  for (uint64_t n = random() % 4; n > 0; --n) key += static_cast<char>(random() % bytes);
  return key;
}

std::vector<std::pair<std::string, std::string>> RowsOf(const RowTree& tree, uint32_t group,
                                                        std::string_view prefix, size_t rows_max) {
  std::vector<std::pair<std::string, std::string>> rows;
  tree.Visit(group, prefix, [&](const RowTree::Row& row) {
    EXPECT_EQ(row.key_group(), group);
    rows.emplace_back(row.key(), row.value());
    return rows.size() < rows_max;
  });
  return rows;
}

std::vector<std::pair<std::string, std::string>> RowsOf(const Model& model, uint32_t group,
                                                        const std::string& prefix,
                                                        size_t rows_max) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (auto at = model.lower_bound({group, prefix}); at != model.end() && rows.size() < rows_max;
       ++at) {
    if (at->first.first != group || !at->first.second.starts_with(prefix)) break;
    rows.emplace_back(at->first.second, at->second);
  }
  return rows;
}

// Grows to thousands of rows and shrinks to none, in turns, so that nodes become every kind.
void AgreesWithAMap(uint64_t seed, uint64_t bytes) {
  std::mt19937_64 random(seed);
  RowTree tree(kGroups);
  Model model;
  for (int step = 0; step < 30'000; ++step) {
    const bool growing = step / 5000 % 2 == 0;
    const auto group = static_cast<uint32_t>(kGroups.first + random() % 3);
    std::string key = RandomKey(random, bytes);
    if (!growing && !model.empty() && random() % 2 == 0) {
      const auto near = model.lower_bound({group, key});
      if (near != model.end() && near->first.first == group) key = near->first.second;
    }
    const auto known = model.find({group, key});
    if (random() % 8 < (growing ? 6 : 1)) {
      std::string value(random() % 50, static_cast<char>('a' + random() % 26));
      if (random() % 200 == 0) value += std::string(5000, 'V');
      const auto [row, added] = tree.Upsert(group, key, value);
      ASSERT_EQ(added, known == model.end());
      // The marks of the owner stay when the row moves.
      if (added) row->mark = static_cast<uint32_t>(key.size() + 7);
      ASSERT_EQ(row->mark, key.size() + 7);
      model[{group, key}] = std::move(value);
    } else if (RowTree::Row* const row = tree.Take(group, key); row != nullptr) {
      ASSERT_NE(known, model.end());
      if (random() % 8 == 0) {
        ASSERT_TRUE(tree.Insert(row));
        ASSERT_FALSE(tree.Insert(row));
      } else {
        tree.Free(row);
        model.erase(known);
      }
    } else {
      ASSERT_EQ(known, model.end());
    }
    if (random() % 8 == 0) {
      const std::string other = RandomKey(random, bytes);
      const auto [row, added] = tree.FindOrAdd(group, other, "found");
      const auto [there, is_new] = model.try_emplace({group, other}, "found");
      ASSERT_EQ(added, is_new);
      ASSERT_EQ(row->key(), other);
      ASSERT_EQ(row->value(), there->second);
      if (added) row->mark = static_cast<uint32_t>(other.size() + 7);
    }
    if (random() % 64 == 0) {
      const std::string prefix = key.substr(0, random() % (key.size() + 1));
      if (prefix.size() > 1 || random() % 64 == 0) {
        tree.TakeAll(group, prefix, [&](RowTree::Row* row) {
          EXPECT_EQ(model.erase({group, std::string(row->key())}), 1u);
          tree.Free(row);
        });
        ASSERT_TRUE(RowsOf(model, group, prefix, 1).empty());
        ASSERT_TRUE(RowsOf(tree, group, prefix, 1).empty());
      }
    }
    const std::string looked_for = RandomKey(random, bytes);
    const RowTree::Row* const found = tree.Find(group, looked_for);
    const auto expected = model.find({group, looked_for});
    ASSERT_EQ(found != nullptr, expected != model.end());
    if (found != nullptr) {
      ASSERT_EQ(found->value(), expected->second);
    }
    if (step % 16 == 0) {
      const std::string prefix = looked_for.substr(0, random() % (looked_for.size() + 1));
      const size_t rows_max = 1 + random() % 20;
      ASSERT_EQ(RowsOf(tree, group, prefix, rows_max), RowsOf(model, group, prefix, rows_max));
    }
    ASSERT_EQ(tree.rows(), model.size());
  }
  for (uint32_t group = kGroups.first; group <= kGroups.last; ++group) {
    ASSERT_EQ(RowsOf(tree, group, "", 1u << 30), RowsOf(model, group, "", 1u << 30));
  }
  for (const auto& [key, value] : model) tree.Free(tree.Take(key.first, key.second));
  EXPECT_EQ(tree.rows(), 0u);
}

TEST(RowTreeTest, AgreesWithAMap) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    for (const uint64_t bytes : {2, 10, 40, 256}) {
      SCOPED_TRACE("seed=" + std::to_string(seed) + " bytes=" + std::to_string(bytes));
      AgreesWithAMap(seed, bytes);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

// One node below the other: neither the depth of the tree nor the stack may limit it.
TEST(RowTreeTest, HoldsKeysThatAreBeginningsOfOneAnother) {
  RowTree tree(kGroups);
  std::string key;
  for (int i = 0; i < 3000; ++i) {
    key += 'k';
    tree.Upsert(3, key, "v");
  }
  size_t bytes = 0;
  tree.Visit(3, "kk", [&](const RowTree::Row& row) {
    EXPECT_EQ(row.key().size(), bytes == 0 ? 2 : bytes + 1);
    bytes = row.key().size();
    return true;
  });
  EXPECT_EQ(bytes, 3000u);
  EXPECT_EQ(tree.Find(3, std::string(1500, 'k'))->value(), "v");
  EXPECT_EQ(tree.Find(3, std::string(3001, 'k')), nullptr);
}

TEST(RowTreeTest, FreedRowsAreUsedAgainAndNothingIsLeftInTheEnd) {
  RowTree tree(kGroups);
  for (int i = 0; i < 1000; ++i) tree.Upsert(4, std::to_string(i), std::string(30, 'v'));
  const uint64_t full = tree.memory_bytes();
  EXPECT_GT(full, 1000u * 30);
  EXPECT_LT(full, 1000u * 120);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 1000; ++i) tree.Free(tree.Take(4, std::to_string(i)));
    for (int i = 0; i < 1000; ++i) tree.Upsert(4, std::to_string(i), std::string(30, 'w'));
  }
  EXPECT_LE(tree.memory_bytes(), full + full / 10);
  for (int round = 0; round < 10; ++round) {
    tree.TakeAll(4, "", [&tree](RowTree::Row* row) { tree.Free(row); });
    EXPECT_EQ(tree.rows(), 0u);
    for (int i = 0; i < 1000; ++i) tree.Upsert(4, std::to_string(i), std::string(30, 'w'));
  }
  EXPECT_LE(tree.memory_bytes(), full + full / 10);
  tree.Clear();
  EXPECT_EQ(tree.memory_bytes(), 0u);
}

TEST(RowTreeTest, OtherKeyGroupsAreEmpty) {
  RowTree tree(kGroups);
  EXPECT_EQ(tree.Find(6, "a"), nullptr);
  EXPECT_EQ(tree.Take(2, "a"), nullptr);
  tree.Visit(70'000, "", [](const RowTree::Row&) {
    ADD_FAILURE();
    return true;
  });
}

}  // namespace
}  // namespace millrace
