#include "operators/joins/pairs.h"

#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/task/counters.h"

namespace millrace {

SchemaPtr PairSchema(const Schema& left, const Schema& right, uint32_t right_id_offset) {
  std::vector<Field> fields = left.fields();
  for (Field field : right.fields()) {
    field.id += right_id_offset;
    fields.push_back(std::move(field));
  }
  return Schema::Make(std::move(fields));
}

std::vector<Column> SideBySide(const Batch& left, const Batch& right) {
  std::vector<Column> columns = left.columns();
  columns.insert(columns.end(), right.columns().begin(), right.columns().end());
  return columns;
}

std::vector<Column> BesideNulls(const Batch& left, const Schema& right) {
  std::vector<Column> columns = left.columns();
  for (const Field& field : right.fields()) {
    columns.push_back(NullColumn(field.type, left.rows()));
  }
  return columns;
}

absl::StatusOr<PairCondition> PairCondition::Make(const v1::Expr* condition, const Schema& pairs,
                                                  OperatorContext& context) {
  PairCondition made;
  made.context_ = &context;
  if (condition == nullptr) return made;
  MILLRACE_ASSIGN_OR_RETURN(made.condition_, BindExpression(*condition, pairs));
  return made;
}

absl::Status PairCondition::Check(const Batch& pairs, Emitter& out, std::vector<bool>& fits) {
  if (condition_ == nullptr) return absl::OkStatus();
  RowErrors errors;
  MILLRACE_ASSIGN_OR_RETURN(const Column holds, condition_->Evaluate(pairs, errors));
  for (size_t i = 0; i < fits.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    fits[i] = fits[i] && !holds.IsNull(at) && holds.BoolAt(at);
  }
  if (errors.empty()) return absl::OkStatus();
  for (const RowErrors::Entry& error : errors.entries) {
    fits[static_cast<size_t>(error.row)] = false;
  }
  (void)DeadLetterRows(context_->node.uid(), "MR4001", pairs, errors, context_->counters,
                       context_->clock, out);
  return absl::OkStatus();
}

}  // namespace millrace
