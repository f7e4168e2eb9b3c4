#include <algorithm>

#include "millrace/v1/graph.pb.h"
#include "operators/relational/relational.h"

namespace millrace {
namespace {

// The watermark moves in such steps, so that it costs nothing between them.
constexpr int64_t kStepUs = 10'000;

class ProcessingTime : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::ProcessingTime& body = context.node.processing_time();
    gives_watermark_ = body.gives_watermark();
    for (const Field& field : context.output_schema->fields()) {
      from_.push_back(field.id == body.id() ? -1 : context.input_schemas[0]->IndexOfId(field.id));
    }
    // Another machine's clock may be ahead of this one.
    now_us_ = context.restored_watermark.us;
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    const int64_t now_us = Now();
    std::vector<Column> columns;
    for (size_t i = 0; i < from_.size(); ++i) {
      if (from_[i] >= 0) {
        columns.push_back(batch.column(from_[i]));
        continue;
      }
      ColumnBuilder stamps(context_->output_schema->field(static_cast<int>(i)).type, batch.rows());
      auto* const values = reinterpret_cast<int64_t*>(stamps.AppendUninitialized(batch.rows()));
      std::fill(values, values + batch.rows(), now_us);
      columns.push_back(stamps.Finish());
    }
    out.Emit(batch.WithColumns(context_->output_schema, std::move(columns)));
    return absl::OkStatus();
  }

  std::optional<EventTime> OwnWatermark() override {
    if (!gives_watermark_) return std::nullopt;
    const int64_t now_us = Now();
    return EventTime{now_us - now_us % kStepUs};
  }

 private:
  int64_t Now() {
    now_us_ = std::max(now_us_, absl::ToUnixMicros(context_->clock.Now()));
    return now_us_;
  }

  OperatorContext* context_ = nullptr;
  bool gives_watermark_ = false;
  std::vector<int> from_;  // Columns of the input; -1: the time.
  int64_t now_us_ = 0;
};

}  // namespace

std::unique_ptr<Operator> MakeProcessingTime() { return std::make_unique<ProcessingTime>(); }

}  // namespace millrace
