// A real Coordinator with workers that only talk: they acknowledge what they are told to, at once
// or when the test says so.
//
// Threading: one thread, virtual time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/coordinator.h"
#include "coordinator/metadata/memory_metadata_store.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator/fake_env.h"

namespace millrace {

class FakeCluster;

class FakeWorker {
 public:
  using State = v1::TaskStateChanged;

  FakeWorker(FakeCluster& cluster, std::string id) : cluster_(cluster), id_(std::move(id)) {}

  // What it does by itself.
  bool becomes_ready = true;
  bool acks_epochs = true;
  bool commits = true;
  // Of each of its tasks' snapshots.
  std::optional<v1::NodeSnapshot> snapshot_node;
  // Its answer to PrepareModel; nothing: none at all.
  std::optional<absl::Status> prepares = absl::OkStatus();
  // Its answer to PrepareState, likewise.
  std::optional<absl::Status> prepares_state = absl::OkStatus();

  void Connect();
  void Disconnect();
  void LoseConnection();
  void SendHeartbeat() {
    Send([](v1::ConnectRequest& m) { m.mutable_heartbeat(); });
  }

  // Of its first task.
  void TellCondition(v1::TaskCondition condition) {
    *condition.mutable_attempt() = deploy_->attempt();
    *condition.mutable_task() = tasks()[0].key();
    Send([&](v1::ConnectRequest& m) { *m.mutable_heartbeat()->add_conditions() = condition; });
  }

  // One row of a node; a `number` other than 0: of a sink `collect`.
  void SendRows(const std::string& uid, const std::string& value, uint64_t number = 0) {
    Send([&](v1::ConnectRequest& m) {
      v1::NodeRows& rows = *m.mutable_node_rows();
      *rows.mutable_attempt() = deploy_->attempt();
      rows.set_uid(uid);
      rows.set_number(number);
      rows.mutable_rows()->add_rows()->add_values(value);
    });
  }

  void Leave() {
    Send([](v1::ConnectRequest& m) { m.mutable_leaving(); });
  }

  // Of its tasks of the newest attempt.
  void ReportAll(State::State state);
  void Report(TaskId task, State::State state, const absl::Status& status = absl::OkStatus());
  void ExhaustSources();
  void AckEpoch(uint64_t epoch, std::optional<v1::AttemptId> attempt = {},
                const absl::Status& status = absl::OkStatus());
  void AckCommit(uint64_t epoch);
  // To the newest PrepareState.
  void AnswerPrepareState(const absl::Status& status = absl::OkStatus());

  bool runs() const { return deploy_.has_value(); }
  bool started() const { return started_; }
  const v1::DeployAttempt& deploy() const { return *deploy_; }
  std::vector<v1::Task> tasks() const;
  const std::string& id() const { return id_; }

  std::vector<v1::TriggerEpoch> triggers;
  std::vector<uint64_t> completed;
  std::vector<v1::AttemptId> stopped;
  int deploys = 0;
  bool may_leave = false;
  std::vector<uint64_t> prepared;  // Epochs of PrepareModel.
  std::vector<v1::PrepareState> prepared_states;
  std::vector<v1::TailTasks> tails;
  std::vector<uint64_t> rows_taken;

  void OnMessage(const v1::ConnectResponse& message);

 private:
  class Link;
  template <typename Fill>
  void Send(Fill fill);

  FakeCluster& cluster_;
  const std::string id_;
  std::shared_ptr<Link> link_;
  uint64_t link_id_ = 0;
  std::optional<v1::DeployAttempt> deploy_;
  std::map<TaskId, v1::TaskStateChanged> states_;
  bool started_ = false;
  std::map<uint64_t, v1::Model> armed_;  // By the epoch of its cut.
  std::optional<v1::Model> model_;       // In use, when it was replaced or deployed.
};

class FakeCluster {
 public:
  FakeCluster() { Crash(); }

  // The coordinator dies with all that it had not written; a new one begins on the same store and
  // disk. Workers notice that their connection is closed.
  void Crash() {
    for (auto& [id, worker] : workers_) worker->LoseConnection();
    fake.executor.DropAll();
    coordinator_.reset();
    ++incarnation_;
    coordinator_ = std::make_unique<Coordinator>(
        CoordinatorOptions{.coordinator_id = "coordinator-" + std::to_string(incarnation_),
                           .checkpoint_uri = "file:///checkpoints",
                           .sweep_interval = absl::Seconds(1),
                           .sweep_grace = absl::Seconds(10),
                           .on_fenced = [this](const absl::Status& s) { fenced.push_back(s); }},
        fake.env(), store,
        [](const v1::JobSource& source) {
          CompiledJob compiled;
          if (source.has_yaml()) {
            v1::Diagnostic& diagnostic = compiled.diagnostics.emplace_back();
            diagnostic.set_severity(v1::Diagnostic::SEVERITY_ERROR);
            diagnostic.set_code("MR1001");
            diagnostic.set_message("this compiler takes graphs only");
          } else {
            compiled.graph = source.graph();
          }
          return compiled;
        },
        [] {});
    const absl::Status started = coordinator_->Start();
    EXPECT_TRUE(started.ok()) << started;
    Run();
  }

  FakeWorker& AddWorker(const std::string& id) {
    auto& worker = workers_[id];
    worker = std::make_unique<FakeWorker>(*this, id);
    worker->Connect();
    Run();
    return *worker;
  }
  FakeWorker& worker(const std::string& id) { return *workers_.at(id); }

  // Runs all that is ready now.
  void Run() {
    for (int i = 0; i < 100'000; ++i) {
      const bool letters = coordinator_ != nullptr && coordinator_->RunPosted() > 0;
      if (!fake.executor.RunOne() && !letters) return;
    }
    ADD_FAILURE() << "the loop does not come to rest";
  }
  // Lets time pass; connected workers send heartbeats.
  void Advance(absl::Duration duration, bool heartbeats = true) {
    Run();
    const absl::Duration end = fake.clock.elapsed + duration;
    while (fake.clock.elapsed < end) {
      const absl::Duration step = std::min(end, fake.clock.elapsed + absl::Milliseconds(100));
      while (fake.executor.NextTimer(step)) Run();
      fake.clock.elapsed = std::max(fake.clock.elapsed, step);
      if (heartbeats) {
        for (auto& [id, worker] : workers_) worker->SendHeartbeat();
      }
      Run();
    }
  }

  static v1::JobGraph Graph(uint32_t parallelism = 2) {
    v1::JobGraph graph;
    graph.set_format(1);
    graph.set_name("count");
    graph.set_parallelism(parallelism);
    graph.add_nodes()->set_uid("in");
    graph.mutable_nodes(0)->mutable_source()->set_connector("datagen");
    graph.add_nodes()->set_uid("window");
    graph.mutable_nodes(1)->mutable_window_aggregate()->mutable_keys()->add_ids(1);
    graph.add_nodes()->set_uid("out");
    graph.mutable_nodes(2)->mutable_sink()->set_connector("print");
    for (const auto& [from, to] : {std::pair("in", "window"), std::pair("window", "out")}) {
      v1::Edge& edge = *graph.add_edges();
      edge.set_from(from);
      edge.set_to(to);
    }
    return graph;
  }

  // Runs until the answer is there; fails the test when it does not come.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(void (JobApi::*method)(Request, Reply<Response>), Request request) {
    auto answer = Begin(method, std::move(request));
    Run();
    if (!answer->has_value()) return absl::DeadlineExceededError("no answer yet");
    return **answer;
  }
  template <typename Request, typename Response>
  std::shared_ptr<std::optional<absl::StatusOr<Response>>> Begin(
      void (JobApi::*method)(Request, Reply<Response>), Request request) {
    auto answer = std::make_shared<std::optional<absl::StatusOr<Response>>>();
    (static_cast<JobApi&>(*coordinator_).*method)(
        std::move(request), [answer](absl::StatusOr<Response> r) { *answer = std::move(r); });
    return answer;
  }

  std::string Submit(const v1::JobGraph& graph = Graph(), const std::string& request_id = "") {
    v1::SubmitJobRequest request;
    request.set_request_id(request_id);
    *request.mutable_job()->mutable_graph() = graph;
    const auto response = Call(&JobApi::SubmitJob, request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->job_id() : "";
  }
  v1::Job Job(const std::string& id) {
    v1::GetJobRequest request;
    request.set_job(id);
    const auto response = Call(&JobApi::GetJob, request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? response->job() : v1::Job();
  }
  v1::JobState StateOf(const std::string& id) { return Job(id).state(); }
  std::string Logs(const std::string& id) {
    v1::GetLogsRequest request;
    request.set_job(id);
    request.set_lines_max(1000);
    std::string all;
    const auto response = Call(&JobApi::GetLogs, request);
    for (const v1::JobLogLine& line : response->lines()) all += line.text() + "\n";
    return all;
  }
  JobCounters Counters(const std::string& id) {
    JobCounters counters;
    coordinator_->VisitJobs([&](const JobController& job) {
      if (job.job_id() == id) counters = job.counters();
    });
    return counters;
  }
  Coordinator& coordinator() { return *coordinator_; }

  FakeEnv fake;
  MemoryMetadataStore store;
  std::vector<absl::Status> fenced;

 private:
  int incarnation_ = 0;
  std::unique_ptr<Coordinator> coordinator_;
  std::map<std::string, std::unique_ptr<FakeWorker>> workers_;
};

class FakeWorker::Link final : public WorkerLink {
 public:
  explicit Link(FakeWorker* worker) : worker_(worker) {}
  void Send(const v1::ConnectResponse& message) override {
    if (worker_ != nullptr) worker_->OnMessage(message);
  }
  void Close() override { worker_ = nullptr; }
  bool open() const { return worker_ != nullptr; }

 private:
  FakeWorker* worker_;
};

inline void FakeWorker::Connect() {
  link_ = std::make_shared<Link>(this);
  link_id_ = cluster_.coordinator().OnWorkerConnected(link_);
  v1::ConnectRequest message;
  v1::RegisterWorker& registration = *message.mutable_register_();
  registration.set_worker_id(id_);
  registration.set_data_address(id_ + ":7000");
  registration.set_cores(2);
  if (deploy_.has_value()) *registration.add_running() = deploy_->attempt();
  cluster_.coordinator().OnWorkerMessage(link_id_, message);
}

inline void FakeWorker::Disconnect() {
  if (link_ == nullptr || !link_->open()) return;
  link_->Close();
  cluster_.coordinator().OnWorkerClosed(link_id_);
}

inline void FakeWorker::LoseConnection() {
  if (link_ != nullptr) link_->Close();
}

template <typename Fill>
void FakeWorker::Send(Fill fill) {
  if (link_ == nullptr || !link_->open()) return;
  v1::ConnectRequest message;
  fill(message);
  cluster_.coordinator().OnWorkerMessage(link_id_, message);
}

inline std::vector<v1::Task> FakeWorker::tasks() const {
  std::vector<v1::Task> mine;
  if (!deploy_.has_value()) return mine;
  for (const v1::Task& task : deploy_->tasks()) {
    if (task.worker_id() == id_) mine.push_back(task);
  }
  return mine;
}

inline void FakeWorker::Report(TaskId task, State::State state, const absl::Status& status) {
  v1::TaskStateChanged& changed = states_[task];
  *changed.mutable_attempt() = deploy_->attempt();
  changed.mutable_task()->set_chain(task.chain);
  changed.mutable_task()->set_index(task.index);
  changed.set_state(state);
  changed.set_status_code(static_cast<uint32_t>(status.code()));
  changed.set_status_message(std::string(status.message()));
  Send([&](v1::ConnectRequest& m) { *m.mutable_task_state_changed() = changed; });
}

inline void FakeWorker::ReportAll(State::State state) {
  for (const v1::Task& task : tasks()) Report({task.key().chain(), task.key().index()}, state);
}

inline void FakeWorker::ExhaustSources() {
  for (const v1::Task& task : tasks()) {
    if (task.key().chain() == 0) Report({0, task.key().index()}, State::STATE_EXHAUSTED);
  }
}

inline void FakeWorker::AckEpoch(uint64_t epoch, std::optional<v1::AttemptId> attempt,
                                 const absl::Status& status) {
  if (armed_.contains(epoch)) model_ = armed_[epoch];
  for (const v1::Task& task : tasks()) {
    Send([&](v1::ConnectRequest& m) {
      v1::EpochAck& ack = *m.mutable_epoch_ack();
      *ack.mutable_attempt() = attempt.value_or(deploy_->attempt());
      ack.set_epoch(epoch);
      ack.set_status_code(static_cast<uint32_t>(status.code()));
      ack.set_status_message(std::string(status.message()));
      v1::TaskSnapshot& snapshot = *ack.mutable_snapshot();
      snapshot.set_chain(task.key().chain());
      snapshot.set_index(task.key().index());
      snapshot.set_key_group_first(task.key_group_first());
      snapshot.set_key_group_last(task.key_group_last());
      if (model_) *snapshot.add_nodes()->mutable_model() = *model_;
      if (snapshot_node) *snapshot.add_nodes() = *snapshot_node;
    });
  }
}

inline void FakeWorker::AckCommit(uint64_t epoch) {
  for (const v1::Task& task : tasks()) {
    Send([&](v1::ConnectRequest& m) {
      *m.mutable_commit_ack()->mutable_attempt() = deploy_->attempt();
      m.mutable_commit_ack()->set_epoch(epoch);
      *m.mutable_commit_ack()->mutable_task() = task.key();
    });
  }
}

inline void FakeWorker::AnswerPrepareState(const absl::Status& status) {
  Send([&](v1::ConnectRequest& m) {
    v1::StatePrepared& answer = *m.mutable_state_prepared();
    answer.set_job_id(prepared_states.back().job_id());
    answer.set_number(prepared_states.back().number());
    answer.set_status_code(static_cast<uint32_t>(status.code()));
    answer.set_status_message(std::string(status.message()));
  });
}

inline void FakeWorker::OnMessage(const v1::ConnectResponse& message) {
  const auto is_mine = [&](const v1::AttemptId& id) {
    return deploy_.has_value() && id.SerializeAsString() == deploy_->attempt().SerializeAsString();
  };
  switch (message.message_case()) {
    case v1::ConnectResponse::kRegistered: {
      for (const auto& [task, state] : states_) {
        Send([&](v1::ConnectRequest& m) { *m.mutable_task_state_changed() = state; });
      }
      return;
    }
    case v1::ConnectResponse::kHeartbeatAck:
      return;
    case v1::ConnectResponse::kDeploy:
      ++deploys;
      deploy_ = message.deploy();
      states_.clear();
      started_ = false;
      armed_.clear();
      model_.reset();
      if (deploy_->graph().models_size() > 0) model_ = deploy_->graph().models(0);
      if (becomes_ready) ReportAll(State::STATE_READY);
      return;
    case v1::ConnectResponse::kStart:
      if (!is_mine(message.start().attempt()) || std::exchange(started_, true)) return;
      return ReportAll(State::STATE_RUNNING);
    case v1::ConnectResponse::kStop:
      stopped.push_back(message.stop().attempt());
      if (!is_mine(message.stop().attempt())) return;
      deploy_.reset();
      states_.clear();
      return;
    case v1::ConnectResponse::kTriggerEpoch:
      if (!is_mine(message.trigger_epoch().attempt())) return;
      triggers.push_back(message.trigger_epoch());
      if (acks_epochs) AckEpoch(message.trigger_epoch().epoch());
      return;
    case v1::ConnectResponse::kEpochCompleted:
      if (!is_mine(message.epoch_completed().attempt())) return;
      completed.push_back(message.epoch_completed().epoch());
      if (commits) AckCommit(message.epoch_completed().epoch());
      return;
    case v1::ConnectResponse::kTailTasks:
      tails.push_back(message.tail_tasks());
      return;
    case v1::ConnectResponse::kNodeRowsTaken:
      rows_taken.push_back(message.node_rows_taken().number());
      return;
    case v1::ConnectResponse::kMayLeave:
      may_leave = true;
      return;
    case v1::ConnectResponse::kPrepareModel:
      if (!is_mine(message.prepare_model().attempt())) return;
      prepared.push_back(message.prepare_model().epoch());
      if (!prepares.has_value()) return;
      if (prepares->ok()) armed_[prepared.back()] = message.prepare_model().model();
      for (const v1::Task& task : tasks()) {
        Send([&](v1::ConnectRequest& m) {
          v1::ModelPrepared& answer = *m.mutable_model_prepared();
          *answer.mutable_attempt() = deploy_->attempt();
          *answer.mutable_task() = task.key();
          answer.set_epoch(prepared.back());
          answer.set_status_code(static_cast<uint32_t>(prepares->code()));
          answer.set_status_message(std::string(prepares->message()));
        });
      }
      return;
    case v1::ConnectResponse::kPrepareState:
      prepared_states.push_back(message.prepare_state());
      if (message.prepare_state().tasks_size() > 0 && prepares_state.has_value()) {
        AnswerPrepareState(*prepares_state);
      }
      return;
    case v1::ConnectResponse::MESSAGE_NOT_SET:
      ADD_FAILURE() << "empty message";
  }
}

}  // namespace millrace
