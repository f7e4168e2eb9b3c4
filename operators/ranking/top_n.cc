// The first rows of each partition of everything so far. Each batch changes a partition at most
// once: the rows that leave the first `limit`, or their numbers, are taken back, and the new ones
// given.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/change_builder.h"
#include "operators/expiry/key_expiry.h"
#include "operators/ranking/ranking.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/expressions/expression.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// State: "rows": partition, order, row -> how often it is there, length of the order. Rows that tie
// are so ordered by their bytes: the result does not depend on arrival.
class TopN : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::TopN& node = context.node.top_n();
    const Schema& schema = *context.input_schemas[0];
    codec_ = std::make_unique<RowCodec>(context.input_schemas[0]);
    for (int i = 0; i < schema.size(); ++i) columns_.push_back(i);
    for (const uint32_t id : node.partition().ids()) partition_.push_back(schema.IndexOfId(id));
    for (const v1::SortKey& key : node.order()) {
      order_.push_back({.column = schema.IndexOfId(key.field().ids(0)),
                        .descending = key.descending(),
                        .nulls_first = key.nulls_first()});
    }
    limit_ = node.limit();
    keeps_all_ = node.input_retracts();
    with_rank_ = !node.rank_name().empty();
    MILLRACE_ASSIGN_OR_RETURN(table_, context.state->OpenKeyedTable("rows"));
    MILLRACE_ASSIGN_OR_RETURN(expiry_, KeyExpiry::Open(context));
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    EncodeKeys(batch, partition_, keys_);
    EncodeOrder(batch);
    MILLRACE_RETURN_IF_ERROR(expiry_.Begin([this](uint32_t group, std::string_view partition) {
      return DeletePrefix(*table_, group, partition);
    }));
    std::map<std::string_view, std::vector<int32_t>> rows_of;
    for (int32_t row = 0; row < batch.rows(); ++row) rows_of[keys_.key(row)].push_back(row);
    RowErrors errors;
    ChangeBuilder changes(context_->output_schema, out);
    for (const auto& [partition, rows] : rows_of) {
      const uint32_t group =
          KeyGroupOf(keys_.hashes[static_cast<size_t>(rows[0])], context_->max_parallelism);
      MILLRACE_RETURN_IF_ERROR(expiry_.Touch(group, partition));
      MILLRACE_ASSIGN_OR_RETURN(const Ranking before, Read(group, partition));
      for (const int32_t row : rows) {
        MILLRACE_ASSIGN_OR_RETURN(const bool known, AddRow(group, partition, batch, row));
        if (!known) errors.entries.push_back({row, "a row is taken back that was never there"});
      }
      MILLRACE_ASSIGN_OR_RETURN(const Ranking now, Read(group, partition));
      for (const std::string& key : now.beyond) {
        MILLRACE_RETURN_IF_ERROR(table_->Delete(group, key));
      }
      MILLRACE_RETURN_IF_ERROR(with_rank_ || limit_ == 1 ? EmitByNumber(before, now, changes)
                                                         : EmitMembers(before, now, changes));
    }
    changes.Flush();
    if (errors.empty()) return absl::OkStatus();
    std::sort(errors.entries.begin(), errors.entries.end(),
              [](const auto& a, const auto& b) { return a.row < b.row; });
    (void)DeadLetterRows(context_->node.uid(), "MR4007", batch, errors, context_->counters,
                         context_->clock, out);  // The other rows are ranked already.
    return absl::OkStatus();
  }

 private:
  struct SortColumn {
    int column;
    bool descending;
    bool nulls_first;
  };
  // The first `limit` rows of a partition: order and row, ascending; a row that is there twice
  // stands twice.
  struct Ranking {
    std::vector<std::string> rows;
    std::vector<size_t> row_begins;   // Where in rows[i] the bytes of the row begin.
    std::vector<std::string> beyond;  // State keys that are not needed any more.
  };

  void EncodeOrder(const Batch& batch) {
    encoded_order_.resize(order_.size());
    for (size_t i = 0; i < order_.size(); ++i) {
      const std::vector<int> column = {order_[i].column};
      EncodeKeys(batch, column, encoded_order_[i]);
    }
  }

  // The order of a row: bytes that compare as the rows do, none the beginning of another.
  std::string OrderOf(int32_t row) const {
    std::string bytes;
    for (size_t i = 0; i < order_.size(); ++i) {
      const std::string_view encoded = encoded_order_[i].key(row);
      const bool is_null = encoded[0] == 0;
      bytes.push_back(is_null ? (order_[i].nulls_first ? '\0' : '\2') : '\1');
      if (is_null) continue;
      for (const char c : encoded.substr(1)) {
        bytes.push_back(order_[i].descending ? static_cast<char>(~c) : c);
      }
    }
    return bytes;
  }

  // False: the row takes one back that is not there.
  absl::StatusOr<bool> AddRow(uint32_t group, std::string_view partition, const Batch& batch,
                              int32_t row) {
    const std::string order = OrderOf(row);
    std::string key(partition);
    key += order;
    codec_->Append(batch, columns_, row, key);
    std::string value;
    MILLRACE_ASSIGN_OR_RETURN(const bool found, table_->Get(group, key, &value));
    int64_t count = found ? ReadOrderedInt64(value) : 0;
    count += IsRetraction(batch.kind(row)) ? -1 : 1;
    if (count < 0) return false;
    if (count == 0) {
      MILLRACE_RETURN_IF_ERROR(table_->Delete(group, key));
      return true;
    }
    value.clear();
    AppendOrderedInt64(count, value);
    AppendOrderedInt64(static_cast<int64_t>(order.size()), value);
    MILLRACE_RETURN_IF_ERROR(table_->Put(group, key, value));
    return true;
  }

  absl::StatusOr<Ranking> Read(uint32_t group, std::string_view partition) {
    Ranking ranking;
    MILLRACE_RETURN_IF_ERROR(
        table_->Scan(group, partition, [&](std::string_view key, std::string_view value) {
          if (ranking.rows.size() >= limit_) {
            if (keeps_all_) return false;
            ranking.beyond.emplace_back(key);
            return true;
          }
          const auto begin = static_cast<size_t>(ReadOrderedInt64(value.substr(8)));
          for (int64_t i = 0; i < ReadOrderedInt64(value) && ranking.rows.size() < limit_; ++i) {
            ranking.rows.emplace_back(key.substr(partition.size()));
            ranking.row_begins.push_back(begin);
          }
          return true;
        }));
    return ranking;
  }

  absl::Status Emit(const Ranking& ranking, size_t at, RowKind kind, ChangeBuilder& changes) {
    BatchBuilder row(context_->input_schemas[0]);
    MILLRACE_RETURN_IF_ERROR(
        codec_->Decode(std::string_view(ranking.rows[at]).substr(ranking.row_begins[at]), row));
    const Batch decoded = row.Finish();
    BatchBuilder& out = changes.row();
    for (int i = 0; i < decoded.column_count(); ++i) {
      out.column(i).AppendFrom(decoded.column(i), 0);
    }
    if (with_rank_) out.column(decoded.column_count()).AppendInt64(static_cast<int64_t>(at) + 1);
    changes.Add(kind);
    return absl::OkStatus();
  }

  absl::Status EmitByNumber(const Ranking& before, const Ranking& now, ChangeBuilder& changes) {
    for (size_t i = 0; i < std::max(before.rows.size(), now.rows.size()); ++i) {
      const bool had = i < before.rows.size(), has = i < now.rows.size();
      if (had && has && before.rows[i] == now.rows[i]) continue;
      if (had) {
        MILLRACE_RETURN_IF_ERROR(
            Emit(before, i, has ? RowKind::kUpdateBefore : RowKind::kDelete, changes));
      }
      if (has) {
        MILLRACE_RETURN_IF_ERROR(
            Emit(now, i, had ? RowKind::kUpdateAfter : RowKind::kInsert, changes));
      }
    }
    return absl::OkStatus();
  }

  absl::Status EmitMembers(const Ranking& before, const Ranking& now, ChangeBuilder& changes) {
    size_t a = 0, b = 0;
    while (a < before.rows.size() || b < now.rows.size()) {
      const int order = a == before.rows.size() ? 1
                        : b == now.rows.size()  ? -1
                                                : before.rows[a].compare(now.rows[b]);
      if (order < 0) MILLRACE_RETURN_IF_ERROR(Emit(before, a, RowKind::kDelete, changes));
      if (order > 0) MILLRACE_RETURN_IF_ERROR(Emit(now, b, RowKind::kInsert, changes));
      if (order <= 0) ++a;
      if (order >= 0) ++b;
    }
    return absl::OkStatus();
  }

  OperatorContext* context_ = nullptr;
  std::unique_ptr<RowCodec> codec_;
  std::vector<int> columns_;  // 0, 1, 2, ...
  std::vector<int> partition_;
  std::vector<SortColumn> order_;
  uint64_t limit_ = 0;
  bool keeps_all_ = false;
  bool with_rank_ = false;
  KeyedTable* table_ = nullptr;
  KeyExpiry expiry_;
  // Scratch of one batch.
  EncodedKeys keys_;
  std::vector<EncodedKeys> encoded_order_;
};

}  // namespace

std::unique_ptr<Operator> MakeTopN() { return std::make_unique<TopN>(); }

}  // namespace millrace
