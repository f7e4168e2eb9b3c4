#include "operators/inference/remote/remote_inference.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "operators/inference/features.h"
#include "operators/inference/model.h"
#include "operators/inference/remote/remote_metrics.h"
#include "operators/inference/remote/request_queue.h"
#include "operators/inference/remote/tensors.h"
#include "runtime/base/mailbox.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// A server that is away longer ends the attempt; the job starts again with back-off.
constexpr absl::Duration kDescribeMax = absl::Seconds(10);

// The constant values that take the place of predictions; empty when an output has none.
absl::StatusOr<std::vector<Datum>> FallbacksOf(const v1::Inference& node) {
  std::vector<Datum> values;
  for (const v1::Prediction& output : node.outputs()) {
    if (!output.has_fallback()) return std::vector<Datum>();
    MILLRACE_ASSIGN_OR_RETURN(Datum value, Interpret(output.fallback(), Batch(), 0));
    if (value.is_null) return absl::InvalidArgumentError("a fallback value is NULL");
    values.push_back(std::move(value));
  }
  return values;
}

Column Repeated(const Datum& value, int64_t rows) {
  ColumnBuilder column(value.type, rows);
  for (int64_t i = 0; i < rows; ++i) {
    switch (value.type) {
      case TypeKind::kBool:
        column.AppendBool(value.bool_value);
        break;
      case TypeKind::kInt32:
        column.AppendInt32(static_cast<int32_t>(value.int_value));
        break;
      case TypeKind::kFloat64:
        column.AppendFloat64(value.float_value);
        break;
      case TypeKind::kString:
        column.AppendString(value.string_value);
        break;
      default:
        column.AppendInt64(value.int_value);
    }
  }
  return column.Finish();
}

// Rows that wait for a request to fill.
class Gathering {
 public:
  int64_t rows() const { return rows_; }
  uint64_t given() const { return given_; }
  int64_t since_ns() const { return since_ns_; }

  void Add(FeatureRows part, uint64_t given, int64_t now_ns) {
    if (given_ == 0) since_ns_ = now_ns;
    given_ += given;
    rows_ += part.batch.rows();
    if (part.batch.rows() > 0) parts_.push_back(std::move(part));
  }
  std::shared_ptr<InferenceRequest> Take() {
    auto request = std::make_shared<InferenceRequest>();
    request->given = std::exchange(given_, 0);
    rows_ = 0;
    std::vector<FeatureRows> parts = std::exchange(parts_, {});
    if (parts.empty()) {
      request->state = InferenceRequest::State::kDone;  // Nothing to ask.
    } else if (parts.size() == 1) {
      request->rows = std::move(parts[0]);
    } else {
      std::vector<Batch> batches;
      for (const FeatureRows& part : parts) batches.push_back(part.batch);
      request->rows.batch = millrace::Concat(batches);
      for (size_t f = 0; f < parts[0].features.size(); ++f) {
        ColumnBuilder column(parts[0].features[f].type(), request->rows.batch.rows());
        for (const FeatureRows& part : parts) column.AppendColumn(part.features[f]);
        request->rows.features.push_back(column.Finish());
      }
    }
    return request;
  }

 private:
  std::vector<FeatureRows> parts_;
  int64_t rows_ = 0;
  uint64_t given_ = 0;
  int64_t since_ns_ = 0;
};

FeatureRows Slice(const FeatureRows& rows, int64_t begin, int64_t count) {
  if (begin == 0 && count == rows.batch.rows()) return rows;
  std::vector<int32_t> part(static_cast<size_t>(count));
  for (size_t i = 0; i < part.size(); ++i) {
    part[i] = static_cast<int32_t>(begin) + static_cast<int32_t>(i);
  }
  FeatureRows slice{.batch = Take(rows.batch, part), .features = {}};
  for (const Column& column : rows.features) slice.features.push_back(Take(column, part));
  return slice;
}

class RemoteInference : public Operator {
 public:
  explicit RemoteInference(MakeInferenceTransport make_transport)
      : make_transport_(std::move(make_transport)) {}

  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    MILLRACE_ASSIGN_OR_RETURN(model_, ModelOf(context));
    const v1::RemoteModel& remote = model_->remote();
    transport_ = make_transport_(remote.endpoint());
    const auto timeout = std::min(absl::Milliseconds(remote.calls().timeout_ms()), kDescribeMax);
    MILLRACE_ASSIGN_OR_RETURN(
        const auto metadata,
        transport_->Describe(remote.server_model(), remote.server_version(), timeout));
    MILLRACE_ASSIGN_OR_RETURN(
        TensorCodec codec,
        TensorCodec::Make(*model_, WantedOutputs(*model_, context.node.inference()), metadata));
    codec_ = std::move(codec);
    MILLRACE_ASSIGN_OR_RETURN(FeatureReader reader, FeatureReader::Make(context, *model_));
    features_ = std::make_unique<FeatureReader>(std::move(reader));
    MILLRACE_ASSIGN_OR_RETURN(fallbacks_, FallbacksOf(context.node.inference()));
    rows_max_ = codec_->rows_max() > 0 ? codec_->rows_max() : remote.calls().batch_rows_max();
    age_ns_ = int64_t{remote.calls().batch_age_ms()} * 1'000'000;
    queue_ = std::make_unique<RequestQueue>(remote.calls(), context.env->random);
    metrics_ = std::make_unique<ModelMetrics>(context, *model_);
    remote_metrics_ = std::make_unique<RemoteMetrics>(context.counters.metrics, model_->name());
    inbox_ = std::make_shared<Mailbox>(context.wake);
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    MILLRACE_ASSIGN_OR_RETURN(const FeatureRows rows, features_->Read(batch, out));
    const int64_t now = Now();
    // Rows without features are dead letters already; they settle with those that they came with.
    auto dropped = static_cast<uint64_t>(batch.rows() - rows.batch.rows());
    for (int64_t at = 0; at < rows.batch.rows();) {
      const int64_t count = std::min(rows.batch.rows() - at, rows_max_ - gathering_.rows());
      gathering_.Add(Slice(rows, at, count),
                     static_cast<uint64_t>(count) + std::exchange(dropped, 0), now);
      at += count;
      if (gathering_.rows() >= rows_max_) queue_->Add(gathering_.Take());
    }
    if (dropped > 0) gathering_.Add({}, dropped, now);
    SendAll();
    return absl::OkStatus();
  }

  absl::StatusOr<Settled> Collect(bool all, Emitter& out) override {
    inbox_->RunPosted();
    const int64_t now = Now();
    const bool is_old = gathering_.given() > 0 && now - gathering_.since_ns() >= age_ns_;
    const bool is_empty = gathering_.rows() == 0;  // Dead letters alone wait for nothing.
    if (gathering_.given() > 0 && (all || is_old || is_empty)) queue_->Add(gathering_.Take());
    SendAll();
    MILLRACE_RETURN_IF_ERROR(EmitDone(out));
    WakeInTime();
    remote_metrics_->Show(*queue_);
    return Settled{.rows = settled_, .full = queue_->full()};
  }

 private:
  using Request = std::shared_ptr<InferenceRequest>;

  int64_t Now() const { return context_->clock.MonotonicNanos(); }

  void SendAll() {
    absl::Duration timeout;
    while (Request request = queue_->NextToSend(Now(), timeout)) {
      std::string id = Concat(context_->node.uid(), "-", context_->key_groups.first, "-", ++ids_);
      transport_->Infer(
          codec_->Encode(request->rows.features, request->rows.batch.rows(), std::move(id)),
          timeout,
          // The letter runs in Collect, so while `this` lives; the callback itself only posts it.
          [this, request, inbox = inbox_](absl::StatusOr<inference::ModelInferResponse> answer) {
            inbox->Post([this, request, answer = std::move(answer)] { OnAnswer(request, answer); });
          });
    }
  }

  void OnAnswer(const Request& request,
                const absl::StatusOr<inference::ModelInferResponse>& answer) {
    const int64_t now = Now();
    const int64_t rows = request->rows.batch.rows();
    absl::Status status = answer.status();
    if (status.ok()) {
      auto predictions = codec_->Decode(*answer, rows);
      status = predictions.status();
      if (status.ok()) request->predictions = *std::move(predictions);
    }
    metrics_->ObserveCall(rows, now - request->sent_ns);
    const Verdict verdict = queue_->OnAnswer(*request, status, now);
    remote_metrics_->CountAnswer(status, verdict);
    request->failure = status;
  }

  absl::Status EmitDone(Emitter& out) {
    InferenceRequests& requests = queue_->requests();
    const bool ordered = !model_->remote().calls().unordered();
    for (const Request& request : requests) {
      if (out.full()) break;
      if (request->state != InferenceRequest::State::kDone) {
        if (ordered) break;
        continue;
      }
      if (request->rows.batch.rows() > 0) MILLRACE_RETURN_IF_ERROR(EmitOne(*request, out));
      request->rows = {};
    }
    while (!requests.empty() && requests.front()->state == InferenceRequest::State::kDone &&
           requests.front()->rows.batch.rows() == 0) {
      settled_ += requests.front()->given;
      requests.pop_front();
    }
    return absl::OkStatus();
  }

  absl::Status EmitOne(const InferenceRequest& request, Emitter& out) {
    const Batch& batch = request.rows.batch;
    if (request.failure.ok()) {
      metrics_->ObserveRows(request.rows.features, request.predictions);
      out.Emit(WithPredictions(*context_, *model_, batch, request.predictions, *metrics_, out));
      return absl::OkStatus();
    }
    metrics_->CountErrors(static_cast<uint64_t>(batch.rows()));
    const std::string reason =
        Concat(absl::StatusCodeToString(request.failure.code()), ": ", MessageOf(request.failure));
    if (model_->remote().calls().fail_job()) {
      return absl::InvalidArgumentError(Concat("the model server failed on ", batch.rows(),
                                               " rows: model=", model_->name(), ": ", reason));
    }
    if (!fallbacks_.empty()) {
      std::vector<Column> values;
      for (const Datum& value : fallbacks_) values.push_back(Repeated(value, batch.rows()));
      remote_metrics_->CountFallbacks(batch.rows());
      out.Emit(WithPredictions(*context_, *model_, batch, values, *metrics_, out));
      return absl::OkStatus();
    }
    RowErrors errors;
    for (int32_t row = 0; row < batch.rows(); ++row) errors.entries.push_back({row, reason});
    (void)DeadLetterRows(context_->node.uid(), CodeOf(request), batch, errors, context_->counters,
                         context_->clock, out);  // No row is left.
    return absl::OkStatus();
  }

  static std::string_view CodeOf(const InferenceRequest& request) {
    if (request.verdict == Verdict::kTooLate) return "MR4107";
    return absl::IsDataLoss(request.failure) ? "MR4108" : "MR4106";
  }

  // Has Collect called again when something is due that no answer will tell of.
  void WakeInTime() {
    const int64_t now = Now();
    int64_t due = queue_->NextTimeNs(now);
    if (gathering_.given() > 0) due = std::min(due, gathering_.since_ns() + age_ns_);
    if (due == std::numeric_limits<int64_t>::max()) return;
    if (timer_ns_ > now && timer_ns_ <= due) return;  // One is on its way.
    timer_ns_ = std::max(due, now + 1'000'000);
    context_->env->executor.RunAfter(absl::Nanoseconds(timer_ns_ - now),
                                     [inbox = inbox_] { inbox->Post([] {}); });
  }

  const MakeInferenceTransport make_transport_;
  OperatorContext* context_ = nullptr;
  const v1::Model* model_ = nullptr;
  std::optional<TensorCodec> codec_;
  std::unique_ptr<FeatureReader> features_;
  std::vector<Datum> fallbacks_;
  int64_t rows_max_ = 1;
  int64_t age_ns_ = 0;
  std::unique_ptr<RequestQueue> queue_;
  std::unique_ptr<ModelMetrics> metrics_;
  std::unique_ptr<RemoteMetrics> remote_metrics_;
  std::shared_ptr<Mailbox> inbox_;  // Shared with callbacks, which outlive this.
  std::unique_ptr<InferenceTransport> transport_;
  Gathering gathering_;
  uint64_t settled_ = 0;
  uint64_t ids_ = 0;
  int64_t timer_ns_ = 0;
};

}  // namespace

std::unique_ptr<Operator> MakeRemoteInference(MakeInferenceTransport make_transport) {
  return std::make_unique<RemoteInference>(std::move(make_transport));
}

}  // namespace millrace
