// A Sink writes batches to an external system in two phases, so that an epoch becomes visible only
// after the whole epoch is durable (docs/architecture.md, "Epochs").
//
// Threading: Open, Write and Prepare on the task thread. Commit on an io thread, one call at a time
//            and in epoch order, possibly while Write or Prepare of later epochs run: what Commit
//            uses must be its own.
// Ownership: the Task owns the sink; the context outlives it.
// Errors:    a non-OK status ends the task. After a failed Commit the job restarts from the epoch
// and
//            Commit is called again, perhaps on another worker, with the token from the checkpoint.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/base/env.h"
#include "runtime/base/ids.h"
#include "runtime/columns/batch.h"

namespace millrace {

namespace v1 {
class CommitToken;
class Node;
class TailedRows;
}  // namespace v1
class Outbox;
class S3Access;
struct OperatorCounters;

// Rows on their way to the reader of the job.
class RowDelivery {
 public:
  virtual ~RowDelivery() = default;
  // Waits for at most `patience`; true once they are taken. kCancelled: the attempt is over. Io
  // threads.
  virtual absl::StatusOr<bool> Wait(absl::Duration patience) = 0;
};

struct SinkContext {
  const v1::Node& node;
  SchemaPtr schema;  // Of the rows that are written: the columns of the node's input.
  OperatorCounters& counters;
  Env& env;
  std::string job_id;
  std::string job_name;
  Generation generation;
  // The epoch of the checkpoint that the job was restored from; 0 on a fresh start. Its tokens may
  // be of several epochs, all of which may be committed already: a target that holds the output of
  // an epoch after both this one and the token's is not that of the checkpoint.
  Epoch restored_epoch;
  // The writer that this task is: slot = task index. A task also completes the pending epochs of
  // slots that no longer have a task (the job had more tasks before).
  uint32_t slot = 0;
  uint32_t parallelism = 1;
  // Where output waits for the epoch; see runtime/checkpoint/outbox.h.
  Outbox& outbox;
  // True for `millrace run` on a terminal and similar: prints may be coloured, etc.
  bool interactive = false;
  std::shared_ptr<S3Access> s3 = nullptr;  // The way to object stores. Null: there is none.
  // Hands rows of a complete epoch to the reader of the job. Io threads. Null: there is no way to
  // one.
  std::function<std::shared_ptr<RowDelivery>(v1::TailedRows rows)> deliver = nullptr;
};

// What Commit returns for a target that would keep an io thread for long: it is called again, with
// the same token, a little later.
absl::Status CommitLater();
bool IsCommitLater(const absl::Status& status);

class Sink {
 public:
  virtual ~Sink() = default;
  virtual absl::Status Open(SinkContext& context) = 0;
  virtual absl::Status Write(const Batch& batch) = 0;
  // Phase 1: everything written since the last Prepare belongs to `epoch`. Returns what another
  // process needs to make it visible; the task makes the token (and the outbox segments it names)
  // durable. Every epoch has a token, also an empty one.
  virtual absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) = 0;
  // Phase 2: the checkpoint is complete. Idempotent. The first Commit after Open for a slot must
  // fence the slot's former owner before it looks at what is already committed. CommitLater: once
  // more.
  virtual absl::Status Commit(const v1::CommitToken& token) = 0;
  // True: rows are visible once they are written, false: with the commit of their epoch. Constant
  // after Open.
  virtual bool VisibleOnWrite() const { return false; }
};

}  // namespace millrace
