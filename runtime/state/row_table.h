// A hash table from encoded keys to values of fixed width, in memory. Rows are contiguous and never
// move, so addresses of values stay valid while the table lives; growth moves only the slots.
//
// A slot is 8 bytes: 32 bits of the hash and a row number. A row is the hash, the key's length with
// the dirty flag, the key (or where it lies, when it is longer than the in-place room) and the
// value, so that a hit touches one slot and one row. Probes run in blocks, prefetching both.
//
// Threading: one thread at a time.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/columns/keys.h"
#include "runtime/state/zeroed_bytes.h"

namespace millrace {

class RowTable {
 public:
  // `width`: bytes of a value, a multiple of 8. `first_key_bytes`: length of a typical key; chooses
  // the room for keys in place (up to 28 bytes).
  RowTable(size_t width, size_t first_key_bytes);

  // The address of the value of each key in `values`; new values are zero. As PaneTable::Upsert.
  void Upsert(const EncodedKeys& keys, std::span<const int32_t> selected, bool mark_dirty,
              std::span<uint8_t*> values);
  // The same for up to kBlock keys.
  static constexpr size_t kBlock = 32;
  void UpsertBlock(std::span<const uint64_t> hashes, std::span<const std::string_view> keys,
                   bool mark_dirty, uint8_t** values);
  uint8_t* UpsertOne(uint64_t hash, std::string_view key, bool mark_dirty);

  uint32_t rows() const { return rows_; }
  uint64_t hash(uint32_t row) const { return Load<uint64_t>(RowAt(row)); }
  std::string_view key(uint32_t row) const { return KeyOf(RowAt(row)); }
  uint8_t* value(uint32_t row) { return RowAt(row) + value_at_; }
  const uint8_t* value(uint32_t row) const { return RowAt(row) + value_at_; }
  bool dirty(uint32_t row) const {
    return (Load<uint32_t>(RowAt(row) + kLengthAt) & kDirtyBit) != 0;
  }
  void PrefetchRow(uint32_t row) const { __builtin_prefetch(RowAt(row)); }

  // Rows that were marked dirty since the last ClearDirty, each once.
  std::span<const uint32_t> dirty_rows() const { return dirty_; }
  void ClearDirty();

  size_t width() const { return width_; }
  size_t row_bytes() const { return stride_; }
  // With the index that sorting the rows takes (on eviction).
  uint64_t memory_bytes() const {
    return slots_.size() + uint64_t{rows_} * (stride_ + 8) + arena_bytes_ + dirty_.capacity() * 4;
  }
  // What the slots grow by for so many more rows, while both the old and the new ones are there.
  uint64_t GrowthBytes(size_t more_rows) const {
    return SlotsFor(more_rows) == slots_.size() / 8 ? 0 : SlotsFor(more_rows) * 8;
  }

 private:
  static constexpr size_t kLengthAt = 8;
  static constexpr size_t kKeyAt = 12;
  static constexpr uint32_t kDirtyBit = 1u << 31;
  static constexpr uint32_t kFirstChunkRows = 64;  // Chunk c has 64 << c rows.
  static constexpr int kFirstChunkBits = 6;
  static constexpr size_t kChunksMax = 27;

  template <typename T>
  static T Load(const uint8_t* at) {
    T value;
    std::memcpy(&value, at, sizeof(T));
    return value;
  }
  uint8_t* RowAt(uint32_t row) const {
    const uint64_t n = uint64_t{row} + kFirstChunkRows;
    const int chunk = std::bit_width(n) - 1 - kFirstChunkBits;
    return chunks_[static_cast<size_t>(chunk)].data() +
           (n - (uint64_t{kFirstChunkRows} << chunk)) * stride_;
  }
  std::string_view KeyOf(const uint8_t* row) const {
    const uint32_t length = Load<uint32_t>(row + kLengthAt) & ~kDirtyBit;
    if (length <= key_room_) return {reinterpret_cast<const char*>(row + kKeyAt), length};
    return {Load<const char*>(row + kKeyAt), length};
  }
  uint64_t* slots() const { return reinterpret_cast<uint64_t*>(slots_.data()); }
  uint8_t* AddRow(uint64_t hash, std::string_view key);
  void MakeRoom(size_t more_rows);
  size_t SlotsFor(size_t more_rows) const;

  const size_t width_;
  const size_t key_room_;
  const size_t value_at_;
  const size_t stride_;
  ZeroedBytes slots_;
  uint64_t slot_mask_ = 0;
  uint32_t rows_ = 0;
  std::array<ZeroedBytes, kChunksMax> chunks_;
  std::vector<std::unique_ptr<char[]>> arena_;  // Long keys.
  char* arena_end_ = nullptr;
  size_t arena_left_ = 0;
  uint64_t arena_bytes_ = 0;
  std::vector<uint32_t> dirty_;
};

}  // namespace millrace
