// Rows with the version of a row of the other side that held at their time.
//
// State: "rows": join key, time, left row -> how often it is there, until it is given; "versions":
// join key, time -> the row that holds from then on, or nothing where it was deleted. "row_ends"
// and "version_ends": see DeadlineIndex.
//
// A left row is given when the watermark is past its time: no version that it could meet can come
// any more. Of the versions that no later row can meet all but the newest go.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/expiry/deadline_index.h"
#include "operators/joins/joins.h"
#include "operators/joins/pairs.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kRowsPerStep = 4096;
constexpr size_t kTimeBytes = 8;

class TemporalJoin : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::TemporalJoin& body = context.node.temporal_join();
    keeps_all_ = body.kind() == v1::Join::KIND_LEFT;
    MILLRACE_RETURN_IF_ERROR(OpenSide(0, body.left_keys(), body.left_time(), "rows", "row_ends"));
    MILLRACE_RETURN_IF_ERROR(
        OpenSide(1, body.right_keys(), body.right_time(), "versions", "version_ends"));
    pair_schema_ = PairSchema(*sides_[0].schema, *sides_[1].schema, body.right_id_offset());
    MILLRACE_ASSIGN_OR_RETURN(
        condition_, PairCondition::Make(body.has_condition() ? &body.condition() : nullptr,
                                        *pair_schema_, context));
    watermark_ = context.restored_watermark;
    return absl::OkStatus();
  }

  absl::Status Process(int input, const Batch& batch, Emitter& out) override {
    Side& side = sides_[input];
    EncodeKeys(batch, side.keys, keys_);
    std::vector<int32_t> late;
    const auto* times = batch.column(side.time).values<int64_t>();
    for (int32_t row = 0; row < batch.rows(); ++row) {
      const bool is_late = times[row] < watermark_.us;
      if (input == 1 && HasNullKey(batch, row)) continue;  // NULL is equal to nothing.
      if (is_late && input == 0) {
        late.push_back(row);
      } else if (input == 0) {
        MILLRACE_RETURN_IF_ERROR(KeepRow(batch, row, times[row]));
      } else if (batch.kind(row) != RowKind::kUpdateBefore) {  // The row that follows says it all.
        // It still holds for the rows to come, if no newer one does.
        if (is_late) context_->counters.rows_late.Add(1);
        MILLRACE_RETURN_IF_ERROR(KeepVersion(batch, row, times[row]));
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
      MILLRACE_ASSIGN_OR_RETURN(more, sides_[0].ends->Take(watermark.us, kRowsPerStep, due));
      MILLRACE_RETURN_IF_ERROR(Give(due, out));
    }
    for (more = true; more;) {
      std::vector<DeadlineIndex::Due> due;
      MILLRACE_ASSIGN_OR_RETURN(more, sides_[1].ends->Take(watermark.us, kRowsPerStep, due));
      for (const DeadlineIndex::Due& one : due) {
        MILLRACE_RETURN_IF_ERROR(DropOldVersions(one.key_group, one.key, watermark.us));
      }
    }
    watermark_ = std::max(watermark_, watermark);
    return Progress::kDone;
  }

 private:
  struct Side {
    SchemaPtr schema;
    std::vector<int> keys;
    int time = -1;
    std::vector<int> columns;  // 0, 1, 2, ...
    std::optional<RowCodec> codec;
    KeyedTable* table = nullptr;
    std::optional<DeadlineIndex> ends;
  };

  absl::Status OpenSide(int input, const v1::Fields& keys, const v1::Fields& time,
                        const char* table, const char* ends) {
    Side& side = sides_[input];
    side.schema = context_->input_schemas[static_cast<size_t>(input)];
    for (const uint32_t id : keys.ids()) side.keys.push_back(side.schema->IndexOfId(id));
    side.time = side.schema->IndexOfId(time.ids(0));
    for (int i = 0; i < side.schema->size(); ++i) side.columns.push_back(i);
    side.codec.emplace(side.schema);
    MILLRACE_ASSIGN_OR_RETURN(side.table, context_->state->OpenKeyedTable(table));
    MILLRACE_ASSIGN_OR_RETURN(KeyedTable* const index, context_->state->OpenKeyedTable(ends));
    MILLRACE_ASSIGN_OR_RETURN(DeadlineIndex deadlines,
                              DeadlineIndex::Open(index, context_->key_groups));
    side.ends.emplace(std::move(deadlines));
    return absl::OkStatus();
  }

  bool HasNullKey(const Batch& batch, int64_t row) const {
    return std::any_of(sides_[1].keys.begin(), sides_[1].keys.end(),
                       [&](int key) { return batch.column(key).IsNull(row); });
  }
  uint32_t GroupOf(int64_t row) const {
    return KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], context_->max_parallelism);
  }

  absl::Status KeepRow(const Batch& batch, int32_t row, int64_t time_us) {
    Side& side = sides_[0];
    std::string state_key(keys_.key(row));
    AppendOrderedInt64(time_us, state_key);
    side.codec->Append(batch, side.columns, row, state_key);
    std::string bytes;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, side.table->Get(GroupOf(row), state_key, &bytes));
    const int64_t count = found ? ReadOrderedInt64(bytes) : 0;
    bytes.clear();
    AppendOrderedInt64(count + 1, bytes);
    MILLRACE_RETURN_IF_ERROR(side.table->Put(GroupOf(row), state_key, bytes));
    if (found) return absl::OkStatus();
    // The key is as long as it says itself: where the time begins is kept in front.
    return side.ends->Add(GroupOf(row), Prefixed(keys_.key(row).size(), state_key),
                          WatermarkPast(time_us));
  }

  absl::Status KeepVersion(const Batch& batch, int32_t row, int64_t time_us) {
    Side& side = sides_[1];
    const std::string_view key = keys_.key(row);
    std::string state_key(key);
    AppendOrderedInt64(time_us, state_key);
    std::string version;
    if (batch.kind(row) != RowKind::kDelete) {
      side.codec->Append(batch, side.columns, row, version);
    }
    MILLRACE_RETURN_IF_ERROR(side.table->Put(GroupOf(row), state_key, version));
    return side.ends->Add(GroupOf(row), key, WatermarkPast(time_us));
  }

  static std::string Prefixed(size_t key_bytes, std::string_view state_key) {
    std::string out;
    AppendOrderedInt64(static_cast<int64_t>(key_bytes), out);
    return out.append(state_key);
  }

  // The rows that are due, with their versions.
  absl::Status Give(const std::vector<DeadlineIndex::Due>& due, Emitter& out) {
    BatchBuilder lefts(sides_[0].schema), rights(sides_[1].schema);
    BatchBuilder alone(sides_[0].schema);
    for (const DeadlineIndex::Due& one : due) {
      const auto key_bytes = static_cast<size_t>(ReadOrderedInt64(one.key));
      const std::string_view state_key = std::string_view(one.key).substr(kTimeBytes);
      const std::string_view key = state_key.substr(0, key_bytes);
      const int64_t time_us = ReadOrderedInt64(state_key.substr(key_bytes));
      std::string bytes;
      MILLRACE_ASSIGN_OR_RETURN(const bool found,
                                sides_[0].table->Get(one.key_group, state_key, &bytes));
      if (!found) continue;
      MILLRACE_RETURN_IF_ERROR(sides_[0].table->Delete(one.key_group, state_key));
      MILLRACE_ASSIGN_OR_RETURN(const std::string version, VersionAt(one.key_group, key, time_us));
      const std::string_view row = state_key.substr(key_bytes + kTimeBytes);
      for (int64_t n = ReadOrderedInt64(bytes); n > 0; --n) {
        if (version.empty()) {
          MILLRACE_RETURN_IF_ERROR(sides_[0].codec->Decode(row, alone));
        } else {
          MILLRACE_RETURN_IF_ERROR(sides_[0].codec->Decode(row, lefts));
          MILLRACE_RETURN_IF_ERROR(sides_[1].codec->Decode(version, rights));
        }
      }
    }
    MILLRACE_RETURN_IF_ERROR(GivePairs(lefts.Finish(), rights.Finish(), out));
    GiveAlone(alone.Finish(), out);
    return absl::OkStatus();
  }

  absl::Status GivePairs(const Batch& left, const Batch& right, Emitter& out) {
    if (left.rows() == 0) return absl::OkStatus();
    const Batch pairs(pair_schema_, left.rows(), SideBySide(left, right));
    std::vector<bool> fits(static_cast<size_t>(left.rows()), true);
    MILLRACE_RETURN_IF_ERROR(condition_.Check(pairs, out, fits));
    std::vector<int32_t> kept, others;
    for (int32_t row = 0; row < pairs.rows(); ++row) {
      (fits[static_cast<size_t>(row)] ? kept : others).push_back(row);
    }
    const Batch fitting = others.empty() ? pairs : Take(pairs, kept);
    out.Emit(fitting.WithColumns(context_->output_schema, fitting.columns()));
    GiveAlone(Take(left, others), out);
    return absl::OkStatus();
  }

  void GiveAlone(const Batch& left, Emitter& out) {
    if (!keeps_all_ || left.rows() == 0) return;
    out.Emit(left.WithColumns(context_->output_schema, BesideNulls(left, *sides_[1].schema)));
  }

  // The bytes of the row that held at the time; empty: there was none.
  absl::StatusOr<std::string> VersionAt(uint32_t group, std::string_view key, int64_t time_us) {
    std::string version;
    MILLRACE_RETURN_IF_ERROR(
        sides_[1].table->Scan(group, key, [&](std::string_view state_key, std::string_view bytes) {
          if (ReadOrderedInt64(state_key.substr(key.size())) > time_us) return false;
          version = bytes;
          return true;
        }));
    return version;
  }

  // Of the versions before the watermark only the newest can be met, and not that one if it tells
  // of a deleted row.
  absl::Status DropOldVersions(uint32_t group, std::string_view key, int64_t watermark_us) {
    std::vector<std::string> old;
    bool is_deleted = false;
    MILLRACE_RETURN_IF_ERROR(
        sides_[1].table->Scan(group, key, [&](std::string_view state_key, std::string_view bytes) {
          if (ReadOrderedInt64(state_key.substr(key.size())) >= watermark_us) return false;
          old.emplace_back(state_key);
          is_deleted = bytes.empty();
          return true;
        }));
    if (!old.empty() && !is_deleted) old.pop_back();
    for (const std::string& one : old) {
      MILLRACE_RETURN_IF_ERROR(sides_[1].table->Delete(group, one));
    }
    return absl::OkStatus();
  }

  OperatorContext* context_ = nullptr;
  Side sides_[2];
  SchemaPtr pair_schema_;
  PairCondition condition_;
  bool keeps_all_ = false;
  EventTime watermark_ = EventTime::Min();
  EncodedKeys keys_;  // Of one batch.
};

}  // namespace

std::unique_ptr<Operator> MakeTemporalJoin() { return std::make_unique<TemporalJoin>(); }

}  // namespace millrace
