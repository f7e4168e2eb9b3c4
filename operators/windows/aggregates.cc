#include "operators/windows/aggregates.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "millrace/v1/graph.pb.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

template <typename T>
T Load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
void Store(uint8_t* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

absl::StatusOr<AggregateKind> KindOf(const v1::Aggregate& aggregate) {
  const std::string& name = aggregate.function();
  if (name == "count") return AggregateKind::kCount;
  if (name == "sum") return AggregateKind::kSum;
  if (name == "avg") return AggregateKind::kAvg;
  if (name == "min") return AggregateKind::kMin;
  if (name == "max") return AggregateKind::kMax;
  return absl::InvalidArgumentError(absl::StrCat("unknown aggregate function: ", name));
}

// In place of a sum that does not fit 128 bits.
constexpr Int128 kSumOutOfRange = std::numeric_limits<Int128>::min();

bool IsFloat(const AggregateSlot& slot) { return slot.argument_type == TypeKind::kFloat64; }
bool IsDecimal(const AggregateSlot& slot) { return slot.argument_type == TypeKind::kDecimal; }

bool IsSum(const AggregateSlot& slot) {
  return slot.kind == AggregateKind::kSum || slot.kind == AggregateKind::kAvg;
}

size_t WidthOf(const AggregateSlot& slot) {
  if (slot.kind == AggregateKind::kCount) return 8;
  return IsDecimal(slot) || (IsSum(slot) && !IsFloat(slot)) ? 24 : 16;
}

void Bump(uint8_t* slot, int64_t by) { Store<int64_t>(slot, Load<int64_t>(slot) + by); }

// Folds `value` into the MIN or MAX at `slot`; `first` when nothing was there.
template <typename T>
void FoldExtreme(AggregateKind kind, uint8_t* slot, T value, bool first) {
  const T old = Load<T>(slot + 8);
  const bool better = kind == AggregateKind::kMin ? value < old : value > old;
  if (first || better) Store<T>(slot + 8, value);
}

void AppendExact(DataType type, Int128 value, ColumnBuilder& out) {
  switch (type) {
    case TypeKind::kBool:
      return out.AppendBool(value != 0);
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return out.AppendInt32(static_cast<int32_t>(value));
    case TypeKind::kFloat64:
      return out.AppendFloat64(static_cast<double>(value));
    case TypeKind::kDecimal:
      return out.AppendDecimal(value);
    default:
      return out.AppendInt64(static_cast<int64_t>(value));
  }
}

}  // namespace

absl::StatusOr<AggregateSlot> SlotOf(const v1::Aggregate& aggregate) {
  AggregateSlot slot;
  MILLRACE_ASSIGN_OR_RETURN(slot.kind, KindOf(aggregate));
  slot.result_type = DataType::FromProto(aggregate.type());
  slot.count_star = !aggregate.has_argument();
  if (aggregate.has_argument()) {
    slot.argument_type = DataType::FromProto(aggregate.argument().type());
  }
  return slot;
}

void AddToSum(Int128 value, Int128& sum) {
  if (sum == kSumOutOfRange || value == kSumOutOfRange ||
      __builtin_add_overflow(sum, value, &sum)) {
    sum = kSumOutOfRange;
  }
}

namespace {

// The mean of `count` decimals with the sum `sum`, rounded half away from zero to the scale of the
// result. Nothing: out of range.
std::optional<Int128> DecimalMean(const AggregateSlot& slot, int64_t count, Int128 sum) {
  // Result and argument differ by six digits at the most, and the rest is less than `count`.
  const Int128 unit = PowerOfTen(slot.result_type.scale() - slot.argument_type.scale());
  Int128 whole = sum / count;
  const Int128 rest = sum % count * unit;
  Int128 mean = 0;
  if (__builtin_mul_overflow(whole, unit, &mean)) return std::nullopt;
  mean += rest / count;
  const Int128 remainder = rest % count;
  if (2 * (remainder < 0 ? -remainder : remainder) >= count) mean += sum < 0 ? -1 : 1;
  return mean;
}

}  // namespace

bool AppendExactSum(const AggregateSlot& slot, int64_t count, Int128 sum, ColumnBuilder& out) {
  if (IsDecimal(slot)) {
    std::optional<Int128> result;
    if (sum != kSumOutOfRange) result = sum;
    if (result && slot.kind == AggregateKind::kAvg) result = DecimalMean(slot, count, sum);
    if (!result || !FitsPrecision(*result, slot.result_type.precision())) {
      out.AppendNull();
      return false;
    }
    out.AppendDecimal(*result);
    return true;
  }
  if (slot.kind == AggregateKind::kAvg) sum /= count;  // Integer AVG truncates, as in Flink SQL.
  const bool fits =
      slot.result_type == TypeKind::kInt32
          ? sum >= std::numeric_limits<int32_t>::min() && sum <= std::numeric_limits<int32_t>::max()
          : sum >= std::numeric_limits<int64_t>::min() &&
                sum <= std::numeric_limits<int64_t>::max();
  if (!fits) {
    out.AppendNull();
    return false;
  }
  AppendExact(slot.result_type, sum, out);
  return true;
}

Int128 ExactAt(const Column& column, int64_t row) {
  switch (column.type()) {
    case TypeKind::kBool:
      return column.BoolAt(row) ? 1 : 0;
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return column.values<int32_t>()[row];
    case TypeKind::kDecimal:
      return column.values<Decimal>()[row].unscaled();
    default:
      return column.values<int64_t>()[row];
  }
}

absl::StatusOr<std::shared_ptr<const AggregateLayout>> AggregateLayout::Make(
    const Aggregates& aggregates) {
  auto layout = std::make_shared<AggregateLayout>();
  for (const v1::Aggregate& aggregate : aggregates) {
    MILLRACE_ASSIGN_OR_RETURN(AggregateSlot slot, SlotOf(aggregate));
    const AggregateKind kind = slot.kind;
    // DISTINCT changes nothing for extremes.
    const bool extreme = kind == AggregateKind::kMin || kind == AggregateKind::kMax;
    slot.by_value_set = extreme ? IsVariableWidth(slot.argument_type) : aggregate.distinct();
    slot.offset = static_cast<uint32_t>(layout->width_);
    if (!slot.by_value_set || !extreme) layout->width_ += WidthOf(slot);
    layout->has_value_sets_ |= slot.by_value_set;
    layout->slots_.push_back(slot);
  }
  // A group that only has value sets must exist all the same.
  layout->width_ = std::max<size_t>(layout->width_, 8);
  return layout;
}

void AggregateLayout::Merge(uint8_t* into, const uint8_t* from) const {
  for (const AggregateSlot& slot : slots_) {
    // Value sets are counted when a window is read; until then their slots are zero.
    if (slot.by_value_set) continue;
    uint8_t* a = into + slot.offset;
    const uint8_t* b = from + slot.offset;
    const auto count = Load<int64_t>(b);
    if (count == 0) continue;
    const bool first = Load<int64_t>(a) == 0;
    switch (slot.kind) {
      case AggregateKind::kCount:
        break;
      case AggregateKind::kSum:
      case AggregateKind::kAvg:
        if (IsFloat(slot)) {
          Store<double>(a + 8, Load<double>(a + 8) + Load<double>(b + 8));
        } else {
          auto sum = Load<Int128>(a + 8);
          AddToSum(Load<Int128>(b + 8), sum);
          Store<Int128>(a + 8, sum);
        }
        break;
      case AggregateKind::kMin:
      case AggregateKind::kMax:
        if (IsFloat(slot)) {
          FoldExtreme<double>(slot.kind, a, Load<double>(b + 8), first);
        } else if (IsDecimal(slot)) {
          FoldExtreme<Int128>(slot.kind, a, Load<Int128>(b + 8), first);
        } else {
          FoldExtreme<int64_t>(slot.kind, a, Load<int64_t>(b + 8), first);
        }
        break;
    }
    Bump(a, count);
  }
}

void AggregateLayout::AddExact(size_t index, uint8_t* accumulator, Int128 value) const {
  const AggregateSlot& slot = slots_[index];
  uint8_t* at = accumulator + slot.offset;
  if (IsSum(slot)) {
    auto sum = Load<Int128>(at + 8);
    AddToSum(value, sum);
    Store<Int128>(at + 8, sum);
  } else if (slot.kind == AggregateKind::kCount) {
    // Only counted.
  } else if (IsDecimal(slot)) {
    FoldExtreme<Int128>(slot.kind, at, value, Load<int64_t>(at) == 0);
  } else {
    FoldExtreme<int64_t>(slot.kind, at, static_cast<int64_t>(value), Load<int64_t>(at) == 0);
  }
  Bump(at, 1);
}

void AggregateLayout::AddFloat(size_t index, uint8_t* accumulator, double value) const {
  const AggregateSlot& slot = slots_[index];
  uint8_t* at = accumulator + slot.offset;
  if (IsSum(slot)) {
    Store<double>(at + 8, Load<double>(at + 8) + value);
  } else if (slot.kind != AggregateKind::kCount) {
    FoldExtreme<double>(slot.kind, at, value, Load<int64_t>(at) == 0);
  }
  Bump(at, 1);
}

bool AggregateLayout::AppendResult(size_t index, const uint8_t* accumulator,
                                   ColumnBuilder& out) const {
  const AggregateSlot& slot = slots_[index];
  const uint8_t* at = accumulator + slot.offset;
  const auto count = Load<int64_t>(at);
  if (slot.kind == AggregateKind::kCount) {
    out.AppendInt64(count);
    return true;
  }
  if (count == 0) {
    out.AppendNull();
    return true;
  }
  if (IsFloat(slot)) {
    const auto value = Load<double>(at + 8);
    out.AppendFloat64(slot.kind == AggregateKind::kAvg ? value / static_cast<double>(count)
                                                       : value);
    return true;
  }
  if (!IsSum(slot)) {
    AppendExact(slot.result_type,
                IsDecimal(slot) ? Load<Int128>(at + 8) : Int128{Load<int64_t>(at + 8)}, out);
    return true;
  }
  return AppendExactSum(slot, count, Load<Int128>(at + 8), out);
}

absl::StatusOr<AggregateInputs> AggregateInputs::Make(const Aggregates& aggregates,
                                                      const Schema& input) {
  AggregateInputs inputs;
  for (const v1::Aggregate& aggregate : aggregates) {
    Input bound;
    if (aggregate.has_argument()) {
      MILLRACE_ASSIGN_OR_RETURN(bound.argument, BindExpression(aggregate.argument(), input));
    }
    if (aggregate.has_filter()) {
      MILLRACE_ASSIGN_OR_RETURN(bound.filter, BindExpression(aggregate.filter(), input));
    }
    inputs.inputs_.push_back(std::move(bound));
  }
  inputs.arguments_.resize(inputs.inputs_.size());
  inputs.filters_.resize(inputs.inputs_.size());
  return inputs;
}

absl::Status AggregateInputs::Evaluate(const Batch& batch, RowErrors& errors) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].filter != nullptr) {
      MILLRACE_ASSIGN_OR_RETURN(filters_[i], inputs_[i].filter->Evaluate(batch, errors));
    }
    if (inputs_[i].argument != nullptr) {
      MILLRACE_ASSIGN_OR_RETURN(arguments_[i], inputs_[i].argument->Evaluate(batch, errors));
    }
  }
  return absl::OkStatus();
}

bool AggregateInputs::Contributes(size_t slot, int32_t row) const {
  const Input& input = inputs_[slot];
  if (input.filter != nullptr && (filters_[slot].IsNull(row) || !filters_[slot].BoolAt(row))) {
    return false;
  }
  return input.argument == nullptr || !arguments_[slot].IsNull(row);
}

void AggregateInputs::Add(const AggregateLayout& layout, std::span<const int32_t> rows,
                          std::span<uint8_t* const> accumulators) const {
  for (size_t slot = 0; slot < inputs_.size(); ++slot) {
    const AggregateSlot& spec = layout.slots()[slot];
    if (spec.by_value_set) continue;
    const bool always = inputs_[slot].filter == nullptr &&
                        (inputs_[slot].argument == nullptr || !arguments_[slot].has_nulls());
    if (spec.kind == AggregateKind::kCount) {
      for (size_t i = 0; i < rows.size(); ++i) {
        if (always || Contributes(slot, rows[i])) Bump(accumulators[i] + spec.offset, 1);
      }
      continue;
    }
    const Column& argument = arguments_[slot];
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!always && !Contributes(slot, rows[i])) continue;
      if (IsFloat(spec)) {
        layout.AddFloat(slot, accumulators[i], argument.values<double>()[rows[i]]);
      } else {
        layout.AddExact(slot, accumulators[i], ExactAt(argument, rows[i]));
      }
    }
  }
}

}  // namespace millrace
