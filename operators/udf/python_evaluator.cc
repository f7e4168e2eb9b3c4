#include "operators/udf/python_evaluator.h"

#include <algorithm>
#include <utility>

#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/columns/batch_codec.h"

namespace millrace {
namespace {

constexpr absl::Duration kBackOff = absl::Milliseconds(100);  // Doubles from try to try.
constexpr absl::Duration kBackOffMax = absl::Seconds(2);
constexpr absl::Duration kIdle = absl::Hours(1);
// Of all rows of a batch, which are asked in parts: what columns can hold, with room to spare.
constexpr int64_t kResultBytesMax = int64_t{1} << 30;
// After so many batches that were small because of the time, and needed little of it, larger ones
// are tried.
constexpr int kQuickBatches = 16;
// Of what user code prints: so many lines in so long a time; the rest is counted.
constexpr int kLinesMax = 200;
constexpr int64_t kLinesNs = 10'000'000'000;

// The process is to blame, or what it was asked: another one may be tried.
bool EndsProcessOnly(const absl::Status& status) {
  return absl::IsAborted(status) || absl::IsDeadlineExceeded(status);
}

SchemaPtr AnswerSchema(std::vector<Field> results) {
  results.push_back({.name = "error", .type = TypeKind::kString});
  return Schema::Make(std::move(results));
}

}  // namespace

// The answer to a request, part by part.
class PythonEvaluator::Collected {
 public:
  explicit Collected(const Schema& answer) {
    for (int i = 0; i + 1 < answer.size(); ++i) builders_.emplace_back(answer.field(i).type);
  }

  void Add(const Batch& answer) {
    if (!HasRoomFor(answer)) {
      for (int64_t row = 0; row < answer.rows(); ++row) {
        AddFailed("MR4202", "the results of the batch have more than 1 GB; lessen its rows");
      }
      return;
    }
    const Column& errors = answer.column(answer.column_count() - 1);
    for (int64_t row = 0; row < answer.rows(); ++row) {
      if (errors.IsNull(row)) continue;
      failures_.push_back({.row = static_cast<int32_t>(rows_ + row),
                           .code = "MR4201",
                           .message = std::string(errors.StringAt(row))});
    }
    for (size_t i = 0; i < builders_.size(); ++i) {
      builders_[i].AppendColumn(answer.column(static_cast<int>(i)));
    }
    rows_ += answer.rows();
  }
  void AddFailed(std::string_view code, std::string message) {
    failures_.push_back(
        {.row = static_cast<int32_t>(rows_), .code = code, .message = std::move(message)});
    for (ColumnBuilder& builder : builders_) builder.AppendNull();
    ++rows_;
  }
  bool HasRoomFor(const Batch& answer) const {
    int64_t bytes = static_cast<int64_t>(answer.byte_size());
    for (const ColumnBuilder& builder : builders_) bytes += builder.string_bytes();
    return bytes <= kResultBytesMax;
  }
  PythonAnswer Take() {
    PythonAnswer answer;
    for (ColumnBuilder& builder : builders_) answer.results.push_back(builder.Finish());
    answer.failures = std::move(failures_);
    return answer;
  }

 private:
  std::vector<ColumnBuilder> builders_;
  std::vector<PythonFailure> failures_;
  int64_t rows_ = 0;
};

PythonEvaluator::PythonEvaluator(Options options, Clock& clock)
    : options_(std::move(options)),
      answer_schema_(AnswerSchema(options_.results)),
      clock_(clock),
      thread_([this] { Run(); }) {}

PythonEvaluator::~PythonEvaluator() {
  stopped_.store(true, std::memory_order_relaxed);
  waker_.Wake();
  thread_.join();
}

void PythonEvaluator::Submit(Batch arguments, std::function<void(PythonAnswer)> done) {
  {
    const absl::MutexLock lock(&mutex_);
    requests_.push_back({std::move(arguments), std::move(done)});
  }
  waker_.Wake();
}

bool PythonEvaluator::Next(Request& out) {
  while (!stopped_.load(std::memory_order_relaxed)) {
    {
      const absl::MutexLock lock(&mutex_);
      if (!requests_.empty()) {
        out = std::move(requests_.front());
        requests_.pop_front();
        return true;
      }
    }
    Wait(kIdle);
  }
  return false;
}

void PythonEvaluator::Run() {
  Request request;
  while (Next(request)) {
    PythonAnswer answer = Evaluate(request.arguments);
    if (stopped_.load(std::memory_order_relaxed)) break;
    request.done(std::move(answer));
    request = {};
  }
  process_.reset();  // By the thread that started it.
}

PythonAnswer PythonEvaluator::Evaluate(const Batch& arguments) {
  Collected collected(*answer_schema_);
  absl::Status status = EnsureProcess();
  for (int64_t at = 0; at < arguments.rows() && status.ok();) {
    const int64_t count = std::min(arguments.rows() - at, rows_max_);
    const bool is_whole = count == arguments.rows();
    status = EvaluatePart(is_whole ? arguments : CopyRange(arguments, at, count), collected);
    at += count;
  }
  PythonAnswer answer = collected.Take();
  answer.status = std::move(status);
  answer.calls_ns = std::exchange(calls_ns_, 0);
  answer.processes_ended = std::exchange(processes_ended_, 0);
  return answer;
}

absl::Status PythonEvaluator::EvaluatePart(const Batch& part, Collected& collected) {
  if (part.rows() == 1) return EvaluateRow(part, collected);
  const int64_t begin_ns = clock_.MonotonicNanos();
  const absl::StatusOr<Batch> answer = Ask(part);
  if (answer.ok()) {
    const auto took = absl::Nanoseconds(clock_.MonotonicNanos() - begin_ns);
    const bool is_quick = part.rows() == rows_max_ && took < options_.timeout / 8;
    quick_batches_ = is_quick ? quick_batches_ + 1 : 0;
    if (quick_batches_ == kQuickBatches) {
      rows_max_ *= 2;
      quick_batches_ = 0;
    }
    collected.Add(*answer);
    return absl::OkStatus();
  }
  if (!EndsProcessOnly(answer.status())) return answer.status();
  for (int64_t row = 0; row < part.rows(); ++row) {
    MILLRACE_RETURN_IF_ERROR(EvaluateRow(CopyRange(part, row, 1), collected));
  }
  // All rows together need more than their time, perhaps: then less of them are asked at once.
  if (absl::IsDeadlineExceeded(answer.status())) {
    rows_max_ = std::max<int64_t>(1, part.rows() / 4);
    quick_batches_ = 0;
  }
  return absl::OkStatus();
}

absl::Status PythonEvaluator::EvaluateRow(const Batch& row, Collected& collected) {
  absl::Duration pause = kBackOff;
  for (int attempt = 1;; ++attempt) {
    const absl::StatusOr<Batch> answer = Ask(row);
    if (answer.ok()) {
      collected.Add(*answer);
      return absl::OkStatus();
    }
    if (!EndsProcessOnly(answer.status())) return answer.status();
    if (attempt >= options_.attempts_max) {
      const bool is_late = absl::IsDeadlineExceeded(answer.status());
      collected.AddFailed(
          is_late ? "MR4203" : "MR4202",
          Concat(is_late ? Concat("no result within ", absl::ToInt64Milliseconds(options_.timeout),
                                  " ms")
                         : std::string(MessageOf(answer.status())),
                 ", ", attempt, attempt == 1 ? " time" : " times"));
      return absl::OkStatus();
    }
    Wait(pause);
    pause = std::min(pause * 2, kBackOffMax);
  }
}

absl::Status PythonEvaluator::EnsureProcess() {
  if (process_ != nullptr) return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(
      process_, PythonProcess::Start(
                    {.interpreter = options_.interpreter,
                     .setup = options_.setup,
                     .on_line = [this](std::string_view line) { LogLine(line); },
                     .is_stopped = [this] { return stopped_.load(std::memory_order_relaxed); }},
                    waker_, clock_));
  LogInfo("Python process is up",
          {{"job", options_.job_id}, {"uid", options_.uid}, {"pid", process_->pid()}});
  return absl::OkStatus();
}

absl::StatusOr<Batch> PythonEvaluator::Decode(const BufferPtr& frame, int64_t rows) const {
  absl::StatusOr<Batch> answer = DecodeBatch(answer_schema_, frame, 0);
  if (!answer.ok()) {
    return absl::AbortedError(Concat("the Python process sent a ", MessageOf(answer.status())));
  }
  if (answer->rows() == rows) return answer;
  return absl::AbortedError("the Python process sent another number of rows");
}

absl::StatusOr<Batch> PythonEvaluator::Ask(const Batch& arguments) {
  MILLRACE_RETURN_IF_ERROR(EnsureProcess());
  const int64_t begin_ns = clock_.MonotonicNanos();
  const absl::StatusOr<BufferPtr> frame = process_->Ask(arguments, options_.timeout);
  calls_ns_ += clock_.MonotonicNanos() - begin_ns;
  const absl::StatusOr<Batch> answer =
      frame.ok() ? Decode(*frame, arguments.rows()) : absl::StatusOr<Batch>(frame.status());
  if (answer.ok()) return answer;
  process_.reset();
  if (absl::IsCancelled(answer.status())) return answer;
  ++processes_ended_;
  LogWarning(absl::IsDeadlineExceeded(answer.status()) ? "a Python process is killed"
                                                       : "a Python process has ended",
             {{"job", options_.job_id},
              {"uid", options_.uid},
              {"rows", arguments.rows()},
              {"reason", MessageOf(answer.status())}});
  return answer;
}

void PythonEvaluator::Wait(absl::Duration timeout) {
  if (stopped_.load(std::memory_order_relaxed)) return;
  if (process_ != nullptr) return process_->Wait(timeout);
  waker_.Wait(timeout);
}

void PythonEvaluator::LogLine(std::string_view line) {
  const int64_t now_ns = clock_.MonotonicNanos();
  if (lines_since_ns_ == 0 || now_ns - lines_since_ns_ >= kLinesNs) {
    if (lines_ > kLinesMax) {
      LogWarning("Python functions print too much: lines were left out",
                 {{"job", options_.job_id}, {"uid", options_.uid}, {"lines", lines_ - kLinesMax}});
    }
    lines_since_ns_ = now_ns;
    lines_ = 0;
  }
  if (++lines_ > kLinesMax) return;
  LogInfo(Concat("python: ", line), {{"job", options_.job_id}, {"uid", options_.uid}});
}

}  // namespace millrace
