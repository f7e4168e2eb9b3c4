#include "worker/attempt.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/task/graph_view.h"
#include "runtime/task/tailed_rows.h"
#include "worker/state_preparation.h"
#include "worker/worker.h"

namespace millrace {
namespace {

// Where the rows of `edge`, which have the columns `schema`, have their keys.
std::vector<int> KeyColumns(const v1::Edge& edge, const Schema& schema) {
  std::vector<int> columns;
  for (uint32_t id : edge.hash().keys().ids()) {
    columns.push_back(schema.IndexOfId(id));
    MILLRACE_CHECK(columns.back() >= 0);
  }
  return columns;
}

Routing RoutingOf(const v1::Edge& edge) {
  switch (edge.routing_case()) {
    case v1::Edge::kHash:
      return Routing::kHash;
    case v1::Edge::kBroadcast:
      return Routing::kBroadcast;
    case v1::Edge::kRebalance:
      return Routing::kRebalance;
    case v1::Edge::kSingle:
      return Routing::kSingle;
    default:
      return Routing::kForward;
  }
}

// The tasks of the receiving chain that task `from` sends to.
std::vector<uint32_t> Receivers(Routing routing, uint32_t from, uint32_t parallelism) {
  if (routing == Routing::kForward) return {from};
  if (routing == Routing::kSingle) return {0};
  std::vector<uint32_t> all(parallelism);
  for (uint32_t i = 0; i < parallelism; ++i) all[i] = i;
  return all;
}

// Rows that are larger are counted and not shown.
constexpr size_t kShownRowBytesMax = 64 << 10;
// How often those who wait for a reader look whether the attempt is over.
constexpr absl::Duration kDeliveryLook = absl::Milliseconds(50);

void AppendState(const v1::TaskSnapshot& task, std::vector<v1::Segment>& segments) {
  for (const v1::NodeSnapshot& node : task.nodes()) {
    segments.insert(segments.end(), node.state().begin(), node.state().end());
  }
}

AttemptKey KeyOf(const v1::AttemptId& id) {
  return {.job_id = id.job_id(), .generation = id.generation(), .attempt = id.attempt()};
}

}  // namespace

Attempt::Attempt(Worker& worker, std::shared_ptr<WorkerParts> parts, v1::DeployAttempt deploy)
    : worker_(worker),
      parts_(std::move(parts)),
      deploy_(std::move(deploy)),
      key_(KeyOf(deploy_.attempt())) {}

Attempt::~Attempt() = default;

void Attempt::Post(std::function<void(Attempt&)> letter) {
  parts_->mailbox.Post([worker = &worker_, key = key_, letter = std::move(letter)] {
    auto it = worker->attempts_.find(key);
    if (it != worker->attempts_.end()) letter(*it->second);
  });
}

const v1::Chain* Attempt::ChainOf(std::string_view uid) const {
  for (const v1::Chain& chain : deploy_.chains()) {
    if (std::find(chain.uids().begin(), chain.uids().end(), uid) != chain.uids().end()) {
      return &chain;
    }
  }
  return nullptr;
}

const v1::Task* Attempt::FindTask(uint32_t chain, uint32_t index) const {
  for (const v1::Task& task : deploy_.tasks()) {
    if (task.key().chain() == chain && task.key().index() == index) return &task;
  }
  return nullptr;
}

Attempt::Hosted* Attempt::FindHosted(TaskId id) {
  auto it = tasks_.find(id);
  return it == tasks_.end() ? nullptr : &it->second;
}

absl::Status Attempt::Build(StatePreparation* prepared) {
  for (const v1::Node& node : deploy_.graph().nodes()) {
    if (ChainOf(node.uid()) == nullptr) {
      return absl::InternalError(absl::StrCat("the plan has no chain for node ", node.uid()));
    }
  }
  MILLRACE_ASSIGN_OR_RETURN(storage_, parts_->OpenStorage(deploy_.checkpoint_uri()));
  if (KeepsCopies()) {
    // What an earlier attempt wrote beyond the restored epoch is part of nothing.
    std::vector<v1::Segment> restored;
    for (const v1::TaskSnapshot& task : deploy_.restore().tasks()) AppendState(task, restored);
    parts_->copies.Retain(deploy_.checkpoint_uri(), Epoch{UINT64_MAX}, restored);
  }
  for (const v1::Task& spec : deploy_.tasks()) {
    if (spec.worker_id() != parts_->options.worker_id) continue;
    MILLRACE_RETURN_IF_ERROR(MakeTask(spec));
  }
  for (auto& [id, hosted] : tasks_) {
    const TaskOptions& options = hosted.task->options();
    Open(hosted,
         prepared == nullptr ? PreparedState() : prepared->Take(options.chain, options.key_groups));
  }
  return absl::OkStatus();
}

bool Attempt::KeepsCopies() const { return parts_->KeepsCopies(deploy_.checkpoint_uri()); }

absl::Status Attempt::MakeTask(const v1::Task& spec) {
  const v1::Chain* chain = nullptr;
  for (const v1::Chain& candidate : deploy_.chains()) {
    if (candidate.id() == spec.key().chain()) chain = &candidate;
  }
  if (chain == nullptr) {
    return absl::InternalError(absl::StrCat("the plan has no chain ", spec.key().chain()));
  }
  bool blocking = false;
  for (const std::string& uid : chain->uids()) {
    const v1::Node* node = FindNode(deploy_.graph(), uid);
    blocking |= node != nullptr && parts_->factory.IsBlocking(*node);
  }
  std::shared_ptr<TaskRunner> runner = worker_.RunnerFor(blocking);
  const TaskId id{.chain = spec.key().chain(), .index = spec.key().index()};
  std::shared_ptr<Task> task =
      Task::Make({.env = parts_->env,
                  .factory = parts_->factory,
                  .graph = deploy_.graph(),
                  .chain = *chain,
                  .restore = deploy_.restore(),
                  .layouts = deploy_.layouts(),
                  .storage = *storage_,
                  .budget = parts_->budget,
                  .listener = *this,
                  .wake = runner->waker(),
                  .keep_alive = shared_from_this(),
                  .job_id = key_.job_id,
                  .generation = Generation{key_.generation},
                  .attempt = key_.attempt,
                  .id = id,
                  .key_groups = {spec.key_group_first(), spec.key_group_last()},
                  .cold_folder = absl::StrCat(parts_->options.data_folder, "/state/", key_.job_id,
                                              "/g", key_.generation, "-a", key_.attempt, "/c",
                                              id.chain, "-t", id.index),
                  .interactive = parts_->options.interactive,
                  .s3 = parts_->options.s3},
                 MakeInputs(spec, *chain, runner->waker()));
  Hosted hosted{.spec = &spec, .task = std::move(task), .runner = runner, .state = {}};
  *hosted.state.mutable_attempt() = deploy_.attempt();
  *hosted.state.mutable_task() = spec.key();
  tasks_.emplace(id, std::move(hosted));
  return absl::OkStatus();
}

std::vector<TaskInput> Attempt::MakeInputs(const v1::Task& spec, const v1::Chain& chain,
                                           std::function<void()> wake) {
  std::vector<TaskInput> inputs;
  const ChannelLimits limits{.bytes_max = parts_->options.channel_bytes_max};
  for (int e = 0; e < deploy_.graph().edges_size(); ++e) {
    const v1::Edge& edge = deploy_.graph().edges(e);
    if (edge.to() != chain.uids(0)) continue;
    const v1::Chain& upstream = *ChainOf(edge.from());
    if (upstream.id() == chain.id()) continue;
    const SchemaPtr schema = OutputSchema(deploy_.graph(), edge.from(), PortOf(edge));
    for (uint32_t from = 0; from < upstream.parallelism(); ++from) {
      const auto receivers = Receivers(RoutingOf(edge), from, chain.parallelism());
      if (std::find(receivers.begin(), receivers.end(), spec.key().index()) == receivers.end()) {
        continue;
      }
      const v1::Task* sender = FindTask(upstream.id(), from);
      MILLRACE_CHECK(sender != nullptr);
      const ChannelKey channel{
          .edge = static_cast<uint32_t>(e), .from = from, .to = spec.key().index()};
      TaskInput input{.input = static_cast<int>(edge.to_input()),
                      .from = {upstream.id(), from},
                      .receiver = nullptr};
      if (edge.has_hash()) input.key_columns = KeyColumns(edge, *schema);
      if (sender->worker_id() == parts_->options.worker_id) {
        LocalChannel local = MakeLocalChannel(
            limits, [this, id = TaskId{upstream.id(), from}] { WakeTask(id); }, wake);
        local_senders_[channel] = std::move(local.sender);
        input.receiver = std::move(local.receiver);
      } else {
        input.receiver = parts_->data_plane->OpenReceiver(key_, channel, schema, limits, wake);
      }
      inputs.push_back(std::move(input));
    }
  }
  return inputs;
}

// Called on other tasks' threads, only while the attempt runs: tasks_ does not change any more.
void Attempt::WakeTask(TaskId id) {
  auto it = tasks_.find(id);
  if (it != tasks_.end()) it->second.runner->waker()();
}

std::vector<std::unique_ptr<ChannelSender>> Attempt::MakeSenders(const Hosted& hosted, int e) {
  const v1::Edge& edge = deploy_.graph().edges(e);
  const v1::Chain& downstream = *ChainOf(edge.to());
  std::vector<std::unique_ptr<ChannelSender>> senders;
  for (uint32_t to :
       Receivers(RoutingOf(edge), hosted.spec->key().index(), downstream.parallelism())) {
    const ChannelKey channel{
        .edge = static_cast<uint32_t>(e), .from = hosted.spec->key().index(), .to = to};
    const v1::Task* receiver = FindTask(downstream.id(), to);
    MILLRACE_CHECK(receiver != nullptr);
    if (receiver->worker_id() == parts_->options.worker_id) {
      auto it = local_senders_.find(channel);
      MILLRACE_CHECK(it != local_senders_.end());
      senders.push_back(std::move(it->second));
      local_senders_.erase(it);
    } else {
      senders.push_back(parts_->data_plane->OpenSender(
          key_, channel, receiver->data_address(), {.bytes_max = parts_->options.channel_bytes_max},
          hosted.runner->waker()));
    }
  }
  return senders;
}

std::vector<TaskOutput> Attempt::MakeOutputs(const Hosted& hosted) {
  std::vector<TaskOutput> outputs;
  for (int e = 0; e < deploy_.graph().edges_size(); ++e) {
    const v1::Edge& edge = deploy_.graph().edges(e);
    const v1::Chain& from = *ChainOf(edge.from());
    if (from.id() != hosted.spec->key().chain() || from.id() == ChainOf(edge.to())->id()) continue;
    RouterOptions options{.routing = RoutingOf(edge),
                          .max_parallelism = deploy_.graph().max_parallelism(),
                          .sender_index = hosted.spec->key().index()};
    options.key_columns =
        KeyColumns(edge, *OutputSchema(deploy_.graph(), edge.from(), PortOf(edge)));
    const v1::Chain& to = *ChainOf(edge.to());
    std::vector<TaskId> receivers;
    for (uint32_t index : Receivers(options.routing, options.sender_index, to.parallelism())) {
      receivers.push_back({to.id(), index});
    }
    outputs.push_back(
        {.uid = edge.from(),
         .port = PortOf(edge),
         .router = std::make_unique<Router>(std::move(options), MakeSenders(hosted, e)),
         .receivers = std::move(receivers)});
  }
  return outputs;
}

void Attempt::Open(Hosted& hosted, PreparedState prepared) {
  parts_->env.executor.RunBlocking(
      [self = shared_from_this(), task = hosted.task, prepared = std::move(prepared)]() mutable {
        const absl::Status status = task->Open(std::move(prepared));
        const TaskId id = task->options().id;
        if (!status.ok()) {
          self->OnFailed(id, "", status);
          return;
        }
        self->Post([id](Attempt& attempt) {
          attempt.SetState(*attempt.FindHosted(id), v1::TaskStateChanged::STATE_READY);
        });
      });
}

void Attempt::Start() {
  if (std::exchange(started_, true)) return;
  for (auto& [id, hosted] : tasks_) {
    hosted.task->Start(MakeOutputs(hosted));
    SetState(hosted, v1::TaskStateChanged::STATE_RUNNING);
  }
  for (auto& [id, hosted] : tasks_) hosted.runner->Add(hosted.task);
}

void Attempt::Stop() {
  EndDeliveries();
  absl::call_once(stopped_, [this] {
    for (auto& [id, hosted] : tasks_) {
      hosted.runner->RemoveIf(
          [this](const Task& task) { return &task.options().listener == this; });
    }
    local_senders_.clear();
    parts_->data_plane->CloseAttempt(key_);
    tasks_.clear();
  });
}

void Attempt::TriggerEpoch(const v1::TriggerEpoch& trigger) {
  const Task::AfterEpoch after = trigger.drain()  ? Task::AfterEpoch::kDrain
                                 : trigger.hold() ? Task::AfterEpoch::kHold
                                                  : Task::AfterEpoch::kGoOn;
  const bool changes =
      std::exchange(keep_segments_, trigger.keep_segments()) != trigger.keep_segments();
  for (auto& [id, hosted] : tasks_) {
    if (changes) hosted.task->KeepSegments(keep_segments_);
    hosted.task->TriggerEpoch(Epoch{trigger.epoch()}, after,
                              absl::Milliseconds(trigger.alignment_timeout_ms()));
  }
}

void Attempt::CompleteEpoch(Epoch epoch) {
  for (auto& [id, hosted] : tasks_) hosted.task->CompleteEpoch(epoch);
  const auto state = state_of_epochs_.find(epoch);
  if (state == state_of_epochs_.end()) return;
  // Files go on an io thread. Late, it costs copies at most.
  parts_->env.executor.RunBlocking(
      [parts = parts_, uri = deploy_.checkpoint_uri(), epoch, segments = std::move(state->second)] {
        parts->copies.Retain(uri, epoch, segments);
      });
  state_of_epochs_.erase(state_of_epochs_.begin(), std::next(state));
}

void Attempt::PrepareModel(Epoch epoch, const v1::Model& model) {
  if (!started_) return;
  for (auto& [id, hosted] : tasks_) hosted.task->PrepareModel(epoch, model);
}

void Attempt::Tail(const v1::TailTasks& tail) {
  const v1::Chain* const chain = ChainOf(tail.uid());
  if (chain == nullptr) return;
  const uint32_t rate = tail.rows_per_second_max();
  const uint32_t per_task = rate == 0 ? 0 : std::max(1u, rate / std::max(1u, chain->parallelism()));
  for (auto& [id, hosted] : tasks_) {
    if (id.chain == chain->id()) hosted.task->SetTap(tail.uid(), per_task);
  }
}

void Attempt::OnRowsTaken(uint64_t number) {
  const auto found = deliveries_.find(number);
  if (found == deliveries_.end()) return;
  found->second->taken.Notify();
  deliveries_.erase(found);
}

void Attempt::AddProgress(v1::Heartbeat& heartbeat) const {
  if (!started_) return;
  for (const auto& [id, hosted] : tasks_) AddProgress(hosted, heartbeat);
}

void Attempt::AddProgress(const Hosted& hosted, v1::Heartbeat& heartbeat) const {
  AddCondition(hosted, *heartbeat.add_conditions());
  for (const Task::NodeView& view : hosted.task->Views()) {
    v1::TaskProgress& progress = *heartbeat.add_progress();
    *progress.mutable_attempt() = deploy_.attempt();
    *progress.mutable_task() = hosted.spec->key();
    progress.set_uid(view.uid);
    progress.set_rows_in(view.counters->rows_in.value());
    progress.set_rows_out(view.counters->rows_out.value());
    progress.set_rows_late(view.counters->rows_late.value());
    progress.set_rows_dead_lettered(view.counters->rows_dead_lettered.value());
    progress.set_watermark_us(static_cast<int64_t>(view.watermark_us->value()));
  }
}

void Attempt::AddCondition(const Hosted& hosted, v1::TaskCondition& out) const {
  static_assert(
      static_cast<int>(TaskCondition::WaitsFor::kInput) == v1::TaskCondition::WAITS_FOR_INPUT &&
      static_cast<int>(TaskCondition::WaitsFor::kCommit) == v1::TaskCondition::WAITS_FOR_COMMIT);
  const TaskCondition now = hosted.task->condition();
  const auto ms = [](int64_t ns) { return static_cast<uint64_t>(ns) / 1'000'000; };
  const auto set = [](TaskId id, v1::TaskKey& key) {
    key.set_chain(id.chain);
    key.set_index(id.index);
  };
  *out.mutable_attempt() = deploy_.attempt();
  *out.mutable_task() = hosted.spec->key();
  out.set_waits_for(static_cast<v1::TaskCondition::WaitsFor>(now.waits_for));
  out.set_waits_ms(ms(now.waits_ns));
  if (now.waits_for == TaskCondition::WaitsFor::kCredit) set(now.receiver, *out.mutable_receiver());
  if (now.aligning_epoch != 0) {
    out.set_aligning_epoch(now.aligning_epoch);
    out.set_align_ms(ms(now.align_ns));
    set(now.missing, *out.mutable_missing());
  }
  out.set_snapshot_ms(ms(now.snapshot_ns));
  out.set_commit_ms(ms(now.commit_ns));
}

void Attempt::ReportStates() const {
  for (const auto& [id, hosted] : tasks_) {
    if (hosted.state.state() == v1::TaskStateChanged::STATE_UNSPECIFIED) continue;
    v1::ConnectRequest message;
    *message.mutable_task_state_changed() = hosted.state;
    worker_.Report(std::move(message));
  }
  for (const auto& [number, delivery] : deliveries_) {
    worker_.Report(v1::ConnectRequest(delivery->message));
  }
}

void Attempt::VisitTasks(const std::function<void(const std::string&, Task&)>& visit) const {
  if (!started_) return;
  for (const auto& [id, hosted] : tasks_) visit(key_.job_id, *hosted.task);
}

void Attempt::SetState(Hosted& hosted, v1::TaskStateChanged::State state) {
  // A failure is final: what was on its way before must not hide it from a coordinator that asks.
  if (hosted.state.state() == v1::TaskStateChanged::STATE_FAILED) return;
  hosted.state.set_state(state);
  v1::ConnectRequest message;
  *message.mutable_task_state_changed() = hosted.state;
  worker_.Report(std::move(message));
}

void Attempt::OnExhausted(TaskId id) {
  Post([id](Attempt& attempt) {
    if (Hosted* hosted = attempt.FindHosted(id)) {
      attempt.SetState(*hosted, v1::TaskStateChanged::STATE_EXHAUSTED);
    }
  });
}

void Attempt::OnFailed(TaskId id, std::string_view uid, const absl::Status& status) {
  Post([id, uid = std::string(uid), status](Attempt& attempt) {
    Hosted* hosted = attempt.FindHosted(id);
    if (hosted == nullptr) return;
    hosted->state.set_uid(uid);
    hosted->state.set_status_code(static_cast<uint32_t>(status.code()));
    hosted->state.set_status_message(std::string(status.message()));
    attempt.SetState(*hosted, v1::TaskStateChanged::STATE_FAILED);
  });
}

void Attempt::OnSnapshot(TaskId id, Epoch epoch, v1::TaskSnapshot snapshot, EpochTimes times) {
  Post([id, epoch, times, snapshot = std::move(snapshot)](Attempt& attempt) {
    // First the counters: those of a job that ends with this epoch are then complete.
    if (const Hosted* hosted = attempt.FindHosted(id)) {
      v1::ConnectRequest progress;
      attempt.AddProgress(*hosted, *progress.mutable_heartbeat());
      attempt.worker_.Report(std::move(progress));
    }
    if (attempt.KeepsCopies()) AppendState(snapshot, attempt.state_of_epochs_[epoch]);
    v1::ConnectRequest message;
    v1::EpochAck& ack = *message.mutable_epoch_ack();
    *ack.mutable_attempt() = attempt.deploy_.attempt();
    ack.set_epoch(epoch.number);
    *ack.mutable_snapshot() = snapshot;
    ack.set_align_us(static_cast<uint64_t>(times.align_ns / 1000));
    ack.set_sync_us(static_cast<uint64_t>(times.sync_ns / 1000));
    ack.set_async_us(static_cast<uint64_t>(times.async_ns / 1000));
    attempt.worker_.Report(std::move(message));
  });
}

void Attempt::OnCommitted(TaskId id, Epoch epoch) {
  Post([id, epoch](Attempt& attempt) {
    v1::ConnectRequest message;
    v1::CommitAck& ack = *message.mutable_commit_ack();
    *ack.mutable_attempt() = attempt.deploy_.attempt();
    ack.set_epoch(epoch.number);
    ack.mutable_task()->set_chain(id.chain);
    ack.mutable_task()->set_index(id.index);
    attempt.worker_.Report(std::move(message));
  });
}

void Attempt::OnModelPrepared(TaskId id, Epoch epoch, const absl::Status& status) {
  Post([id, epoch, status](Attempt& attempt) {
    v1::ConnectRequest message;
    v1::ModelPrepared& prepared = *message.mutable_model_prepared();
    *prepared.mutable_attempt() = attempt.deploy_.attempt();
    prepared.mutable_task()->set_chain(id.chain);
    prepared.mutable_task()->set_index(id.index);
    prepared.set_epoch(epoch.number);
    prepared.set_status_code(static_cast<uint32_t>(status.code()));
    prepared.set_status_message(std::string(status.message()));
    attempt.worker_.Report(std::move(message));
  });
}

void Attempt::OnRows(TaskId, std::string_view uid, const Batch& batch, uint64_t left_out) {
  Post([uid = std::string(uid), batch, left_out](Attempt& attempt) {
    v1::ConnectRequest message;
    v1::NodeRows& node_rows = *message.mutable_node_rows();
    *node_rows.mutable_attempt() = attempt.deploy_.attempt();
    node_rows.set_uid(uid);
    v1::TailedRows& rows = *node_rows.mutable_rows();
    rows.set_rows_left_out(left_out);
    for (int64_t row = 0; row < batch.rows(); ++row) {
      AppendTailedRows(batch, row, row + 1, rows);
      if (rows.rows(rows.rows_size() - 1).ByteSizeLong() <= kShownRowBytesMax) continue;
      rows.mutable_rows()->RemoveLast();
      rows.set_rows_left_out(rows.rows_left_out() + 1);
    }
    attempt.worker_.Report(std::move(message));
  });
}

std::shared_ptr<RowDelivery> Attempt::DeliverRows(TaskId, std::string_view uid,
                                                  v1::TailedRows rows) {
  auto delivery = std::make_shared<Delivery>(deliveries_end_);
  v1::NodeRows& node_rows = *delivery->message.mutable_node_rows();
  *node_rows.mutable_attempt() = deploy_.attempt();
  node_rows.set_uid(std::string(uid));
  *node_rows.mutable_rows() = std::move(rows);
  Post([delivery](Attempt& attempt) {
    const uint64_t number = ++attempt.last_delivery_;
    delivery->message.mutable_node_rows()->set_number(number);
    attempt.deliveries_[number] = delivery;
    attempt.worker_.Report(v1::ConnectRequest(delivery->message));
  });
  return delivery;
}

absl::StatusOr<bool> Attempt::Delivery::Wait(absl::Duration patience) {
  while (patience > absl::ZeroDuration()) {
    if (taken.WaitForNotificationWithTimeout(kDeliveryLook)) return true;
    if (end->load()) return absl::CancelledError("the attempt is over");
    patience -= kDeliveryLook;
  }
  return taken.HasBeenNotified();
}

}  // namespace millrace
