// Joins of two streams of inserts or exact changes. A row that comes in meets the rows of the other
// side that are there; so every pair is made once, by the later of the two.
//
// Joins with times forget rows when no partner can come any more, and only then give rows without
// one: their output is inserts only. Joins without times give such a row at once and take it back
// when its first partner comes.
#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/change_builder.h"
#include "operators/expiry/key_expiry.h"
#include "operators/joins/join_side.h"
#include "operators/joins/joins.h"
#include "operators/joins/pairs.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kExpiredRowsMax = 4096;
constexpr size_t kEmittedRowsMax = 4096;

class JoinOperator : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::Join& join = context.node.join();
    kind_ = join.kind();
    timed_ = join.left_time().ids_size() > 0;
    ttl_us_[0] = ttl_us_[1] = static_cast<int64_t>(context.node.state_ttl_ms()) * 1000;
    if (join.right_state_ttl_ms() > 0) {
      ttl_us_[1] = static_cast<int64_t>(join.right_state_ttl_ms()) * 1000;
    }
    appends_ = context.node.changelog_mode() <= v1::CHANGELOG_MODE_APPEND;
    emits_found_ = appends_ && kind_ == v1::Join::KIND_INNER;
    MILLRACE_RETURN_IF_ERROR(OpenSide(0, join));
    MILLRACE_RETURN_IF_ERROR(OpenSide(1, join));
    pair_schema_ =
        PairSchema(*context.input_schemas[0], *context.input_schemas[1], join.right_id_offset());
    left_columns_ = context.input_schemas[0]->size();
    lower_us_ = join.lower_ms() * 1000;
    upper_us_ = join.upper_ms() * 1000;
    MILLRACE_ASSIGN_OR_RETURN(
        condition_, PairCondition::Make(join.has_condition() ? &join.condition() : nullptr,
                                        *pair_schema_, context));
    watermark_ = context.restored_watermark;
    if (has_ttl()) expired_ = &ExpiredCounter(context);
    return absl::OkStatus();
  }

  absl::Status Process(int input, const Batch& batch, Emitter& out) override {
    MILLRACE_RETURN_IF_ERROR(DropExpired());
    JoinSide& side = *sides_[input];
    side.Begin(batch);
    MILLRACE_RETURN_IF_ERROR(FindPairs(input, batch, out));
    ChangeBuilder changes(context_->output_schema, out, appends_);
    RowErrors errors;
    size_t next = 0;
    for (int32_t row = 0; row < batch.rows(); ++row) {
      const size_t first = next;
      while (next < pairs_.size() && pairs_[next].row == row) ++next;
      if (timed_ && side.DeadlineOf(side.TimeOf(row)) <= watermark_.us) {
        context_->counters.rows_late.Add(1);
        continue;
      }
      const std::span<const Pair> pairs(pairs_.data() + first, next - first);
      MILLRACE_ASSIGN_OR_RETURN(const bool known, ProcessRow(input, batch, row, pairs, changes));
      if (!known) errors.entries.push_back({row, "a row is taken back that was never there"});
    }
    changes.Flush();
    EmitFound(out);
    if (!errors.empty()) {
      (void)DeadLetterRows(context_->node.uid(), "MR4007", batch, errors, context_->counters,
                           context_->clock, out);  // The other rows are joined already.
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    for (int input = 0; timed_ && input < 2; ++input) {
      bool more = true;
      while (more) {
        if (out.full()) return Progress::kAgain;
        if (!EmitsAlone(input)) {
          MILLRACE_ASSIGN_OR_RETURN(more, sides_[input]->ForgetExpired(watermark, kExpiredRowsMax));
          continue;
        }
        BatchBuilder builder(context_->input_schemas[static_cast<size_t>(input)]);
        std::vector<JoinRow> rows;
        MILLRACE_ASSIGN_OR_RETURN(
            more, sides_[input]->TakeExpired(watermark, kExpiredRowsMax, builder, rows));
        ChangeBuilder changes(context_->output_schema, out, appends_);
        const Batch expired = builder.Finish();
        for (size_t i = 0; i < rows.size(); ++i) {
          if (rows[i].partners > 0) continue;
          EmitAlone(input, expired, static_cast<int64_t>(i), 1, rows[i].count, changes);
        }
        changes.Flush();
      }
    }
    watermark_ = std::max(watermark_, watermark);
    return Progress::kDone;
  }

 private:
  // Row `row` of the batch and a row of the other side that fulfil the condition.
  struct Pair {
    int32_t row;
    int64_t at;         // In found_.
    std::string other;  // State key; only when the other side tracks partners.
    int64_t count;
  };

  // Rows whose time to live is over are forgotten; what they have given stays.
  absl::Status DropExpired() {
    if (!has_ttl()) return absl::OkStatus();
    now_us_ = ClockMicros(*context_, now_us_);
    for (std::optional<JoinSide>& side : sides_) {
      MILLRACE_ASSIGN_OR_RETURN(const uint64_t dropped,
                                side->DropExpired(now_us_, kExpiredRowsMax));
      expired_->Add(static_cast<double>(dropped));
    }
    return absl::OkStatus();
  }

  bool has_ttl() const { return ttl_us_[0] > 0; }

  absl::Status OpenSide(int input, const v1::Join& join) {
    const bool left = input == 0;
    const Schema& schema = *context_->input_schemas[static_cast<size_t>(input)];
    JoinSide::Options options{.name = left ? "left" : "right",
                              .schema = context_->input_schemas[static_cast<size_t>(input)],
                              .keys = {},
                              .tracks_partners = EmitsAlone(input) || (left && IsSemi()),
                              .ttl_us = ttl_us_[input]};
    for (const uint32_t id : (left ? join.left_keys() : join.right_keys()).ids()) {
      options.keys.push_back(schema.IndexOfId(id));
    }
    if (timed_) {
      options.time = schema.IndexOfId((left ? join.left_time() : join.right_time()).ids(0));
      // Windows are complete when the watermark is at their end, rows of a time when it is past it.
      const bool other_is_end = left ? join.right_time_is_end() : join.left_time_is_end();
      options.partner_lag_us =
          (left ? join.upper_ms() : -join.lower_ms()) * 1000 + (other_is_end ? 0 : 1);
      options.partner_span_us = (join.upper_ms() - join.lower_ms()) * 1000;
    }
    MILLRACE_ASSIGN_OR_RETURN(JoinSide side, JoinSide::Open(std::move(options), *context_));
    sides_[input].emplace(std::move(side));
    return absl::OkStatus();
  }

  bool IsSemi() const { return kind_ == v1::Join::KIND_SEMI; }
  // Rows of the side without a partner come with NULLs, or, of an anti join, as they are.
  bool EmitsAlone(int input) const {
    switch (kind_) {
      case v1::Join::KIND_LEFT:
      case v1::Join::KIND_ANTI:
        return input == 0;
      case v1::Join::KIND_RIGHT:
        return input == 1;
      default:
        return kind_ == v1::Join::KIND_FULL;
    }
  }
  // A row of the side with so many partners stands in the output by itself. Rows with times that
  // have no partner do so only when none can come any more.
  bool ShowsItself(int input, int64_t partners) const {
    if (IsSemi()) return input == 0 && partners > 0;
    return EmitsAlone(input) && partners == 0 && !timed_;
  }
  bool EmitsPairs() const { return !IsSemi() && kind_ != v1::Join::KIND_ANTI; }

  // Fills pairs_, in the order of the rows, and found_.
  absl::Status FindPairs(int input, const Batch& batch, Emitter& out) {
    JoinSide& side = *sides_[input];
    JoinSide& other = *sides_[1 - input];
    const bool tracked = other.options().tracks_partners;
    std::vector<Pair> candidates;
    std::vector<int32_t> rows;
    BatchBuilder builder(context_->input_schemas[static_cast<size_t>(1 - input)]);
    absl::Status status;
    for (int32_t row = 0; row < batch.rows(); ++row) {
      if (side.HasNullKey(row)) continue;
      const size_t key_bytes = side.key(row).size();
      MILLRACE_RETURN_IF_ERROR(other.ForEach(
          side.key_group(row), side.key(row), PartnerTimes(input, row),
          [&](std::string_view state_key, const JoinRow& one) {
            if (status.ok()) status = other.Decode(state_key, key_bytes, builder);
            rows.push_back(row);
            candidates.push_back({.row = row,
                                  .at = static_cast<int64_t>(candidates.size()),
                                  .other = tracked ? std::string(state_key) : std::string(),
                                  .count = one.count});
            return status.ok();
          }));
      MILLRACE_RETURN_IF_ERROR(status);
    }
    pairs_.clear();
    if (candidates.empty()) return absl::OkStatus();
    found_ = PairBatch(input, Take(batch, rows), builder.Finish());
    std::vector<bool> fits(candidates.size(), true);
    MILLRACE_RETURN_IF_ERROR(condition_.Check(found_, out, fits));
    CheckTimes(1 - input, fits);
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (fits[i]) pairs_.push_back(std::move(candidates[i]));
    }
    return absl::OkStatus();
  }

  // When partners of the row are.
  JoinSide::Times PartnerTimes(int input, int64_t row) const {
    if (!timed_) return {};
    const int64_t time = sides_[input]->TimeOf(row);
    JoinSide::Times times;
    // Beyond the times that there are, none is too early or too late.
    const auto move = [time](int64_t by_us, int64_t& moved) {
      int64_t sum = 0;
      if (!__builtin_add_overflow(time, by_us, &sum)) moved = sum;
    };
    move(input == 0 ? lower_us_ : -upper_us_, times.first_us);
    move(input == 0 ? upper_us_ : -lower_us_, times.last_us);
    return times;
  }

  // Rows of both sides, side by side.
  Batch PairBatch(int input, const Batch& mine, const Batch& others) const {
    return Batch(pair_schema_, mine.rows(),
                 input == 0 ? SideBySide(mine, others) : SideBySide(others, mine));
  }

  // `found`: the side whose rows were there; some may be there although their time is over.
  void CheckTimes(int found, std::vector<bool>& fits) const {
    if (!timed_) return;
    const JoinSide& side = *sides_[found];
    const Column& left = found_.column(sides_[0]->options().time);
    const Column& right = found_.column(left_columns_ + sides_[1]->options().time);
    for (size_t i = 0; i < fits.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      const int64_t apart = right.values<int64_t>()[at] - left.values<int64_t>()[at];
      const int64_t found_at = (found == 0 ? left : right).values<int64_t>()[at];
      fits[i] = fits[i] && apart >= lower_us_ && apart <= upper_us_ &&
                side.DeadlineOf(found_at) > watermark_.us;
    }
  }

  // False: the row takes one back that is not there.
  absl::StatusOr<bool> ProcessRow(int input, const Batch& batch, int32_t row,
                                  std::span<const Pair> pairs, ChangeBuilder& changes) {
    JoinSide& side = *sides_[input];
    const int64_t weight = IsRetraction(batch.kind(row)) ? -1 : 1;
    const bool keeps = !side.HasNullKey(row);
    const uint32_t group = side.key_group(row);
    std::string_view state_key;
    JoinRow stored;  // What is there, of a row that is taken back; else what is added.
    if (keeps) state_key = side.StateKey(row);
    if (keeps && weight < 0) {
      MILLRACE_ASSIGN_OR_RETURN(const std::optional<JoinRow> there, side.Find(group, state_key));
      if (!there) return false;
      stored = *there;
    }
    int64_t partners = 0;
    for (const Pair& pair : pairs) {
      partners += pair.count;
      MILLRACE_RETURN_IF_ERROR(ProcessPair(input, weight, group, pair, changes));
    }
    const bool shows = weight < 0 ? stored.shown > 0 : ShowsItself(input, partners);
    if (!keeps) {
      if (EmitsAlone(input)) EmitAlone(input, batch, row, weight, 1, changes);
      return true;
    }
    if (shows) {
      EmitAlone(input, batch, row, weight, 1, changes);
      stored.shown += weight;
    }
    stored.count += weight;
    stored.partners = partners;
    if (has_ttl()) stored.expires_us = now_us_ + ttl_us_[input];
    MILLRACE_RETURN_IF_ERROR(weight > 0 ? side.Add(group, state_key, stored)
                                        : side.Store(group, state_key, stored));
    if (timed_ || (has_ttl() && stored.count > 0)) {
      MILLRACE_RETURN_IF_ERROR(side.StoreDeadline(row, state_key, stored));
    }
    return true;
  }

  absl::Status ProcessPair(int input, int64_t weight, uint32_t group, const Pair& pair,
                           ChangeBuilder& changes) {
    const int other = 1 - input;
    const bool tracked = sides_[other]->options().tracks_partners;
    JoinRow row;
    int64_t shown = 0;  // From now on.
    if (tracked) {
      MILLRACE_ASSIGN_OR_RETURN(std::optional<JoinRow> stored,
                                sides_[other]->Find(group, pair.other));
      MILLRACE_CHECK(stored.has_value());
      row = *stored;
      row.partners += weight;
      // A partner that goes changes nothing while there are others, known or forgotten.
      shown = weight < 0 && row.partners > 0     ? row.shown
              : ShowsItself(other, row.partners) ? row.count
                                                 : 0;
    }
    if (shown < row.shown) EmitAlone(other, Found(other), pair.at, -1, row.shown - shown, changes);
    if (emits_found_) {
      emitted_.insert(emitted_.end(), static_cast<size_t>(pair.count),
                      static_cast<int32_t>(pair.at));
    } else if (EmitsPairs()) {
      Repeat(weight, pair.count, changes, [&](BatchBuilder& builder) {
        for (int i = 0; i < found_.column_count(); ++i) {
          builder.column(i).AppendFrom(found_.column(i), pair.at);
        }
      });
    }
    if (shown > row.shown) EmitAlone(other, Found(other), pair.at, 1, shown - row.shown, changes);
    if (!tracked) return absl::OkStatus();
    row.shown = shown;
    return sides_[other]->Store(group, pair.other, row);
  }

  // Rows of found_ in emitted_, column by column.
  void EmitFound(Emitter& out) {
    for (size_t begin = 0; begin < emitted_.size(); begin += kEmittedRowsMax) {
      const size_t rows = std::min(kEmittedRowsMax, emitted_.size() - begin);
      const Batch taken = Take(found_, std::span(emitted_).subspan(begin, rows));
      out.Emit(taken.WithColumns(context_->output_schema, taken.columns()));
    }
    emitted_.clear();
  }

  // The columns of one side of found_.
  Batch Found(int input) const {
    const std::vector<Column>& all = found_.columns();
    const auto middle = all.begin() + left_columns_;
    return Batch(context_->input_schemas[static_cast<size_t>(input)], found_.rows(),
                 input == 0 ? std::vector<Column>(all.begin(), middle)
                            : std::vector<Column>(middle, all.end()));
  }

  template <typename AppendRow>
  static void Repeat(int64_t weight, int64_t count, ChangeBuilder& changes,
                     const AppendRow& append) {
    for (int64_t i = 0; i < count; ++i) {
      append(changes.row());
      changes.Add(weight > 0 ? RowKind::kInsert : RowKind::kDelete);
    }
  }

  // A row of one side by itself: with NULLs for the other, or of a semi or anti join as it is.
  void EmitAlone(int input, const Batch& rows, int64_t row, int64_t weight, int64_t count,
                 ChangeBuilder& changes) const {
    if (!EmitsPairs()) {
      Repeat(weight, count, changes, [&](BatchBuilder& out) { out.AppendRow(rows, row); });
      return;
    }
    Repeat(weight, count, changes, [&](BatchBuilder& out) {
      for (int i = 0; i < pair_schema_->size(); ++i) {
        const bool mine = (i < left_columns_) == (input == 0);
        const int at = input == 0 ? i : i - left_columns_;
        if (mine) {
          out.column(i).AppendFrom(rows.column(at), row);
        } else {
          out.column(i).AppendNull();
        }
      }
    });
  }

  OperatorContext* context_ = nullptr;
  v1::Join::Kind kind_ = v1::Join::KIND_INNER;
  bool timed_ = false;
  bool appends_ = false;      // The output is inserts only.
  bool emits_found_ = false;  // And it is pairs only: rows of found_.
  int64_t lower_us_ = 0, upper_us_ = 0;
  SchemaPtr pair_schema_;
  int left_columns_ = 0;
  PairCondition condition_;
  std::optional<JoinSide> sides_[2];
  EventTime watermark_ = EventTime::Min();
  // Of each side; 0, then of both: rows are kept for ever, or until no partner can come.
  int64_t ttl_us_[2] = {0, 0};
  int64_t now_us_ = 0;
  OperatorMetrics::Number* expired_ = nullptr;
  // Of one batch.
  Batch found_;
  std::vector<Pair> pairs_;
  std::vector<int32_t> emitted_;
};

}  // namespace

std::unique_ptr<Operator> MakeJoin() { return std::make_unique<JoinOperator>(); }

}  // namespace millrace
