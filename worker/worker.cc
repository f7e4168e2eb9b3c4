#include "worker/worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "worker/attempt.h"
#include "worker/state_preparation.h"

namespace millrace {
namespace {

constexpr char kVersion[] = "0.1.0";

}  // namespace

bool WorkerParts::KeepsCopies(std::string_view uri) const {
  return options.local_copies_bytes_max > 0 && uri.starts_with(options.local_copies_of);
}

absl::StatusOr<std::unique_ptr<CheckpointStorage>> WorkerParts::OpenStorage(
    const std::string& uri) {
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<CheckpointStorage> storage,
                            OpenCheckpointStorage(uri, {&env.disk, options.s3}));
  if (!KeepsCopies(uri)) return storage;
  return copies.Wrap(uri, std::move(storage));
}

Worker::Worker(WorkerOptions options, Env env, const NodeFactory& factory, int cores,
               MakeRunner make_runner, std::function<void()> wake)
    : parts_(new WorkerParts{.options = options,
                             .env = env,
                             .factory = factory,
                             .mailbox = Mailbox(std::move(wake)),
                             .budget = MemoryBudget(options.state_memory_bytes),
                             .copies = LocalCopies(env.disk, options.data_folder + "/copies",
                                                   options.local_copies_bytes_max),
                             .data_plane = nullptr}),
      make_runner_(std::move(make_runner)) {
  for (int i = 0; i < cores; ++i) runners_.push_back(make_runner_());
}

Worker::~Worker() {
  for (auto& [key, attempt] : attempts_) attempt->Stop();
  attempts_.clear();
  // The io pool drops what it has not begun when it ends; then nobody else would end their tasks.
  for (const std::weak_ptr<Attempt>& stopping : stopping_) {
    if (const std::shared_ptr<Attempt> attempt = stopping.lock()) attempt->Stop();
  }
}

absl::Status Worker::Start() {
  // Cold state is a cache of the checkpoint: whatever an earlier incarnation left is worthless.
  const std::string folder = parts_->options.data_folder + "/state";
  MILLRACE_RETURN_IF_ERROR(parts_->env.disk.RemoveFolder(folder));
  MILLRACE_RETURN_IF_ERROR(parts_->env.disk.MakeFolders(folder));
  MILLRACE_RETURN_IF_ERROR(parts_->copies.Start());
  MILLRACE_ASSIGN_OR_RETURN(parts_->data_plane,
                            DataPlane::Start(parts_->env.network, parts_->options.data_address));
  return absl::OkStatus();
}

void Worker::OnConnected(Link link) {
  parts_->mailbox.Post([this, link = std::move(link)]() mutable {
    link_ = std::move(link);
    registered_ = false;
    heard_ns_ = parts_->env.clock.MonotonicNanos();
    Register();
    ScheduleHeartbeat();
  });
}

void Worker::Leave() {
  if (std::exchange(leaving_, true)) return;
  v1::ConnectRequest message;
  message.mutable_leaving();
  Report(std::move(message));  // Without a link, the next registration says it.
}

void Worker::OnDisconnected() {
  parts_->mailbox.Post([this] {
    link_.reset();
    // Nobody may know of it any more.
    while (!prepared_.empty()) ForgetPrepared(std::string(prepared_.begin()->first));
  });
}

void Worker::OnMessage(v1::ConnectResponse message) {
  parts_->mailbox.Post([this, message = std::move(message)] { Handle(message); });
}

void Worker::Report(v1::ConnectRequest message) {
  // Without a link the message is lost on purpose: the coordinator that comes back asks for states
  // anew and begins a new epoch.
  if (link_.has_value()) link_->send(std::move(message));
}

void Worker::Register() {
  v1::ConnectRequest message;
  v1::RegisterWorker& registration = *message.mutable_register_();
  registration.set_worker_id(worker_id());
  registration.set_data_address(parts_->data_plane->address());
  registration.set_cores(static_cast<uint32_t>(runners_.size()));
  registration.set_version(kVersion);
  registration.set_http_address(parts_->options.http_address);
  registration.set_name(parts_->options.name);
  registration.set_leaving(leaving_);
  for (const auto& [key, attempt] : attempts_) *registration.add_running() = attempt->id();
  Report(std::move(message));
}

Attempt* Worker::Find(const v1::AttemptId& id) {
  auto it = attempts_.find(
      {.job_id = id.job_id(), .generation = id.generation(), .attempt = id.attempt()});
  if (it != attempts_.end()) return it->second.get();
  ++dropped_messages_;
  return nullptr;
}

void Worker::CloseLink(const char* reason) {
  LogWarning("leaves its coordinator and looks for another one", {{"reason", reason}});
  const Link link = *std::exchange(link_, std::nullopt);
  link.close();
}

void Worker::Handle(const v1::ConnectResponse& message) {
  if (!link_.has_value()) return;  // What a link that was given up still brought.
  heard_ns_ = parts_->env.clock.MonotonicNanos();
  switch (message.message_case()) {
    case v1::ConnectResponse::kRegistered:
      if (message.registered().heartbeat_interval_ms() > 0) {
        heartbeat_interval_ = absl::Milliseconds(message.registered().heartbeat_interval_ms());
      }
      if (message.registered().term() < term_) {
        return CloseLink("another coordinator leads since then");
      }
      term_ = message.registered().term();
      registered_ = true;
      silence_timeout_ = message.registered().silence_timeout_ms() == 0
                             ? absl::InfiniteDuration()
                             : absl::Milliseconds(message.registered().silence_timeout_ms());
      for (const auto& [key, attempt] : attempts_) attempt->ReportStates();
      return;
    case v1::ConnectResponse::kHeartbeatAck:
      return;
    case v1::ConnectResponse::kDeploy:
      return Deploy(message.deploy());
    case v1::ConnectResponse::kStart:
      if (Attempt* attempt = Find(message.start().attempt())) attempt->Start();
      return;
    case v1::ConnectResponse::kStop:
      if (Attempt* attempt = Find(message.stop().attempt())) StopOne(attempt->key());
      return;
    case v1::ConnectResponse::kTriggerEpoch:
      if (Attempt* attempt = Find(message.trigger_epoch().attempt())) {
        attempt->TriggerEpoch(message.trigger_epoch());
      }
      return;
    case v1::ConnectResponse::kEpochCompleted:
      if (Attempt* attempt = Find(message.epoch_completed().attempt())) {
        attempt->CompleteEpoch(Epoch{message.epoch_completed().epoch()});
      }
      return;
    case v1::ConnectResponse::kMayLeave:
      may_leave_ = leaving_;
      return;
    case v1::ConnectResponse::kPrepareModel:
      if (Attempt* attempt = Find(message.prepare_model().attempt())) {
        attempt->PrepareModel(Epoch{message.prepare_model().epoch()},
                              message.prepare_model().model());
      }
      return;
    case v1::ConnectResponse::kTailTasks:
      if (Attempt* attempt = Find(message.tail_tasks().attempt())) {
        attempt->Tail(message.tail_tasks());
      }
      return;
    case v1::ConnectResponse::kNodeRowsTaken:
      if (Attempt* attempt = Find(message.node_rows_taken().attempt())) {
        attempt->OnRowsTaken(message.node_rows_taken().number());
      }
      return;
    case v1::ConnectResponse::kPrepareState:
      return PrepareState(message.prepare_state());
    case v1::ConnectResponse::MESSAGE_NOT_SET:
      LogWarning("the coordinator sent a message that this version does not know");
      return;
  }
}

void Worker::Deploy(const v1::DeployAttempt& deploy) {
  const v1::AttemptId& id = deploy.attempt();
  const AttemptKey key{
      .job_id = id.job_id(), .generation = id.generation(), .attempt = id.attempt()};
  if (attempts_.contains(key)) return;
  for (const auto& [other, attempt] : attempts_) {
    if (other.job_id == key.job_id && other > key) {
      ++dropped_messages_;  // A stale controller.
      return;
    }
  }
  StopAttemptsOlderThan(id);
  const auto prepared = prepared_.find(key.job_id);
  // What is under way is not waited for.
  const bool usable = prepared != prepared_.end() && prepared->second.under_way == 0;
  auto attempt = std::make_shared<Attempt>(*this, parts_, deploy);
  attempts_[key] = attempt;
  LogInfo("deploying", {{"job", key.job_id},
                        {"generation", key.generation},
                        {"attempt", key.attempt},
                        {"restore_epoch", deploy.restore_epoch()}});
  const absl::Status status = attempt->Build(usable ? prepared->second.state.get() : nullptr);
  ForgetPrepared(key.job_id);
  if (!status.ok()) {
    v1::ConnectRequest message;
    v1::TaskStateChanged& changed = *message.mutable_task_state_changed();
    *changed.mutable_attempt() = id;
    for (const v1::Task& task : deploy.tasks()) {
      if (task.worker_id() == worker_id()) *changed.mutable_task() = task.key();
    }
    changed.set_state(v1::TaskStateChanged::STATE_FAILED);
    changed.set_status_code(static_cast<uint32_t>(status.code()));
    changed.set_status_message(std::string(status.message()));
    Report(std::move(message));
    StopOne(key);
  }
}

void Worker::PrepareState(const v1::PrepareState& message) {
  if (message.tasks().empty()) return ForgetPrepared(message.job_id());
  if (prepared_[message.job_id()].under_way != 0) ForgetPrepared(message.job_id());
  Prepared& prepared = prepared_[message.job_id()];
  if (prepared.state == nullptr) {
    prepared.state = std::make_shared<StatePreparation>(
        parts_, absl::StrCat(parts_->options.data_folder, "/state/", message.job_id(), "/prepared-",
                             ++preparations_));
  }
  prepared.under_way = message.number();
  parts_->env.executor.RunBlocking([this, parts = parts_, state = prepared.state, message] {
    const absl::Status status = state->Advance(message);
    parts->mailbox.Post([this, status, job_id = message.job_id(), number = message.number()] {
      const auto found = prepared_.find(job_id);
      if (found == prepared_.end() || found->second.under_way != number) return;
      found->second.under_way = 0;
      v1::ConnectRequest answer;
      v1::StatePrepared& prepared = *answer.mutable_state_prepared();
      prepared.set_job_id(job_id);
      prepared.set_number(number);
      prepared.set_status_code(static_cast<uint32_t>(status.code()));
      prepared.set_status_message(std::string(status.message()));
      Report(std::move(answer));
    });
  });
}

void Worker::ForgetPrepared(const std::string& job_id) {
  const auto found = prepared_.find(job_id);
  if (found == prepared_.end()) return;
  std::shared_ptr<StatePreparation> state = std::move(found->second.state);
  prepared_.erase(found);
  parts_->env.executor.RunBlocking([state = std::move(state)] {});
}

void Worker::StopAttemptsOlderThan(const v1::AttemptId& id) {
  std::vector<AttemptKey> older;
  for (const auto& [key, attempt] : attempts_) {
    if (key.job_id == id.job_id() &&
        std::pair(key.generation, key.attempt) < std::pair(id.generation(), id.attempt())) {
      older.push_back(key);
    }
  }
  for (const AttemptKey& key : older) StopOne(key);
}

void Worker::StopOne(const AttemptKey& key) {
  auto it = attempts_.find(key);
  if (it == attempts_.end()) return;
  std::shared_ptr<Attempt> attempt = std::move(it->second);
  attempts_.erase(it);
  LogInfo("stopping",
          {{"job", key.job_id}, {"generation", key.generation}, {"attempt", key.attempt}});
  attempt->EndDeliveries();
  std::erase_if(stopping_, [](const std::weak_ptr<Attempt>& other) { return other.expired(); });
  stopping_.push_back(attempt);
  // A task in the middle of a step may take a while: not on this loop.
  parts_->env.executor.RunBlocking([attempt = std::move(attempt)] { attempt->Stop(); });
}

std::shared_ptr<TaskRunner> Worker::RunnerFor(bool blocking) {
  if (blocking) return make_runner_();  // Lives as long as the attempt.
  return runners_[next_runner_++ % runners_.size()];
}

void Worker::ScheduleHeartbeat() {
  if (std::exchange(heartbeat_scheduled_, true)) return;
  parts_->env.executor.RunAfter(heartbeat_interval_, [this, parts = parts_] {
    parts->mailbox.Post([this] {
      heartbeat_scheduled_ = false;
      if (!link_.has_value()) return;
      if (absl::Nanoseconds(parts_->env.clock.MonotonicNanos() - heard_ns_) > silence_timeout_) {
        return CloseLink("it is silent");
      }
      SendHeartbeat();
      ScheduleHeartbeat();
    });
  });
}

void Worker::SendHeartbeat() {
  v1::ConnectRequest message;
  v1::Heartbeat& heartbeat = *message.mutable_heartbeat();
  for (const auto& [key, attempt] : attempts_) attempt->AddProgress(heartbeat);
  Report(std::move(message));
}

void Worker::AddLogLine(std::string job_id, v1::LogLine line) {
  parts_->mailbox.Post([this, job_id = std::move(job_id), line = std::move(line)] {
    for (const auto& [key, attempt] : attempts_) {
      if (key.job_id != job_id) continue;
      v1::ConnectRequest message;
      v1::LogLines& lines = *message.mutable_log_lines();
      lines.mutable_attempt()->set_job_id(key.job_id);
      lines.mutable_attempt()->set_generation(key.generation);
      lines.mutable_attempt()->set_attempt(key.attempt);
      *lines.add_lines() = line;
      Report(std::move(message));
    }
  });
}

void Worker::VisitTasks(const std::function<void(const std::string& job_id, Task&)>& visit) const {
  for (const auto& [key, attempt] : attempts_) attempt->VisitTasks(visit);
}

}  // namespace millrace
