// Another version of a model for a running job: every task loads it, then one epoch's barrier is
// the cut. The number of that epoch is chosen first and held back until all tasks are ready; when
// one is not, the number is skipped, so that no task ever switches alone. What is in use is what
// the tasks write into the snapshot of an epoch: the epoch's record carries it, and a restore takes
// it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/job_controller.h"
#include "coordinator/job_state.h"

namespace millrace {
namespace {

constexpr absl::Duration kPrepareTimeout = absl::Minutes(1);

bool SameTensors(const google::protobuf::RepeatedPtrField<v1::Tensor>& a,
                 const google::protobuf::RepeatedPtrField<v1::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const v1::Tensor& x, const v1::Tensor& y) {
                      return x.name() == y.name() && x.type() == y.type() && x.width() == y.width();
                    });
}

bool IsSame(const v1::Model& a, const v1::Model& b) {
  return a.version() == b.version() && a.local().sha256() == b.local().sha256();
}

}  // namespace

v1::JobGraph JobController::GraphInUse() const {
  v1::JobGraph graph = this->graph();
  // A new version brings its own.
  if (newest_epoch() == nullptr || IsForeign(newest_epoch()->epoch())) return graph;
  for (v1::Model& model : *graph.mutable_models()) {
    for (const v1::Model& used : newest_epoch()->models()) {
      if (used.name() == model.name()) model = used;
    }
  }
  return graph;
}

absl::StatusOr<v1::Model> JobController::CompleteModel(v1::Model model) const {
  const v1::JobGraph graph = GraphInUse();
  const v1::Model* current = nullptr;
  for (const v1::Model& one : graph.models()) {
    if (one.name() == model.name()) current = &one;
  }
  if (current == nullptr) {
    return absl::NotFoundError(absl::StrCat("the job has no model called ", model.name()));
  }
  if (!current->has_local() || !model.has_local() || model.local().path().empty()) {
    return absl::InvalidArgumentError("only a model in a file can be replaced, by a file");
  }
  if (model.version().empty()) {
    return absl::InvalidArgumentError("the new model needs a version");
  }
  if (model.inputs().empty()) *model.mutable_inputs() = current->inputs();
  if (model.outputs().empty()) *model.mutable_outputs() = current->outputs();
  if (!SameTensors(model.inputs(), current->inputs()) ||
      !SameTensors(model.outputs(), current->outputs())) {
    return absl::InvalidArgumentError(
        "the new model has other inputs or outputs; submit a new job");
  }
  v1::LocalModel& local = *model.mutable_local();
  if (local.format() == v1::LocalModel::FORMAT_UNSPECIFIED) {
    local.set_format(current->local().format());
  }
  if (local.size_bytes_max() == 0) local.set_size_bytes_max(current->local().size_bytes_max());
  if (model.baselines().empty()) *model.mutable_baselines() = current->baselines();
  if (model.drift_rows() == 0) model.set_drift_rows(current->drift_rows());
  if (model.drift_rows_min() == 0) model.set_drift_rows_min(current->drift_rows_min());
  return model;
}

void JobController::UpdateModel(const v1::Model& model, Reply<v1::UpdateModelResponse> reply) {
  if (fenced_) {
    return std::move(reply)(absl::AbortedError("another coordinator controls the job"));
  }
  const v1::JobGraph graph = GraphInUse();
  for (const v1::Model& one : graph.models()) {
    if (one.name() != model.name() || one.version() != model.version()) continue;
    // A request that is repeated finds its work done.
    if (IsSame(one, model) && newest_epoch() != nullptr) {
      v1::UpdateModelResponse response;
      response.set_epoch(newest_epoch()->epoch());
      response.set_sha256(model.local().sha256());
      return std::move(reply)(response);
    }
    return std::move(reply)(absl::InvalidArgumentError(
        absl::StrCat("version ", model.version(), " of model ", model.name(),
                     " is in use, with sha256=", one.local().sha256())));
  }
  if (attempt_.phase != AttemptPhase::kRunning || state() != v1::JOB_STATE_RUNNING) {
    return std::move(reply)(absl::FailedPreconditionError("the job does not run now"));
  }
  if (update_.has_value()) {
    return std::move(reply)(absl::FailedPreconditionError("another model is being replaced"));
  }
  update_.emplace(ModelUpdate{
      .model = model, .epoch = attempt_.next_epoch, .waits_for = {}, .reply = std::move(reply)});
  for (const auto& [id, run] : attempt_.tasks) update_->waits_for.insert(id);
  AddLog(LogLevel::kInfo, absl::StrCat("loads model ", model.name(), " version ", model.version(),
                                       " to use it from epoch ", update_->epoch, " on"));
  v1::ConnectResponse message;
  v1::PrepareModel& prepare = *message.mutable_prepare_model();
  *prepare.mutable_attempt() = attempt_.id;
  prepare.set_epoch(update_->epoch);
  *prepare.mutable_model() = model;
  SendToAttempt(message);
  loop_.After(kPrepareTimeout, [this, token = token_, epoch = update_->epoch] {
    if (token != token_ || !update_ || update_->epoch != epoch || update_->waits_for.empty())
      return;
    DropUpdate(absl::DeadlineExceededError("not all tasks have loaded the model in time"));
    Advance();
  });
}

void JobController::OnModelPrepared(const v1::ModelPrepared& message) {
  if (!IsCurrent(message.attempt()) || !update_ || update_->epoch != message.epoch()) return;
  if (message.status_code() != 0) {
    DropUpdate(absl::Status(static_cast<absl::StatusCode>(message.status_code()),
                            absl::StrCat("the old model stays; task ", message.task().chain(), "/",
                                         message.task().index(),
                                         " cannot use the new one: ", message.status_message())));
  } else {
    update_->waits_for.erase({message.task().chain(), message.task().index()});
  }
  Advance();
}

// The number of the epoch is skipped: tasks that are ready wait for it in vain.
void JobController::DropUpdate(const absl::Status& status) {
  if (!update_) return;
  if (attempt_.next_epoch == update_->epoch) ++attempt_.next_epoch;
  AddLog(LogLevel::kWarning, absl::StrCat("model ", update_->model.name(),
                                          " was not replaced: ", std::string(status.message())));
  Reply<v1::UpdateModelResponse> reply = std::move(update_->reply);
  update_.reset();
  std::move(reply)(status);
}

void JobController::FinishUpdate(const v1::EpochRecord& record) {
  if (!update_ || record.epoch() < update_->epoch) return;
  v1::UpdateModelResponse response;
  response.set_epoch(update_->epoch);
  response.set_sha256(update_->model.local().sha256());
  AddLog(LogLevel::kInfo, absl::StrCat("model ", update_->model.name(), " version ",
                                       update_->model.version(), " is in use"));
  Reply<v1::UpdateModelResponse> reply = std::move(update_->reply);
  update_.reset();
  std::move(reply)(response);
}

absl::StatusOr<std::vector<v1::Model>> JobController::ModelsOfEpoch() const {
  std::map<std::string, v1::Model> models;
  for (const auto& [id, snapshot] : attempt_.epoch.snapshots) {
    for (const v1::NodeSnapshot& node : snapshot.nodes()) {
      if (!node.has_model()) continue;
      const auto [first, fresh] = models.emplace(node.model().name(), node.model());
      if (fresh || IsSame(first->second, node.model())) continue;
      return absl::InternalError(
          absl::StrCat("tasks use different versions of model ", node.model().name()));
    }
  }
  std::vector<v1::Model> list;
  for (auto& [name, model] : models) list.push_back(std::move(model));
  return list;
}

}  // namespace millrace
