// Turns captured changes, upserts or plain rows with a key into exact changes, by the last row of
// every key.
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/change_builder.h"
#include "operators/changelog/changelog.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/expressions/expression.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"
#include "runtime/task/former_rows.h"

namespace millrace {
namespace {

// Of a value of `$sequence`: the split, then the position in it (sql/changelog.h).
constexpr size_t kSplitBytes = 8;

// State: "rows": key -> row. "marks": split -> the greatest position that was seen of it in this
// key group. Within a split positions do not fall and every key has its one split, so a row of an
// older position was there before: a capturing connector repeats rows after it was restarted.
class Normalize : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const Schema& input = *context.input_schemas[0];
    for (const uint32_t id : context.node.normalize().key().ids()) {
      key_columns_.push_back(input.IndexOfId(id));
    }
    for (const Field& field : context.output_schema->fields()) {
      columns_.push_back(input.IndexOfId(field.id));
    }
    // The columns of captured changes; no column of a user's begins with '$'.
    sequence_column_ = input.IndexOfName("$sequence");
    unavailable_column_ = input.IndexOfName("$unavailable");
    codec_ = std::make_unique<RowCodec>(context.output_schema);
    MILLRACE_ASSIGN_OR_RETURN(rows_, context.state->OpenKeyedTable("rows"));
    if (const auto converter = FormerRowsOf(context, "rows")) {
      MILLRACE_RETURN_IF_ERROR(ConvertRows(*converter));
    }
    MILLRACE_ASSIGN_OR_RETURN(marks_table_, context.state->OpenKeyedTable("marks"));
    return marks_table_->ScanAll(
        [this](uint32_t group, std::string_view split, std::string_view position) {
          marks_[{group, std::string(split)}].position = position;
          return true;
        });
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    EncodeKeys(batch, key_columns_, keys_);
    ChangeBuilder changes(context_->output_schema, out);
    RowErrors errors;
    for (int64_t row = 0; row < batch.rows(); ++row) {
      MILLRACE_RETURN_IF_ERROR(ProcessRow(batch, row, changes, errors));
    }
    changes.Flush();
    if (errors.empty()) return absl::OkStatus();
    (void)DeadLetterRows(context_->node.uid(), "MR4006", batch, errors, context_->counters,
                         context_->clock, out);  // The good rows are in `changes` already.
    return absl::OkStatus();
  }

  absl::Status FlushState(Epoch) override {
    for (auto& [where, mark] : marks_) {
      if (!std::exchange(mark.changed, false)) continue;
      MILLRACE_RETURN_IF_ERROR(marks_table_->Put(where.first, where.second, mark.position));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ConvertRows(const RowConverter& converter) {
    return RewriteTable(*rows_, context_->key_groups, [&](std::string&, std::string& row) {
      const std::string former = std::exchange(row, "");
      return converter.Convert(former, row);
    });
  }

  absl::Status ProcessRow(const Batch& batch, int64_t row, ChangeBuilder& changes,
                          RowErrors& errors) {
    const RowKind kind = batch.kind(row);
    if (kind == RowKind::kTruncate) return Truncate(batch, row, changes);
    if (kind == RowKind::kUpdateBefore) return absl::OkStatus();  // The state knows it better.
    if (HasNullKey(batch, row)) {
      errors.entries.push_back({static_cast<int32_t>(row), "a column of the key is NULL"});
      return absl::OkStatus();
    }
    const uint32_t group =
        KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], context_->max_parallelism);
    if (IsRepeated(batch, row, group)) {
      context_->counters.rows_unchanged.Add(1);
      return absl::OkStatus();
    }
    MILLRACE_ASSIGN_OR_RETURN(const bool existed, rows_->Get(group, keys_.key(row), &old_));
    if (kind == RowKind::kDelete) return Delete(group, keys_.key(row), existed, changes);
    return Upsert(batch, row, group, existed, changes, errors);
  }

  absl::Status Delete(uint32_t group, std::string_view key, bool existed, ChangeBuilder& changes) {
    if (!existed) {
      context_->counters.rows_unchanged.Add(1);
      return absl::OkStatus();
    }
    MILLRACE_RETURN_IF_ERROR(codec_->Decode(old_, changes.row()));
    changes.Add(RowKind::kDelete);
    return rows_->Delete(group, key);
  }

  absl::Status Upsert(const Batch& batch, int64_t row, uint32_t group, bool existed,
                      ChangeBuilder& changes, RowErrors& errors) {
    new_.clear();
    if (HasUnavailable(batch, row)) {
      if (!existed) {
        errors.entries.push_back(
            {static_cast<int32_t>(row),
             "the change lacks values that did not change, and no earlier row has them"});
        return absl::OkStatus();
      }
      MILLRACE_RETURN_IF_ERROR(EncodeCompleted(batch, row));
    } else {
      codec_->Append(batch, columns_, row, new_);
    }
    if (existed && new_ == old_) {
      context_->counters.rows_unchanged.Add(1);
      return absl::OkStatus();
    }
    if (existed) {
      MILLRACE_RETURN_IF_ERROR(codec_->Decode(old_, changes.row()));
      changes.Add(RowKind::kUpdateBefore);
    }
    MILLRACE_RETURN_IF_ERROR(codec_->Decode(new_, changes.row()));
    changes.Add(existed ? RowKind::kUpdateAfter : RowKind::kInsert);
    return rows_->Put(group, keys_.key(row), new_);
  }

  // The row with the values that it lacks from `old_`.
  absl::Status EncodeCompleted(const Batch& batch, int64_t row) {
    BatchBuilder old_row(context_->output_schema);
    MILLRACE_RETURN_IF_ERROR(codec_->Decode(old_, old_row));
    const Batch old = old_row.Finish();
    BatchBuilder completed(context_->output_schema);
    const std::string_view missing = batch.column(unavailable_column_).StringAt(row);
    for (size_t i = 0; i < columns_.size(); ++i) {
      const auto column = static_cast<size_t>(columns_[i]);
      const bool is_missing =
          column / 8 < missing.size() && (missing[column / 8] >> column % 8) & 1;
      const int to = static_cast<int>(i);
      completed.column(to).AppendFrom(is_missing ? old.column(to) : batch.column(columns_[i]),
                                      is_missing ? 0 : row);
    }
    std::vector<int> all(columns_.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
    codec_->Append(completed.Finish(), all, 0, new_);
    return absl::OkStatus();
  }

  // Deletes all rows of this task; where it comes again, only those that have had no change since.
  absl::Status Truncate(const Batch& batch, int64_t row, ChangeBuilder& changes) {
    for (uint32_t group = context_->key_groups.first; group <= context_->key_groups.last; ++group) {
      if (IsRepeated(batch, row, group)) continue;
      std::vector<std::string> keys;
      absl::Status status;
      MILLRACE_RETURN_IF_ERROR(
          rows_->Scan(group, "", [&](std::string_view key, std::string_view row) {
            status = codec_->Decode(row, changes.row());
            if (!status.ok()) return false;
            changes.Add(RowKind::kDelete);
            keys.emplace_back(key);
            return true;
          }));
      MILLRACE_RETURN_IF_ERROR(status);
      for (const std::string& key : keys) MILLRACE_RETURN_IF_ERROR(rows_->Delete(group, key));
    }
    return absl::OkStatus();
  }

  bool HasNullKey(const Batch& batch, int64_t row) const {
    for (const int column : key_columns_) {
      if (batch.column(column).IsNull(row)) return true;
    }
    return false;
  }

  bool HasUnavailable(const Batch& batch, int64_t row) const {
    return unavailable_column_ >= 0 && !batch.column(unavailable_column_).IsNull(row);
  }

  bool IsRepeated(const Batch& batch, int64_t row, uint32_t group) {
    if (sequence_column_ < 0 || batch.column(sequence_column_).IsNull(row)) return false;
    const std::string_view sequence = batch.column(sequence_column_).StringAt(row);
    const std::string_view position = sequence.substr(std::min(kSplitBytes, sequence.size()));
    Mark& mark = marks_[{group, std::string(sequence.substr(0, kSplitBytes))}];
    if (position < mark.position) return true;
    if (position > mark.position) {
      mark.position = position;
      mark.changed = true;
    }
    return false;
  }

  struct Mark {
    std::string position;
    bool changed = false;  // Since the last epoch.
  };

  OperatorContext* context_ = nullptr;
  std::vector<int> key_columns_;
  std::vector<int> columns_;  // Of the input, by column of the output.
  int sequence_column_ = -1;
  int unavailable_column_ = -1;
  std::unique_ptr<RowCodec> codec_;
  KeyedTable* rows_ = nullptr;
  KeyedTable* marks_table_ = nullptr;
  std::map<std::pair<uint32_t, std::string>, Mark> marks_;  // By key group and split.
  // Scratch.
  EncodedKeys keys_;
  std::string old_, new_;
};

}  // namespace

std::unique_ptr<Operator> MakeNormalize() { return std::make_unique<Normalize>(); }

}  // namespace millrace
