#include "operators/changelog/group_state.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr char kVersion = 1;

bool IsSum(const AggregateSlot& slot) {
  return slot.kind == AggregateKind::kSum || slot.kind == AggregateKind::kAvg;
}

bool IsFloat(const AggregateSlot& slot) { return slot.argument_type == TypeKind::kFloat64; }

template <typename T>
void AppendRaw(const T& value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
bool Take(std::string_view& bytes, T* value) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return true;
}

}  // namespace

void FloatSum::Add(double value, int64_t weight) {
  if (std::isnan(value)) {
    nans += weight;
  } else if (std::isinf(value)) {
    (value > 0 ? infinities : negative_infinities) += weight;
  } else {
    const double term = weight < 0 ? -value : value;
    const double total = sum + term;
    error += std::abs(sum) >= std::abs(term) ? (sum - total) + term : (term - total) + sum;
    sum = total;
  }
}

double FloatSum::value() const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (nans > 0 || (infinities > 0 && negative_infinities > 0)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (infinities > 0) return kInfinity;
  if (negative_infinities > 0) return -kInfinity;
  return sum + error;
}

absl::StatusOr<GroupLayout> GroupLayout::Make(const Aggregates& aggregates, bool retracts) {
  GroupLayout layout;
  for (const v1::Aggregate& aggregate : aggregates) {
    MILLRACE_ASSIGN_OR_RETURN(AggregateSlot slot, SlotOf(aggregate));
    layout.slots_.push_back(slot);
    // DISTINCT changes nothing for extremes.
    const bool extreme = layout.IsExtreme(layout.slots_.size() - 1);
    layout.counts_values_.push_back(extreme ? retracts : aggregate.distinct());
  }
  return layout;
}

bool GroupLayout::IsExtreme(size_t slot) const {
  return slots_[slot].kind == AggregateKind::kMin || slots_[slot].kind == AggregateKind::kMax;
}

void GroupLayout::EncodeValues(const AggregateInputs& inputs,
                               std::vector<EncodedKeys>& keys) const {
  keys.resize(slots_.size());
  for (size_t slot = 0; slot < keys.size(); ++slot) {
    if (!IsExtreme(slot) && !CountsValues(slot)) continue;
    const Column& argument = inputs.argument(slot);
    EncodeKeys(Batch(Schema::Make({{.name = "value", .type = argument.type()}}), argument.length(),
                     {argument}),
               std::vector<int>{0}, keys[slot]);
  }
}

void GroupLayout::Add(size_t index, const Column& argument, int64_t row, int64_t weight,
                      GroupState& group) const {
  const AggregateSlot& slot = slots_[index];
  GroupSlot& to = group.slots[index];
  to.count += weight;
  if (!IsSum(slot)) return;
  if (IsFloat(slot)) {
    to.float_sum.Add(argument.values<double>()[row], weight);
  } else {
    AddToSum(ExactAt(argument, row) * weight, to.sum);
  }
}

bool GroupLayout::AppendResult(size_t index, const GroupState& group, ColumnBuilder& out) const {
  const AggregateSlot& slot = slots_[index];
  const GroupSlot& from = group.slots[index];
  if (slot.kind == AggregateKind::kCount) {
    out.AppendInt64(from.count);
  } else if (IsExtreme(index)) {
    if (from.extreme.empty()) {
      out.AppendNull();
      return true;
    }
    std::string_view encoded = from.extreme;
    ColumnBuilder* const columns[] = {&out};
    MILLRACE_CHECK(DecodeKey(encoded, columns).ok());
  } else if (from.count == 0) {
    out.AppendNull();
  } else if (IsFloat(slot)) {
    const double sum = from.float_sum.value();
    out.AppendFloat64(slot.kind == AggregateKind::kAvg ? sum / static_cast<double>(from.count)
                                                       : sum);
  } else {
    return AppendExactSum(slot, from.count, from.sum, out);
  }
  return true;
}

void GroupLayout::Encode(const GroupState& group, std::string& out) const {
  out.push_back(kVersion);
  AppendRaw(group.rows, out);
  for (size_t i = 0; i < slots_.size(); ++i) {
    const GroupSlot& slot = group.slots[i];
    AppendRaw(slot.count, out);
    if (IsSum(slots_[i])) {
      if (IsFloat(slots_[i])) {
        AppendRaw(slot.float_sum, out);
      } else {
        AppendRaw(slot.sum, out);
      }
    } else if (IsExtreme(i)) {
      AppendRaw(static_cast<uint32_t>(slot.extreme.size()), out);
      out.append(slot.extreme);
    }
  }
}

absl::Status GroupLayout::Decode(std::string_view bytes, GroupState& group) const {
  const auto malformed = [] { return absl::DataLossError("malformed group in state"); };
  if (bytes.empty() || bytes[0] != kVersion) return malformed();
  bytes.remove_prefix(1);
  if (!Take(bytes, &group.rows)) return malformed();
  for (size_t i = 0; i < slots_.size(); ++i) {
    GroupSlot& slot = group.slots[i];
    if (!Take(bytes, &slot.count)) return malformed();
    if (IsSum(slots_[i])) {
      if (!(IsFloat(slots_[i]) ? Take(bytes, &slot.float_sum) : Take(bytes, &slot.sum))) {
        return malformed();
      }
    } else if (IsExtreme(i)) {
      uint32_t size = 0;
      if (!Take(bytes, &size) || size > bytes.size()) return malformed();
      slot.extreme = std::string(bytes.substr(0, size));
      bytes.remove_prefix(size);
    }
  }
  return bytes.empty() ? absl::OkStatus() : malformed();
}

std::string ValuePrefix(size_t slot, std::string_view group) {
  std::string prefix(group);
  prefix.push_back(static_cast<char>(slot >> 8));
  prefix.push_back(static_cast<char>(slot));
  return prefix;
}

}  // namespace millrace
