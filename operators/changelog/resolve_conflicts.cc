// Of the rows that have one key, the one that is given: the last, or the first, of those that are
// not taken back. Each batch changes what is given of a key at most once.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "millrace/v1/graph.pb.h"
#include "operators/changelog/change_builder.h"
#include "operators/changelog/changelog.h"
#include "operators/expiry/key_expiry.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/expressions/expression.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// State: "rows": key, rank -> row; the least rank is given. "places": key, row, ~rank -> nothing:
// of equal rows the last one goes first. "ends": key -> how many rows have come, how many are
// there. Ranks rise with every row, or fall where the last one is kept. Of an input of inserts
// only, that which can never be given again is not kept.
class ResolveConflicts : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::ResolveConflicts& node = context.node.resolve_conflicts();
    const Schema& schema = *context.input_schemas[0];
    codec_.emplace(context.input_schemas[0]);
    for (int i = 0; i < schema.size(); ++i) columns_.push_back(i);
    for (const uint32_t id : node.key().ids()) key_columns_.push_back(schema.IndexOfId(id));
    for (const uint32_t id : node.row_key().ids()) row_key_columns_.push_back(schema.IndexOfId(id));
    keeps_first_ = node.keep() == v1::ResolveConflicts::KEEP_FIRST ||
                   node.keep() == v1::ResolveConflicts::KEEP_ONLY;
    refuses_ = node.keep() == v1::ResolveConflicts::KEEP_ONLY;
    retracts_ = node.input_retracts();
    MILLRACE_ASSIGN_OR_RETURN(rows_, context.state->OpenKeyedTable("rows"));
    MILLRACE_ASSIGN_OR_RETURN(places_, context.state->OpenKeyedTable("places"));
    MILLRACE_ASSIGN_OR_RETURN(ends_, context.state->OpenKeyedTable("ends"));
    MILLRACE_ASSIGN_OR_RETURN(expiry_, KeyExpiry::Open(context));
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    EncodeKeys(batch, key_columns_, keys_);
    EncodeKeys(batch, row_key_columns_, row_keys_);
    MILLRACE_RETURN_IF_ERROR(expiry_.Begin([this](uint32_t group, std::string_view key) {
      for (KeyedTable* const table : {rows_, places_, ends_}) {
        MILLRACE_RETURN_IF_ERROR(table->DeletePrefix(group, key));
      }
      return absl::OkStatus();
    }));
    std::map<std::string_view, std::vector<int32_t>> rows_of;
    for (int32_t row = 0; row < batch.rows(); ++row) rows_of[keys_.key(row)].push_back(row);
    RowErrors errors;
    ChangeBuilder changes(context_->output_schema, out);
    for (const auto& [key, rows] : rows_of) {
      const uint32_t group =
          KeyGroupOf(keys_.hashes[static_cast<size_t>(rows[0])], context_->max_parallelism);
      MILLRACE_RETURN_IF_ERROR(expiry_.Touch(group, key));
      MILLRACE_RETURN_IF_ERROR(Change(group, key, batch, rows, changes, errors));
    }
    changes.Flush();
    if (errors.empty()) return absl::OkStatus();
    std::sort(errors.entries.begin(), errors.entries.end(),
              [](const auto& a, const auto& b) { return a.row < b.row; });
    (void)DeadLetterRows(context_->node.uid(), "MR4007", batch, errors, context_->counters,
                         context_->clock, out);  // The other rows are in the state already.
    return absl::OkStatus();
  }

  // At a barrier all changes are in that belong together: a row that has gone from one key to
  // another is not at both.
  absl::Status FlushState(Epoch) override {
    for (const auto& [group, key] : contested_) {
      MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> rows, Different(group, key));
      if (rows.size() < 2) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "MR5401: two rows have one key of the sink, and ON CONFLICT says DO ERROR: (",
          TextOf(rows[0]), ") and (", TextOf(rows[1]), ")"));
    }
    contested_.clear();
    return absl::OkStatus();
  }

 private:
  // Of a key: how many rows have come, and how many are there.
  struct Ends {
    int64_t next = 0;
    int64_t rows = 0;
  };

  absl::Status Change(uint32_t group, std::string_view key, const Batch& batch,
                      const std::vector<int32_t>& rows, ChangeBuilder& changes, RowErrors& errors) {
    MILLRACE_ASSIGN_OR_RETURN(Ends ends, ReadEnds(group, key));
    const Ends before_ends = ends;
    MILLRACE_ASSIGN_OR_RETURN(const std::string before, Given(group, key));
    std::string row;
    std::optional<int64_t> left;  // The rank of the row that an update has just taken back,
    std::string_view left_by;     // and what identifies it.
    for (const int32_t at : rows) {
      row.clear();
      codec_->Append(batch, columns_, at, row);
      const RowKind kind = batch.kind(at);
      if (IsRetraction(kind)) {
        MILLRACE_ASSIGN_OR_RETURN(left, Remove(group, key, row, ends));
        if (!left) errors.entries.push_back({at, "a row is taken back that was never there"});
        if (kind == RowKind::kDelete) left.reset();
        left_by = row_keys_.key(at);
        continue;
      }
      // Who was first stays so when it changes; who changes last is the last.
      const bool keeps_place = keeps_first_ && left && kind == RowKind::kUpdateAfter &&
                               !row_key_columns_.empty() && row_keys_.key(at) == left_by;
      MILLRACE_RETURN_IF_ERROR(Insert(group, key, row, keeps_place ? left : std::nullopt, ends));
      left.reset();
    }
    if (ends.next != before_ends.next || ends.rows != before_ends.rows) {
      MILLRACE_RETURN_IF_ERROR(WriteEnds(group, key, ends));
    }
    if (refuses_ && ends.rows > 1) contested_.emplace(group, std::string(key));
    MILLRACE_ASSIGN_OR_RETURN(const std::string now, Given(group, key));
    if (now == before) return absl::OkStatus();
    if (!before.empty()) {
      MILLRACE_RETURN_IF_ERROR(codec_->Decode(before, changes.row()));
      changes.Add(now.empty() ? RowKind::kDelete : RowKind::kUpdateBefore);
    }
    if (now.empty()) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(codec_->Decode(now, changes.row()));
    changes.Add(before.empty() ? RowKind::kInsert : RowKind::kUpdateAfter);
    return absl::OkStatus();
  }

  absl::StatusOr<Ends> ReadEnds(uint32_t group, std::string_view key) {
    std::string bytes;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, ends_->Get(group, key, &bytes));
    if (!found) return Ends{};
    return Ends{.next = ReadOrderedInt64(bytes),
                .rows = ReadOrderedInt64(std::string_view(bytes).substr(8))};
  }

  absl::Status WriteEnds(uint32_t group, std::string_view key, const Ends& ends) {
    if (ends.rows == 0) return ends_->Delete(group, key);
    std::string bytes;
    AppendOrderedInt64(ends.next, bytes);
    AppendOrderedInt64(ends.rows, bytes);
    return ends_->Put(group, key, bytes);
  }

  static std::string RowKey(std::string_view key, int64_t rank) {
    std::string bytes(key);
    AppendOrderedInt64(rank, bytes);
    return bytes;
  }
  static std::string PlaceKey(std::string_view key, std::string_view row, int64_t rank) {
    std::string bytes(key);
    bytes += row;
    AppendOrderedInt64(~rank, bytes);
    return bytes;
  }

  // Empty: there is none.
  absl::StatusOr<std::string> Given(uint32_t group, std::string_view key) {
    std::string given;
    MILLRACE_RETURN_IF_ERROR(rows_->Scan(group, key, [&](std::string_view, std::string_view row) {
      given = row;
      return false;
    }));
    return given;
  }

  absl::Status Insert(uint32_t group, std::string_view key, const std::string& row,
                      std::optional<int64_t> place, Ends& ends) {
    if (!retracts_ && ends.rows > 0) {
      // Nothing is ever taken back: of the rows that are not given none is needed, but one to tell
      // of, which differs.
      if (keeps_first_ && (!refuses_ || ends.rows > 1)) return absl::OkStatus();
      if (refuses_) {
        MILLRACE_ASSIGN_OR_RETURN(const std::string first, Given(group, key));
        if (first == row) return absl::OkStatus();
      }
      if (!keeps_first_) {
        MILLRACE_RETURN_IF_ERROR(rows_->Delete(group, RowKey(key, ~(ends.next - 1))));
        --ends.rows;
      }
    }
    const int64_t rank = place ? *place : keeps_first_ ? ends.next : ~ends.next;
    if (!place) ++ends.next;
    ++ends.rows;
    MILLRACE_RETURN_IF_ERROR(rows_->Put(group, RowKey(key, rank), row));
    return retracts_ ? places_->Put(group, PlaceKey(key, row, rank), "") : absl::OkStatus();
  }

  // The rank that the row had; nothing: it is not there.
  absl::StatusOr<std::optional<int64_t>> Remove(uint32_t group, std::string_view key,
                                                const std::string& row, Ends& ends) {
    std::string prefix(key);
    prefix += row;
    std::optional<int64_t> rank;
    MILLRACE_RETURN_IF_ERROR(
        places_->Scan(group, prefix, [&](std::string_view place, std::string_view) {
          rank = ~ReadOrderedInt64(place.substr(prefix.size()));
          return false;
        }));
    if (!rank) return rank;
    MILLRACE_RETURN_IF_ERROR(places_->Delete(group, PlaceKey(key, row, *rank)));
    MILLRACE_RETURN_IF_ERROR(rows_->Delete(group, RowKey(key, *rank)));
    --ends.rows;
    return rank;
  }

  // The first rows of a key that differ, two at most.
  absl::StatusOr<std::vector<std::string>> Different(uint32_t group, const std::string& key) {
    std::vector<std::string> rows;
    MILLRACE_RETURN_IF_ERROR(rows_->Scan(group, key, [&](std::string_view, std::string_view row) {
      if (rows.empty() || rows[0] != row) rows.emplace_back(row);
      return rows.size() < 2;
    }));
    return rows;
  }

  std::string TextOf(const std::string& row) const {
    BatchBuilder builder(context_->input_schemas[0]);
    if (!codec_->Decode(row, builder).ok()) return "?";
    const Batch batch = builder.Finish();
    std::string text;
    for (int i = 0; i < batch.column_count(); ++i) {
      absl::StrAppend(&text, i == 0 ? "" : ", ",
                      batch.schema()->fields()[static_cast<size_t>(i)].name, "=",
                      ValueText(batch.column(i), 0));
    }
    return text;
  }

  OperatorContext* context_ = nullptr;
  std::vector<int> columns_, key_columns_, row_key_columns_;
  std::optional<RowCodec> codec_;
  bool keeps_first_ = false;
  bool refuses_ = false;
  bool retracts_ = false;
  KeyedTable *rows_ = nullptr, *places_ = nullptr, *ends_ = nullptr;
  KeyExpiry expiry_;
  // Keys that had two rows since the last barrier.
  std::set<std::pair<uint32_t, std::string>> contested_;
  EncodedKeys keys_, row_keys_;  // Of one batch.
};

}  // namespace

std::unique_ptr<Operator> MakeResolveConflicts() { return std::make_unique<ResolveConflicts>(); }

}  // namespace millrace
