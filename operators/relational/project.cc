#include "millrace/v1/graph.pb.h"
#include "operators/relational/relational.h"
#include "runtime/base/status_macros.h"
#include "runtime/expressions/expression.h"
#include "runtime/expressions/row_errors.h"

namespace millrace {
namespace {

// Computes the output columns. A row that fails in any column is a dead letter as a whole.
class Project : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    for (const v1::NamedExpr& column : context.node.project().columns()) {
      MILLRACE_ASSIGN_OR_RETURN(auto expression,
                                BindExpression(column.expr(), *context.input_schemas[0]));
      expressions_.push_back(std::move(expression));
    }
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    RowErrors errors;
    std::vector<Column> columns;
    columns.reserve(expressions_.size());
    for (auto& expression : expressions_) {
      MILLRACE_ASSIGN_OR_RETURN(Column column, expression->Evaluate(batch, errors));
      columns.push_back(std::move(column));
    }
    Batch projected = batch.WithColumns(context_->output_schema, std::move(columns));
    if (!errors.empty()) projected = WithoutErrors(batch, std::move(projected), errors, out);
    out.Emit(std::move(projected));
    return absl::OkStatus();
  }

 private:
  Batch WithoutErrors(const Batch& input, Batch projected, RowErrors& errors, Emitter& out) {
    KeepFirstErrors(errors);
    (void)DeadLetterRows(context_->node.uid(), "MR4002", input, errors, context_->counters,
                         context_->clock, out);  // The good rows are taken from the output below.
    return Take(projected, RowsExcept(projected.rows(), errors.entries));
  }

  OperatorContext* context_ = nullptr;
  std::vector<std::unique_ptr<Expression>> expressions_;
};

}  // namespace

std::unique_ptr<Operator> MakeProject() { return std::make_unique<Project>(); }

}  // namespace millrace
