// A Buffer is a block of bytes that is shared without copies: 64-byte aligned, padded with readable
// bytes to a multiple of 64 (Arrow's layout rule), immutable once it is shared as BufferPtr.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace millrace {

class Buffer;
using BufferPtr = std::shared_ptr<const Buffer>;

// Threading: a BufferPtr may be read and dropped on any thread.
class Buffer {
 public:
  // Owned, uninitialised bytes (the padding is zeroed).
  static std::shared_ptr<Buffer> Allocate(size_t size);
  static BufferPtr CopyOf(std::string_view bytes);
  // Bytes that somebody else keeps alive, e.g. a part of a received frame.
  static BufferPtr Borrow(const void* data, size_t size, std::shared_ptr<const void> owner);

  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  const uint8_t* data() const { return data_; }
  uint8_t* mutable_data() { return data_; }  // Only before it is shared, only when allocated.
  size_t size() const { return size_; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }
  // Forgets the bytes after `size`, which must not be larger than before; zeroes the padding.
  void Shrink(size_t size);

 private:
  Buffer(uint8_t* data, size_t size, std::shared_ptr<const void> owner);

  uint8_t* data_;
  size_t size_;
  const std::shared_ptr<const void> owner_;  // Null when the bytes are our own.
};

}  // namespace millrace
