// Accumulators of windowed aggregates: fixed-width slots that are updated in place and merged.
//
// COUNT, SUM, AVG, MIN, MAX over fixed-width types live in the slots. DISTINCT, and MIN and MAX of
// text, work on the set of values: the operator keeps (key, aggregate, value) rows and feeds each
// value once (`AddValue`) when the window is read.
// Layout of a slot: int64 count of the rows that contributed; then for SUM and AVG a 128-bit sum
// (exact for integers and decimals, so that overflow is found at the end, not on the way) or a
// double; for MIN and MAX the value as int64, double or, of decimals, 128 bits. All zero bytes =
// nothing yet.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "runtime/columns/batch.h"
#include "runtime/expressions/expression.h"
#include "runtime/state/state_store.h"

namespace millrace {

namespace v1 {
class Aggregate;
}
using Aggregates = google::protobuf::RepeatedPtrField<v1::Aggregate>;

enum class AggregateKind : uint8_t { kCount, kSum, kAvg, kMin, kMax };

struct AggregateSlot {
  AggregateKind kind;
  DataType argument_type = TypeKind::kInt64;  // Meaningless for COUNT(*).
  DataType result_type = TypeKind::kInt64;
  bool by_value_set = false;
  bool count_star = false;
  uint32_t offset = 0;
};

// Kind and types of one aggregate; its place is not set.
absl::StatusOr<AggregateSlot> SlotOf(const v1::Aggregate& aggregate);
// Adds to an exact sum. One that has left 128 bits (only decimals of more than 19 digits can) stays
// out of range, whatever is added later.
void AddToSum(Int128 value, Int128& sum);
// Appends a SUM or AVG of `count` integers or decimals. False: it is out of range for its type;
// NULL was appended.
bool AppendExactSum(const AggregateSlot& slot, int64_t count, Int128 sum, ColumnBuilder& out);
// A value of an exact column (BOOL, INT, BIGINT, DATE, ...); of a DECIMAL, unscaled.
Int128 ExactAt(const Column& column, int64_t row);

// Slots of all aggregates of a node. Immutable after Make; used on task and io threads.
class AggregateLayout : public AccumulatorLayout {
 public:
  static absl::StatusOr<std::shared_ptr<const AggregateLayout>> Make(const Aggregates& aggregates);

  size_t width() const override { return width_; }
  void Merge(uint8_t* into, const uint8_t* from) const override;

  const std::vector<AggregateSlot>& slots() const { return slots_; }
  bool has_value_sets() const { return has_value_sets_; }

  // Adds one value to a slot.
  void AddExact(size_t slot, uint8_t* accumulator, Int128 value) const;
  void AddFloat(size_t slot, uint8_t* accumulator, double value) const;
  // Appends the result to `out`. False: an exact SUM is out of range; NULL was appended.
  bool AppendResult(size_t slot, const uint8_t* accumulator, ColumnBuilder& out) const;

 private:
  std::vector<AggregateSlot> slots_;
  size_t width_ = 0;
  bool has_value_sets_ = false;
};

// The arguments and filters of the aggregates, evaluated on batches and added to accumulators.
// Threading: the task thread.
class AggregateInputs {
 public:
  static absl::StatusOr<AggregateInputs> Make(const Aggregates& aggregates, const Schema& input);

  // Evaluates arguments and filters for all rows of `batch`.
  absl::Status Evaluate(const Batch& batch, RowErrors& errors);
  // Adds row rows[i] to accumulators[i], for every slot that is not by value set.
  void Add(const AggregateLayout& layout, std::span<const int32_t> rows,
           std::span<uint8_t* const> accumulators) const;
  // True when `row` contributes to `slot` (its filter holds, its argument is not NULL).
  bool Contributes(size_t slot, int32_t row) const;
  // The evaluated argument; after Evaluate.
  const Column& argument(size_t slot) const { return arguments_[slot]; }

 private:
  struct Input {
    std::unique_ptr<Expression> argument;  // Null for COUNT(*).
    std::unique_ptr<Expression> filter;    // Null without FILTER.
  };
  std::vector<Input> inputs_;
  std::vector<Column> arguments_;
  std::vector<Column> filters_;
};

}  // namespace millrace
