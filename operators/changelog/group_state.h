// The state of one group of an aggregation without windows: accumulators to which rows are added
// and from which they are taken back.
//
// COUNT, and SUM and AVG of integers and decimals, are exact. A floating-point sum keeps the error
// that each addition makes (Neumaier's summation, ZAMM 54, 1974) and counts NaN and infinities
// apart, so that taking a row back leaves what was there before to within rounding. Of MIN and MAX
// the group has the extreme itself; where rows can be taken back, and for DISTINCT, the operator
// also keeps how often each value occurs.
//
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/windows/aggregates.h"
#include "runtime/columns/batch.h"
#include "runtime/columns/keys.h"

namespace millrace {

struct FloatSum {
  double sum = 0;
  double error = 0;
  int64_t nans = 0;
  int64_t infinities = 0;
  int64_t negative_infinities = 0;

  // `weight`: 1 adds the value, -1 takes it back.
  void Add(double value, int64_t weight);
  double value() const;
};

// One aggregate of one group.
struct GroupSlot {
  int64_t count = 0;    // Values that contribute: distinct ones, for DISTINCT.
  Int128 sum = 0;       // SUM and AVG of integers and decimals.
  FloatSum float_sum;   // SUM and AVG of doubles.
  std::string extreme;  // MIN and MAX: the value as EncodeKeys encodes it; empty: none.
};

struct GroupState {
  int64_t rows = 0;
  std::vector<GroupSlot> slots;
};

// What is fixed about the aggregates of a node. Immutable.
class GroupLayout {
 public:
  // `retracts`: rows can be taken back.
  static absl::StatusOr<GroupLayout> Make(const Aggregates& aggregates, bool retracts);

  const std::vector<AggregateSlot>& slots() const { return slots_; }
  bool IsExtreme(size_t slot) const;
  // The operator keeps how often each value of the slot occurs.
  bool CountsValues(size_t slot) const { return counts_values_[slot]; }

  // keys[slot]: the evaluated arguments as EncodeKeys encodes them, of the slots that keep values.
  void EncodeValues(const AggregateInputs& inputs, std::vector<EncodedKeys>& keys) const;

  GroupState Empty() const { return {.rows = 0, .slots = std::vector<GroupSlot>(slots_.size())}; }
  // Adds a value that is not NULL to COUNT, SUM or AVG, or takes it back; COUNT(*) looks at neither
  // column nor row.
  void Add(size_t slot, const Column& argument, int64_t row, int64_t weight,
           GroupState& group) const;
  // Appends the result. False: it is out of range for its type; NULL was appended.
  bool AppendResult(size_t slot, const GroupState& group, ColumnBuilder& out) const;

  // kDataLoss: malformed.
  void Encode(const GroupState& group, std::string& out) const;
  absl::Status Decode(std::string_view bytes, GroupState& group) const;

 private:
  std::vector<AggregateSlot> slots_;
  std::vector<bool> counts_values_;
};

// What the keys of a slot's values begin with in state. Group keys are self-delimiting: no prefix
// is the beginning of another group's.
std::string ValuePrefix(size_t slot, std::string_view group);

}  // namespace millrace
