#include "runtime/base/buffer.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "runtime/base/check.h"

namespace millrace {
namespace {

constexpr size_t kAlignment = 64;

size_t Padded(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Buffer::Buffer(uint8_t* data, size_t size, std::shared_ptr<const void> owner)
    : data_(data), size_(size), owner_(std::move(owner)) {}

Buffer::~Buffer() {
  if (owner_ == nullptr) std::free(data_);
}

std::shared_ptr<Buffer> Buffer::Allocate(size_t size) {
  // At least one line, so that the address is never null.
  const size_t padded = Padded(size == 0 ? 1 : size);
  auto* data = static_cast<uint8_t*>(std::aligned_alloc(kAlignment, padded));
  MILLRACE_CHECK(data != nullptr);
  std::memset(data + size, 0, padded - size);
  return std::shared_ptr<Buffer>(new Buffer(data, size, nullptr));
}

void Buffer::Shrink(size_t size) {
  MILLRACE_CHECK(size <= size_ && owner_ == nullptr);
  size_ = size;
  std::memset(data_ + size, 0, Padded(size == 0 ? 1 : size) - size);
}

BufferPtr Buffer::CopyOf(std::string_view bytes) {
  auto buffer = Allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(buffer->mutable_data(), bytes.data(), bytes.size());
  return buffer;
}

BufferPtr Buffer::Borrow(const void* data, size_t size, std::shared_ptr<const void> owner) {
  MILLRACE_CHECK(owner != nullptr);
  // Never written: only the allocating side hands out a mutable Buffer.
  auto* bytes = const_cast<uint8_t*>(static_cast<const uint8_t*>(data));
  return BufferPtr(new Buffer(bytes, size, std::move(owner)));
}

}  // namespace millrace
