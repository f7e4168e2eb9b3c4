#include <algorithm>

#include "millrace/v1/graph.pb.h"
#include "operators/relational/relational.h"
#include "runtime/expressions/expression.h"
#include "runtime/task/counters.h"
#include "runtime/task/split_watermarks.h"

namespace millrace {
namespace {

constexpr int64_t kDefaultFutureSkewMs = 300'000;

// Rows without an event time are dead letters. Rows further in the future than the allowed skew
// pass, but do not move the watermark: one bad clock must not close everybody's windows.
class Watermark : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::Watermark& options = context.node.watermark();
    if (context.split_watermarks == nullptr) {
      return absl::InternalError("a watermark must follow its source in the same chain");
    }
    time_column_ = context.input_schemas[0]->IndexOfId(options.time().ids(0));
    const int64_t skew_ms = options.future_skew_ms() == 0
                                ? kDefaultFutureSkewMs
                                : static_cast<int64_t>(options.future_skew_ms());
    future_skew_us_ = skew_ms * 1000;
    context.split_watermarks->Configure(
        {.out_of_orderness_us = static_cast<int64_t>(options.out_of_orderness_ms()) * 1000,
         .idle_timeout_ns = static_cast<int64_t>(options.idle_timeout_ms()) * 1'000'000});
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    const Column& times = batch.column(time_column_);
    if (times.has_nulls()) return ProcessWithout(batch, out);
    const int64_t now_us = absl::ToUnixMicros(context_->clock.Now());
    const int64_t limit = now_us + future_skew_us_;
    const auto* values = times.values<int64_t>();
    int64_t max = EventTime::Min().us;
    uint64_t future = 0;
    for (int64_t row = 0; row < batch.rows(); ++row) {
      const bool too_far = values[row] > limit;
      future += too_far ? 1 : 0;
      max = std::max(max, too_far ? EventTime::Min().us : values[row]);
    }
    context_->counters.rows_future.Add(future);
    context_->split_watermarks->Observe(batch.split, EventTime{max},
                                        context_->clock.MonotonicNanos());
    out.Emit(batch);
    return absl::OkStatus();
  }

 private:
  absl::Status ProcessWithout(const Batch& batch, Emitter& out) {
    RowErrors errors;
    const Column& times = batch.column(time_column_);
    for (int32_t row = 0; row < batch.rows(); ++row) {
      if (times.IsNull(row)) errors.entries.push_back({row, "the event time is NULL"});
    }
    const Batch rest = DeadLetterRows(context_->node.uid(), "MR4003", batch, errors,
                                      context_->counters, context_->clock, out);
    return rest.rows() == 0 ? absl::OkStatus() : Process(0, rest, out);
  }

  OperatorContext* context_ = nullptr;
  int time_column_ = -1;
  int64_t future_skew_us_ = 0;
};

}  // namespace

std::unique_ptr<Operator> MakeWatermark() { return std::make_unique<Watermark>(); }

}  // namespace millrace
