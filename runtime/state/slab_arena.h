// Memory for many small pieces of few sizes, which go all at once in the end. A freed piece is
// given to the next one of its size; pieces larger than kSmallBytesMax come from the heap.
//
// Threading: one thread at a time. Ownership: the arena owns all pieces.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/state/zeroed_bytes.h"

namespace millrace {

class SlabArena {
 public:
  static constexpr size_t kStepBytes = 16;
  static constexpr size_t kSmallBytesMax = 2560;

  SlabArena() = default;
  ~SlabArena() { Clear(); }
  SlabArena(const SlabArena&) = delete;
  SlabArena& operator=(const SlabArena&) = delete;

  // What a piece of `bytes` really has.
  static size_t RoomFor(size_t bytes) { return (bytes + kStepBytes - 1) / kStepBytes * kStepBytes; }

  // Aligned to 16 bytes, not zeroed. `bytes` > 0.
  uint8_t* Allocate(size_t bytes) {
    const size_t room = RoomFor(bytes);
    if (room > kSmallBytesMax) return AllocateLarge(room);
    Free*& first = free_[room / kStepBytes - 1];
    if (first != nullptr) {
      Free* const piece = first;
      first = piece->next;
      return reinterpret_cast<uint8_t*>(piece);
    }
    if (room > left_) AddChunk();
    uint8_t* const piece = end_ - left_;
    left_ -= room;
    bytes_ += room;
    return piece;
  }

  // `bytes` as in Allocate, or another number with the same RoomFor.
  void Release(uint8_t* piece, size_t bytes) {
    const size_t room = RoomFor(bytes);
    if (room > kSmallBytesMax) return ReleaseLarge(piece, room);
    auto* const freed = reinterpret_cast<Free*>(piece);
    freed->next = free_[room / kStepBytes - 1];
    free_[room / kStepBytes - 1] = freed;
  }

  void Clear();

  // Pieces in use, and those that wait for the next one of their size.
  uint64_t bytes() const { return bytes_; }

 private:
  struct Free {
    Free* next;
  };
  // Before a large piece.
  struct alignas(16) Large {
    Large* before;
    Large* after;
  };
  static constexpr size_t kFirstChunkBytes = 4 << 10;
  static constexpr size_t kChunkBytesMax = 4 << 20;

  void AddChunk();
  uint8_t* AllocateLarge(size_t room);
  void ReleaseLarge(uint8_t* piece, size_t room);

  std::array<Free*, kSmallBytesMax / kStepBytes> free_{};
  std::vector<ZeroedBytes> chunks_;
  uint8_t* end_ = nullptr;  // Of the last chunk, which has so many bytes left.
  size_t left_ = 0;
  uint64_t bytes_ = 0;
  Large* large_ = nullptr;
};

}  // namespace millrace
