#include "operators/connectors/op_column.h"

#include <optional>
#include <utility>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {
namespace {

class OpColumnSink : public Sink {
 public:
  explicit OpColumnSink(std::unique_ptr<Sink> sink) : sink_(std::move(sink)) {}

  absl::Status Open(SinkContext& context) override {
    std::vector<Field> fields = context.schema->fields();
    fields.push_back({.name = "op", .type = TypeKind::kString, .nullable = false});
    context_.emplace(context);
    context_->schema = Schema::Make(std::move(fields));
    return sink_->Open(*context_);
  }

  absl::Status Write(const Batch& batch) override {
    ColumnBuilder op(TypeKind::kString, batch.rows());
    for (int64_t row = 0; row < batch.rows(); ++row) op.AppendString(RowKindText(batch.kind(row)));
    std::vector<Column> columns = batch.columns();
    columns.push_back(op.Finish());
    return sink_->Write(batch.WithColumns(context_->schema, std::move(columns)));
  }

  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override { return sink_->Prepare(epoch); }
  absl::Status Commit(const v1::CommitToken& token) override { return sink_->Commit(token); }

 private:
  std::optional<SinkContext> context_;  // Before the sink, which borrows it.
  const std::unique_ptr<Sink> sink_;
};

}  // namespace

std::unique_ptr<Sink> WithOpColumn(const v1::Node& node, std::unique_ptr<Sink> sink) {
  if (node.changelog_mode() <= v1::CHANGELOG_MODE_APPEND) return sink;
  return std::make_unique<OpColumnSink>(std::move(sink));
}

}  // namespace millrace
