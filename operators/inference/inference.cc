#include "operators/inference/inference.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "millrace/v1/graph.pb.h"
#include "operators/inference/features.h"
#include "operators/inference/model.h"
#include "operators/inference/remote/open_inference_rpc.h"
#include "operators/inference/remote/remote_inference.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// The state is one row per key group: which model made the rows of the epoch. A job that comes back
// with other bytes under the same name and version is refused: nobody could tell which rows are
// whose. A new version is a choice of the user.
class ModelState {
 public:
  absl::Status Open(OperatorContext& context, const v1::Model& model) {
    context_ = &context;
    Set(model);
    MILLRACE_ASSIGN_OR_RETURN(table_, context.state->OpenKeyedTable("model"));
    absl::Status status;
    MILLRACE_RETURN_IF_ERROR(
        table_->ScanAll([&](uint32_t, std::string_view, std::string_view value) {
          v1::Model stored;
          if (!stored.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
            status = absl::DataLossError("the state of an inference node is damaged");
          } else if (stored.name() == ref_.name() && stored.version() == ref_.version() &&
                     stored.local().sha256() != ref_.local().sha256()) {
            status = absl::FailedPreconditionError(
                Concat("MR5102: the checkpoint was made with another file under the same version; "
                       "give the new model a new version, or the job its old file: model=",
                       ref_.name(), " version=", ref_.version(), " sha256=", ref_.local().sha256(),
                       " sha256_of_checkpoint=", stored.local().sha256()));
          }
          return status.ok();
        }));
    return status;
  }

  // What the next flush writes.
  void Set(const v1::Model& model) {
    ref_.set_name(model.name());
    ref_.set_version(model.version());
    ref_.mutable_local()->set_sha256(model.local().sha256());
    is_written_ = false;
  }

  absl::Status Flush() {
    if (std::exchange(is_written_, true)) return absl::OkStatus();
    const std::string value = ref_.SerializeAsString();
    for (uint32_t group = context_->key_groups.first; group <= context_->key_groups.last; ++group) {
      MILLRACE_RETURN_IF_ERROR(table_->Put(group, "model", value));
    }
    return absl::OkStatus();
  }

 private:
  OperatorContext* context_ = nullptr;
  v1::Model ref_;  // Name, version and digest.
  KeyedTable* table_ = nullptr;
  bool is_written_ = false;
};

bool SameTensors(const google::protobuf::RepeatedPtrField<v1::Tensor>& a,
                 const google::protobuf::RepeatedPtrField<v1::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const v1::Tensor& x, const v1::Tensor& y) {
                      return x.name() == y.name() && x.type() == y.type() && x.width() == y.width();
                    });
}

class LocalInference : public Operator, public ModelHolder {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    MILLRACE_ASSIGN_OR_RETURN(declared_, ModelOf(context));
    MILLRACE_RETURN_IF_ERROR(state_.Open(context, *declared_));
    MILLRACE_ASSIGN_OR_RETURN(FeatureReader reader, FeatureReader::Make(context, *declared_));
    features_ = std::make_unique<FeatureReader>(std::move(reader));
    proto_ = *declared_;
    MILLRACE_ASSIGN_OR_RETURN(
        model_,
        LoadModelFile(proto_, WantedOutputs(proto_, context.node.inference()), *context.disk));
    metrics_ = std::make_unique<ModelMetrics>(context, proto_);
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    MILLRACE_ASSIGN_OR_RETURN(FeatureRows rows, features_->Read(batch, out));
    if (rows.batch.rows() == 0) return absl::OkStatus();
    return Ask(rows, out);
  }

  absl::Status FlushState(Epoch epoch) override {
    if (next_ != nullptr && next_epoch_ == epoch) Switch();
    if (next_epoch_ <= epoch) next_.reset();  // Its barrier was skipped.
    return state_.Flush();
  }

  ModelHolder* model_holder() override { return this; }
  const v1::Model& model() const override { return proto_; }

  // Looks only at what does not change after Open.
  absl::StatusOr<std::unique_ptr<Loaded>> Load(const v1::Model& model) const override {
    if (!model.has_local() || !SameTensors(model.inputs(), declared_->inputs()) ||
        !SameTensors(model.outputs(), declared_->outputs())) {
      return absl::InvalidArgumentError("the new model has other inputs or outputs");
    }
    auto next = std::make_unique<Next>();
    next->proto = model;
    MILLRACE_ASSIGN_OR_RETURN(
        next->model,
        LoadModelFile(model, WantedOutputs(model, context_->node.inference()), *context_->disk));
    return next;
  }

  void UseFrom(Epoch epoch, std::unique_ptr<Loaded> loaded) override {
    next_.reset(static_cast<Next*>(loaded.release()));
    next_epoch_ = epoch;
  }

 private:
  struct Next : Loaded {
    v1::Model proto;
    std::unique_ptr<Model> model;
  };

  void Switch() {
    metrics_.reset();  // First: the new ones may take the place of the old ones.
    proto_ = next_->proto;
    model_ = std::move(next_->model);
    metrics_ = std::make_unique<ModelMetrics>(*context_, proto_);
    state_.Set(proto_);
  }

  absl::Status Ask(const FeatureRows& rows, Emitter& out) {
    std::vector<Column> predictions;
    const int64_t start = context_->clock.MonotonicNanos();
    const absl::Status status = model_->Predict(rows.features, rows.batch.rows(), predictions);
    metrics_->ObserveCall(rows.batch.rows(), context_->clock.MonotonicNanos() - start);
    if (!status.ok()) return AskHalves(rows, status, out);
    metrics_->ObserveRows(rows.features, predictions);
    out.Emit(WithPredictions(*context_, proto_, rows.batch, predictions, *metrics_, out));
    return absl::OkStatus();
  }

  // The model fails on some row: halves find out which.
  absl::Status AskHalves(const FeatureRows& rows, const absl::Status& status, Emitter& out) {
    const int64_t count = rows.batch.rows();
    if (count == 1) {
      metrics_->CountErrors(1);
      const RowErrors errors{.entries = {{0, std::string(MessageOf(status))}}};
      (void)DeadLetterRows(context_->node.uid(), "MR4105", rows.batch, errors, context_->counters,
                           context_->clock, out);  // There is no other row.
      return absl::OkStatus();
    }
    for (const auto& [begin, end] :
         {std::pair(int64_t{0}, count / 2), std::pair(count / 2, count)}) {
      std::vector<int32_t> part(static_cast<size_t>(end - begin));
      std::iota(part.begin(), part.end(), static_cast<int32_t>(begin));
      FeatureRows half{.batch = Take(rows.batch, part), .features = {}};
      half.batch.split = rows.batch.split;
      for (const Column& column : rows.features) half.features.push_back(Take(column, part));
      MILLRACE_RETURN_IF_ERROR(Ask(half, out));
    }
    return absl::OkStatus();
  }

  OperatorContext* context_ = nullptr;
  const v1::Model* declared_ = nullptr;  // Of the graph.
  ModelState state_;
  std::unique_ptr<FeatureReader> features_;
  v1::Model proto_;  // Of the model in use.
  std::unique_ptr<Model> model_;
  std::unique_ptr<Next> next_;  // Waits for the cut of next_epoch_.
  Epoch next_epoch_;
  std::unique_ptr<ModelMetrics> metrics_;
};

// Only the graph says where the model is, so the choice waits for Open.
class Inference : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    MILLRACE_ASSIGN_OR_RETURN(const v1::Model* model, ModelOf(context));
    if (model->has_remote()) {
      chosen_ = MakeRemoteInference(&MakeOpenInferenceTransport);
    } else {
      chosen_ = std::make_unique<LocalInference>();
    }
    return chosen_->Open(context);
  }
  absl::Status Process(int input, const Batch& batch, Emitter& out) override {
    return chosen_->Process(input, batch, out);
  }
  absl::StatusOr<Progress> OnWatermark(EventTime watermark, Emitter& out) override {
    return chosen_->OnWatermark(watermark, out);
  }
  absl::Status FlushState(Epoch epoch) override { return chosen_->FlushState(epoch); }
  absl::StatusOr<Settled> Collect(bool all, Emitter& out) override {
    return chosen_->Collect(all, out);
  }

  ModelHolder* model_holder() override {
    return chosen_ == nullptr ? nullptr : chosen_->model_holder();
  }

 private:
  std::unique_ptr<Operator> chosen_;
};

}  // namespace

std::unique_ptr<Operator> MakeInference() { return std::make_unique<Inference>(); }

}  // namespace millrace
