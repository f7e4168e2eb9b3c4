// Zeroed bytes, straight from the kernel when there are many (they go back when freed, and only
// pages that are touched count).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace millrace {

class ZeroedBytes {
 public:
  ZeroedBytes() = default;
  explicit ZeroedBytes(size_t size);
  ZeroedBytes(ZeroedBytes&& other) noexcept { *this = std::move(other); }
  ZeroedBytes& operator=(ZeroedBytes&& other) noexcept;
  ~ZeroedBytes();
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace millrace
