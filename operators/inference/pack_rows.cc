#include "operators/inference/pack_rows.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <limits>

namespace millrace {
namespace {

// Rows and columns that are turned at once.
constexpr int64_t kBlock = 8;

void PackScalar(const Column& column, int64_t begin, int64_t rows, int64_t width, float* out) {
  const double* values = column.values<double>() + begin;
  for (int64_t i = 0; i < rows; ++i) out[i * width] = static_cast<float>(values[i]);
}

#if defined(__AVX2__)
__m256 LoadFloats(const double* values) {
  const __m128 low = _mm256_cvtpd_ps(_mm256_loadu_pd(values));
  const __m128 high = _mm256_cvtpd_ps(_mm256_loadu_pd(values + 4));
  return _mm256_set_m128(high, low);
}

// Eight values of eight columns become eight values of eight rows.
void TurnBlock(const double* const* columns, int64_t at, int64_t width, float* out) {
  __m256 r[kBlock], t[kBlock];
  for (int64_t c = 0; c < kBlock; ++c) r[c] = LoadFloats(columns[c] + at);
  for (int64_t c = 0; c < kBlock; c += 2) {
    t[c] = _mm256_unpacklo_ps(r[c], r[c + 1]);
    t[c + 1] = _mm256_unpackhi_ps(r[c], r[c + 1]);
  }
  for (int64_t c = 0; c < kBlock; c += 4) {
    r[c] = _mm256_shuffle_ps(t[c], t[c + 2], 0x44);
    r[c + 1] = _mm256_shuffle_ps(t[c], t[c + 2], 0xEE);
    r[c + 2] = _mm256_shuffle_ps(t[c + 1], t[c + 3], 0x44);
    r[c + 3] = _mm256_shuffle_ps(t[c + 1], t[c + 3], 0xEE);
  }
  for (int64_t i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + i * width, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * width, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}
#endif

}  // namespace

void PackRows(std::span<const Column> columns, int64_t begin, int64_t rows, float* out) {
  const auto width = static_cast<int64_t>(columns.size());
  int64_t first = 0;
#if defined(__AVX2__)
  for (; first + kBlock <= width; first += kBlock) {
    const double* values[kBlock];
    for (int64_t c = 0; c < kBlock; ++c) {
      values[c] = columns[static_cast<size_t>(first + c)].values<double>() + begin;
    }
    int64_t at = 0;
    for (; at + kBlock <= rows; at += kBlock) {
      TurnBlock(values, at, width, out + at * width + first);
    }
    for (int64_t c = 0; c < kBlock; ++c) {
      PackScalar(columns[static_cast<size_t>(first + c)], begin + at, rows - at, width,
                 out + at * width + first + c);
    }
  }
#endif
  for (; first < width; ++first) {
    PackScalar(columns[static_cast<size_t>(first)], begin, rows, width, out + first);
  }
  for (int64_t c = 0; c < width; ++c) {
    const Column& column = columns[static_cast<size_t>(c)];
    if (!column.has_nulls()) continue;
    for (int64_t i = 0; i < rows; ++i) {
      if (column.IsNull(begin + i)) out[i * width + c] = std::numeric_limits<float>::quiet_NaN();
    }
  }
}

}  // namespace millrace
