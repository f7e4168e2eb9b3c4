// The first rows of each partition of everything so far. Each batch changes a partition at most
// once: the rows that leave the first `limit`, or their numbers, are taken back, and the new ones
// given.
#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/change_builder.h"
#include "operators/expiry/key_expiry.h"
#include "operators/ranking/ranking.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/distinct_keys.h"
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
    with_ties_ = node.with_ties();
    dense_ = node.dense();
    with_rank_ = !node.rank_name().empty();
    MILLRACE_ASSIGN_OR_RETURN(table_, context.state->OpenKeyedTable("rows"));
    MILLRACE_ASSIGN_OR_RETURN(expiry_, KeyExpiry::Open(context));
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    EncodeKeys(batch, partition_, keys_);
    EncodeOrder(batch);
    MILLRACE_RETURN_IF_ERROR(expiry_.Begin([this](uint32_t group, std::string_view partition) {
      return table_->DeletePrefix(group, partition);
    }));
    GroupRows();
    RowErrors errors;
    ChangeBuilder changes(context_->output_schema, out);
    for (size_t number = 0; number < distinct_.size(); ++number) {
      const std::string_view partition = distinct_.key(number);
      const uint32_t group = KeyGroupOf(distinct_.hash(number), context_->max_parallelism);
      MILLRACE_RETURN_IF_ERROR(expiry_.Touch(group, partition));
      MILLRACE_RETURN_IF_ERROR(Read(group, partition, before_));
      bool changed = false;
      for (size_t i = row_begins_[number]; i < row_begins_[number + 1]; ++i) {
        MILLRACE_ASSIGN_OR_RETURN(const Added added,
                                  AddRow(group, partition, batch, grouped_rows_[i]));
        changed |= added == Added::kChanged;
        if (added == Added::kUnknown) {
          errors.entries.push_back({grouped_rows_[i], "a row is taken back that was never there"});
        }
      }
      if (!changed) continue;
      MILLRACE_RETURN_IF_ERROR(Read(group, partition, now_));
      for (const std::string& key : beyond_) {
        MILLRACE_RETURN_IF_ERROR(table_->Delete(group, key));
      }
      const bool by_number = !with_ties_ && (with_rank_ || limit_ == 1);
      MILLRACE_RETURN_IF_ERROR(by_number ? EmitByNumber(changes) : EmitMembers(changes));
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
  // The rows of a partition whose numbers are within the limit: order and row, ascending; a row
  // that is there twice stands twice.
  class Ranking {
   public:
    void Clear() {
      bytes_.clear();
      rows_.clear();
    }
    // `begin`: where in `row` the bytes of the row begin, behind those of the order.
    void Add(std::string_view row, size_t begin, uint64_t number) {
      rows_.push_back({bytes_.size(), row.size(), begin, number});
      bytes_ += row;
    }
    size_t size() const { return rows_.size(); }
    std::string_view operator[](size_t i) const {
      return std::string_view(bytes_).substr(rows_[i].at, rows_[i].size);
    }
    std::string_view order(size_t i) const { return (*this)[i].substr(0, rows_[i].begin); }
    std::string_view row(size_t i) const { return (*this)[i].substr(rows_[i].begin); }
    uint64_t number(size_t i) const { return rows_[i].number; }  // From 1.

   private:
    struct Row {
      size_t at, size, begin;
      uint64_t number;
    };
    std::string bytes_;
    std::vector<Row> rows_;
  };

  // Fills grouped_rows_: the rows of each partition, in their order, partition by partition.
  void GroupRows() {
    distinct_.Assign(keys_);
    row_begins_.assign(distinct_.size() + 1, 0);
    for (int64_t row = 0; row < keys_.rows(); ++row) ++row_begins_[distinct_.number(row) + 1];
    std::partial_sum(row_begins_.begin(), row_begins_.end(), row_begins_.begin());
    grouped_rows_.resize(static_cast<size_t>(keys_.rows()));
    next_of_.assign(row_begins_.begin(), row_begins_.end());
    for (int32_t row = 0; row < keys_.rows(); ++row) {
      grouped_rows_[next_of_[distinct_.number(row)]++] = row;
    }
  }

  void EncodeOrder(const Batch& batch) {
    encoded_order_.resize(order_.size());
    for (size_t i = 0; i < order_.size(); ++i) {
      const std::vector<int> column = {order_[i].column};
      EncodeKeys(batch, column, encoded_order_[i]);
    }
  }

  // Appends the order of a row: bytes that compare as the rows do, none the beginning of another.
  void AppendOrder(int32_t row, std::string& bytes) const {
    for (size_t i = 0; i < order_.size(); ++i) {
      const std::string_view encoded = encoded_order_[i].key(row);
      const bool is_null = encoded[0] == 0;
      bytes.push_back(is_null ? (order_[i].nulls_first ? '\0' : '\2') : '\1');
      if (is_null) continue;
      for (const char c : encoded.substr(1)) {
        bytes.push_back(order_[i].descending ? static_cast<char>(~c) : c);
      }
    }
  }

  enum class Added {
    kChanged,
    kBeyond,   // There are `limit` better ones, and none of them will go.
    kUnknown,  // The row takes one back that is not there.
  };

  // There are `limit` numbers before the row's, and none of them will go.
  bool IsBeyond(std::string_view row, size_t order_bytes) const {
    if (keeps_all_ || before_.size() == 0) return false;
    const size_t last = before_.size() - 1;
    if (!with_ties_) return before_.size() == limit_ && row >= before_[last];
    // One that is equal to the last would share its number.
    if ((dense_ ? before_.number(last) : before_.size()) < limit_) return false;
    return row.substr(0, order_bytes) > before_.order(last);
  }

  absl::StatusOr<Added> AddRow(uint32_t group, std::string_view partition, const Batch& batch,
                               int32_t row) {
    key_.assign(partition);
    AppendOrder(row, key_);
    const size_t order_bytes = key_.size() - partition.size();
    codec_->Append(batch, columns_, row, key_);
    if (IsBeyond(std::string_view(key_).substr(partition.size()), order_bytes)) {
      return Added::kBeyond;
    }
    MILLRACE_ASSIGN_OR_RETURN(const bool found, table_->Get(group, key_, &value_));
    int64_t count = found ? ReadOrderedInt64(value_) : 0;
    count += IsRetraction(batch.kind(row)) ? -1 : 1;
    if (count < 0) return Added::kUnknown;
    if (count == 0) {
      MILLRACE_RETURN_IF_ERROR(table_->Delete(group, key_));
      return Added::kChanged;
    }
    value_.clear();
    AppendOrderedInt64(count, value_);
    AppendOrderedInt64(static_cast<int64_t>(order_bytes), value_);
    MILLRACE_RETURN_IF_ERROR(table_->Put(group, key_, value_));
    return Added::kChanged;
  }

  // Fills `ranking`, and beyond_.
  absl::Status Read(uint32_t group, std::string_view partition, Ranking& ranking) {
    ranking.Clear();
    beyond_.clear();
    uint64_t rank = 0, dense_rank = 0;
    return table_->Scan(group, partition, [&](std::string_view key, std::string_view value) {
      const auto begin = static_cast<size_t>(ReadOrderedInt64(value.substr(8)));
      const std::string_view row = key.substr(partition.size());
      if (ranking.size() == 0 || row.substr(0, begin) != ranking.order(ranking.size() - 1)) {
        rank = ranking.size() + 1;
        ++dense_rank;
      }
      const uint64_t number = !with_ties_ ? ranking.size() + 1 : dense_ ? dense_rank : rank;
      if (number > limit_) {
        if (keeps_all_) return false;
        beyond_.emplace_back(key);
        return true;
      }
      for (int64_t i = 0; i < ReadOrderedInt64(value); ++i) {
        if (!with_ties_ && ranking.size() >= limit_) break;
        ranking.Add(row, begin, with_ties_ ? number : ranking.size() + 1);
      }
      return true;
    });
  }

  absl::Status Emit(const Ranking& ranking, size_t at, RowKind kind, ChangeBuilder& changes) {
    BatchBuilder& out = changes.row();
    MILLRACE_RETURN_IF_ERROR(codec_->Decode(ranking.row(at), out));
    if (with_rank_) {
      out.column(static_cast<int>(columns_.size()))
          .AppendInt64(static_cast<int64_t>(ranking.number(at)));
    }
    changes.Add(kind);
    return absl::OkStatus();
  }

  absl::Status EmitByNumber(ChangeBuilder& changes) {
    for (size_t i = 0; i < std::max(before_.size(), now_.size()); ++i) {
      const bool had = i < before_.size(), has = i < now_.size();
      if (had && has && before_[i] == now_[i]) continue;
      if (had) {
        MILLRACE_RETURN_IF_ERROR(
            Emit(before_, i, has ? RowKind::kUpdateBefore : RowKind::kDelete, changes));
      }
      if (has) {
        MILLRACE_RETURN_IF_ERROR(
            Emit(now_, i, had ? RowKind::kUpdateAfter : RowKind::kInsert, changes));
      }
    }
    return absl::OkStatus();
  }

  absl::Status EmitMembers(ChangeBuilder& changes) {
    size_t a = 0, b = 0;
    while (a < before_.size() || b < now_.size()) {
      const int order = a == before_.size() ? 1
                        : b == now_.size()  ? -1
                                            : before_[a].compare(now_[b]);
      if (order < 0) MILLRACE_RETURN_IF_ERROR(Emit(before_, a, RowKind::kDelete, changes));
      if (order > 0) MILLRACE_RETURN_IF_ERROR(Emit(now_, b, RowKind::kInsert, changes));
      if (order == 0 && with_rank_ && before_.number(a) != now_.number(b)) {
        MILLRACE_RETURN_IF_ERROR(Emit(before_, a, RowKind::kUpdateBefore, changes));
        MILLRACE_RETURN_IF_ERROR(Emit(now_, b, RowKind::kUpdateAfter, changes));
      }
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
  bool with_ties_ = false;
  bool dense_ = false;
  bool with_rank_ = false;
  KeyedTable* table_ = nullptr;
  KeyExpiry expiry_;
  // Scratch of one batch.
  EncodedKeys keys_;
  std::vector<EncodedKeys> encoded_order_;
  DistinctKeys distinct_;
  std::vector<size_t> row_begins_, next_of_;  // By number of the partition: in grouped_rows_.
  std::vector<int32_t> grouped_rows_;
  // Of one partition.
  Ranking before_, now_;
  std::vector<std::string> beyond_;  // State keys that are not needed any more.
  std::string key_, value_;
};

}  // namespace

std::unique_ptr<Operator> MakeTopN() { return std::make_unique<TopN>(); }

}  // namespace millrace
