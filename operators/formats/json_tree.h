// Which keys of a JSON object become columns: a tree, made once from the schema.
// Private to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/formats/format.h"

namespace millrace {

// Bytes that are expected at a place, compared in words and without a call.
class ExpectedText {
 public:
  static constexpr size_t kWords = 4;
  static constexpr size_t kBytesMax = 8 * kWords;
  // It may be compared past the end of a message.
  static_assert(kBytesMax <= kMessagePadding);

  // Longer texts than kBytesMax are found nowhere.
  void Set(std::string_view text) {
    size_ = 0;
    if (text.size() > kBytesMax) return;
    size_ = static_cast<uint32_t>(text.size());
    words_.fill(0);
    masks_.fill(0);
    std::memcpy(words_.data(), text.data(), text.size());
    std::memset(masks_.data(), 0xff, text.size());
  }
  uint32_t size() const { return size_; }
  // Reads up to kBytesMax bytes.
  bool IsAt(const char* place) const {
    uint64_t difference = 0;
    for (uint32_t i = 0; 8 * i < size_; ++i) {
      uint64_t word;
      std::memcpy(&word, place + 8 * i, 8);
      difference |= (word & masks_[i]) ^ words_[i];
    }
    return size_ != 0 && difference == 0;
  }

 private:
  std::array<uint64_t, kWords> words_{};
  std::array<uint64_t, kWords> masks_{};
  uint32_t size_ = 0;  // 0: nothing is expected.
};

// One JSON object that columns are taken from; the root, or the value of a key of another one.
struct JsonTreeNode {
  struct Child {
    std::string key;                 // Unescaped.
    int column = -1;                 // A column of the schema; or
    JsonTreeNode* object = nullptr;  // an object with columns in it.
  };
  // The key that stood at this place of the last object: most messages of a stream have the same
  // keys in the same order.
  struct Slot {
    ExpectedText key;  // With its closing quote.
    int child = -1;    // -1: a key that is not wanted.
  };
  std::vector<Child> children;
  std::vector<Slot> slots;
  std::vector<int> columns;  // All below this object.
  bool seen = false;         // In the current message.
};

// The first is the root. They point at one another: moved, never copied.
using JsonTree = std::deque<JsonTreeNode>;

// Without the columns that are true in `left_null` (by column; empty: none). kInvalidArgument: two
// columns that exclude each other, or one that is nested deeper than `depth_max`.
absl::StatusOr<JsonTree> MakeJsonTree(const Schema& schema, const std::vector<bool>& left_null,
                                      int64_t depth_max);

}  // namespace millrace
