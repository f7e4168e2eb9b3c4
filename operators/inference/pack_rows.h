// Columns to the row-major floats that ONNX Runtime takes.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/columns/batch.h"

namespace millrace {

// Rows [begin, begin + rows) of DOUBLE columns, NULL = NaN, to out[i * columns.size() + column].
void PackRows(std::span<const Column> columns, int64_t begin, int64_t rows, float* out);

}  // namespace millrace
