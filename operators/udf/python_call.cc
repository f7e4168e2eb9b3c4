#include "operators/udf/python_call.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "operators/udf/python_evaluator.h"
#include "runtime/base/mailbox.h"
#include "runtime/base/status_macros.h"
#include "runtime/expressions/expression.h"
#include "runtime/expressions/row_errors.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// Batches that are submitted: one is computed while the next one waits, so Python is never idle.
constexpr size_t kSubmittedMax = 2;
// Small batches are joined up to so many bytes of arguments.
constexpr size_t kJoinedBytesMax = size_t{16} << 20;
// Batches that wait behind them; with more the task takes no input.
constexpr int64_t kWaitingMax = 2;

// Rows of one batch of the input, and the values that the functions are called with.
struct Piece {
  Batch rows;
  Batch arguments;
  uint64_t given = 0;  // Rows of the input that it stands for: some are dead letters already.
};

// Pieces that are asked together.
struct Request {
  std::vector<Piece> pieces;
  std::optional<PythonAnswer> answer;
};

class PythonMetrics {
 public:
  explicit PythonMetrics(OperatorMetrics& metrics)
      : metrics_(metrics),
        batches_(metrics.Counter("millrace_python_batches_total",
                                 "Batches of rows that Python functions have answered.", {})),
        rows_(metrics.Counter("millrace_python_rows_total",
                              "Rows that Python functions have answered.", {})),
        ended_(metrics.Counter(
            "millrace_python_processes_ended_total",
            "Python processes that ended by themselves, or were killed for the time.", {})),
        seconds_(metrics.Counter("millrace_python_seconds_total",
                                 "Time for which answers of Python functions were waited for.",
                                 {})),
        waiting_(metrics.Gauge("millrace_python_rows_waiting",
                               "Rows that wait for Python functions.", {})) {}

  void CountAnswer(const PythonAnswer& answer, int64_t rows) {
    batches_.Add(1);
    rows_.Add(static_cast<double>(rows));
    ended_.Add(static_cast<double>(answer.processes_ended));
    seconds_.Add(static_cast<double>(answer.calls_ns) / 1e9);
    for (const PythonFailure& failure : answer.failures) CountFailure(failure.code);
  }
  void ShowWaiting(uint64_t rows) { waiting_.Set(static_cast<double>(rows)); }

 private:
  void CountFailure(std::string_view code) {
    OperatorMetrics::Number*& failures = failures_[code];
    if (failures == nullptr) {
      failures = &metrics_.Counter("millrace_python_failed_rows_total",
                                   "Rows without results of Python functions, by code.",
                                   {{"code", std::string(code)}});
    }
    failures->Add(1);
  }

  OperatorMetrics& metrics_;
  OperatorMetrics::Number& batches_;
  OperatorMetrics::Number& rows_;
  OperatorMetrics::Number& ended_;
  OperatorMetrics::Number& seconds_;
  OperatorMetrics::Number& waiting_;
  std::map<std::string_view, OperatorMetrics::Number*> failures_;  // Made when they first come.
};

class PythonCallOperator : public Operator {
 public:
  explicit PythonCallOperator(PythonSettings settings) : settings_(std::move(settings)) {}

  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::PythonCall& node = context.node.python_call();
    if (settings_.folders.empty()) {
      return absl::FailedPreconditionError(
          "this worker does not run functions in Python: its --python-path names no folder whose "
          "modules jobs may use");
    }
    std::vector<v1::Type> columns;
    std::vector<PythonCallColumns> calls;
    for (const v1::PythonResult& result : node.results()) {
      PythonCallColumns& call = calls.emplace_back();
      for (const v1::Expr& argument : result.arguments()) {
        MILLRACE_ASSIGN_OR_RETURN(const int column, AddColumn(argument, columns));
        call.arguments.push_back(column);
      }
      if (result.has_condition()) {
        MILLRACE_ASSIGN_OR_RETURN(call.condition, AddColumn(result.condition(), columns));
      }
    }
    std::vector<Field> fields;
    for (const v1::Type& type : columns) {
      fields.push_back({.name = "argument", .type = DataType::FromProto(type)});
    }
    arguments_schema_ = Schema::Make(std::move(fields));
    PythonEvaluator::Options options{.interpreter = settings_.interpreter,
                                     .setup = {},
                                     .results = {},
                                     .timeout = absl::ZeroDuration(),
                                     .attempts_max = INT32_MAX,
                                     .job_id = context.job_id,
                                     .uid = context.node.uid()};
    for (const v1::PythonResult& result : node.results()) {
      const v1::PythonFunction& function = result.function();
      options.results.push_back(
          {.name = result.name(), .type = DataType::FromProto(function.result())});
      options.timeout += absl::Milliseconds(function.timeout_ms());
      options.attempts_max =
          std::min(options.attempts_max, static_cast<int>(function.attempts_max()));
      rows_max_ = std::min<int64_t>(rows_max_, function.batch_rows_max());
    }
    MILLRACE_ASSIGN_OR_RETURN(options.setup, RunnerSetup(node, columns, calls, settings_));
    metrics_ = std::make_unique<PythonMetrics>(context.counters.metrics);
    inbox_ = std::make_shared<Mailbox>(context.wake);
    evaluator_ = std::make_unique<PythonEvaluator>(std::move(options), context.clock);
    // Before the first row: what is wrong with the functions is told at once.
    evaluator_->Submit(BatchBuilder(arguments_schema_).Finish(),
                       [this, inbox = inbox_](const PythonAnswer& answer) {
                         inbox->Post([this, status = answer.status] { failure_.Update(status); });
                       });
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    Piece piece{.rows = batch, .arguments = {}, .given = static_cast<uint64_t>(batch.rows())};
    RowErrors errors;
    std::vector<Column> arguments;
    for (auto& expression : expressions_) {
      MILLRACE_ASSIGN_OR_RETURN(Column column, expression->Evaluate(batch, errors));
      arguments.push_back(std::move(column));
    }
    piece.arguments = Batch(arguments_schema_, batch.rows(), std::move(arguments));
    if (!errors.empty()) TakeOut(errors, piece, out);
    waiting_rows_ += piece.given;
    const int64_t rows = piece.rows.rows();
    int64_t at = 0;
    for (; rows - at > rows_max_; at += rows_max_) {
      waiting_.push_back({.rows = CopyRange(piece.rows, at, rows_max_),
                          .arguments = CopyRange(piece.arguments, at, rows_max_),
                          .given = static_cast<uint64_t>(rows_max_)});
    }
    if (at > 0) {
      piece = {.rows = CopyRange(piece.rows, at, rows - at),
               .arguments = CopyRange(piece.arguments, at, rows - at),
               .given = piece.given - static_cast<uint64_t>(at)};
    }
    waiting_.push_back(std::move(piece));
    SubmitWaiting();
    return absl::OkStatus();
  }

  absl::StatusOr<Settled> Collect(bool, Emitter& out) override {
    inbox_->RunPosted();
    MILLRACE_RETURN_IF_ERROR(failure_);
    while (!requests_.empty() && requests_.front().answer && !out.full()) {
      Emit(requests_.front(), out);
      requests_.pop_front();
    }
    SubmitWaiting();
    metrics_->ShowWaiting(waiting_rows_);
    return Settled{.rows = settled_,
                   .full = static_cast<int64_t>(waiting_rows_) > rows_max_ * kWaitingMax};
  }

 private:
  // The column of the arguments with the values of `expr`.
  absl::StatusOr<int> AddColumn(const v1::Expr& expr, std::vector<v1::Type>& columns) {
    const std::string text = expr.SerializeAsString();
    const auto known = std::find(column_texts_.begin(), column_texts_.end(), text);
    if (known != column_texts_.end()) return static_cast<int>(known - column_texts_.begin());
    MILLRACE_ASSIGN_OR_RETURN(auto expression, BindExpression(expr, *context_->input_schemas[0]));
    expressions_.push_back(std::move(expression));
    column_texts_.push_back(text);
    columns.push_back(expr.type());
    return static_cast<int>(columns.size()) - 1;
  }

  // Rows whose arguments cannot be evaluated.
  void TakeOut(RowErrors& errors, Piece& piece, Emitter& out) {
    KeepFirstErrors(errors);
    piece.arguments = Take(piece.arguments, RowsExcept(piece.rows.rows(), errors.entries));
    piece.rows = Letters("MR4002", piece.rows, errors, out);
  }

  // The rows that are left.
  Batch Letters(std::string_view code, const Batch& rows, const RowErrors& errors, Emitter& out) {
    return DeadLetterRows(context_->node.uid(), code, rows, errors, context_->counters,
                          context_->clock, out);
  }

  // Functions without arguments have batches without columns.
  Batch Joined(std::vector<Batch>& arguments, int64_t rows) const {
    if (arguments.size() == 1) return std::move(arguments[0]);
    if (arguments_schema_->size() == 0) return Batch(arguments_schema_, rows, {});
    return Concat(arguments);
  }

  void SubmitWaiting() {
    while (!waiting_.empty() && requests_.size() < kSubmittedMax) {
      Request& request = requests_.emplace_back();
      std::vector<Batch> arguments;
      int64_t rows = 0;
      size_t bytes = 0;
      while (!waiting_.empty()) {
        const Batch& next = waiting_.front().arguments;
        const bool fits =
            rows + next.rows() <= rows_max_ && bytes + next.byte_size() <= kJoinedBytesMax;
        if (rows > 0 && !fits) break;
        rows += next.rows();
        bytes += next.byte_size();
        waiting_rows_ -= waiting_.front().given;
        arguments.push_back(std::move(waiting_.front().arguments));
        request.pieces.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
      if (rows == 0) {  // Dead letters alone.
        request.answer.emplace();
        continue;
      }
      // The letter runs in Collect, so while `this` lives; requests are answered in their order,
      // and stay where they are until then.
      evaluator_->Submit(Joined(arguments, rows),
                         [this, to = &request, inbox = inbox_](PythonAnswer answer) {
                           inbox->Post([this, to, answer = std::move(answer)]() mutable {
                             failure_.Update(answer.status);
                             to->answer = std::move(answer);
                           });
                         });
    }
  }

  void Emit(Request& request, Emitter& out) {
    PythonAnswer& answer = *request.answer;
    int64_t begin = 0;
    size_t next = 0;
    for (Piece& piece : request.pieces) {
      settled_ += piece.given;
      const int64_t count = piece.rows.rows();
      if (count == 0) continue;
      std::vector<PythonFailure> failures;
      for (; next < answer.failures.size() && answer.failures[next].row < begin + count; ++next) {
        failures.push_back(std::move(answer.failures[next]));
        failures.back().row -= static_cast<int32_t>(begin);
      }
      EmitPiece(piece, begin, answer.results, failures, out);
      begin += count;
    }
    if (begin > 0) metrics_->CountAnswer(answer, begin);
  }

  // `begin`: its first row among those of the results.
  void EmitPiece(const Piece& piece, int64_t begin, const std::vector<Column>& results,
                 std::vector<PythonFailure>& failures, Emitter& out) {
    std::vector<int32_t> good = RowsExcept(piece.rows.rows(), failures);
    Batch rows = piece.rows;
    if (!failures.empty()) {
      std::map<std::string_view, RowErrors> by_code;
      for (PythonFailure& failure : failures) {
        by_code[failure.code].entries.push_back({failure.row, std::move(failure.message)});
      }
      for (const auto& [code, errors] : by_code) {
        (void)Letters(code, piece.rows, errors, out);  // The good rows are taken below.
      }
      rows = Take(rows, good);
    }
    if (rows.rows() == 0) return;
    std::vector<Column> columns = rows.columns();
    const bool is_whole = static_cast<int64_t>(good.size()) == results[0].length();
    for (int32_t& row : good) row += static_cast<int32_t>(begin);
    for (const Column& result : results) {
      columns.push_back(is_whole ? result : Take(result, good));
    }
    out.Emit(rows.WithColumns(context_->output_schema, std::move(columns)));
  }

  const PythonSettings settings_;
  OperatorContext* context_ = nullptr;
  SchemaPtr arguments_schema_;
  std::vector<std::unique_ptr<Expression>> expressions_;  // Of the columns of the arguments.
  std::vector<std::string> column_texts_;
  int64_t rows_max_ = INT32_MAX;
  std::unique_ptr<PythonMetrics> metrics_;
  std::shared_ptr<Mailbox> inbox_;  // Shared with callbacks.
  std::deque<Piece> waiting_;
  uint64_t waiting_rows_ = 0;
  std::deque<Request> requests_;  // Submitted, in the order of their rows.
  uint64_t settled_ = 0;
  absl::Status failure_;
  std::unique_ptr<PythonEvaluator> evaluator_;  // Last: its thread ends first.
};

}  // namespace

std::unique_ptr<Operator> MakePythonCall(PythonSettings settings) {
  return std::make_unique<PythonCallOperator>(std::move(settings));
}

}  // namespace millrace
