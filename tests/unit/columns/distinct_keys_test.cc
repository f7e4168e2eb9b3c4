#include "runtime/columns/distinct_keys.h"

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace millrace {
namespace {

EncodedKeys Keys(const std::vector<std::string>& keys, bool one_hash) {
  EncodedKeys encoded;
  encoded.offsets.push_back(0);
  for (const std::string& key : keys) {
    encoded.bytes += key;
    encoded.offsets.push_back(static_cast<uint32_t>(encoded.bytes.size()));
    encoded.hashes.push_back(one_hash ? 5 : HashKey(key));
  }
  return encoded;
}

TEST(DistinctKeysTest, NumbersKeysInTheOrderInWhichTheyComeFirst) {
  std::mt19937_64 random(1);
  DistinctKeys distinct;
  for (const bool one_hash : {false, true}) {
    for (const uint64_t rows : {0, 1, 7, 500, 64, 2000}) {
      std::vector<std::string> texts;
      for (uint64_t i = 0; i < rows; ++i)
        texts.push_back(std::to_string(random() % (rows / 2 + 1)));
      const EncodedKeys keys = Keys(texts, one_hash);
      distinct.Assign(keys);
      std::map<std::string, uint32_t> numbers;
      for (size_t row = 0; row < rows; ++row) {
        const auto [at, added] = numbers.emplace(texts[row], numbers.size());
        ASSERT_EQ(distinct.number(static_cast<int64_t>(row)), at->second);
        if (!added) continue;
        ASSERT_EQ(distinct.first_row(at->second), static_cast<int32_t>(row));
        ASSERT_EQ(distinct.key(at->second), texts[row]);
        ASSERT_EQ(distinct.hash(at->second), keys.hashes[row]);
      }
      ASSERT_EQ(distinct.size(), numbers.size());
    }
  }
}

}  // namespace
}  // namespace millrace
