// What the element types of tensors are in memory and as columns.
#pragma once

#include <cstddef>

#include "millrace/v1/graph.pb.h"
#include "runtime/columns/types.h"

namespace millrace {

// Bytes of one element; not of TYPE_STRING.
size_t TensorElementBytes(v1::Tensor::Type type);
// Of the column that a feature is read from or a prediction is written to.
TypeKind TensorColumnType(v1::Tensor::Type type);

}  // namespace millrace
