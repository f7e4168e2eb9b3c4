// Bytes that are filled again and again: uninitialised, growing only, and followed by the readable
// bytes that decoders ask for.
//
// Threading: as for any value. Ownership: views into it live until it is written to or destroyed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "operators/formats/format.h"

namespace millrace {

class ByteBlock {
 public:
  char* data() { return bytes_.get(); }
  std::string_view view() const { return {bytes_.get(), size_}; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }

  // Makes it `size` bytes long. Keeps the first `kept` bytes; the others are undefined.
  void Resize(size_t size, size_t kept = 0) {
    if (size > capacity_ || bytes_ == nullptr) {
      std::unique_ptr<char[]> larger(new char[size + kMessagePadding]);
      if (kept > 0) std::memcpy(larger.get(), bytes_.get(), kept);
      bytes_ = std::move(larger);
      capacity_ = size;
    }
    std::memset(bytes_.get() + size, 0, kMessagePadding);
    size_ = size;
  }

 private:
  std::unique_ptr<char[]> bytes_;  // capacity_ + kMessagePadding.
  size_t capacity_ = 0;
  size_t size_ = 0;
};

}  // namespace millrace
