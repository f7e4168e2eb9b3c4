// Aggregates of groups without windows. Each batch changes a group at most once: its last result is
// taken back and the new one emitted.
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/changelog/change_builder.h"
#include "operators/changelog/changelog.h"
#include "operators/changelog/group_state.h"
#include "operators/expiry/key_expiry.h"
#include "operators/windows/aggregates.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// State: "groups": group key -> GroupState. "values": group key, number of the aggregate, value
// -> how often it occurs. Values are in the order in which MIN and MAX want them: the first one of
// a prefix is the extreme.
class GroupAggregate : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::GroupAggregate& node = context.node.group_aggregate();
    const Schema& input = *context.input_schemas[0];
    for (const uint32_t id : node.keys().ids()) key_columns_.push_back(input.IndexOfId(id));
    MILLRACE_ASSIGN_OR_RETURN(GroupLayout layout,
                              GroupLayout::Make(node.aggregates(), node.input_retracts()));
    layout_.emplace(std::move(layout));
    MILLRACE_ASSIGN_OR_RETURN(AggregateInputs inputs,
                              AggregateInputs::Make(node.aggregates(), input));
    inputs_.emplace(std::move(inputs));
    MILLRACE_ASSIGN_OR_RETURN(groups_, context.state->OpenKeyedTable("groups"));
    MILLRACE_ASSIGN_OR_RETURN(values_, context.state->OpenKeyedTable("values"));
    MILLRACE_ASSIGN_OR_RETURN(expiry_, KeyExpiry::Open(context));
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    RowErrors errors;
    MILLRACE_RETURN_IF_ERROR(inputs_->Evaluate(batch, errors));
    if (!errors.empty()) {
      // A row whose aggregates fail does so too when it is taken back.
      const Batch good = DeadLetterRows(context_->node.uid(), "MR4004", batch, errors,
                                        context_->counters, context_->clock, out);
      return good.rows() == 0 ? absl::OkStatus() : Process(0, good, out);
    }
    EncodeKeys(batch, key_columns_, keys_);
    layout_->EncodeValues(*inputs_, arguments_);
    MILLRACE_RETURN_IF_ERROR(
        expiry_.Begin([this](uint32_t group, std::string_view key) { return Drop(group, key); }));
    touched_.clear();
    index_.clear();
    for (int64_t row = 0; row < batch.rows(); ++row) {
      MILLRACE_ASSIGN_OR_RETURN(Touched * group, Touch(row));
      const int64_t weight = IsRetraction(batch.kind(row)) ? -1 : 1;
      if (weight < 0 && group->now.rows == 0) {
        errors.entries.push_back(
            {static_cast<int32_t>(row), "a row is taken back that was never there"});
        continue;
      }
      MILLRACE_RETURN_IF_ERROR(AddRow(row, weight, *group));
    }
    MILLRACE_RETURN_IF_ERROR(EmitChanges(out));
    if (errors.empty()) return absl::OkStatus();
    (void)DeadLetterRows(context_->node.uid(), "MR4007", batch, errors, context_->counters,
                         context_->clock, out);  // The other rows are in the groups already.
    return absl::OkStatus();
  }

 private:
  // A group that the batch touches: as it was, and as it is now.
  struct Touched {
    std::string_view key;  // In keys_.
    uint32_t key_group = 0;
    bool existed = false;
    GroupState before, now;
  };

  // The group is forgotten; what it has emitted stays.
  absl::Status Drop(uint32_t key_group, std::string_view key) {
    MILLRACE_RETURN_IF_ERROR(groups_->Delete(key_group, key));
    return values_->DeletePrefix(key_group, key);
  }

  absl::StatusOr<Touched*> Touch(int64_t row) {
    const std::string_view key = keys_.key(row);
    const auto [it, fresh] = index_.try_emplace(key, touched_.size());
    if (!fresh) return &touched_[it->second];
    Touched& group = touched_.emplace_back();
    group.key = key;
    group.key_group = KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], context_->max_parallelism);
    group.now = layout_->Empty();
    MILLRACE_RETURN_IF_ERROR(expiry_.Touch(group.key_group, key));
    MILLRACE_ASSIGN_OR_RETURN(group.existed, groups_->Get(group.key_group, key, &bytes_));
    if (group.existed) MILLRACE_RETURN_IF_ERROR(layout_->Decode(bytes_, group.now));
    group.before = group.now;
    return &group;
  }

  // `weight`: 1 adds the row, -1 takes it back.
  absl::Status AddRow(int64_t row, int64_t weight, Touched& group) {
    group.now.rows += weight;
    for (size_t slot = 0; slot < layout_->slots().size(); ++slot) {
      if (!inputs_->Contributes(slot, static_cast<int32_t>(row))) continue;
      MILLRACE_RETURN_IF_ERROR(AddValue(slot, row, weight, group));
    }
    return absl::OkStatus();
  }

  absl::Status AddValue(size_t slot, int64_t row, int64_t weight, Touched& group) {
    if (!layout_->IsExtreme(slot) && !layout_->CountsValues(slot)) {
      layout_->Add(slot, inputs_->argument(slot), row, weight, group.now);
      return absl::OkStatus();
    }
    const std::string_view value = arguments_[slot].key(row);
    if (!layout_->CountsValues(slot)) {
      return UpdateExtreme(slot, value, Occurrence::kFirst, group);
    }
    MILLRACE_ASSIGN_OR_RETURN(const Occurrence occurrence, CountValue(slot, group, value, weight));
    if (layout_->IsExtreme(slot)) return UpdateExtreme(slot, value, occurrence, group);
    if (occurrence == Occurrence::kFirst || occurrence == Occurrence::kGone) {
      layout_->Add(slot, inputs_->argument(slot), row, weight, group.now);
    }
    return absl::OkStatus();
  }

  enum class Occurrence { kFirst, kAnother, kGone };

  absl::StatusOr<Occurrence> CountValue(size_t slot, const Touched& group, std::string_view value,
                                        int64_t weight) {
    const std::string key = ValuePrefix(slot, group.key) + InOrder(slot, value);
    MILLRACE_ASSIGN_OR_RETURN(const bool existed, values_->Get(group.key_group, key, &bytes_));
    const int64_t before = existed ? ReadOrderedInt64(bytes_) : 0;
    const int64_t now = before + weight;
    if (now == 0) {
      MILLRACE_RETURN_IF_ERROR(values_->Delete(group.key_group, key));
      return Occurrence::kGone;
    }
    bytes_.clear();
    AppendOrderedInt64(now, bytes_);
    MILLRACE_RETURN_IF_ERROR(values_->Put(group.key_group, key, bytes_));
    return before == 0 ? Occurrence::kFirst : Occurrence::kAnother;
  }

  absl::Status UpdateExtreme(size_t slot, std::string_view value, Occurrence occurrence,
                             Touched& group) {
    std::string& extreme = group.now.slots[slot].extreme;
    if (occurrence != Occurrence::kGone) {
      if (extreme.empty() || InOrder(slot, value) < InOrder(slot, extreme)) extreme = value;
      return absl::OkStatus();
    }
    if (value != extreme) return absl::OkStatus();
    extreme.clear();
    const std::string prefix = ValuePrefix(slot, group.key);
    return values_->Scan(group.key_group, prefix, [&](std::string_view key, std::string_view) {
      extreme = InOrder(slot, key.substr(prefix.size()));
      return false;
    });
  }

  // Encoded values ascend; for MAX with all bits turned round, so that they descend. Its own
  // inverse. No encoding is the beginning of another one.
  std::string InOrder(size_t slot, std::string_view value) const {
    std::string ordered(value);
    if (layout_->slots()[slot].kind == AggregateKind::kMax) {
      for (char& c : ordered) c = static_cast<char>(~c);
    }
    return ordered;
  }

  // Without keys there is one group, and its result stays when all rows are gone.
  bool HasResult(const GroupState& group, bool exists) const {
    return group.rows > 0 || (exists && key_columns_.empty());
  }

  absl::Status EmitChanges(Emitter& out) {
    BatchBuilder before_rows(context_->output_schema), now_rows(context_->output_schema);
    RowErrors errors;
    // Of each group: whether it had, and has, a result. One that is out of range is none: it is
    // not emitted, so it is not taken back later.
    std::vector<std::pair<bool, bool>> results;
    for (const Touched& group : touched_) {
      MILLRACE_RETURN_IF_ERROR(Store(group));
      const bool fitted = AppendResult(group.key, group.before, before_rows);
      const bool fits = AppendResult(group.key, group.now, now_rows);
      const bool has = HasResult(group.now, true);
      if (has && !fits) {
        errors.entries.push_back(
            {static_cast<int32_t>(results.size()), "the sum is out of range for its type"});
      }
      results.emplace_back(HasResult(group.before, group.existed) && fitted, has && fits);
    }
    const Batch before = before_rows.Finish();
    const Batch now = now_rows.Finish();
    ChangeBuilder changes(context_->output_schema, out);
    for (size_t i = 0; i < results.size(); ++i) {
      EmitChange(before, now, static_cast<int64_t>(i), results[i], changes);
    }
    changes.Flush();
    if (!errors.empty()) {
      (void)DeadLetterRows(context_->node.uid(), "MR4005", now, errors, context_->counters,
                           context_->clock, out);  // The others are emitted already.
    }
    return absl::OkStatus();
  }

  static void EmitChange(const Batch& before, const Batch& now, int64_t row,
                         std::pair<bool, bool> result, ChangeBuilder& changes) {
    const auto [had, has] = result;
    if (had && has && SameValues(before, now, row)) return;
    if (had) {
      changes.row().AppendRow(before, row);
      changes.Add(has ? RowKind::kUpdateBefore : RowKind::kDelete);
    }
    if (has) {
      changes.row().AppendRow(now, row);
      changes.Add(had ? RowKind::kUpdateAfter : RowKind::kInsert);
    }
  }

  // False: a result is out of range for its type.
  bool AppendResult(std::string_view key, const GroupState& group, BatchBuilder& out) const {
    std::vector<ColumnBuilder*> keys;
    for (size_t i = 0; i < key_columns_.size(); ++i)
      keys.push_back(&out.column(static_cast<int>(i)));
    MILLRACE_CHECK(DecodeKey(key, keys).ok());
    bool fits = true;
    for (size_t slot = 0; slot < layout_->slots().size(); ++slot) {
      const auto column = static_cast<int>(key_columns_.size() + slot);
      fits &= layout_->AppendResult(slot, group, out.column(column));
    }
    return fits;
  }

  absl::Status Store(const Touched& group) {
    if (!HasResult(group.now, true)) return groups_->Delete(group.key_group, group.key);
    bytes_.clear();
    layout_->Encode(group.now, bytes_);
    return groups_->Put(group.key_group, group.key, bytes_);
  }

  OperatorContext* context_ = nullptr;
  std::vector<int> key_columns_;
  std::optional<GroupLayout> layout_;
  std::optional<AggregateInputs> inputs_;
  KeyedTable* groups_ = nullptr;
  KeyedTable* values_ = nullptr;
  KeyExpiry expiry_;
  // Scratch of one batch.
  EncodedKeys keys_;
  std::vector<EncodedKeys> arguments_;
  std::deque<Touched> touched_;  // Addresses stay.
  std::unordered_map<std::string_view, size_t> index_;
  std::string bytes_;
};

}  // namespace

std::unique_ptr<Operator> MakeGroupAggregate() { return std::make_unique<GroupAggregate>(); }

}  // namespace millrace
