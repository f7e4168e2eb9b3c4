#include "operators/windows/folded_values.h"

#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"

namespace millrace {
namespace {

bool IsTextExtreme(const AggregateSlot& slot) {
  return slot.kind == AggregateKind::kMin || slot.kind == AggregateKind::kMax;
}

}  // namespace

absl::Status FoldedValues::Add(size_t slot, std::string_view encoded) {
  MILLRACE_CHECK(slot < layout_->slots().size());
  if (accumulator_.empty()) {
    accumulator_.resize(layout_->width());
    extremes_.resize(layout_->slots().size());
  }
  const AggregateSlot& aggregate = layout_->slots()[slot];
  if (IsTextExtreme(aggregate)) {
    // The encoding keeps the order of values; an encoded value is never empty.
    std::string& best = extremes_[slot];
    const bool better = aggregate.kind == AggregateKind::kMin ? encoded < best : encoded > best;
    if (best.empty() || better) best = std::string(encoded);
    return absl::OkStatus();
  }
  if (aggregate.kind == AggregateKind::kCount) {
    layout_->AddExact(slot, accumulator_.data(), 0);  // Only counts.
    return absl::OkStatus();
  }
  ColumnBuilder decoded(aggregate.argument_type, 1);
  ColumnBuilder* const columns[] = {&decoded};
  MILLRACE_RETURN_IF_ERROR(DecodeKey(encoded, columns));
  const Column column = decoded.Finish();
  if (aggregate.argument_type == TypeKind::kFloat64) {
    layout_->AddFloat(slot, accumulator_.data(), column.values<double>()[0]);
  } else {
    layout_->AddExact(slot, accumulator_.data(), ExactAt(column, 0));
  }
  return absl::OkStatus();
}

bool FoldedValues::AppendResult(size_t slot, ColumnBuilder& out) const {
  const AggregateSlot& aggregate = layout_->slots()[slot];
  const bool text = IsTextExtreme(aggregate);
  if (accumulator_.empty() || (text && extremes_[slot].empty())) {
    if (aggregate.kind == AggregateKind::kCount) {
      out.AppendInt64(0);
    } else {
      out.AppendNull();
    }
    return true;
  }
  if (!text) return layout_->AppendResult(slot, accumulator_.data(), out);
  std::string_view encoded = extremes_[slot];
  ColumnBuilder* const columns[] = {&out};
  MILLRACE_CHECK(DecodeKey(encoded, columns).ok());
  return true;
}

}  // namespace millrace
