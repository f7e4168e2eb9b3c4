// The law of conservation: what is emitted on one side of an edge arrives on the other, and where
// an operator gives one row for each, what comes in goes out, is a dead letter, or ends there on
// purpose. Barriers cut all tasks at the same rows, so that the sums of an epoch must be equal,
// exactly; rows that a barrier has overtaken are on their way in the epoch, and count as such.
//
// Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {

// By law ("bids: in = out + dead letters + skipped", "bids -> count: sent = received"): how many
// rows there are too many on its left side. A graph that was changed since the job's first start
// does not begin with zeros.
using RowBalance = std::map<std::string, int64_t>;

// `planned`: with every parallelism. Of a manifest or of the snapshots of an epoch that will be
// one.
RowBalance BalanceRows(const v1::JobGraph& planned, const v1::Manifest& epoch);

// OK when the balance is still what it was when the attempt began; else kAborted, MR5301, with
// the first law that does not hold and its numbers.
absl::Status CheckConservation(const RowBalance& at_begin, const RowBalance& now);

}  // namespace millrace
