#include "runtime/state/zeroed_bytes.h"

#include <sys/mman.h>

#include <cstdlib>

#include "runtime/base/check.h"

namespace millrace {
namespace {

constexpr size_t kMapBytesMin = 1 << 18;
constexpr size_t kHugeBytesMin = 4 << 20;

}  // namespace

ZeroedBytes::ZeroedBytes(size_t size) : size_(size) {
  if (size < kMapBytesMin) {
    data_ = static_cast<uint8_t*>(std::calloc(1, size));
    MILLRACE_CHECK(data_ != nullptr);
    return;
  }
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MILLRACE_CHECK(pages != MAP_FAILED);
  // Only a hint: random access to large tables costs fewer TLB misses.
  if (size >= kHugeBytesMin) (void)madvise(pages, size, MADV_HUGEPAGE);
  data_ = static_cast<uint8_t*>(pages);
}

ZeroedBytes& ZeroedBytes::operator=(ZeroedBytes&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

ZeroedBytes::~ZeroedBytes() {
  if (size_ < kMapBytesMin) {
    std::free(data_);
  } else {
    munmap(data_, size_);
  }
}

}  // namespace millrace
