// 32 bytes at once, and which of them are what, a bit per byte.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace millrace {

class Bytes32 {
 public:
  static constexpr int kBytes = 32;

#if defined(__AVX2__)
  explicit Bytes32(const char* at)
      : bytes_(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at))) {}
  uint32_t Is(char c) const { return Bits(_mm256_cmpeq_epi8(bytes_, _mm256_set1_epi8(c))); }
  uint32_t IsControl() const {  // Below a space.
    const __m256i last = _mm256_set1_epi8(0x1f);
    return Bits(_mm256_cmpeq_epi8(_mm256_max_epu8(bytes_, last), last));
  }
  uint32_t IsNotAscii() const { return Bits(bytes_); }
  // '[', ']', '{' and '}': pairs that differ in one bit.
  uint32_t IsBracket() const {
    const __m256i folded = _mm256_or_si256(bytes_, _mm256_set1_epi8(0x20));
    return Bits(_mm256_or_si256(_mm256_cmpeq_epi8(folded, _mm256_set1_epi8('{')),
                                _mm256_cmpeq_epi8(folded, _mm256_set1_epi8('}'))));
  }

 private:
  static uint32_t Bits(__m256i bytes) { return static_cast<uint32_t>(_mm256_movemask_epi8(bytes)); }
  __m256i bytes_;
#else
  explicit Bytes32(const char* at) : at_(at) {}
  uint32_t Is(char c) const {
    return Bits([c](char one) { return one == c; });
  }
  uint32_t IsControl() const {  // Below a space.
    return Bits([](char one) { return static_cast<unsigned char>(one) < 0x20; });
  }
  uint32_t IsNotAscii() const {
    return Bits([](char one) { return static_cast<unsigned char>(one) >= 0x80; });
  }
  uint32_t IsBracket() const {  // '[', ']', '{' and '}'.
    return Bits([](char one) { return (one | 0x20) == '{' || (one | 0x20) == '}'; });
  }

 private:
  template <typename Test>
  uint32_t Bits(Test test) const {
    uint32_t bits = 0;
    for (int i = 0; i < kBytes; ++i) bits |= static_cast<uint32_t>(test(at_[i])) << i;
    return bits;
  }
  const char* at_;
#endif
};

}  // namespace millrace
