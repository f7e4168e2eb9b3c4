// Evaluates the functions of one node for one task, batch by batch: a thread of its own, which has
// the process of Python. A batch that ends the process, or its time, is asked row by row, each in
// turn some times; so a row that cannot stand its function is found, and no other one is lost.
//
// Threading: made, used and destroyed by the task's thread; answers come on the evaluator's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "operators/udf/python_process.h"
#include "runtime/base/env.h"
#include "runtime/columns/batch.h"

namespace millrace {

// A row without results.
struct PythonFailure {
  int32_t row = 0;
  std::string_view code;  // MR4201: an exception; MR4202: the process ended; MR4203: the time did.
  std::string message;
};

struct PythonAnswer {
  // Not OK: there are no results, and the job cannot go on.
  absl::Status status;
  std::vector<Column> results;          // One per call; of failed rows unspecified.
  std::vector<PythonFailure> failures;  // In the order of rows, each once.
  int64_t calls_ns = 0;                 // Time for which Python was waited for.
  uint64_t processes_ended = 0;         // By themselves, or killed for the time.
};

class PythonEvaluator {
 public:
  struct Options {
    std::string interpreter;
    std::string setup;
    std::vector<Field> results;  // Columns of the results.
    absl::Duration timeout;      // Of a batch, and of a row alone.
    int attempts_max = 1;        // Of a row.
    std::string job_id, uid;     // For the log.
  };
  PythonEvaluator(Options options, Clock& clock);
  ~PythonEvaluator();  // Kills the process; answers that are due do not come any more.

  // The answers come in the order of the calls. A batch without rows asks whether the functions
  // can be loaded.
  void Submit(Batch arguments, std::function<void(PythonAnswer)> done) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Request {
    Batch arguments;
    std::function<void(PythonAnswer)> done;
  };
  class Collected;

  // ---- the evaluator's thread
  void Run();
  bool Next(Request& out) ABSL_LOCKS_EXCLUDED(mutex_);
  PythonAnswer Evaluate(const Batch& arguments);
  absl::Status EvaluatePart(const Batch& part, Collected& collected);
  absl::Status EvaluateRow(const Batch& row, Collected& collected);
  absl::Status EnsureProcess();
  // What a process has answered to so many rows; kAborted: it is no answer.
  absl::StatusOr<Batch> Decode(const BufferPtr& frame, int64_t rows) const;
  absl::StatusOr<Batch> Ask(const Batch& arguments);
  void Wait(absl::Duration timeout);
  void LogLine(std::string_view line);

  const Options options_;
  const SchemaPtr answer_schema_;  // The results, and the error.
  Clock& clock_;
  PollWaker waker_;
  std::atomic<bool> stopped_{false};  // Relaxed: nothing else is published with it.
  absl::Mutex mutex_;
  std::deque<Request> requests_ ABSL_GUARDED_BY(mutex_);
  // The evaluator's thread alone.
  std::unique_ptr<PythonProcess> process_;
  // Of a batch: less when batches take longer than they may.
  int64_t rows_max_ = int64_t{1} << 40;
  int quick_batches_ = 0;
  int64_t calls_ns_ = 0;
  uint64_t processes_ended_ = 0;
  int64_t lines_since_ns_ = 0;
  int lines_ = 0;
  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace millrace
