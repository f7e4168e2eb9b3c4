#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "millrace/v1/graph.pb.h"
#include "operators/windows/aggregates.h"
#include "operators/windows/folded_values.h"
#include "operators/windows/windows.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
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
  std::string accumulator;
};

// State: "sessions": group key, start -> end, set, accumulator. "ends": end, group key, start ->
// nothing, so that the sessions that a watermark closes are found in order. "values": group key,
// set, number of the aggregate, encoded value -> nothing.
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
    for (int32_t row = 0; row < input.rows(); ++row) {
      MILLRACE_ASSIGN_OR_RETURN(const bool late, AddRow(row, times[row]));
      if (late) late_rows_.push_back(row);
    }
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

  // True when the row is late: its session would be closed already.
  absl::StatusOr<bool> AddRow(int32_t row, int64_t time_us) {
    const std::string_view key = keys_.key(row);
    const uint32_t group =
        KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], context_->max_parallelism);
    Session merged{.start_us = time_us,
                   .end_us = time_us + gap_us_,
                   .set_us = time_us,
                   .accumulator = std::string(layout_->width(), '\0')};
    MILLRACE_RETURN_IF_ERROR(FindTouching(group, key, time_us));
    for (const Session& session : touching_) {
      merged.start_us = std::min(merged.start_us, session.start_us);
      merged.end_us = std::max(merged.end_us, session.end_us);
    }
    if (merged.end_us <= watermark_.us) return true;
    for (const Session& session : touching_) {
      layout_->Merge(Bytes(merged.accumulator), Bytes(session.accumulator));
    }
    uint8_t* accumulator = Bytes(merged.accumulator);
    inputs_->Add(*layout_, {&row, 1}, {&accumulator, 1});
    if (values_ != nullptr) {
      if (!touching_.empty()) merged.set_us = touching_[0].set_us;
      MILLRACE_RETURN_IF_ERROR(AddValues(group, key, row, merged.set_us));
    }
    for (const Session& session : touching_) {
      if (session.start_us != merged.start_us) {
        MILLRACE_RETURN_IF_ERROR(sessions_->Delete(group, SessionKey(key, session.start_us)));
      }
      if (session.start_us != merged.start_us || session.end_us != merged.end_us) {
        MILLRACE_RETURN_IF_ERROR(
            ends_->Delete(group, EndKey(session.end_us, key, session.start_us)));
      }
    }
    std::string value;
    AppendOrderedInt64(merged.end_us, value);
    AppendOrderedInt64(merged.set_us, value);
    value += merged.accumulator;
    MILLRACE_RETURN_IF_ERROR(sessions_->Put(group, SessionKey(key, merged.start_us), value));
    MILLRACE_RETURN_IF_ERROR(ends_->Put(group, EndKey(merged.end_us, key, merged.start_us), ""));
    NoteEnd(group, merged.end_us);
    return false;
  }

  // Adds the row's values to the set, and those of all other sets of the touching sessions.
  absl::Status AddValues(uint32_t group, std::string_view key, int32_t row, int64_t set_us) {
    const std::string set = SessionKey(key, set_us);
    for (uint32_t slot = 0; slot < argument_keys_.size(); ++slot) {
      if (!layout_->slots()[slot].by_value_set || !inputs_->Contributes(slot, row)) continue;
      std::string value_key = set;
      value_key.append(reinterpret_cast<const char*>(&slot), sizeof(slot));
      value_key += argument_keys_[slot].key(row);
      MILLRACE_RETURN_IF_ERROR(values_->Put(group, value_key, ""));
    }
    for (const Session& session : touching_) {
      if (session.set_us == set_us) continue;
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

  // Fills touching_ with the key's sessions that a row at `time_us` belongs to. Windows that only
  // touch merge too, as in Flink.
  absl::Status FindTouching(uint32_t group, std::string_view key, int64_t time_us) {
    touching_.clear();
    return sessions_->Scan(group, key, [&](std::string_view row_key, std::string_view value) {
      if (row_key.size() != key.size() + 8) return true;
      Session session{.start_us = ReadOrderedInt64(row_key.substr(key.size())),
                      .end_us = ReadOrderedInt64(value),
                      .set_us = ReadOrderedInt64(value.substr(8)),
                      .accumulator = {}};
      if (session.start_us > time_us + gap_us_) return false;
      if (session.end_us >= time_us) {
        session.accumulator = std::string(value.substr(kHeadBytes));
        touching_.push_back(std::move(session));
      }
      return true;
    });
  }

  // Emits and removes up to a batch of sessions of the group that end by `watermark_us`.
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
    BatchBuilder builder(context_->output_schema, static_cast<int64_t>(due.size()));
    std::vector<ColumnBuilder*> keys;
    for (size_t k = 0; k < key_columns_.size(); ++k) {
      keys.push_back(&builder.column(static_cast<int>(2 + k)));
    }
    RowErrors errors;
    std::string value;
    for (const std::string& end_key : due) {
      const std::string_view key = std::string_view(end_key).substr(8, end_key.size() - 16);
      const std::string session_key = end_key.substr(8);
      MILLRACE_ASSIGN_OR_RETURN(const bool found, sessions_->Get(group, session_key, &value));
      if (!found) return absl::DataLossError("a session is missing from the state");
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
    FirstEnd(group) = next_end;
    out.Emit(DeadLetterRows(context_->node.uid(), "MR4005", builder.Finish(), errors,
                            context_->counters, context_->clock, out));
    return absl::OkStatus();
  }

  static uint8_t* Bytes(std::string& accumulator) {
    return reinterpret_cast<uint8_t*>(accumulator.data());
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
  std::vector<Session> touching_;
  std::vector<EncodedKeys> argument_keys_;  // By slot.
  std::vector<std::string> taken_;
};

}  // namespace

std::unique_ptr<Operator> MakeSessionWindow() { return std::make_unique<SessionWindow>(); }

}  // namespace millrace
