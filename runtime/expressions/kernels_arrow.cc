// The long tail: functions that nobody waits for, by Arrow's compute kernels. A call costs about a
// microsecond a batch more than a kernel of our own; what is on the path of many jobs has its own.
#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/compute/exec.h>
#include <arrow/compute/initialize.h>
#include <arrow/datum.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <algorithm>

#include "absl/base/call_once.h"
#include "runtime/base/check.h"
#include "runtime/expressions/text.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

// All arguments and the result are INT64 or FLOAT64, and no value makes them fail.
struct ArrowFunction {
  std::string_view name;
  const char* arrow_name;
  bool swapped = false;  // Arrow takes the two arguments in the other order.
};

constexpr ArrowFunction kArrowFunctions[] = {
    {"acos", "acos"},
    {"asin", "asin"},
    {"atan", "atan"},
    {"atan2", "atan2"},
    {"bitand", "bit_wise_and"},
    {"bitnot", "bit_wise_not"},
    {"bitor", "bit_wise_or"},
    {"bitxor", "bit_wise_xor"},
    {"cos", "cos"},
    {"cosh", "cosh"},
    {"log", "logb", true},
    {"sin", "sin"},
    {"sinh", "sinh"},
    {"tan", "tan"},
    {"tanh", "tanh"},
};

std::shared_ptr<arrow::DataType> ArrowType(DataType type) {
  MILLRACE_CHECK(type == TypeKind::kInt64 || type == TypeKind::kFloat64);
  return type == TypeKind::kInt64 ? arrow::int64() : arrow::float64();
}

// Our bytes as Arrow's, kept alive by them.
std::shared_ptr<arrow::Buffer> ToArrow(const BufferPtr& buffer) {
  if (buffer == nullptr) return nullptr;
  struct Shared : arrow::Buffer {
    explicit Shared(BufferPtr from)
        : arrow::Buffer(from->data(), static_cast<int64_t>(from->size())), owner(std::move(from)) {}
    const BufferPtr owner;
  };
  return std::make_shared<Shared>(buffer);
}

BufferPtr FromArrow(const std::shared_ptr<arrow::Buffer>& buffer) {
  if (buffer == nullptr) return nullptr;
  return Buffer::Borrow(buffer->data(), static_cast<size_t>(buffer->size()), buffer);
}

std::shared_ptr<arrow::ArrayData> ToArrow(const Column& column) {
  return arrow::ArrayData::Make(ArrowType(column.type()), column.length(),
                                {ToArrow(column.has_nulls() ? column.validity_buffer() : nullptr),
                                 ToArrow(column.values_buffer())},
                                column.null_count());
}

arrow::Datum ScalarOf(const Column& column) {
  if (column.type() == TypeKind::kInt64) return arrow::Datum(column.values<int64_t>()[0]);
  return arrow::Datum(column.values<double>()[0]);
}

Column FromArrow(DataType type, const arrow::ArrayData& data) {
  MILLRACE_CHECK(data.offset == 0 && data.type->Equals(*ArrowType(type)));
  const int64_t null_count = data.GetNullCount();
  return Column(type, data.length, null_count,
                null_count == 0 ? nullptr : FromArrow(data.buffers[0]), FromArrow(data.buffers[1]));
}

class ArrowCall {
 public:
  ArrowCall(const ArrowFunction& function, DataType result) : function_(function), result_(result) {
    static absl::once_flag once;
    absl::call_once(once, [] { MILLRACE_CHECK(arrow::compute::Initialize().ok()); });
  }

  Value operator()(const KernelInput& in) const {
    if (AnyNullScalar(in.arguments)) return NullScalar(result_);
    if (in.rows == 0) return {NullColumn(result_, 0)};
    std::vector<arrow::Datum> arguments;
    for (const Value& argument : in.arguments) {
      const bool expanded = !argument.scalar || in.rows == 1;
      arguments.push_back(expanded ? arrow::Datum(ToArrow(argument.column))
                                   : ScalarOf(argument.column));
    }
    if (function_.swapped) std::reverse(arguments.begin(), arguments.end());
    arrow::compute::ExecContext context;
    context.set_use_threads(false);
    const arrow::Result<arrow::Datum> result =
        arrow::compute::CallFunction(function_.arrow_name, arguments, &context);
    MILLRACE_CHECK(result.ok());
    return {FromArrow(result_, *result->array())};
  }

 private:
  const ArrowFunction& function_;
  const DataType result_;
};

}  // namespace

absl::StatusOr<BoundKernel> MakeArrowKernel(const KernelRequest& request) {
  for (const ArrowFunction& function : kArrowFunctions) {
    if (function.name != request.name) continue;
    return BoundKernel{ArrowCall(function, request.result)};
  }
  return BoundKernel{};
}

}  // namespace millrace::expressions
