// A table outside whose rows are asked for by key while a job runs
// (operators/joins/lookup_join.cc).
//
// Threading: every method blocks, on an io thread; one call at a time.
// Ownership: of whoever asks; it outlives the task when a call does.
// Errors:    kUnavailable and the like are tried again; others fail the job.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "runtime/base/env.h"
#include "runtime/columns/batch.h"
#include "runtime/expressions/expression.h"

namespace millrace {

class LookupTable {
 public:
  virtual ~LookupTable() = default;
  // Once, first. `schema`: the columns to read; `keys`: their positions by which rows are asked
  // for. What `env` refers to outlives the table.
  virtual absl::Status Open(SchemaPtr schema, std::vector<int> keys, const Env& env) = 0;
  // False: it can only be read as a whole.
  virtual bool finds_by_key() const = 0;
  // Appends every row whose key is one of `wanted`: columns of the key alone, no NULLs, no key
  // twice. In any order. `bad`: rows of `wanted` for which something is there that is no row of the
  // table; what asked for them are dead letters.
  virtual absl::Status Find(const Batch& wanted, BatchBuilder& out, RowErrors& bad) = 0;
  // Appends every row; kResourceExhausted when they are more than `rows_max`.
  virtual absl::Status ReadAll(int64_t rows_max, BatchBuilder& out) = 0;
};

}  // namespace millrace
