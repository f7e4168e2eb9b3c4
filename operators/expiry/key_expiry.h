// State TTL: which keys of an operator no row has touched for the node's `state_ttl_ms`, by the
// worker's clock, so that their state can go.
//
// A key's last use is known to within a sixteenth of that time: its state goes that much later at
// the most, and a key in constant use costs a read per batch, and a write only now and then.
// State: "ttl": key -> the step of its last use; "ttl_ends": see DeadlineIndex.
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/expiry/deadline_index.h"
#include "runtime/task/operator.h"
#include "runtime/task/operator_metrics.h"

namespace millrace {

// Microseconds since 1970 by the clock of the context, never less than `before`.
int64_t ClockMicros(const OperatorContext& context, int64_t before);

// How many keys, or rows, a node has let go of.
OperatorMetrics::Number& ExpiredCounter(OperatorContext& context);

class KeyExpiry {
 public:
  // A node without a TTL: all methods do nothing.
  static absl::StatusOr<KeyExpiry> Open(OperatorContext& context);

  // Begins a batch: lets go of keys whose time is over, at most some thousand, and calls `drop` for
  // each.
  using DropFn = std::function<absl::Status(uint32_t key_group, std::string_view key)>;
  absl::Status Begin(const DropFn& drop);
  // The key is used by the batch that has begun.
  absl::Status Touch(uint32_t key_group, std::string_view key);

 private:
  OperatorContext* context_ = nullptr;
  int64_t ttl_us_ = 0;  // 0: never.
  int64_t step_us_ = 1;
  int64_t now_us_ = 0;
  KeyedTable* uses_ = nullptr;
  std::optional<DeadlineIndex> ends_;
  OperatorMetrics::Number* expired_ = nullptr;
};

}  // namespace millrace
