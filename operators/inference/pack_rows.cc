#include "operators/inference/pack_rows.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <limits>

namespace millrace {
namespace {

// What is turned at once.
constexpr int64_t kBlock = 8, kBlockRows = 4;

void PackScalar(const Column& column, int64_t begin, int64_t rows, int64_t width, float* out) {
  const double* values = column.values<double>() + begin;
  for (int64_t i = 0; i < rows; ++i) out[i * width] = static_cast<float>(values[i]);
}

#if defined(__AVX2__)
// Four values of eight columns become eight values of four rows.
void TurnBlock(const double* const* columns, int64_t at, int64_t width, float* out) {
  __m256 r[4];  // Column c and column c + 4.
  for (int64_t c = 0; c < 4; ++c) {
    r[c] = _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(columns[c + 4] + at)),
                           _mm256_cvtpd_ps(_mm256_loadu_pd(columns[c] + at)));
  }
  const __m256 low01 = _mm256_unpacklo_ps(r[0], r[1]), high01 = _mm256_unpackhi_ps(r[0], r[1]);
  const __m256 low23 = _mm256_unpacklo_ps(r[2], r[3]), high23 = _mm256_unpackhi_ps(r[2], r[3]);
  _mm256_storeu_ps(out, _mm256_shuffle_ps(low01, low23, 0x44));
  _mm256_storeu_ps(out + width, _mm256_shuffle_ps(low01, low23, 0xEE));
  _mm256_storeu_ps(out + 2 * width, _mm256_shuffle_ps(high01, high23, 0x44));
  _mm256_storeu_ps(out + 3 * width, _mm256_shuffle_ps(high01, high23, 0xEE));
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
    for (; at + kBlockRows <= rows; at += kBlockRows) {
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
