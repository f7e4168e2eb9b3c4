#include "operators/expiry/key_expiry.h"

#include <algorithm>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/keys.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kExpiredMax = 4096;  // Per batch.
constexpr int64_t kStepsPerTtl = 16;

}  // namespace

int64_t ClockMicros(const OperatorContext& context, int64_t before) {
  return std::max(before, absl::ToUnixMicros(context.clock.Now()));
}

OperatorMetrics::Number& ExpiredCounter(OperatorContext& context) {
  return context.counters.metrics.Counter("millrace_operator_state_expired_total",
                                          "Keys, of joins rows, dropped by state TTL.", {});
}

absl::StatusOr<KeyExpiry> KeyExpiry::Open(OperatorContext& context) {
  KeyExpiry expiry;
  expiry.context_ = &context;
  expiry.ttl_us_ = static_cast<int64_t>(context.node.state_ttl_ms()) * 1000;
  if (expiry.ttl_us_ == 0) return expiry;
  expiry.step_us_ = std::max<int64_t>(1, expiry.ttl_us_ / kStepsPerTtl);
  MILLRACE_ASSIGN_OR_RETURN(expiry.uses_, context.state->OpenKeyedTable("ttl"));
  MILLRACE_ASSIGN_OR_RETURN(KeyedTable* const ends, context.state->OpenKeyedTable("ttl_ends"));
  MILLRACE_ASSIGN_OR_RETURN(DeadlineIndex index, DeadlineIndex::Open(ends, context.key_groups));
  expiry.ends_.emplace(std::move(index));
  expiry.expired_ = &ExpiredCounter(context);
  return expiry;
}

absl::Status KeyExpiry::Begin(const DropFn& drop) {
  if (ttl_us_ == 0) return absl::OkStatus();
  now_us_ = ClockMicros(*context_, now_us_);
  std::vector<DeadlineIndex::Due> due;
  MILLRACE_RETURN_IF_ERROR(ends_->Take(now_us_, kExpiredMax, due).status());
  std::string bytes;
  for (const DeadlineIndex::Due& one : due) {
    MILLRACE_ASSIGN_OR_RETURN(const bool found, uses_->Get(one.key_group, one.key, &bytes));
    // It has been used again since, and has a later deadline.
    if (!found || ReadOrderedInt64(bytes) + step_us_ + ttl_us_ > one.deadline_us) continue;
    MILLRACE_RETURN_IF_ERROR(uses_->Delete(one.key_group, one.key));
    MILLRACE_RETURN_IF_ERROR(drop(one.key_group, one.key));
    expired_->Add(1);
  }
  return absl::OkStatus();
}

absl::Status KeyExpiry::Touch(uint32_t key_group, std::string_view key) {
  if (ttl_us_ == 0) return absl::OkStatus();
  const int64_t step = now_us_ - now_us_ % step_us_;
  std::string bytes;
  MILLRACE_ASSIGN_OR_RETURN(const bool found, uses_->Get(key_group, key, &bytes));
  if (found && ReadOrderedInt64(bytes) >= step) return absl::OkStatus();
  bytes.clear();
  AppendOrderedInt64(step, bytes);
  MILLRACE_RETURN_IF_ERROR(uses_->Put(key_group, key, bytes));
  return ends_->Add(key_group, key, step + step_us_ + ttl_us_);
}

}  // namespace millrace
