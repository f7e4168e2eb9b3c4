// The first rows of each partition of everything so far. Each batch changes a partition at most
// once: the rows that leave the first `limit`, or their numbers, are taken back, and the new ones
// given.
#include <algorithm>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/change_builder.h"
#include "operators/expiry/key_expiry.h"
#include "operators/ranking/ranking.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
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
      const std::span<const int32_t> rows =
          std::span(grouped_rows_)
              .subspan(row_begins_[number], row_begins_[number + 1] - row_begins_[number]);
      MILLRACE_ASSIGN_OR_RETURN(const bool changed,
                                keeps_all_ ? ChangeRows(group, partition, batch, rows, errors)
                                           : MergeRows(group, partition, batch, rows));
      if (!changed) continue;
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
  // Rows of a partition, ascending: the bytes of their order, then those of the row; and those that
  // have numbers, of which a row that is there twice has two.
  class Ranking {
   public:
    void Clear() {
      bytes_.clear();
      entries_.clear();
      numbered_.clear();
    }
    // `begin`: where in `row` the bytes of the row begin, behind those of the order.
    void Add(std::string_view row, size_t begin, int64_t count) {
      entries_.push_back({bytes_.size(), row.size(), begin, count});
      bytes_ += row;
    }
    // The row that was added last.
    void Number(uint64_t number) { numbered_.push_back({entries_.size() - 1, number}); }
    void Sort() {
      std::sort(entries_.begin(), entries_.end(),
                [this](const Entry& a, const Entry& b) { return Bytes(a) < Bytes(b); });
    }

    size_t entries() const { return entries_.size(); }
    std::string_view entry(size_t i) const { return Bytes(entries_[i]); }
    size_t begin(size_t i) const { return entries_[i].begin; }
    int64_t count(size_t i) const { return entries_[i].count; }

    size_t size() const { return numbered_.size(); }
    std::string_view operator[](size_t i) const { return entry(numbered_[i].entry); }
    std::string_view order(size_t i) const { return (*this)[i].substr(0, Begin(i)); }
    std::string_view row(size_t i) const { return (*this)[i].substr(Begin(i)); }
    uint64_t number(size_t i) const { return numbered_[i].number; }  // From 1.

   private:
    struct Entry {
      size_t at, size, begin;
      int64_t count;
    };
    struct Numbered {
      size_t entry;
      uint64_t number;
    };
    size_t Begin(size_t i) const { return begin(numbered_[i].entry); }
    std::string_view Bytes(const Entry& entry) const {
      return std::string_view(bytes_).substr(entry.at, entry.size);
    }
    std::string bytes_;
    std::vector<Entry> entries_;
    std::vector<Numbered> numbered_;
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

  // There are `limit` numbers before those of rows of this order, and none of them will go.
  bool IsBehind(std::string_view order) const {
    if (before_.size() == 0) return false;
    const size_t last = before_.size() - 1;
    const uint64_t numbers = with_ties_ && dense_ ? before_.number(last) : before_.size();
    return numbers >= limit_ && order > before_.order(last);
  }

  // Of a partition whose rows never go: those that have numbers are read once, and what has
  // changed is written. Fills now_. False: nothing has changed.
  absl::StatusOr<bool> MergeRows(uint32_t group, std::string_view partition, const Batch& batch,
                                 std::span<const int32_t> rows) {
    added_.Clear();
    for (const int32_t row : rows) {
      key_.clear();
      AppendOrder(row, key_);
      if (IsBehind(key_)) continue;
      const size_t order_bytes = key_.size();
      codec_->Append(batch, columns_, row, key_);
      if (!with_ties_ && before_.size() == limit_ && key_ >= before_[limit_ - 1]) continue;
      added_.Add(key_, order_bytes, 1);
    }
    if (added_.entries() == 0) return false;
    added_.Sort();
    now_.Clear();
    bool changed = false;
    size_t a = 0, b = 0;
    while (a < before_.entries() || b < added_.entries()) {
      const int order = a == before_.entries()  ? 1
                        : b == added_.entries() ? -1
                                                : before_.entry(a).compare(added_.entry(b));
      const Ranking& from = order <= 0 ? before_ : added_;
      const size_t at = order <= 0 ? a : b;
      const std::string_view row = from.entry(at);
      const int64_t known = order <= 0 ? before_.count(a++) : 0;
      int64_t count = known;
      while (b < added_.entries() && added_.entry(b) == row) count += added_.count(b++);
      if (!Place(row, from.begin(at), count, now_)) {
        if (known > 0) beyond_.push_back(Concat(partition, row));
        continue;
      }
      if (count == known) continue;
      changed = true;
      key_.assign(partition);
      key_ += row;
      MILLRACE_RETURN_IF_ERROR(Put(group, key_, count, from.begin(at)));
    }
    for (const std::string& key : beyond_) {
      MILLRACE_RETURN_IF_ERROR(table_->Delete(group, key));
    }
    return changed;
  }

  // Of a partition whose rows may go: all of them are kept, and read as far as there are numbers.
  // Fills now_. False: nothing has changed.
  absl::StatusOr<bool> ChangeRows(uint32_t group, std::string_view partition, const Batch& batch,
                                  std::span<const int32_t> rows, RowErrors& errors) {
    bool changed = false;
    for (const int32_t row : rows) {
      key_.assign(partition);
      AppendOrder(row, key_);
      const size_t order_bytes = key_.size() - partition.size();
      codec_->Append(batch, columns_, row, key_);
      MILLRACE_ASSIGN_OR_RETURN(const bool found, table_->Get(group, key_, &value_));
      int64_t count = found ? ReadOrderedInt64(value_) : 0;
      count += IsRetraction(batch.kind(row)) ? -1 : 1;
      if (count < 0) {
        errors.entries.push_back({row, "a row is taken back that was never there"});
        continue;
      }
      changed = true;
      MILLRACE_RETURN_IF_ERROR(count == 0 ? table_->Delete(group, key_)
                                          : Put(group, key_, count, order_bytes));
    }
    if (changed) MILLRACE_RETURN_IF_ERROR(Read(group, partition, now_));
    return changed;
  }

  absl::Status Put(uint32_t group, std::string_view key, int64_t count, size_t order_bytes) {
    value_.clear();
    AppendOrderedInt64(count, value_);
    AppendOrderedInt64(static_cast<int64_t>(order_bytes), value_);
    return table_->Put(group, key, value_);
  }

  // Fills `ranking`, and beyond_ with what is not needed.
  absl::Status Read(uint32_t group, std::string_view partition, Ranking& ranking) {
    ranking.Clear();
    beyond_.clear();
    return table_->Scan(group, partition, [&](std::string_view key, std::string_view value) {
      const auto begin = static_cast<size_t>(ReadOrderedInt64(value.substr(8)));
      if (Place(key.substr(partition.size()), begin, ReadOrderedInt64(value), ranking)) return true;
      if (keeps_all_) return false;
      beyond_.emplace_back(key);
      return true;
    });
  }

  // Adds the next row to `ranking` with its numbers. False: they are beyond the limit.
  bool Place(std::string_view row, size_t begin, int64_t count, Ranking& ranking) const {
    const size_t last = ranking.size() - 1;
    const bool ties = ranking.size() > 0 && row.substr(0, begin) == ranking.order(last);
    uint64_t number = ranking.size() + 1;
    if (with_ties_ && ties) {
      number = ranking.number(last);
    } else if (with_ties_ && dense_) {
      number = ranking.size() == 0 ? 1 : ranking.number(last) + 1;
    }
    if (number > limit_) return false;
    ranking.Add(row, begin, count);
    for (int64_t i = 0; i < count; ++i) {
      if (!with_ties_ && ranking.size() >= limit_) break;
      ranking.Number(with_ties_ ? number : ranking.size() + 1);
    }
    return true;
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
  Ranking added_;                    // Of the batch; without numbers.
  std::vector<std::string> beyond_;  // State keys that are not needed any more.
  std::string key_, value_;
};

}  // namespace

std::unique_ptr<Operator> MakeTopN() { return std::make_unique<TopN>(); }

}  // namespace millrace
