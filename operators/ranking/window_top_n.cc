#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "millrace/v1/graph.pb.h"
#include "operators/ranking/ranking.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/batch_codec.h"
#include "runtime/columns/keys.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

struct SortColumn {
  int column;
  bool descending;
  bool nulls_first;
};

// Rows come routed by (window end, partition). They are kept per such group in memory, cut back to
// the candidates now and then; at a barrier the changed groups are written to the state table:
// ordered window end, partition -> rows.
class WindowTopN : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::WindowTopN& node = context.node.window_top_n();
    schema_ = context.input_schemas[0];
    end_column_ = schema_->IndexOfId(node.window_end().ids(0));
    key_columns_ = {end_column_};
    for (uint32_t id : node.partition().ids()) key_columns_.push_back(schema_->IndexOfId(id));
    for (const v1::SortKey& key : node.order()) {
      const bool nulls_first = key.has_nulls_first() ? key.nulls_first() : key.descending();
      order_.push_back({schema_->IndexOfId(key.field().ids(0)), key.descending(), nulls_first});
    }
    limit_ = static_cast<int64_t>(node.limit());
    with_ties_ = node.with_ties();
    dense_ = node.dense();
    with_rank_ = !node.rank_name().empty();
    watermark_ = context.restored_watermark;
    MILLRACE_ASSIGN_OR_RETURN(table_, context.state->OpenKeyedTable("rows"));
    absl::Status status;
    MILLRACE_RETURN_IF_ERROR(
        table_->ScanAll([&](uint32_t key_group, std::string_view key, std::string_view value) {
          absl::StatusOr<Batch> rows = DecodeBatch(schema_, Buffer::CopyOf(value), 0);
          if (!rows.ok()) {
            status = rows.status();
            return false;
          }
          Group& group = groups_[std::string(key)];
          group.key_group = key_group;
          group.rows = rows->rows();
          group.batches.push_back(*std::move(rows));
          return true;
        }));
    return status;
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    EncodeKeys(batch, key_columns_, keys_);
    // A late row belongs to a window that was emitted; the watermark operator lets none through
    // unless the upstream operator emits late results.
    const auto* ends = batch.column(end_column_).values<int64_t>();
    std::map<std::string_view, std::vector<int32_t>> rows_of;
    std::vector<int32_t> late;
    for (int32_t row = 0; row < batch.rows(); ++row) {
      if (ends[row] <= watermark_.us) {
        late.push_back(row);
      } else {
        rows_of[keys_.key(row)].push_back(row);
      }
    }
    for (const auto& [key, rows] : rows_of) {
      // Rows of one window end and partition; the state key is the encoded tuple, end first.
      Group& group = groups_[std::string(key)];
      group.key_group =
          KeyGroupOf(keys_.hashes[static_cast<size_t>(rows[0])], context_->max_parallelism);
      MILLRACE_CHECK(context_->key_groups.Contains(group.key_group));
      group.changed = true;
      group.rows += static_cast<int64_t>(rows.size());
      group.batches.push_back(Take(batch, rows));
      if (group.rows > 4 * limit_ + 4096) Cut(group);
    }
    if (!late.empty()) {
      context_->counters.rows_late.Add(late.size());
      out.Emit(OutputPort::kLate, Take(batch, late));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    // Groups are ordered by window end: the encoding keeps order.
    while (!groups_.empty()) {
      auto it = groups_.begin();
      const Batch& first = it->second.batches[0];
      if (first.column(end_column_).values<int64_t>()[0] > watermark.us) break;
      if (out.full()) return Progress::kAgain;
      Cut(it->second);
      Emit(it->second, out);
      MILLRACE_RETURN_IF_ERROR(table_->Delete(it->second.key_group, it->first));
      groups_.erase(it);
    }
    watermark_ = std::max(watermark_, watermark);
    return Progress::kDone;
  }

  absl::Status FlushState(Epoch) override {
    for (auto& [key, group] : groups_) {
      if (!std::exchange(group.changed, false)) continue;
      Cut(group);
      const EncodedBatch encoded = EncodeBatch(group.batches[0]);
      std::string value = encoded.head;
      for (const BufferPtr& part : encoded.body) value += part->view();
      MILLRACE_RETURN_IF_ERROR(table_->Put(group.key_group, key, value));
    }
    return absl::OkStatus();
  }

 private:
  struct Group {
    uint32_t key_group = 0;
    bool changed = false;
    int64_t rows = 0;
    std::vector<Batch> batches;  // At least one, never empty.
  };

  // Negative when row a comes before row b; 0 for ties.
  int Compare(const Batch& rows, int32_t a, int32_t b) const {
    for (const SortColumn& sort : order_) {
      const Column& column = rows.column(sort.column);
      const bool null_a = column.IsNull(a), null_b = column.IsNull(b);
      if (null_a || null_b) {
        if (null_a == null_b) continue;
        return null_a == sort.nulls_first ? -1 : 1;
      }
      const int order = CompareValues(column, a, column, b);
      if (order != 0) return sort.descending ? -order : order;
    }
    return 0;
  }

  // Total order: ties are broken by all columns, so that the result does not depend on arrival.
  int CompareAll(const Batch& rows, int32_t a, int32_t b) const {
    if (const int order = Compare(rows, a, b); order != 0) return order;
    for (const Column& column : rows.columns()) {
      const bool null_a = column.IsNull(a), null_b = column.IsNull(b);
      if (null_a || null_b) {
        if (null_a == null_b) continue;
        return null_a ? -1 : 1;
      }
      if (const int order = CompareValues(column, a, column, b); order != 0) return order;
    }
    return 0;
  }

  // Leaves one batch: the candidates, in order.
  void Cut(Group& group) {
    const Batch all = group.batches.size() == 1 ? group.batches[0] : Concat(group.batches);
    std::vector<int32_t> rows(static_cast<size_t>(all.rows()));
    std::iota(rows.begin(), rows.end(), 0);
    const auto before = [&](int32_t a, int32_t b) { return CompareAll(all, a, b) < 0; };
    auto keep = static_cast<size_t>(std::min<int64_t>(limit_, all.rows()));
    if (dense_) {
      std::sort(rows.begin(), rows.end(), before);
      int64_t values = 0;
      for (keep = 0; keep < rows.size(); ++keep) {
        if (keep == 0 || Compare(all, rows[keep - 1], rows[keep]) != 0) ++values;
        if (values > limit_) break;
      }
    } else if (keep > 0 && keep < rows.size()) {
      // A group has many more rows than it keeps: only those are sorted.
      std::nth_element(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(keep), rows.end(),
                       before);
      const int32_t last =
          *std::max_element(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(keep), before);
      if (with_ties_) {
        const auto end = std::partition(rows.begin() + static_cast<ptrdiff_t>(keep), rows.end(),
                                        [&](int32_t row) { return Compare(all, last, row) == 0; });
        keep = static_cast<size_t>(end - rows.begin());
      }
    }
    std::sort(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(keep), before);
    rows.resize(keep);
    group.batches.assign(1, Take(all, rows));
    group.rows = static_cast<int64_t>(keep);
  }

  void Emit(const Group& group, Emitter& out) {
    const Batch& rows = group.batches[0];
    std::vector<Column> columns = rows.columns();
    if (with_rank_) {
      ColumnBuilder rank(TypeKind::kInt64, rows.rows());
      int64_t current = 0;
      for (int32_t row = 0; row < rows.rows(); ++row) {
        // RANK, or DENSE_RANK, when ties are kept, else ROW_NUMBER.
        if (!with_ties_ || row == 0 || Compare(rows, row - 1, row) != 0) {
          current = dense_ ? current + 1 : row + 1;
        }
        rank.AppendInt64(current);
      }
      columns.push_back(rank.Finish());
    }
    out.Emit(Batch(context_->output_schema, rows.rows(), std::move(columns)));
  }

  OperatorContext* context_ = nullptr;
  SchemaPtr schema_;
  int end_column_ = -1;
  std::vector<int> key_columns_;
  std::vector<SortColumn> order_;
  int64_t limit_ = 0;
  bool with_ties_ = false;
  bool dense_ = false;
  bool with_rank_ = false;
  KeyedTable* table_ = nullptr;
  EventTime watermark_ = EventTime::Min();
  std::map<std::string, Group, std::less<>> groups_;
  EncodedKeys keys_;
};

}  // namespace

std::unique_ptr<Operator> MakeWindowTopN() { return std::make_unique<WindowTopN>(); }

}  // namespace millrace
