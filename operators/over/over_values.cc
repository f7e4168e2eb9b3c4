// State: the rows that are not given yet, and those that rows to come look at (PartitionRows).
// "totals": partition -> what is known of the rows before those: see Totals.
//
// When the watermark passes rows of a partition, its rows stand in a line, and each value is that
// of another place in it.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/over/over.h"
#include "operators/over/over_frame.h"
#include "operators/over/partition_rows.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/state/state_store.h"

namespace millrace {
namespace {

enum class Kind { kLag, kLead, kFirst, kLast, kNth, kRowNumber, kRank, kDenseRank };

Kind KindOf(std::string_view function) {
  if (function == "lag") return Kind::kLag;
  if (function == "lead") return Kind::kLead;
  if (function == "first_value") return Kind::kFirst;
  if (function == "last_value") return Kind::kLast;
  if (function == "nth_value") return Kind::kNth;
  if (function == "rank") return Kind::kRank;
  return function == "dense_rank" ? Kind::kDenseRank : Kind::kRowNumber;
}

struct Value {
  Kind kind;
  int column = -1;
  int fallback = -1;  // -1: NULL.
  size_t offset = 1;
  int carried = -1;  // Its column in the batch of a partition's totals; -1: none.

  bool IsOfFrame() const {
    return kind == Kind::kFirst || kind == Kind::kLast || kind == Kind::kNth;
  }
  bool IsNumber() const { return kind >= Kind::kRowNumber; }
};

// Of the rows of a partition that the state has no more, because no row to come looks at them.
struct Totals {
  static constexpr size_t kBytes = 5 * 8;

  int64_t rows = 0;
  int64_t last_time = 0;
  int64_t rank = 0, dense_rank = 0;  // Of the last one.
  int64_t given = 0;                 // Of the rows that the state has: those that are given.
  Batch values;                      // One row, the value so far of each frame without a beginning.
};

class OverValues : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::OverValues& body = context.node.over_values();
    input_ = context.input_schemas[0];
    over_ = OverFrame::Of(body);
    std::vector<Field> carried;
    for (const v1::OverValue& one : body.values()) {
      Value value{.kind = KindOf(one.function()),
                  .offset = one.has_offset() ? static_cast<size_t>(one.offset()) : 1};
      if (!value.IsNumber()) value.column = input_->IndexOfId(one.column().ids(0));
      if (one.fallback().ids_size() > 0) {
        value.fallback = input_->IndexOfId(one.fallback().ids(0));
      }
      if (value.kind == Kind::kLag) lag_ = std::max(lag_, value.offset);
      if (value.kind == Kind::kLead) lead_ = std::max(lead_, value.offset);
      if (value.IsOfFrame()) has_frame_ = true;
      if (value.IsOfFrame() && !over_.is_bounded) {
        value.carried = static_cast<int>(carried.size());
        carried.push_back(input_->fields()[static_cast<size_t>(value.column)]);
        carried.back().id = static_cast<uint32_t>(carried.size());
      }
      keeps_totals_ |= value.IsNumber() || value.carried >= 0;
      values_.push_back(value);
    }
    for (int i = 0; i < static_cast<int>(carried.size()); ++i) carried_columns_.push_back(i);
    carried_ = Schema::Make(std::move(carried));
    codec_.emplace(carried_);
    MILLRACE_ASSIGN_OR_RETURN(PartitionRows rows,
                              PartitionRows::Open(context, body.partition(), body.time()));
    rows_.emplace(std::move(rows));
    MILLRACE_ASSIGN_OR_RETURN(totals_, context.state->OpenKeyedTable("totals"));
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    return rows_->Add(batch, has_frame_ ? over_.StaysUs() : std::nullopt, out);
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    return rows_->Pass(watermark, out, [&](uint32_t group, const std::string& partition) {
      return Advance(group, partition, watermark, out);
    });
  }

 private:
  using Rows = PartitionRows::Rows;

  // Gives the rows of a partition whose values are known, and lets go of those at which no row to
  // come looks.
  absl::Status Advance(uint32_t group, const std::string& partition, EventTime watermark,
                       Emitter& out) {
    MILLRACE_ASSIGN_OR_RETURN(const Rows rows, rows_->Read(group, partition, watermark));
    MILLRACE_ASSIGN_OR_RETURN(Totals totals, ReadTotals(group, partition));
    const size_t size = rows.size();
    const auto first = static_cast<size_t>(totals.given);
    const bool is_end = watermark == EventTime::Max();
    const size_t end = is_end ? size : std::max(first, size - std::min(size, lead_));
    Number(rows, totals);
    if (end > first) Give(rows, totals, first, end, out);
    if (end < size && lead_ > 0) MILLRACE_RETURN_IF_ERROR(rows_->AwaitEnd(group, partition));
    const size_t dropped = KeptFrom(rows, end, watermark);
    Forget(rows, dropped, totals);
    totals.given = static_cast<int64_t>(end - dropped);
    MILLRACE_RETURN_IF_ERROR(rows_->Drop(group, rows, dropped));
    return WriteTotals(group, partition, totals);
  }

  // ---- what is known of the rows before ----

  absl::StatusOr<Totals> ReadTotals(uint32_t group, const std::string& partition) {
    Totals totals;
    std::string bytes;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, totals_->Get(group, partition, &bytes));
    BatchBuilder values(carried_);
    if (found) {
      const std::string_view all = bytes;
      int64_t* const numbers[] = {&totals.rows, &totals.last_time, &totals.rank, &totals.dense_rank,
                                  &totals.given};
      for (size_t i = 0; i < std::size(numbers); ++i)
        *numbers[i] = ReadOrderedInt64(all.substr(i * 8));
      MILLRACE_RETURN_IF_ERROR(codec_->Decode(all.substr(Totals::kBytes), values));
    } else {
      for (const int column : carried_columns_) values.column(column).AppendNull();
    }
    if (!carried_columns_.empty()) totals.values = values.Finish();
    return totals;
  }

  absl::Status WriteTotals(uint32_t group, const std::string& partition, const Totals& totals) {
    if (!keeps_totals_ && totals.given == 0) return totals_->Delete(group, partition);
    std::string bytes;
    for (const int64_t number :
         {totals.rows, totals.last_time, totals.rank, totals.dense_rank, totals.given}) {
      AppendOrderedInt64(number, bytes);
    }
    codec_->Append(totals.values, carried_columns_, 0, bytes);
    return totals_->Put(group, partition, bytes);
  }

  // The first row that is kept: the others are before the frames, and the offsets, of all rows that
  // are not given.
  size_t KeptFrom(const Rows& rows, size_t given_end, EventTime watermark) const {
    const size_t first = given_end - std::min(given_end, lag_);
    if (!has_frame_) return first;
    const int64_t next_us = given_end < rows.size() ? rows.times[given_end] : watermark.us;
    return std::min(first, over_.KeptFrom(rows.times, given_end, next_us));
  }

  // Notes of the first `end` rows, which go, what rows to come need.
  void Forget(const Rows& rows, size_t end, Totals& totals) {
    if (end == 0) return;
    if (!carried_columns_.empty()) {
      BatchBuilder next(carried_);
      for (const Value& value : values_) {
        if (value.carried < 0) continue;
        FindValues(value, rows);
        AppendOfFrame(value, rows, totals, 0, end - 1, next.column(value.carried));
      }
      totals.values = next.Finish();
    }
    totals.rows += static_cast<int64_t>(end);
    totals.last_time = rows.times[end - 1];
    totals.rank = ranks_[end - 1];
    totals.dense_rank = dense_ranks_[end - 1];
  }

  // ---- values ----

  // RANK and DENSE_RANK of all rows.
  void Number(const Rows& rows, const Totals& totals) {
    ranks_.resize(rows.size());
    dense_ranks_.resize(rows.size());
    bool has_before = totals.rows > 0;
    int64_t time = totals.last_time, rank = totals.rank, dense = totals.dense_rank;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!has_before || rows.times[i] != time) {
        rank = totals.rows + static_cast<int64_t>(i) + 1;
        ++dense;
      }
      has_before = true;
      time = rows.times[i];
      ranks_[i] = rank;
      dense_ranks_[i] = dense;
    }
  }

  // Of FIRST_VALUE the next row of each, of LAST_VALUE the one before, that has a value: itself, if
  // it has one. Where there is none: beyond all rows; -1.
  void FindValues(const Value& value, const Rows& rows) {
    const auto size = static_cast<int64_t>(rows.size());
    nearest_.resize(rows.size());
    if (value.kind == Kind::kNth) return;
    const Column& column = rows.batch.column(value.column);
    const bool is_first = value.kind == Kind::kFirst;
    int64_t nearest = is_first ? size : -1;
    for (int64_t n = 0; n < size; ++n) {
      const int64_t row = is_first ? size - 1 - n : n;
      if (!column.IsNull(row)) nearest = row;
      nearest_[static_cast<size_t>(row)] = nearest;
    }
  }

  // Appends the value of a frame whose rows here are [low, high]. Of frames without a beginning
  // `totals` has what it was until the first row here. Behind FindValues.
  void AppendOfFrame(const Value& value, const Rows& rows, const Totals& totals, size_t low,
                     size_t high, ColumnBuilder& result) const {
    const bool carries = value.carried >= 0;
    const Column& column = rows.batch.column(value.column);
    bool is_before = false;
    int64_t at = 0;
    switch (value.kind) {
      case Kind::kFirst:
        is_before = carries && !totals.values.column(value.carried).IsNull(0);
        at = nearest_[low];
        break;
      case Kind::kLast:
        at = nearest_[high];
        is_before = carries && at < 0;
        break;
      default:
        at = static_cast<int64_t>(low + value.offset) - 1 - (carries ? totals.rows : 0);
        is_before = at < 0;
    }
    if (is_before) return result.AppendFrom(totals.values.column(value.carried), 0);
    const bool is_within = at >= static_cast<int64_t>(low) && at <= static_cast<int64_t>(high);
    is_within ? result.AppendFrom(column, at) : result.AppendNull();
  }

  // The first and the last row here of the frame of each.
  void MakeFrames(const Rows& rows) {
    const size_t size = rows.size();
    lows_.assign(size, 0);
    highs_.resize(size);
    for (size_t i = size; i-- > 0;) {
      const bool has_peer = !over_.by_rows && i + 1 < size && rows.times[i + 1] == rows.times[i];
      highs_[i] = has_peer ? highs_[i + 1] : i;
    }
    for (size_t i = 0, low = 0; over_.is_bounded && i < size; ++i) {
      while (over_.IsBefore(rows.times, low, i)) ++low;
      lows_[i] = low;
    }
  }

  void Give(const Rows& rows, const Totals& totals, size_t first, size_t end, Emitter& out) {
    if (has_frame_) MakeFrames(rows);
    const auto& all = context_->output_schema->fields();
    BatchBuilder results(Schema::Make({all.begin() + input_->size(), all.end()}));
    for (size_t slot = 0; slot < values_.size(); ++slot) {
      ColumnBuilder& result = results.column(static_cast<int>(slot));
      if (values_[slot].IsOfFrame()) FindValues(values_[slot], rows);
      for (size_t i = first; i < end; ++i) Append(values_[slot], rows, totals, i, result);
    }
    const auto count = static_cast<int64_t>(end - first);
    std::vector<Column> columns =
        CopyRange(rows.batch, static_cast<int64_t>(first), count).columns();
    const Batch made = results.Finish();
    columns.insert(columns.end(), made.columns().begin(), made.columns().end());
    out.Emit(Batch(context_->output_schema, count, std::move(columns)));
  }

  void Append(const Value& value, const Rows& rows, const Totals& totals, size_t i,
              ColumnBuilder& result) const {
    switch (value.kind) {
      case Kind::kRowNumber:
        return result.AppendInt64(totals.rows + static_cast<int64_t>(i) + 1);
      case Kind::kRank:
        return result.AppendInt64(ranks_[i]);
      case Kind::kDenseRank:
        return result.AppendInt64(dense_ranks_[i]);
      case Kind::kLag:
        if (i < value.offset) return AppendFallback(value, rows, i, result);
        return result.AppendFrom(rows.batch.column(value.column),
                                 static_cast<int64_t>(i - value.offset));
      case Kind::kLead:
        if (i + value.offset >= rows.size()) return AppendFallback(value, rows, i, result);
        return result.AppendFrom(rows.batch.column(value.column),
                                 static_cast<int64_t>(i + value.offset));
      default:
        break;
    }
    AppendOfFrame(value, rows, totals, lows_[i], highs_[i], result);
  }

  static void AppendFallback(const Value& value, const Rows& rows, size_t i,
                             ColumnBuilder& result) {
    if (value.fallback < 0) return result.AppendNull();
    result.AppendFrom(rows.batch.column(value.fallback), static_cast<int64_t>(i));
  }

  OperatorContext* context_ = nullptr;
  SchemaPtr input_;
  std::vector<Value> values_;
  size_t lag_ = 0, lead_ = 0;  // The farthest rows that are looked at.
  bool has_frame_ = false;
  OverFrame over_;
  bool keeps_totals_ = false;
  SchemaPtr carried_;  // Of Totals::values.
  std::vector<int> carried_columns_;
  std::optional<RowCodec> codec_;
  std::optional<PartitionRows> rows_;
  KeyedTable* totals_ = nullptr;
  // Of the partition whose rows are given.
  std::vector<int64_t> ranks_, dense_ranks_, nearest_;
  std::vector<size_t> lows_, highs_;
};

}  // namespace

std::unique_ptr<Operator> MakeOverValues() { return std::make_unique<OverValues>(); }

}  // namespace millrace
