#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "millrace/v1/graph.pb.h"
#include "operators/windows/aggregates.h"
#include "operators/windows/folded_values.h"
#include "operators/windows/windows.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/distinct_keys.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kOutputRowsMax = 4096;

// A session of one key: rows no further apart than the gap. Stored under key + ordered start.
struct Session {
  int64_t start_us = 0;
  int64_t end_us = 0;  // Last row + gap.
  // Names the session's value sets: the time of the row that began it. It stays when the session
  // grows at its front, and no other open session of the key has it: a row of that time belongs to
  // this one.
  int64_t set_us = 0;
  uint8_t* accumulator = nullptr;
  bool changed = false;  // By the batch.
};

// What a batch changes of one key: read once, then changed row by row in memory, written once.
struct KeySessions {
  uint32_t group = 0;
  std::vector<int64_t> stored_starts;  // Of the sessions that the state has.
  std::vector<Session> sessions;       // By start.
};

// Accumulators of one batch. Addresses stay until Clear.
class AccumulatorPool {
 public:
  explicit AccumulatorPool(size_t width) : width_(width) {}

  uint8_t* Make() {
    if (used_ == blocks_.size() * kBlock) {
      blocks_.push_back(std::make_unique<uint64_t[]>(kBlock * width_ / 8 + 1));
    }
    uint8_t* const made =
        reinterpret_cast<uint8_t*>(blocks_[used_ / kBlock].get()) + used_ % kBlock * width_;
    ++used_;
    std::memset(made, 0, width_);
    return made;
  }
  void Clear() {
    if (blocks_.size() > kBlocksKept) blocks_.resize(kBlocksKept);
    used_ = 0;
  }

 private:
  static constexpr size_t kBlock = 256;
  static constexpr size_t kBlocksKept = 64;

  const size_t width_;  // A multiple of 8.
  std::vector<std::unique_ptr<uint64_t[]>> blocks_;
  size_t used_ = 0;
};

// State: "sessions": group key, start -> end, set, accumulator. "ends": end, group key, start ->
// nothing, so that the sessions that a watermark closes are found in order. "values": group key,
// set, number of the aggregate, encoded value -> nothing.
//
// Each session has a row in "ends" at its end or before: one that only grows is left where it is,
// and moved to its end when a watermark comes to it. Rows of sessions that became part of others
// lie there too, until a watermark does.
class SessionWindow : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::WindowAggregate& node = context.node.window_aggregate();
    const Schema& input = *context.input_schemas[0];
    gap_us_ = static_cast<int64_t>(node.window().size_ms()) * 1000;
    if (gap_us_ <= 0) return absl::InvalidArgumentError("a session needs a gap");
    time_column_ = input.IndexOfId(node.window().time().ids(0));
    for (uint32_t id : node.keys().ids()) key_columns_.push_back(input.IndexOfId(id));
    MILLRACE_ASSIGN_OR_RETURN(layout_, AggregateLayout::Make(node.aggregates()));
    pool_.emplace(layout_->width());
    MILLRACE_ASSIGN_OR_RETURN(AggregateInputs inputs,
                              AggregateInputs::Make(node.aggregates(), input));
    inputs_.emplace(std::move(inputs));
    MILLRACE_ASSIGN_OR_RETURN(sessions_, context.state->OpenKeyedTable("sessions"));
    MILLRACE_ASSIGN_OR_RETURN(ends_, context.state->OpenKeyedTable("ends"));
    if (layout_->has_value_sets()) {
      MILLRACE_ASSIGN_OR_RETURN(values_, context.state->OpenKeyedTable("values"));
    }
    watermark_ = context.restored_watermark;
    first_end_.assign(context.key_groups.last - context.key_groups.first + 1, kNone);
    return ends_->ScanAll([this](uint32_t group, std::string_view key, std::string_view) {
      NoteEnd(group, ReadOrderedInt64(key));
      return true;
    });
  }

  absl::Status Process(int, const Batch& input, Emitter& out) override {
    RowErrors errors;
    MILLRACE_RETURN_IF_ERROR(inputs_->Evaluate(input, errors));
    if (!errors.empty()) {
      const Batch good = DeadLetterRows(context_->node.uid(), "MR4004", input, errors,
                                        context_->counters, context_->clock, out);
      return good.rows() == 0 ? absl::OkStatus() : Process(0, good, out);
    }
    EncodeKeys(input, key_columns_, keys_);
    EncodeValues();
    const auto* times = input.column(time_column_).values<int64_t>();
    late_rows_.clear();
    MILLRACE_RETURN_IF_ERROR(Load());
    for (int32_t row = 0; row < input.rows(); ++row) {
      MILLRACE_ASSIGN_OR_RETURN(const bool late, AddRow(row, times[row]));
      if (late) late_rows_.push_back(row);
    }
    AddPending();
    MILLRACE_RETURN_IF_ERROR(Store());
    if (!late_rows_.empty()) {
      context_->counters.rows_late.Add(late_rows_.size());
      out.Emit(OutputPort::kLate, Take(input, late_rows_));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    for (uint32_t group = context_->key_groups.first; group <= context_->key_groups.last; ++group) {
      // The watermark of the end is as large as kNone.
      while (FirstEnd(group) != kNone && FirstEnd(group) <= watermark.us) {
        if (out.full()) return Progress::kAgain;
        MILLRACE_RETURN_IF_ERROR(CloseSessions(group, watermark.us, out));
      }
    }
    watermark_ = std::max(watermark_, watermark);
    return Progress::kDone;
  }

 private:
  static constexpr int64_t kNone = EventTime::Max().us;
  static constexpr size_t kHeadBytes = 16;  // Of a session's value: end, set.

  int64_t& FirstEnd(uint32_t group) { return first_end_[group - context_->key_groups.first]; }
  void NoteEnd(uint32_t group, int64_t end_us) {
    // The end of time is a possible end too; a little earlier is the same for every watermark.
    FirstEnd(group) = std::min({FirstEnd(group), end_us, kNone - 1});
  }

  // The arguments of the aggregates by value set.
  void EncodeValues() {
    argument_keys_.resize(layout_->slots().size());
    for (size_t slot = 0; slot < argument_keys_.size(); ++slot) {
      if (!layout_->slots()[slot].by_value_set) continue;
      const Column& argument = inputs_->argument(slot);
      EncodeKeys(Batch(Schema::Make({{.name = "value", .type = argument.type()}}),
                       argument.length(), {argument}),
                 std::vector<int>{0}, argument_keys_[slot]);
    }
  }

  static std::string SessionKey(std::string_view key, int64_t start_us) {
    std::string bytes(key);
    AppendOrderedInt64(start_us, bytes);
    return bytes;
  }
  static std::string EndKey(int64_t end_us, std::string_view key, int64_t start_us) {
    std::string bytes;
    AppendOrderedInt64(end_us, bytes);
    bytes += key;
    AppendOrderedInt64(start_us, bytes);
    return bytes;
  }

  // Reads the sessions of the keys of the batch.
  absl::Status Load() {
    distinct_.Assign(keys_);
    pool_->Clear();
    if (open_.size() < distinct_.size()) open_.resize(distinct_.size());
    for (size_t number = 0; number < distinct_.size(); ++number) {
      KeySessions& open = open_[number];
      open.group = KeyGroupOf(distinct_.hash(number), context_->max_parallelism);
      open.stored_starts.clear();
      open.sessions.clear();
      const std::string_view key = distinct_.key(number);
      bool sound = true;
      MILLRACE_RETURN_IF_ERROR(
          sessions_->Scan(open.group, key, [&](std::string_view row_key, std::string_view value) {
            if (row_key.size() != key.size() + 8) return true;
            sound = value.size() == kHeadBytes + layout_->width();
            if (!sound) return false;
            Session session{.start_us = ReadOrderedInt64(row_key.substr(key.size())),
                            .end_us = ReadOrderedInt64(value),
                            .set_us = ReadOrderedInt64(value.substr(8)),
                            .accumulator = pool_->Make()};
            std::memcpy(session.accumulator, value.data() + kHeadBytes, layout_->width());
            open.stored_starts.push_back(session.start_us);
            open.sessions.push_back(session);
            return true;
          }));
      if (!sound) return absl::DataLossError("a session has a wrong length");
    }
    return absl::OkStatus();
  }

  // Writes what has changed of them.
  absl::Status Store() {
    for (size_t number = 0; number < distinct_.size(); ++number) {
      const KeySessions& open = open_[number];
      const std::string_view key = distinct_.key(number);
      const auto is_stored = [&open](int64_t start_us) {
        return std::find(open.stored_starts.begin(), open.stored_starts.end(), start_us) !=
               open.stored_starts.end();
      };
      for (const int64_t start_us : open.stored_starts) {
        if (std::any_of(open.sessions.begin(), open.sessions.end(),
                        [&](const Session& session) { return session.start_us == start_us; })) {
          continue;
        }
        SetSessionKey(key, start_us);
        MILLRACE_RETURN_IF_ERROR(sessions_->Delete(open.group, session_key_));
      }
      for (const Session& session : open.sessions) {
        if (!session.changed) continue;
        value_.clear();
        AppendOrderedInt64(session.end_us, value_);
        AppendOrderedInt64(session.set_us, value_);
        value_.append(reinterpret_cast<const char*>(session.accumulator), layout_->width());
        SetSessionKey(key, session.start_us);
        MILLRACE_RETURN_IF_ERROR(sessions_->Put(open.group, session_key_, value_));
        if (is_stored(session.start_us)) continue;
        MILLRACE_RETURN_IF_ERROR(
            ends_->Put(open.group, EndKey(session.end_us, key, session.start_us), ""));
        NoteEnd(open.group, session.end_us);
      }
    }
    return absl::OkStatus();
  }

  void SetSessionKey(std::string_view key, int64_t start_us) {
    session_key_.assign(key);
    AppendOrderedInt64(start_us, session_key_);
  }

  // True when the row is late: its session would be closed already. Windows that only touch merge
  // too, as in Flink.
  absl::StatusOr<bool> AddRow(int32_t row, int64_t time_us) {
    KeySessions& open = open_[distinct_.number(row)];
    std::vector<Session>& sessions = open.sessions;
    auto first = sessions.begin();
    while (first != sessions.end() && first->end_us < time_us) ++first;
    auto last = first;
    int64_t start_us = time_us, end_us = time_us + gap_us_;
    for (; last != sessions.end() && last->start_us <= time_us + gap_us_; ++last) {
      start_us = std::min(start_us, last->start_us);
      end_us = std::max(end_us, last->end_us);
    }
    if (end_us <= watermark_.us) return true;
    if (first == last) {
      first = sessions.insert(first, {.set_us = time_us, .accumulator = pool_->Make()});
      last = first + 1;
    }
    if (values_ != nullptr) {
      MILLRACE_RETURN_IF_ERROR(
          AddValues(open.group, distinct_.key(distinct_.number(row)), row, {first, last}));
    }
    if (last - first > 1) {
      AddPending();
      for (auto other = first + 1; other != last; ++other) {
        layout_->Merge(first->accumulator, other->accumulator);
      }
      first = sessions.erase(first + 1, last) - 1;
    }
    first->start_us = start_us;
    first->end_us = end_us;
    first->changed = true;
    pending_rows_.push_back(row);
    pending_accumulators_.push_back(first->accumulator);
    return false;
  }

  // Rows are added to their accumulators together, before accumulators are merged or stored.
  void AddPending() {
    inputs_->Add(*layout_, pending_rows_, pending_accumulators_);
    pending_rows_.clear();
    pending_accumulators_.clear();
  }

  // Adds the row's values to the set of the first of the sessions that it touches, and those of the
  // sets of the others.
  absl::Status AddValues(uint32_t group, std::string_view key, int32_t row,
                         std::span<const Session> touching) {
    const std::string set = SessionKey(key, touching[0].set_us);
    for (uint32_t slot = 0; slot < argument_keys_.size(); ++slot) {
      if (!layout_->slots()[slot].by_value_set || !inputs_->Contributes(slot, row)) continue;
      std::string value_key = set;
      value_key.append(reinterpret_cast<const char*>(&slot), sizeof(slot));
      value_key += argument_keys_[slot].key(row);
      MILLRACE_RETURN_IF_ERROR(values_->Put(group, value_key, ""));
    }
    for (const Session& session : touching.subspan(1)) {
      MILLRACE_RETURN_IF_ERROR(TakeValues(group, SessionKey(key, session.set_us)));
      for (const std::string& value : taken_) {
        MILLRACE_RETURN_IF_ERROR(values_->Put(group, set + value, ""));
      }
    }
    return absl::OkStatus();
  }

  // Moves the values of the set into taken_: number of the aggregate, encoded value.
  absl::Status TakeValues(uint32_t group, const std::string& set) {
    taken_.clear();
    MILLRACE_RETURN_IF_ERROR(
        values_->Scan(group, set, [&](std::string_view value_key, std::string_view) {
          taken_.emplace_back(value_key.substr(set.size()));
          return true;
        }));
    for (const std::string& value : taken_) {
      MILLRACE_RETURN_IF_ERROR(values_->Delete(group, set + value));
    }
    return absl::OkStatus();
  }

  absl::Status FoldValues(uint32_t group, const std::string& set, FoldedValues& folded) {
    MILLRACE_RETURN_IF_ERROR(TakeValues(group, set));
    for (const std::string& value : taken_) {
      uint32_t slot = 0;
      MILLRACE_CHECK(value.size() > sizeof(slot));
      std::memcpy(&slot, value.data(), sizeof(slot));
      MILLRACE_RETURN_IF_ERROR(folded.Add(slot, std::string_view(value).substr(sizeof(slot))));
    }
    return absl::OkStatus();
  }

  // Emits and removes up to a batch of sessions of the group that end by `watermark_us`, or moves
  // their rows in "ends" first, so that they come out in the order of their ends.
  absl::Status CloseSessions(uint32_t group, int64_t watermark_us, Emitter& out) {
    std::vector<std::string> due;
    int64_t next_end = kNone;
    MILLRACE_RETURN_IF_ERROR(ends_->Scan(group, "", [&](std::string_view key, std::string_view) {
      const int64_t end = ReadOrderedInt64(key);
      if (end > watermark_us || due.size() == kOutputRowsMax) {
        next_end = std::min(end, kNone - 1);
        return false;
      }
      due.emplace_back(key);
      return true;
    }));
    MILLRACE_ASSIGN_OR_RETURN(const bool moved, MoveEnds(group, due));
    FirstEnd(group) = moved ? std::min(watermark_us, kNone - 1) : next_end;
    return moved || due.empty() ? absl::OkStatus() : EmitSessions(group, due, out);
  }

  // Gives the sessions that have grown their right place; values of the others go to due_values_.
  // True: some have been moved, or were not there any more.
  absl::StatusOr<bool> MoveEnds(uint32_t group, const std::vector<std::string>& due) {
    bool moved = false;
    due_values_.resize(due.size());
    for (size_t i = 0; i < due.size(); ++i) {
      const std::string_view session_key = std::string_view(due[i]).substr(8);
      MILLRACE_ASSIGN_OR_RETURN(const bool found,
                                sessions_->Get(group, session_key, &due_values_[i]));
      const int64_t end_us = found ? ReadOrderedInt64(due_values_[i]) : 0;
      if (found && end_us == ReadOrderedInt64(due[i])) continue;
      moved = true;
      MILLRACE_RETURN_IF_ERROR(ends_->Delete(group, due[i]));
      if (!found) continue;
      value_.clear();
      AppendOrderedInt64(end_us, value_);
      value_ += session_key;
      MILLRACE_RETURN_IF_ERROR(ends_->Put(group, value_, ""));
    }
    return moved;
  }

  absl::Status EmitSessions(uint32_t group, const std::vector<std::string>& due, Emitter& out) {
    BatchBuilder builder(context_->output_schema, static_cast<int64_t>(due.size()));
    std::vector<ColumnBuilder*> keys;
    for (size_t k = 0; k < key_columns_.size(); ++k) {
      keys.push_back(&builder.column(static_cast<int>(2 + k)));
    }
    RowErrors errors;
    for (size_t i = 0; i < due.size(); ++i) {
      const std::string& end_key = due[i];
      const std::string& value = due_values_[i];
      const std::string_view key = std::string_view(end_key).substr(8, end_key.size() - 16);
      const std::string session_key = end_key.substr(8);
      builder.column(0).AppendInt64(
          ReadOrderedInt64(std::string_view(session_key).substr(session_key.size() - 8)));
      builder.column(1).AppendInt64(ReadOrderedInt64(end_key));
      std::string_view key_bytes = key;
      MILLRACE_RETURN_IF_ERROR(DecodeKey(key_bytes, keys));
      FoldedValues folded(*layout_);
      if (values_ != nullptr) {
        const int64_t set_us = ReadOrderedInt64(std::string_view(value).substr(8));
        MILLRACE_RETURN_IF_ERROR(FoldValues(group, SessionKey(key, set_us), folded));
      }
      const std::string accumulator = value.substr(kHeadBytes);
      bool fits = true;
      for (size_t slot = 0; slot < layout_->slots().size(); ++slot) {
        ColumnBuilder& column = builder.column(static_cast<int>(2 + key_columns_.size() + slot));
        fits &= layout_->slots()[slot].by_value_set
                    ? folded.AppendResult(slot, column)
                    : layout_->AppendResult(slot, Bytes(accumulator), column);
      }
      if (!fits) {
        errors.entries.push_back(
            {static_cast<int32_t>(builder.rows() - 1), "the sum is out of range for its type"});
      }
      MILLRACE_RETURN_IF_ERROR(sessions_->Delete(group, session_key));
      MILLRACE_RETURN_IF_ERROR(ends_->Delete(group, end_key));
    }
    out.Emit(DeadLetterRows(context_->node.uid(), "MR4005", builder.Finish(), errors,
                            context_->counters, context_->clock, out));
    return absl::OkStatus();
  }

  static const uint8_t* Bytes(const std::string& accumulator) {
    return reinterpret_cast<const uint8_t*>(accumulator.data());
  }

  OperatorContext* context_ = nullptr;
  int64_t gap_us_ = 0;
  int time_column_ = -1;
  std::vector<int> key_columns_;
  std::shared_ptr<const AggregateLayout> layout_;
  std::optional<AggregateInputs> inputs_;
  KeyedTable* sessions_ = nullptr;
  KeyedTable* ends_ = nullptr;
  KeyedTable* values_ = nullptr;  // Null without value sets.
  EventTime watermark_ = EventTime::Min();
  std::vector<int64_t> first_end_;  // Per key group: no session ends before; kNone = there is none.

  // Scratch.
  EncodedKeys keys_;
  std::vector<int32_t> late_rows_;
  DistinctKeys distinct_;
  std::vector<KeySessions> open_;  // By number of the distinct key.
  std::optional<AccumulatorPool> pool_;
  std::vector<int32_t> pending_rows_;
  std::vector<uint8_t*> pending_accumulators_;
  std::string session_key_, value_;
  std::vector<std::string> due_values_;
  std::vector<EncodedKeys> argument_keys_;  // By slot.
  std::vector<std::string> taken_;
};

}  // namespace

std::unique_ptr<Operator> MakeSessionWindow() { return std::make_unique<SessionWindow>(); }

}  // namespace millrace
