#include "runtime/state/frozen_delta.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

class Collector final : public SegmentWriter {
 public:
  absl::Status Append(std::string_view record) override {
    lines.emplace_back(record);
    return absl::OkStatus();
  }
  uint64_t records() const override { return lines.size(); }
  uint64_t bytes() const override { return 0; }
  absl::StatusOr<v1::Segment> Finish() override { return absl::UnimplementedError("finish"); }
  absl::StatusOr<v1::Segment> Publish() override { return absl::UnimplementedError("publish"); }

  std::vector<std::string> lines;
};

// Suffixes with long common parts, beginnings of one another, zeros at and around their ends.
std::string RandomSuffix(std::mt19937_64& random) {
  std::string suffix(random() % 3 * 7, 'p');
  suffix += std::string(random() % 20, '\0');
  for (uint64_t n = random() % 12; n > 0; --n) suffix += static_cast<char>(random() % 3);
  if (random() % 4 == 0) suffix += std::to_string(random());
  return suffix;
}

TEST(FrozenDeltaTest, WritesRowsInTheOrderOfTheirKeys) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    const uint64_t groups = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 16 : 65536;
    std::map<std::string, std::string> expected;  // Row key -> record.
    MemoryBudget budget(1 << 30);
    FrozenDelta delta(budget);
    FrozenDelta::Group group(7, std::nullopt);
    for (uint64_t n = random() % 3000; n > 0; --n) {
      const auto key_group = static_cast<uint32_t>(random() % groups);
      const std::string suffix = RandomSuffix(random);
      std::string key, record;
      AppendGroupPrefix(7, key_group, key);
      key += suffix;
      const StateOp op = random() % 5 == 0 ? StateOp::kDelete : StateOp::kPut;
      const std::string value = op == StateOp::kPut ? std::to_string(n) : "";
      EncodeRow(op, key, value, record);
      if (!expected.emplace(key, record).second) continue;
      const size_t cut = random() % (suffix.size() + 1);
      group.Add(op, key_group, suffix.substr(0, cut), suffix.substr(cut), value);
    }
    delta.AddGroup(std::move(group));
    for (int time = 0; time < 2; ++time) {  // Again after a failure.
      Collector collector;
      ASSERT_TRUE(delta.Write(collector).ok());
      ASSERT_EQ(collector.lines.size(), expected.size());
      size_t at = 0;
      for (const auto& [key, record] : expected) ASSERT_EQ(collector.lines[at++], record);
    }
  }
}

}  // namespace
}  // namespace millrace
