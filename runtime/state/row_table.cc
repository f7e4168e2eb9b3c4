#include "runtime/state/row_table.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "runtime/base/check.h"

namespace millrace {
namespace {

constexpr size_t kArenaBytes = 1 << 16;
constexpr size_t kFirstSlots = 64;

size_t KeyRoom(size_t key_bytes) { return key_bytes <= 12 ? 12 : key_bytes <= 20 ? 20 : 28; }

bool SameBytes(const char* a, const char* b, size_t n) {
  const auto word = [](const char* p) {
    uint64_t w;
    std::memcpy(&w, p, 8);
    return w;
  };
  if (n >= 8 && n <= 16) return word(a) == word(b) && word(a + n - 8) == word(b + n - 8);
  return std::memcmp(a, b, n) == 0;
}

uint64_t TagOf(uint64_t hash) { return hash >> 32; }

}  // namespace

RowTable::RowTable(size_t width, size_t first_key_bytes)
    : width_(width),
      key_room_(KeyRoom(first_key_bytes)),
      value_at_(kKeyAt + key_room_),
      stride_(value_at_ + width) {
  MILLRACE_CHECK(width % 8 == 0);
}

size_t RowTable::SlotsFor(size_t more_rows) const {
  size_t count = std::max(slots_.size() / 8, kFirstSlots);
  while ((rows_ + more_rows) * 8 > count * 5) count *= 2;
  return count;
}

void RowTable::MakeRoom(size_t more_rows) {
  MILLRACE_CHECK(uint64_t{rows_} + more_rows <
                 std::numeric_limits<uint32_t>::max() - kFirstChunkRows);
  const size_t count = SlotsFor(more_rows);
  if (count == slots_.size() / 8) return;
  ZeroedBytes bigger(count * 8);
  auto* to = reinterpret_cast<uint64_t*>(bigger.data());
  const uint64_t mask = count - 1;
  const size_t old_count = slots_.size() / 8;
  for (size_t i = 0; i < old_count; ++i) {
    const uint64_t slot = slots()[i];
    if (slot == 0) continue;
    uint64_t at = (slot >> 32) & mask;
    while (to[at] != 0) at = (at + 1) & mask;
    to[at] = slot;
  }
  slots_ = std::move(bigger);
  slot_mask_ = mask;
}

uint8_t* RowTable::AddRow(uint64_t hash, std::string_view key) {
  const uint64_t n = uint64_t{rows_} + kFirstChunkRows;
  if (std::has_single_bit(n)) {
    const auto chunk = static_cast<size_t>(std::bit_width(n) - 1 - kFirstChunkBits);
    chunks_[chunk] = ZeroedBytes((size_t{kFirstChunkRows} << chunk) * stride_);
  }
  uint8_t* row = RowAt(rows_++);
  std::memcpy(row, &hash, 8);
  const auto length = static_cast<uint32_t>(key.size());
  MILLRACE_CHECK(key.size() < kDirtyBit);
  std::memcpy(row + kLengthAt, &length, 4);
  if (key.size() <= key_room_) {
    if (!key.empty()) std::memcpy(row + kKeyAt, key.data(), key.size());
    return row;
  }
  if (key.size() > arena_left_) {
    arena_left_ = std::max(kArenaBytes, key.size());
    arena_.push_back(std::make_unique<char[]>(arena_left_));
    arena_bytes_ += arena_left_;
    arena_end_ = arena_.back().get() + arena_left_;
  }
  char* at = arena_end_ - arena_left_;
  std::memcpy(at, key.data(), key.size());
  arena_left_ -= key.size();
  std::memcpy(row + kKeyAt, &at, sizeof(at));
  return row;
}

void RowTable::UpsertBlock(std::span<const uint64_t> hashes, std::span<const std::string_view> keys,
                           bool mark_dirty, uint8_t** values) {
  const size_t n = hashes.size();
  MakeRoom(n);
  uint64_t* const slots = this->slots();
  const uint64_t mask = slot_mask_;
  for (size_t i = 0; i < n; ++i) __builtin_prefetch(&slots[TagOf(hashes[i]) & mask]);
  for (size_t i = 0; i < n; ++i) {
    const auto number = static_cast<uint32_t>(slots[TagOf(hashes[i]) & mask]);
    if (number != 0) __builtin_prefetch(RowAt(number - 1));
  }
  for (size_t i = 0; i < n; ++i) {
    const uint64_t hash = hashes[i];
    const uint64_t tag = TagOf(hash);
    uint8_t* row = nullptr;
    uint32_t number = 0;
    for (uint64_t at = tag & mask;; at = (at + 1) & mask) {
      const uint64_t slot = slots[at];
      if (slot == 0) {
        row = AddRow(hash, keys[i]);
        number = rows_;
        slots[at] = tag << 32 | number;
        break;
      }
      if (slot >> 32 != tag) continue;
      number = static_cast<uint32_t>(slot);
      row = RowAt(number - 1);
      if (Load<uint64_t>(row) != hash) continue;
      const std::string_view key = KeyOf(row);
      if (key.size() == keys[i].size() && SameBytes(key.data(), keys[i].data(), key.size())) break;
    }
    if (mark_dirty) {
      const auto length = Load<uint32_t>(row + kLengthAt);
      if ((length & kDirtyBit) == 0) {
        const uint32_t marked = length | kDirtyBit;
        std::memcpy(row + kLengthAt, &marked, 4);
        dirty_.push_back(number - 1);
      }
    }
    values[i] = row + value_at_;
  }
}

void RowTable::Upsert(const EncodedKeys& keys, std::span<const int32_t> selected, bool mark_dirty,
                      std::span<uint8_t*> values) {
  std::array<uint64_t, kBlock> hashes;
  std::array<std::string_view, kBlock> views;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t n = std::min(kBlock, values.size() - begin);
    for (size_t i = 0; i < n; ++i) {
      const size_t row = selected.empty() ? begin + i : static_cast<size_t>(selected[begin + i]);
      hashes[i] = keys.hashes[row];
      views[i] = std::string_view(keys.bytes.data() + keys.offsets[row],
                                  keys.offsets[row + 1] - keys.offsets[row]);
    }
    UpsertBlock({hashes.data(), n}, {views.data(), n}, mark_dirty, values.data() + begin);
  }
}

uint8_t* RowTable::UpsertOne(uint64_t hash, std::string_view key, bool mark_dirty) {
  uint8_t* value = nullptr;
  UpsertBlock({&hash, 1}, {&key, 1}, mark_dirty, &value);
  return value;
}

void RowTable::ClearDirty() {
  for (const uint32_t row : dirty_) {
    uint8_t* at = RowAt(row) + kLengthAt;
    const uint32_t length = Load<uint32_t>(at) & ~kDirtyBit;
    std::memcpy(at, &length, 4);
  }
  std::vector<uint32_t>().swap(dirty_);
}

}  // namespace millrace
