#include "coordinator/coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/job_state.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr uint32_t kSpecFormat = 1;

absl::Status Unreadable(const MetadataEntry& entry) {
  return absl::DataLossError(absl::StrCat("metadata cannot be read: key=", entry.key));
}

v1::ConnectResponse HeartbeatAck() {
  v1::ConnectResponse message;
  message.mutable_heartbeat_ack();
  return message;
}

absl::Status CheckFormat(const std::string& key, uint32_t format) {
  if (format <= kSpecFormat) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("metadata has format ", format,
                                                    ", this coordinator reads up to ", kSpecFormat,
                                                    ": key=", key, "; start a newer coordinator"));
}

}  // namespace

Coordinator::Coordinator(CoordinatorOptions options, Env env, MetadataStore& store,
                         CompileFunction compile, std::function<void()> wake)
    : options_(std::move(options)),
      loop_(env, std::move(wake)),
      store_(store),
      compile_(std::make_shared<const CompileFunction>(std::move(compile))) {}

Coordinator::~Coordinator() = default;

// ---- Loading.

absl::Status Coordinator::Start() {
  MILLRACE_FAILPOINT("leader.before_load");
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<MetadataEntry> entries, store_.List("job/"));
  std::map<std::string, std::vector<MetadataEntry>> by_job;
  for (const MetadataEntry& entry : entries) {
    const std::vector<std::string> parts = absl::StrSplit(entry.key, absl::MaxSplits('/', 2));
    if (parts.size() != 3) return Unreadable(entry);
    by_job[parts[1]].push_back(entry);
  }
  std::vector<JobController*> loaded;
  for (const auto& [job_id, of_job] : by_job) {
    MILLRACE_ASSIGN_OR_RETURN(StoredJob stored, ParseJob(of_job));
    // A job whose last piece was not stored was never answered for.
    if (stored.versions.status == 0) continue;
    loaded.push_back(&AddJob(std::move(stored)));
  }
  started_ = true;
  for (JobController* job : loaded) job->Start(/*loaded=*/true);
  WatchHeartbeats();
  return absl::OkStatus();
}

absl::StatusOr<StoredJob> Coordinator::ParseJob(const std::vector<MetadataEntry>& entries) {
  StoredJob stored;
  for (const MetadataEntry& entry : entries) {
    const std::vector<std::string> parts = absl::StrSplit(entry.key, '/');
    const std::string& part = parts[2];
    if (part == "spec") {
      if (!stored.spec.ParseFromString(entry.value)) return Unreadable(entry);
      MILLRACE_RETURN_IF_ERROR(CheckFormat(entry.key, stored.spec.format()));
    } else if (part == "state") {
      if (!stored.status.ParseFromString(entry.value)) return Unreadable(entry);
      MILLRACE_RETURN_IF_ERROR(CheckFormat(entry.key, stored.status.format()));
      stored.versions.status = entry.version;
    } else if (part == "generation") {
      const std::string number = entry.value.substr(0, entry.value.find(' '));
      if (!absl::SimpleAtoi(number, &stored.generation)) return Unreadable(entry);
      stored.versions.generation = entry.version;
    } else if (part == "epoch") {
      v1::EpochRecord& record = stored.epochs.emplace_back();
      if (!record.ParseFromString(entry.value) || record.epoch() == 0) return Unreadable(entry);
    }
  }
  return stored;
}

JobController& Coordinator::AddJob(StoredJob stored) {
  const std::string job_id = stored.spec.job_id();
  JobOptions options{.checkpoint_uri = StorageUriBelow(options_.checkpoint_uri, job_id),
                     .s3 = options_.s3,
                     .coordinator_id = options_.coordinator_id,
                     .registration_grace = options_.registration_grace,
                     .deploy_timeout = options_.deploy_timeout,
                     .sweep_interval = options_.sweep_interval,
                     .sweep_grace = options_.sweep_grace,
                     .stall_timeout = options_.stall_timeout};
  auto& job = jobs_[job_id];
  JobHost& host = *this;
  job = std::make_unique<JobController>(std::move(options), loop_, store_, host, std::move(stored));
  return *job;
}

// ---- Workers.

uint64_t Coordinator::OnWorkerConnected(std::shared_ptr<WorkerLink> link) {
  const uint64_t id = next_link_id_.fetch_add(1, std::memory_order_relaxed);
  loop_.Post([this, id, link = std::move(link)] { unregistered_[id] = link; });
  return id;
}

void Coordinator::OnWorkerMessage(uint64_t link_id, v1::ConnectRequest message) {
  loop_.Post([this, link_id, message = std::move(message)]() mutable {
    HandleMessage(link_id, std::move(message));
  });
}

void Coordinator::OnWorkerClosed(uint64_t link_id) {
  loop_.Post([this, link_id] {
    unregistered_.erase(link_id);
    Connected* worker = FindByLink(link_id);
    if (worker == nullptr) return;  // It has registered anew by another link.
    DropWorker(std::string(worker->registration.worker_id()),
               absl::UnavailableError("connection closed"));
  });
}

Coordinator::Connected* Coordinator::FindByLink(uint64_t link_id) {
  for (auto& [id, worker] : workers_) {
    if (worker.link_id == link_id) return &worker;
  }
  return nullptr;
}

JobController* Coordinator::FindAttempt(const v1::AttemptId& id) {
  const auto it = jobs_.find(id.job_id());
  return it == jobs_.end() ? nullptr : it->second.get();
}

void Coordinator::HandleMessage(uint64_t link_id, v1::ConnectRequest message) {
  if (message.has_register_()) return HandleRegister(link_id, message.register_());
  Connected* worker = FindByLink(link_id);
  if (worker == nullptr) return;  // Lost meanwhile.
  worker->last_heartbeat = loop_.env().clock.Now();
  worker->last_heartbeat_ns = loop_.env().clock.MonotonicNanos();
  const std::string worker_id = worker->registration.worker_id();
  switch (message.message_case()) {
    case v1::ConnectRequest::kHeartbeat:
      for (const v1::TaskProgress& progress : message.heartbeat().progress()) {
        if (JobController* job = FindAttempt(progress.attempt())) job->OnProgress(progress);
      }
      for (const v1::TaskCondition& condition : message.heartbeat().conditions()) {
        if (JobController* job = FindAttempt(condition.attempt())) job->OnCondition(condition);
      }
      return worker->link->Send(HeartbeatAck());
    case v1::ConnectRequest::kTaskStateChanged:
      if (JobController* job = FindAttempt(message.task_state_changed().attempt())) {
        job->OnTaskState(message.task_state_changed());
      }
      return;
    case v1::ConnectRequest::kEpochAck:
      if (JobController* job = FindAttempt(message.epoch_ack().attempt())) {
        job->OnEpochAck(worker_id, message.epoch_ack());
      }
      return;
    case v1::ConnectRequest::kCommitAck:
      if (JobController* job = FindAttempt(message.commit_ack().attempt())) {
        job->OnCommitAck(message.commit_ack());
      }
      return;
    case v1::ConnectRequest::kModelPrepared:
      if (JobController* job = FindAttempt(message.model_prepared().attempt())) {
        job->OnModelPrepared(message.model_prepared());
      }
      return;
    case v1::ConnectRequest::kStatePrepared:
      if (const auto job = jobs_.find(message.state_prepared().job_id()); job != jobs_.end()) {
        job->second->OnStatePrepared(worker_id, message.state_prepared());
      }
      return;
    case v1::ConnectRequest::kLogLines:
      if (JobController* job = FindAttempt(message.log_lines().attempt())) {
        job->OnLogLines(worker_id, message.log_lines());
      }
      return;
    case v1::ConnectRequest::kNodeRows:
      if (JobController* job = FindAttempt(message.node_rows().attempt())) {
        job->OnNodeRows(worker_id, message.node_rows());
      }
      return;
    case v1::ConnectRequest::kLeaving:
      return HandleLeaving(*worker);
    case v1::ConnectRequest::kRegister:
    case v1::ConnectRequest::MESSAGE_NOT_SET:
      LogWarning("a worker sent a message that this version does not know",
                 {{"worker", worker_id}});
      return;
  }
}

void Coordinator::HandleRegister(uint64_t link_id, const v1::RegisterWorker& registration) {
  std::shared_ptr<WorkerLink> link;
  if (const auto it = unregistered_.find(link_id); it != unregistered_.end()) {
    link = it->second;
    unregistered_.erase(it);
  } else if (Connected* again = FindByLink(link_id)) {
    link = again->link;
  }
  if (link == nullptr) return;  // Closed meanwhile.
  const std::string& worker_id = registration.worker_id();
  if (worker_id.empty() || registration.data_address().empty()) {
    LogWarning("a worker without id or data address was refused", {{"worker", worker_id}});
    return link->Close();
  }
  if (!registration.name().empty()) {
    std::string replaced;
    for (const auto& [id, worker] : workers_) {
      if (id != worker_id && worker.registration.name() == registration.name()) replaced = id;
    }
    if (!replaced.empty()) {
      DropWorker(replaced, absl::UnavailableError("another worker has come under its name"));
    }
  }
  const auto before = workers_.find(worker_id);
  if (before != workers_.end() && before->second.link_id != link_id) before->second.link->Close();
  workers_[worker_id] = {.link_id = link_id,
                         .link = link,
                         .registration = registration,
                         .leaving = registration.leaving(),
                         .last_heartbeat = loop_.env().clock.Now(),
                         .last_heartbeat_ns = loop_.env().clock.MonotonicNanos()};
  LogInfo("worker registered", {{"worker", worker_id},
                                {"address", registration.data_address()},
                                {"cores", registration.cores()},
                                {"running", registration.running_size()}});
  v1::ConnectResponse registered;
  v1::Registered& answer = *registered.mutable_registered();
  answer.set_heartbeat_interval_ms(
      static_cast<uint32_t>(absl::ToInt64Milliseconds(options_.heartbeat_interval)));
  answer.set_silence_timeout_ms(
      static_cast<uint32_t>(absl::ToInt64Milliseconds(options_.silence_timeout)));
  answer.set_term(options_.term);
  link->Send(registered);
  for (const v1::AttemptId& id : registration.running()) {
    if (jobs_.contains(id.job_id())) continue;
    v1::ConnectResponse stop;
    *stop.mutable_stop()->mutable_attempt() = id;
    link->Send(stop);
  }
  const std::vector<v1::AttemptId> running(registration.running().begin(),
                                           registration.running().end());
  for (auto& [job_id, job] : jobs_) job->OnWorkerRegistered(worker_id, running);
  if (registration.leaving()) HandleLeaving(workers_[worker_id]);
}

void Coordinator::HandleLeaving(Connected& worker) {
  const std::string worker_id = worker.registration.worker_id();
  worker.leaving = true;
  LogInfo("worker leaves", {{"worker", worker_id}});
  for (auto& [job_id, job] : jobs_) job->OnWorkerLeaving(worker_id);
  LetLeave();
}

// Tells workers that leave and have no tasks any more that they may.
void Coordinator::LetLeave() {
  for (auto& [id, worker] : workers_) {
    if (!worker.leaving) continue;
    const bool busy = std::any_of(jobs_.begin(), jobs_.end(), [&, &id = id](const auto& entry) {
      return entry.second->TasksOn(id) > 0;
    });
    if (busy) continue;
    v1::ConnectResponse message;
    message.mutable_may_leave();
    worker.link->Send(message);
  }
}

void Coordinator::DropWorker(const std::string& worker_id, const absl::Status& reason) {
  const auto it = workers_.find(worker_id);
  if (it == workers_.end()) return;
  if (it->second.leaving) {
    LogInfo("worker has left", {{"worker", worker_id}});
  } else {
    LogWarning("lost a worker", {{"worker", worker_id}, {"reason", reason.ToString()}});
    ++workers_lost_;
  }
  it->second.link->Close();
  workers_.erase(it);
  for (auto& [job_id, job] : jobs_) job->OnWorkerLost(worker_id, reason);
}

void Coordinator::WatchHeartbeats() {
  loop_.After(options_.heartbeat_interval, [this] {
    const int64_t now = loop_.env().clock.MonotonicNanos();
    std::vector<std::string> silent;
    for (const auto& [id, worker] : workers_) {
      if (absl::Nanoseconds(now - worker.last_heartbeat_ns) >= options_.heartbeat_timeout) {
        silent.push_back(id);
      }
    }
    for (const std::string& id : silent) {
      DropWorker(id, absl::DeadlineExceededError("no heartbeat"));
    }
    for (const auto& [id, job] : jobs_) job->WatchProgress();
    WatchHeartbeats();
  });
}

// ---- JobHost.

std::vector<PlacementWorker> Coordinator::WorkersFor(const std::string& job_id) {
  std::vector<PlacementWorker> hosts;
  for (const auto& [id, worker] : workers_) {
    if (worker.leaving) continue;
    uint32_t tasks = 0;
    for (const auto& [other, job] : jobs_) {
      if (other != job_id) tasks += job->TasksOn(id);
    }
    hosts.push_back({.worker_id = id,
                     .data_address = worker.registration.data_address(),
                     .cores = worker.registration.cores(),
                     .tasks = tasks});
  }
  return hosts;
}

void Coordinator::SendTo(const std::string& worker_id, const v1::ConnectResponse& message) {
  const auto it = workers_.find(worker_id);
  if (it != workers_.end()) it->second.link->Send(message);
}

bool Coordinator::IsLeaving(const std::string& worker_id) {
  const auto it = workers_.find(worker_id);
  return it != workers_.end() && it->second.leaving;
}

void Coordinator::OnAttemptLeft() { LetLeave(); }

void Coordinator::OnJobEnded(const std::string& job_id) {
  LogInfo("job ended", {{"job", job_id}, {"state", JobStateName(jobs_.at(job_id)->state())}});
}

void Coordinator::OnFenced(const std::string& job_id, const absl::Status& status) {
  options_.on_fenced(
      absl::Status(status.code(), absl::StrCat("job ", job_id, ": ", status.message())));
}

void Coordinator::VisitJobs(const std::function<void(const JobController&)>& visit) const {
  for (const auto& [id, job] : jobs_) visit(*job);
}

std::vector<v1::Worker> Coordinator::Workers() const {
  std::vector<v1::Worker> workers;
  for (const auto& [id, connected] : workers_) {
    v1::Worker& worker = workers.emplace_back();
    worker.set_worker_id(id);
    worker.set_data_address(connected.registration.data_address());
    worker.set_cores(connected.registration.cores());
    worker.set_version(connected.registration.version());
    worker.set_http_address(connected.registration.http_address());
    worker.set_last_heartbeat_unix_us(absl::ToUnixMicros(connected.last_heartbeat));
    uint32_t tasks = 0;
    for (const auto& [job_id, job] : jobs_) tasks += job->TasksOn(id);
    worker.set_tasks(tasks);
  }
  return workers;
}

}  // namespace millrace
