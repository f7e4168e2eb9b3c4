// Pairs of rows as joins see them: the columns of both sides, and what is asked of them beside
// their keys.
//
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"
#include "runtime/expressions/expression.h"
#include "runtime/task/operator.h"

namespace millrace {

// Left columns, then right ones under their ids in the output.
SchemaPtr PairSchema(const Schema& left, const Schema& right, uint32_t right_id_offset);

// The columns of pairs: row i of the left side with row i of the right one.
std::vector<Column> SideBySide(const Batch& left, const Batch& right);
// The columns of left rows without a partner: NULL in each field of the right side.
std::vector<Column> BesideNulls(const Batch& left, const Schema& right);

class PairCondition {
 public:
  // `condition` may be unset: every pair fits.
  static absl::StatusOr<PairCondition> Make(const v1::Expr* condition, const Schema& pairs,
                                            OperatorContext& context);
  // fits[i] is made false where pair i does not; those that cannot be decided are dead letters
  // (MR4001), too: pairs, not rows, so that nothing else becomes of them.
  absl::Status Check(const Batch& pairs, Emitter& out, std::vector<bool>& fits);

 private:
  OperatorContext* context_ = nullptr;
  std::unique_ptr<Expression> condition_;
};

}  // namespace millrace
