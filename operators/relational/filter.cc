#include "millrace/v1/graph.pb.h"
#include "operators/relational/relational.h"
#include "runtime/base/status_macros.h"
#include "runtime/expressions/expression.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// Keeps the rows for which the predicate is true; NULL counts as false.
class Filter : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    MILLRACE_ASSIGN_OR_RETURN(
        predicate_, BindExpression(context.node.filter().predicate(), *context.input_schemas[0]));
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    RowErrors errors;
    MILLRACE_ASSIGN_OR_RETURN(Column keep, predicate_->Evaluate(batch, errors));
    rows_.clear();
    SelectTrue(keep, rows_);  // Rows in error are NULL here.
    const Batch good = DeadLetterRows(context_->node.uid(), "MR4001", batch, errors,
                                      context_->counters, context_->clock, out);
    context_->counters.rows_skipped.Add(static_cast<uint64_t>(good.rows()) - rows_.size());
    if (static_cast<int64_t>(rows_.size()) == batch.rows()) {
      out.Emit(batch);
    } else if (!rows_.empty()) {
      out.Emit(Take(batch, rows_));
    }
    return absl::OkStatus();
  }

 private:
  OperatorContext* context_ = nullptr;
  std::unique_ptr<Expression> predicate_;
  std::vector<int32_t> rows_;
};

}  // namespace

std::unique_ptr<Operator> MakeFilter() { return std::make_unique<Filter>(); }

}  // namespace millrace
