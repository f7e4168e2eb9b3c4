// CRC32C: the SSE 4.2 instruction where there is one, else a table of 8 x 256 entries. The
// instruction takes three cycles but a new one can begin in each: long texts go through in three
// lanes, whose results are joined.
#include <array>
#include <cstdint>
#include <cstring>

#include "runtime/checkpoint/segment_file.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace millrace {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, reflected.

constexpr std::array<std::array<uint32_t, 256>, 8> MakeTables() {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (size_t t = 1; t < 8; ++t) {
      tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xff];
    }
  }
  return tables;
}
constexpr auto kTables = MakeTables();

constexpr size_t kLaneBytes = 1024;

// What `size` zero bytes make of a state, by the bytes of the state: they act on each bit alone.
constexpr std::array<std::array<uint32_t, 256>, 4> MakeZeros(size_t size) {
  std::array<std::array<uint32_t, 256>, 4> zeros{};
  for (uint32_t bit = 0; bit < 32; ++bit) {
    uint32_t state = uint32_t{1} << bit;
    for (size_t i = 0; i < size; ++i) state = (state >> 8) ^ kTables[0][state & 0xff];
    for (uint32_t byte = 0; byte < 256; ++byte) {
      if ((byte >> (bit % 8) & 1) != 0) zeros[bit / 8][byte] ^= state;
    }
  }
  return zeros;
}
constexpr auto kOneLane = MakeZeros(kLaneBytes);
constexpr auto kTwoLanes = MakeZeros(2 * kLaneBytes);

inline uint32_t Behind(const std::array<std::array<uint32_t, 256>, 4>& zeros, uint64_t state) {
  return zeros[0][state & 0xff] ^ zeros[1][state >> 8 & 0xff] ^ zeros[2][state >> 16 & 0xff] ^
         zeros[3][state >> 24 & 0xff];
}

inline uint64_t WordAt(const char* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

}  // namespace

namespace internal {

uint32_t Crc32cPortable(std::string_view bytes, uint32_t crc) {
  const char* p = bytes.data();
  size_t n = bytes.size();
  crc = ~crc;
  for (; n >= 8; n -= 8, p += 8) {
    const uint64_t word = WordAt(p) ^ crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; n > 0; --n, ++p) crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<uint8_t>(*p)) & 0xff];
  return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t Crc32cHardware(std::string_view bytes,
                                                                 uint32_t crc) {
  const char* p = bytes.data();
  size_t n = bytes.size();
  uint64_t state = ~crc;
  for (; n >= 3 * kLaneBytes; n -= 3 * kLaneBytes, p += 3 * kLaneBytes) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (const char* at = p; at < p + kLaneBytes; at += 8) {
      state = _mm_crc32_u64(state, WordAt(at));
      second = _mm_crc32_u64(second, WordAt(at + kLaneBytes));
      third = _mm_crc32_u64(third, WordAt(at + 2 * kLaneBytes));
    }
    state = Behind(kTwoLanes, state) ^ Behind(kOneLane, second) ^ third;
  }
  for (; n >= 8; n -= 8, p += 8) state = _mm_crc32_u64(state, WordAt(p));
  auto narrow = static_cast<uint32_t>(state);
  for (; n > 0; --n, ++p) narrow = _mm_crc32_u8(narrow, static_cast<uint8_t>(*p));
  return ~narrow;
}
#endif

}  // namespace internal

uint32_t Crc32c(std::string_view bytes, uint32_t crc) {
#if defined(__x86_64__)
  static const bool hardware = __builtin_cpu_supports("sse4.2") != 0;
  if (hardware) return internal::Crc32cHardware(bytes, crc);
#endif
  return internal::Crc32cPortable(bytes, crc);
}

}  // namespace millrace
