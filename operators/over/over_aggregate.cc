// State: the rows that are not given yet, and those that are in the frames of rows to come
// (PartitionRows). Of frames without a beginning rows go when they are given; "totals": partition
// -> GroupState, "values": partition, number of the aggregate, value -> nothing, for DISTINCT.
//
// When the watermark passes rows of a partition, the aggregates of its frame are made from the rows
// that it has, and slide from row to row.
#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/group_state.h"
#include "operators/over/over.h"
#include "operators/over/over_frame.h"
#include "operators/over/partition_rows.h"
#include "operators/windows/aggregates.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

class OverAggregate : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::OverAggregate& body = context.node.over_aggregate();
    input_ = context.input_schemas[0];
    over_ = OverFrame::Of(body);
    MILLRACE_ASSIGN_OR_RETURN(GroupLayout layout,
                              GroupLayout::Make(body.aggregates(), over_.is_bounded));
    layout_.emplace(std::move(layout));
    MILLRACE_ASSIGN_OR_RETURN(AggregateInputs inputs,
                              AggregateInputs::Make(body.aggregates(), *input_));
    inputs_.emplace(std::move(inputs));
    MILLRACE_ASSIGN_OR_RETURN(PartitionRows rows,
                              PartitionRows::Open(context, body.partition(), body.time()));
    rows_.emplace(std::move(rows));
    MILLRACE_ASSIGN_OR_RETURN(totals_, context.state->OpenKeyedTable("totals"));
    MILLRACE_ASSIGN_OR_RETURN(values_, context.state->OpenKeyedTable("values"));
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    RowErrors errors;
    MILLRACE_RETURN_IF_ERROR(inputs_->Evaluate(batch, errors));
    if (!errors.empty()) {
      const Batch good = DeadLetterRows(context_->node.uid(), "MR4004", batch, errors,
                                        context_->counters, context_->clock, out);
      return good.rows() == 0 ? absl::OkStatus() : Process(0, good, out);
    }
    return rows_->Add(batch, over_.StaysUs(), out);
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    return rows_->Pass(watermark, out, [&](uint32_t group, const std::string& partition) {
      return Advance(group, partition, watermark, out);
    });
  }

 private:
  using Rows = PartitionRows::Rows;

  // Gives the rows of a partition that the watermark has passed, and lets go of what no frame
  // needs.
  absl::Status Advance(uint32_t group, const std::string& partition, EventTime watermark,
                       Emitter& out) {
    MILLRACE_ASSIGN_OR_RETURN(const Rows rows, rows_->Read(group, partition, watermark));
    const size_t size = rows.times.size();
    const auto first_new = static_cast<size_t>(
        std::lower_bound(rows.times.begin(), rows.times.end(), rows_->watermark().us) -
        rows.times.begin());
    if (first_new < size) {
      MILLRACE_RETURN_IF_ERROR(Give(group, partition, rows, first_new, out));
    }
    return rows_->Drop(group, rows, over_.KeptFrom(rows.times, size, watermark.us));
  }

  absl::Status Give(uint32_t group, const std::string& partition, const Rows& rows,
                    size_t first_new, Emitter& out) {
    RowErrors errors;
    MILLRACE_RETURN_IF_ERROR(inputs_->Evaluate(rows.batch, errors));  // Good rows: see Process.
    layout_->EncodeValues(*inputs_, arguments_);
    MILLRACE_RETURN_IF_ERROR(BeginFrame(group, partition));
    BatchBuilder results(ResultSchema());
    const size_t size = rows.times.size();
    for (size_t begin = 0, oldest = 0; begin < size;) {
      // Of RANGE, rows of one time are in the frames of each other.
      size_t end = begin + 1;
      while (!over_.by_rows && end < size && rows.times[end] == rows.times[begin]) ++end;
      for (size_t i = begin; i < end; ++i) {
        MILLRACE_RETURN_IF_ERROR(Slide(i, 1, group, partition));
      }
      while (over_.is_bounded && over_.IsBefore(rows.times, oldest, begin)) {
        MILLRACE_RETURN_IF_ERROR(Slide(oldest++, -1, group, partition));
      }
      for (size_t i = begin; i < end; ++i) {
        if (i >= first_new) AppendResults(i, results, errors);
      }
      begin = end;
    }
    MILLRACE_RETURN_IF_ERROR(EndFrame(group, partition));
    Emit(rows, first_new, results.Finish(), errors, out);
    return absl::OkStatus();
  }

  SchemaPtr ResultSchema() const {
    const auto& all = context_->output_schema->fields();
    return Schema::Make({all.begin() + input_->size(), all.end()});
  }

  void Emit(const Rows& rows, size_t first_new, const Batch& results, const RowErrors& errors,
            Emitter& out) {
    const auto count = static_cast<int64_t>(rows.times.size() - first_new);
    const Batch given = CopyRange(rows.batch, static_cast<int64_t>(first_new), count);
    std::vector<Column> columns = given.columns();
    columns.insert(columns.end(), results.columns().begin(), results.columns().end());
    const Batch all(context_->output_schema, count, std::move(columns));
    if (errors.empty()) return out.Emit(all);
    std::vector<int32_t> good;
    size_t next = 0;
    for (int32_t row = 0; row < all.rows(); ++row) {
      if (next < errors.entries.size() && errors.entries[next].row == row) {
        ++next;
      } else {
        good.push_back(row);
      }
    }
    (void)DeadLetterRows(context_->node.uid(), "MR4005", given, errors, context_->counters,
                         context_->clock, out);
    out.Emit(Take(all, good));
  }

  // ---- the aggregates of a frame ----

  absl::Status BeginFrame(uint32_t group, const std::string& partition) {
    frame_ = layout_->Empty();
    counts_.assign(layout_->slots().size(), {});
    if (over_.is_bounded) return absl::OkStatus();
    std::string bytes;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, totals_->Get(group, partition, &bytes));
    return found ? layout_->Decode(bytes, frame_) : absl::OkStatus();
  }

  absl::Status EndFrame(uint32_t group, const std::string& partition) {
    if (over_.is_bounded) return absl::OkStatus();
    std::string bytes;
    layout_->Encode(frame_, bytes);
    return totals_->Put(group, partition, bytes);
  }

  // `weight`: 1, the row comes into the frame; -1: it leaves.
  absl::Status Slide(size_t row, int64_t weight, uint32_t group, const std::string& partition) {
    frame_.rows += weight;
    const auto at = static_cast<int64_t>(row);
    for (size_t slot = 0; slot < layout_->slots().size(); ++slot) {
      if (!inputs_->Contributes(slot, static_cast<int32_t>(row))) continue;
      bool counts = true;
      if (layout_->CountsValues(slot)) {
        MILLRACE_ASSIGN_OR_RETURN(
            counts, CountValue(slot, arguments_[slot].key(at), weight, group, partition));
      }
      if (layout_->IsExtreme(slot)) {
        UpdateExtreme(slot, arguments_[slot].key(at));
      } else if (counts) {
        layout_->Add(slot, inputs_->argument(slot), at, weight, frame_);
      }
    }
    return absl::OkStatus();
  }

  // True when the value has come into the frame, or left it, and is not there otherwise.
  absl::StatusOr<bool> CountValue(size_t slot, std::string_view value, int64_t weight,
                                  uint32_t group, const std::string& partition) {
    if (over_.is_bounded) {
      const auto [counted, fresh] = counts_[slot].try_emplace(std::string(value), 0);
      counted->second += weight;
      const bool gone = counted->second == 0;
      if (gone) counts_[slot].erase(counted);
      return fresh || gone;
    }
    std::string key = ValuePrefix(slot, partition), bytes;
    key.append(value);
    MILLRACE_ASSIGN_OR_RETURN(const bool known, values_->Get(group, key, &bytes));
    if (known) return false;
    MILLRACE_RETURN_IF_ERROR(values_->Put(group, key, ""));
    return true;
  }

  void UpdateExtreme(size_t slot, std::string_view value) {
    std::string& extreme = frame_.slots[slot].extreme;
    const bool is_max = layout_->slots()[slot].kind == AggregateKind::kMax;
    if (over_.is_bounded) {
      const auto& counts = counts_[slot];
      extreme = counts.empty() ? "" : is_max ? counts.rbegin()->first : counts.begin()->first;
    } else if (extreme.empty() || (is_max ? value > extreme : value < extreme)) {
      extreme = value;
    }
  }

  void AppendResults(size_t row, BatchBuilder& results, RowErrors& errors) const {
    const auto number = static_cast<int32_t>(results.rows());
    bool fits = true;
    for (size_t slot = 0; slot < layout_->slots().size(); ++slot) {
      fits &= layout_->AppendResult(slot, frame_, results.column(static_cast<int>(slot)));
    }
    if (!fits) errors.entries.push_back({number, "the sum is out of range for its type"});
  }

  OperatorContext* context_ = nullptr;
  SchemaPtr input_;
  OverFrame over_;
  std::optional<GroupLayout> layout_;
  std::optional<AggregateInputs> inputs_;
  std::optional<PartitionRows> rows_;
  KeyedTable *totals_ = nullptr, *values_ = nullptr;
  // Of the partition whose rows are given.
  std::vector<EncodedKeys> arguments_;
  GroupState frame_;
  std::vector<std::map<std::string, int64_t>> counts_;  // Of values in a bounded frame, by slot.
};

}  // namespace

std::unique_ptr<Operator> MakeOverAggregate() { return std::make_unique<OverAggregate>(); }

}  // namespace millrace
