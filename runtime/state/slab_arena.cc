#include "runtime/state/slab_arena.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "runtime/base/check.h"

namespace millrace {

void SlabArena::AddChunk() {
  const size_t bytes =
      chunks_.empty() ? kFirstChunkBytes : std::min(chunks_.back().size() * 2, kChunkBytesMax);
  bytes_ += left_;  // Of no use any more.
  end_ = chunks_.emplace_back(bytes).data() + bytes;
  left_ = bytes;
}

uint8_t* SlabArena::AllocateLarge(size_t room) {
  auto* const large = static_cast<Large*>(std::malloc(sizeof(Large) + room));
  MILLRACE_CHECK(large != nullptr);
  large->before = nullptr;
  large->after = large_;
  if (large_ != nullptr) large_->before = large;
  large_ = large;
  bytes_ += sizeof(Large) + room;
  return reinterpret_cast<uint8_t*>(large + 1);
}

void SlabArena::ReleaseLarge(uint8_t* piece, size_t room) {
  Large* const large = reinterpret_cast<Large*>(piece) - 1;
  (large->before != nullptr ? large->before->after : large_) = large->after;
  if (large->after != nullptr) large->after->before = large->before;
  bytes_ -= sizeof(Large) + room;
  std::free(large);
}

void SlabArena::Clear() {
  while (large_ != nullptr) std::free(std::exchange(large_, large_->after));
  free_.fill(nullptr);
  std::vector<ZeroedBytes>().swap(chunks_);
  end_ = nullptr;
  left_ = 0;
  bytes_ = 0;
}

}  // namespace millrace
