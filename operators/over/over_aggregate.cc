// State: "rows": partition, time, row -> how often it is there: rows that are not given yet, and
// those that are in the frames of rows to come. "row_ends": partitions by when there is something
// to do for them (DeadlineIndex). Of frames without a beginning rows go when they are given;
// "totals": partition -> GroupState, "values": partition, number of the aggregate, value ->
// nothing, for DISTINCT.
//
// When the watermark passes rows of a partition, the aggregates of its frame are made from the rows
// that it has, and slide from row to row.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/group_state.h"
#include "operators/expiry/deadline_index.h"
#include "operators/over/over.h"
#include "operators/windows/aggregates.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kPartitionsPerStep = 256;
constexpr size_t kTimeBytes = 8;

class OverAggregate : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::OverAggregate& body = context.node.over_aggregate();
    input_ = context.input_schemas[0];
    for (const uint32_t id : body.partition().ids()) partition_.push_back(input_->IndexOfId(id));
    time_ = input_->IndexOfId(body.time().ids(0));
    for (int i = 0; i < input_->size(); ++i) columns_.push_back(i);
    codec_.emplace(input_);
    by_rows_ = body.frame() == v1::OverAggregate::FRAME_ROWS;
    is_bounded_ = body.has_preceding();
    preceding_ = static_cast<int64_t>(body.preceding()) * (by_rows_ ? 1 : 1000);
    MILLRACE_ASSIGN_OR_RETURN(GroupLayout layout,
                              GroupLayout::Make(body.aggregates(), is_bounded_));
    layout_.emplace(std::move(layout));
    MILLRACE_ASSIGN_OR_RETURN(AggregateInputs inputs,
                              AggregateInputs::Make(body.aggregates(), *input_));
    inputs_.emplace(std::move(inputs));
    MILLRACE_ASSIGN_OR_RETURN(rows_, context.state->OpenKeyedTable("rows"));
    MILLRACE_ASSIGN_OR_RETURN(totals_, context.state->OpenKeyedTable("totals"));
    MILLRACE_ASSIGN_OR_RETURN(values_, context.state->OpenKeyedTable("values"));
    MILLRACE_ASSIGN_OR_RETURN(KeyedTable* const ends, context.state->OpenKeyedTable("row_ends"));
    MILLRACE_ASSIGN_OR_RETURN(DeadlineIndex index, DeadlineIndex::Open(ends, context.key_groups));
    ends_.emplace(std::move(index));
    watermark_ = context.restored_watermark;
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
    EncodeKeys(batch, partition_, keys_);
    const auto* times = batch.column(time_).values<int64_t>();
    std::vector<int32_t> late;
    for (int32_t row = 0; row < batch.rows(); ++row) {
      if (times[row] < watermark_.us) {
        late.push_back(row);
      } else {
        MILLRACE_RETURN_IF_ERROR(Keep(batch, row, times[row]));
      }
    }
    if (late.empty()) return absl::OkStatus();
    context_->counters.rows_late.Add(late.size());
    out.Emit(OutputPort::kLate, Take(batch, late));
    return absl::OkStatus();
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    bool more = true;
    while (more) {
      if (out.full()) return Progress::kAgain;
      std::vector<DeadlineIndex::Due> due;
      MILLRACE_ASSIGN_OR_RETURN(more, ends_->Take(watermark.us, kPartitionsPerStep, due));
      for (const DeadlineIndex::Due& one : due) {
        // A partition is there once for each of its rows.
        if (!done_.insert(one.key).second) continue;
        MILLRACE_RETURN_IF_ERROR(Advance(one.key_group, one.key, watermark, out));
      }
    }
    done_.clear();
    watermark_ = std::max(watermark_, watermark);
    return Progress::kDone;
  }

 private:
  absl::Status Keep(const Batch& batch, int32_t row, int64_t time_us) {
    const std::string_view partition = keys_.key(row);
    const uint32_t group =
        KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], context_->max_parallelism);
    std::string key(partition);
    AppendOrderedInt64(time_us, key);
    codec_->Append(batch, columns_, row, key);
    std::string bytes;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, rows_->Get(group, key, &bytes));
    const int64_t count = found ? ReadOrderedInt64(bytes) : 0;
    bytes.clear();
    AppendOrderedInt64(count + 1, bytes);
    MILLRACE_RETURN_IF_ERROR(rows_->Put(group, key, bytes));
    if (found) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(ends_->Add(group, partition, WatermarkPast(time_us)));
    if (!is_bounded_ || by_rows_) return absl::OkStatus();
    return ends_->Add(group, partition,
                      WatermarkPast(time_us, preceding_));  // It is in no frame any more.
  }

  // Rows of a partition before the watermark, in order.
  struct Rows {
    Batch batch;
    std::vector<std::string> keys;  // In the state; a row that is there twice stands twice.
    std::vector<int64_t> times;
  };

  absl::StatusOr<Rows> Read(uint32_t group, const std::string& partition, EventTime watermark) {
    Rows rows;
    BatchBuilder builder(input_);
    absl::Status status;
    MILLRACE_RETURN_IF_ERROR(
        rows_->Scan(group, partition, [&](std::string_view key, std::string_view value) {
          const int64_t time = ReadOrderedInt64(key.substr(partition.size()));
          if (time >= watermark.us && watermark != EventTime::Max()) return false;
          for (int64_t n = ReadOrderedInt64(value); n > 0 && status.ok(); --n) {
            rows.keys.emplace_back(key);
            rows.times.push_back(time);
            status = codec_->Decode(key.substr(partition.size() + kTimeBytes), builder);
          }
          return status.ok();
        }));
    MILLRACE_RETURN_IF_ERROR(status);
    rows.batch = builder.Finish();
    return rows;
  }

  // Gives the rows of a partition that the watermark has passed, and lets go of what no frame
  // needs.
  absl::Status Advance(uint32_t group, const std::string& partition, EventTime watermark,
                       Emitter& out) {
    MILLRACE_ASSIGN_OR_RETURN(const Rows rows, Read(group, partition, watermark));
    const size_t size = rows.times.size();
    const auto first_new = static_cast<size_t>(
        std::lower_bound(rows.times.begin(), rows.times.end(), watermark_.us) - rows.times.begin());
    if (first_new < size) {
      MILLRACE_RETURN_IF_ERROR(Give(group, partition, rows, first_new, out));
    }
    size_t kept_from = size;
    if (is_bounded_ && by_rows_) {
      kept_from = size - std::min(size, static_cast<size_t>(preceding_));
    } else if (is_bounded_) {
      while (kept_from > 0 && WatermarkPast(rows.times[kept_from - 1], preceding_) > watermark.us) {
        --kept_from;
      }
    }
    return Drop(group, rows, kept_from);
  }

  absl::Status Drop(uint32_t group, const Rows& rows, size_t end) {
    for (size_t i = 0; i < end;) {
      size_t next = i;
      while (next < rows.keys.size() && rows.keys[next] == rows.keys[i]) ++next;
      if (next <= end) {
        MILLRACE_RETURN_IF_ERROR(rows_->Delete(group, rows.keys[i]));
      } else {
        std::string bytes;
        AppendOrderedInt64(static_cast<int64_t>(next - end), bytes);
        MILLRACE_RETURN_IF_ERROR(rows_->Put(group, rows.keys[i], bytes));
      }
      i = next;
    }
    return absl::OkStatus();
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
      while (!by_rows_ && end < size && rows.times[end] == rows.times[begin]) ++end;
      for (size_t i = begin; i < end; ++i) {
        MILLRACE_RETURN_IF_ERROR(Slide(i, 1, group, partition));
      }
      while (is_bounded_ && IsBeforeFrame(rows, oldest, begin)) {
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

  bool IsBeforeFrame(const Rows& rows, size_t oldest, size_t current) const {
    if (by_rows_) return current - oldest > static_cast<size_t>(preceding_);
    return WatermarkPast(rows.times[oldest], preceding_) <= rows.times[current];
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
    if (is_bounded_) return absl::OkStatus();
    std::string bytes;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, totals_->Get(group, partition, &bytes));
    return found ? layout_->Decode(bytes, frame_) : absl::OkStatus();
  }

  absl::Status EndFrame(uint32_t group, const std::string& partition) {
    if (is_bounded_) return absl::OkStatus();
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
    if (is_bounded_) {
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
    if (is_bounded_) {
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
  std::vector<int> partition_, columns_;
  int time_ = -1;
  std::optional<RowCodec> codec_;
  bool by_rows_ = false;
  bool is_bounded_ = false;
  int64_t preceding_ = 0;  // Rows, or microseconds.
  std::optional<GroupLayout> layout_;
  std::optional<AggregateInputs> inputs_;
  KeyedTable *rows_ = nullptr, *totals_ = nullptr, *values_ = nullptr;
  std::optional<DeadlineIndex> ends_;
  EventTime watermark_ = EventTime::Min();
  std::set<std::string> done_;  // Partitions, of the watermark that is passing.
  EncodedKeys keys_;            // Of one batch.
  // Of the partition whose rows are given.
  std::vector<EncodedKeys> arguments_;
  GroupState frame_;
  std::vector<std::map<std::string, int64_t>> counts_;  // Of values in a bounded frame, by slot.
};

}  // namespace

std::unique_ptr<Operator> MakeOverAggregate() { return std::make_unique<OverAggregate>(); }

}  // namespace millrace
