#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "millrace/v1/graph.pb.h"
#include "operators/windows/aggregates.h"
#include "operators/windows/value_sets.h"
#include "operators/windows/window_assigner.h"
#include "operators/windows/windows.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kOutputRowsMax = 4096;

class PaneWindow : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::WindowAggregate& node = context.node.window_aggregate();
    const Schema& input = *context.input_schemas[0];
    MILLRACE_ASSIGN_OR_RETURN(WindowAssigner assigner, WindowAssigner::Make(node.window()));
    assigner_ = assigner;
    time_column_ = input.IndexOfId(node.window().time().ids(0));
    has_start_ = node.window().kind() != v1::Window::KIND_ATTACHED;
    for (uint32_t id : node.keys().ids()) key_columns_.push_back(input.IndexOfId(id));
    MILLRACE_ASSIGN_OR_RETURN(layout_, AggregateLayout::Make(node.aggregates()));
    MILLRACE_ASSIGN_OR_RETURN(AggregateInputs inputs,
                              AggregateInputs::Make(node.aggregates(), input));
    inputs_.emplace(std::move(inputs));
    MILLRACE_ASSIGN_OR_RETURN(panes_, context.state->OpenPaneTable("panes", layout_));
    if (layout_->has_value_sets()) {
      MILLRACE_ASSIGN_OR_RETURN(PaneTable * sets,
                                context.state->OpenPaneTable("values", ValueSets::Layout()));
      value_sets_.emplace(*sets, *layout_, context.max_parallelism);
    }
    watermark_ = context.restored_watermark;
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& input, Emitter& out) override {
    RowErrors errors;
    MILLRACE_RETURN_IF_ERROR(inputs_->Evaluate(input, errors));
    if (!errors.empty()) {
      const Batch good = DeadLetterRows(context_->node.uid(), "MR4004", input, errors,
                                        context_->counters, context_->clock, out);
      return good.rows() == 0 ? absl::OkStatus() : Process(0, good, out);
    }
    AssignPanes(input, out);
    if (pane_of_row_.empty()) return absl::OkStatus();
    EncodeKeys(input, key_columns_, keys_);
    // Rows mostly come in order: a batch falls into one pane or two.
    std::sort(panes_of_batch_.begin(), panes_of_batch_.end());
    for (int64_t pane : panes_of_batch_) {
      rows_.clear();
      for (int32_t row = 0; row < input.rows(); ++row) {
        if (pane_of_row_[static_cast<size_t>(row)] == pane) rows_.push_back(row);
      }
      accumulators_.resize(rows_.size());
      MILLRACE_RETURN_IF_ERROR(panes_->Upsert(pane, keys_, rows_, accumulators_));
      inputs_->Add(*layout_, rows_, accumulators_);
      if (value_sets_) MILLRACE_RETURN_IF_ERROR(value_sets_->Add(pane, keys_, rows_, *inputs_));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    while (true) {
      if (cursor_ == nullptr) {
        const std::optional<int64_t> end = NextWindow();
        if (!end || *end > watermark.us) break;
        MILLRACE_RETURN_IF_ERROR(BeginWindow(*end));
      }
      MILLRACE_ASSIGN_OR_RETURN(const bool done, EmitWindow(out));
      if (!done) return Progress::kAgain;
    }
    watermark_ = std::max(watermark_, watermark);
    return Progress::kDone;
  }

 private:
  static constexpr int64_t kLate = EventTime::Min().us;

  // Fills pane_of_row_ (kLate for late rows) and panes_of_batch_; sends late rows away.
  void AssignPanes(const Batch& input, Emitter& out) {
    const auto* times = input.column(time_column_).values<int64_t>();
    pane_of_row_.resize(static_cast<size_t>(input.rows()));
    panes_of_batch_.clear();
    late_rows_.clear();
    int64_t last_pane = kLate;
    bool last_late = false;
    for (int32_t row = 0; row < input.rows(); ++row) {
      // The pane of the row before, in most cases: no division.
      if (last_pane == kLate || times[row] >= last_pane ||
          times[row] < last_pane - assigner_->pane_us()) {
        last_pane = assigner_->PaneOf(times[row]);
        last_late = assigner_->LastWindowEnd(last_pane) <= watermark_.us;
        if (!last_late && std::find(panes_of_batch_.begin(), panes_of_batch_.end(), last_pane) ==
                              panes_of_batch_.end()) {
          panes_of_batch_.push_back(last_pane);
        }
      }
      pane_of_row_[static_cast<size_t>(row)] = last_late ? kLate : last_pane;
      if (last_late) late_rows_.push_back(row);
    }
    if (late_rows_.empty()) return;
    context_->counters.rows_late.Add(late_rows_.size());
    out.Emit(OutputPort::kLate, Take(input, late_rows_));
  }

  // The end of the next window to read that has rows; windows up to fired_us_ have been read.
  std::optional<int64_t> NextWindow() const {
    const int64_t fired_us = std::max(watermark_.us, fired_us_);
    std::optional<int64_t> next;
    for (int64_t pane : panes_->Panes()) {
      const int64_t end = assigner_->NextWindowEnd(pane, fired_us);
      if (end <= assigner_->LastWindowEnd(pane) && (!next || end < *next)) next = end;
    }
    return next;
  }

  absl::Status BeginWindow(int64_t end_us) {
    window_ = assigner_->WindowEndingAt(end_us);
    std::vector<int64_t> panes;
    for (int64_t pane : panes_->Panes()) {
      if (pane > window_.start_us && pane <= window_.end_us) panes.push_back(pane);
    }
    if (value_sets_) MILLRACE_RETURN_IF_ERROR(value_sets_->Read(panes));
    MILLRACE_ASSIGN_OR_RETURN(cursor_, panes_->Merge(panes));
    return absl::OkStatus();
  }

  // Emits rows of the window until it is done (true) or the output is full (false).
  absl::StatusOr<bool> EmitWindow(Emitter& out) {
    while (!out.full()) {
      MILLRACE_RETURN_IF_ERROR(cursor_->Next(kOutputRowsMax, merged_));
      if (merged_.rows() == 0) {
        cursor_ = nullptr;
        fired_us_ = window_.end_us;
        MILLRACE_RETURN_IF_ERROR(DropReadPanes());
        return true;
      }
      MILLRACE_RETURN_IF_ERROR(EmitRows(out));
    }
    return false;
  }

  absl::Status EmitRows(Emitter& out) {
    BatchBuilder builder(context_->output_schema, static_cast<int64_t>(merged_.rows()));
    std::vector<ColumnBuilder*> keys;
    const int end_column = has_start_ ? 1 : 0;
    for (size_t k = 0; k < key_columns_.size(); ++k) {
      keys.push_back(&builder.column(end_column + 1 + static_cast<int>(k)));
    }
    const int first_aggregate = end_column + 1 + static_cast<int>(key_columns_.size());
    RowErrors errors;
    for (size_t i = 0; i < merged_.rows(); ++i) {
      if (has_start_) builder.column(0).AppendInt64(window_.start_us);
      builder.column(end_column).AppendInt64(window_.end_us);
      std::string_view key = merged_.key(i);
      const std::string_view whole_key = key;
      MILLRACE_RETURN_IF_ERROR(DecodeKey(key, keys));
      const uint8_t* accumulator = merged_.values.data() + i * layout_->width();
      bool fits = true;
      for (size_t slot = 0; slot < layout_->slots().size(); ++slot) {
        ColumnBuilder& column = builder.column(first_aggregate + static_cast<int>(slot));
        if (layout_->slots()[slot].by_value_set) {
          fits &= value_sets_->AppendResult(slot, whole_key, column);
        } else {
          fits &= layout_->AppendResult(slot, accumulator, column);
        }
      }
      if (!fits) {
        errors.entries.push_back({static_cast<int32_t>(i), "the sum is out of range for its type"});
      }
    }
    out.Emit(DeadLetterRows(context_->node.uid(), "MR4005", builder.Finish(), errors,
                            context_->counters, context_->clock, out));
    return absl::OkStatus();
  }

  // Panes whose last window has been read are of no further use.
  absl::Status DropReadPanes() {
    std::optional<int64_t> last;
    for (int64_t pane : panes_->Panes()) {
      if (assigner_->LastWindowEnd(pane) <= fired_us_) last = pane;
    }
    if (!last) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(panes_->DropPanesUpTo(*last));
    return value_sets_ ? value_sets_->DropPanesUpTo(*last) : absl::OkStatus();
  }

  OperatorContext* context_ = nullptr;
  std::optional<WindowAssigner> assigner_;
  int time_column_ = -1;
  bool has_start_ = true;  // The output has a column window_start.
  std::vector<int> key_columns_;
  std::shared_ptr<const AggregateLayout> layout_;
  std::optional<AggregateInputs> inputs_;
  PaneTable* panes_ = nullptr;
  std::optional<ValueSets> value_sets_;

  EventTime watermark_ = EventTime::Min();
  int64_t fired_us_ = EventTime::Min().us;     // Within a watermark that is still being handled.
  std::unique_ptr<PaneTable::Cursor> cursor_;  // The window being read.
  WindowBounds window_{};

  // Scratch, kept between batches.
  EncodedKeys keys_;
  std::vector<int64_t> pane_of_row_;
  std::vector<int64_t> panes_of_batch_;
  std::vector<int32_t> rows_, late_rows_;
  std::vector<uint8_t*> accumulators_;
  PaneTable::MergedRows merged_;
};

}  // namespace

std::unique_ptr<Operator> MakePaneWindow() { return std::make_unique<PaneWindow>(); }

}  // namespace millrace
