#include "operators/inference/tensor_types.h"

namespace millrace {

size_t TensorElementBytes(v1::Tensor::Type type) {
  switch (type) {
    case v1::Tensor::TYPE_FLOAT64:
    case v1::Tensor::TYPE_INT64:
      return 8;
    case v1::Tensor::TYPE_BOOL:
      return 1;
    default:
      return 4;
  }
}

TypeKind TensorColumnType(v1::Tensor::Type type) {
  switch (type) {
    case v1::Tensor::TYPE_INT32:
      return TypeKind::kInt32;
    case v1::Tensor::TYPE_INT64:
      return TypeKind::kInt64;
    case v1::Tensor::TYPE_BOOL:
      return TypeKind::kBool;
    case v1::Tensor::TYPE_STRING:
      return TypeKind::kString;
    default:
      return TypeKind::kFloat64;
  }
}

}  // namespace millrace
