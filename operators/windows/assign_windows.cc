#include <algorithm>
#include <optional>

#include "millrace/v1/graph.pb.h"
#include "operators/windows/window_assigner.h"
#include "operators/windows/windows.h"
#include "runtime/base/status_macros.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kOutputRowsMax = 4096;

class AssignWindows : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::AssignWindows& body = context.node.assign_windows();
    const Schema& input = *context.input_schemas[0];
    MILLRACE_ASSIGN_OR_RETURN(WindowAssigner assigner, WindowAssigner::Make(body.window()));
    assigner_ = assigner;
    time_column_ = input.IndexOfId(body.window().time().ids(0));
    for (const Field& field : context.output_schema->fields()) {
      from_.push_back(field.id == body.window_start_id() ? kStart
                      : field.id == body.window_end_id() ? kEnd
                                                         : input.IndexOfId(field.id));
    }
    watermark_ = context.restored_watermark;
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& input, Emitter& out) override {
    const auto* times = input.column(time_column_).values<int64_t>();
    std::vector<int32_t> late;
    for (int32_t row = 0; row < input.rows(); ++row) {
      const int64_t pane = assigner_->PaneOf(times[row]);
      const int64_t last = assigner_->LastWindowEnd(pane);
      if (last <= watermark_.us) {
        late.push_back(row);
        continue;
      }
      for (int64_t end = assigner_->NextWindowEnd(pane, watermark_.us); end <= last;
           end = assigner_->NextWindowEnd(pane, end)) {
        rows_.push_back(row);
        windows_.push_back(assigner_->WindowEndingAt(end));
        if (rows_.size() == kOutputRowsMax) EmitRows(input, out);
      }
    }
    EmitRows(input, out);
    if (!late.empty()) {
      context_->counters.rows_late.Add(late.size());
      out.Emit(OutputPort::kLate, Take(input, late));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter&) override {
    watermark_ = std::max(watermark_, watermark);
    return Progress::kDone;
  }

 private:
  static constexpr int kStart = -1, kEnd = -2;

  void EmitRows(const Batch& input, Emitter& out) {
    if (rows_.empty()) return;
    const Batch taken = Take(input, rows_);
    std::vector<Column> columns;
    for (int i = 0; i < static_cast<int>(from_.size()); ++i) {
      const int from = from_[static_cast<size_t>(i)];
      columns.push_back(from >= 0 ? taken.column(from) : Bounds(i, from == kStart));
    }
    out.Emit(taken.WithColumns(context_->output_schema, std::move(columns)));
    rows_.clear();
    windows_.clear();
  }

  Column Bounds(int field, bool start) const {
    const auto rows = static_cast<int64_t>(windows_.size());
    ColumnBuilder bounds(context_->output_schema->field(field).type, rows);
    auto* const values = reinterpret_cast<int64_t*>(bounds.AppendUninitialized(rows));
    for (size_t i = 0; i < windows_.size(); ++i) {
      values[i] = start ? windows_[i].start_us : windows_[i].end_us;
    }
    return bounds.Finish();
  }

  OperatorContext* context_ = nullptr;
  std::optional<WindowAssigner> assigner_;
  int time_column_ = -1;
  std::vector<int> from_;  // Columns of the input, or kStart, kEnd.
  EventTime watermark_ = EventTime::Min();
  // To be emitted: rows of the input, each with its window.
  std::vector<int32_t> rows_;
  std::vector<WindowBounds> windows_;
};

}  // namespace

std::unique_ptr<Operator> MakeAssignWindows() { return std::make_unique<AssignWindows>(); }

}  // namespace millrace
