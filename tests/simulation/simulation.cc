#include "tests/simulation/simulation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/check.h"

namespace millrace {
namespace {

// Runs tasks one step at a time, whenever somebody wakes it.
class SimRunner : public TaskRunner, public std::enable_shared_from_this<SimRunner> {
 public:
  explicit SimRunner(std::shared_ptr<SimMachine> machine) : machine_(std::move(machine)) {}

  std::function<void()> waker() override {
    return [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Schedule();
    };
  }
  void Add(std::shared_ptr<Task> task) override {
    tasks_.push_back(std::move(task));
    Schedule();
  }
  void RemoveIf(std::function<bool(const Task&)> matches) override {
    std::erase_if(tasks_, [&](const std::shared_ptr<Task>& task) {
      if (!matches(*task)) return false;
      task->Stop();
      return true;
    });
  }
  size_t task_count() const override { return tasks_.size(); }

 private:
  void Schedule() {
    if (std::exchange(scheduled_, true)) return;
    machine_->Post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Step();
    });
  }
  void Step() {
    scheduled_ = false;
    bool progress = false;
    for (size_t i = 0; i < tasks_.size(); ++i) {
      progress |= tasks_[i]->RunOnce() == Task::Step::kProgress;
    }
    if (tasks_.empty()) return;
    if (progress) return Schedule();
    if (std::exchange(polling_, true)) return;
    machine_->RunAfter(absl::Milliseconds(2), [weak = weak_from_this()] {
      if (auto self = weak.lock()) {
        self->polling_ = false;
        self->Schedule();
      }
    });
  }

  // Work of an attempt that was being stopped may outlive the worker.
  const std::shared_ptr<SimMachine> machine_;
  std::vector<std::shared_ptr<Task>> tasks_;
  bool scheduled_ = false;
  bool polling_ = false;
};

}  // namespace

struct Simulation::WorkerProcess {
  explicit WorkerProcess(std::shared_ptr<SimMachine> m) : machine(std::move(m)) {}
  std::shared_ptr<SimMachine> machine;
  std::unique_ptr<Worker> worker;
  uint64_t link_id = 0;  // At the coordinator; 0 = not connected.
  bool leaves = false;
  std::shared_ptr<bool> connected = std::make_shared<bool>(false);
};

struct Simulation::CoordinatorProcess {
  explicit CoordinatorProcess(std::shared_ptr<SimMachine> m) : machine(std::move(m)) {}
  std::shared_ptr<SimMachine> machine;
  std::unique_ptr<Coordinator> coordinator;
};

// The coordinator's way to one worker, through the network's delays, in order.
class Simulation::Link : public WorkerLink {
 public:
  Link(SimWorld& world, WorkerProcess& process)
      : world_(world),
        machine_(process.machine),
        connected_(process.connected),
        worker_(*process.worker) {}
  void Send(const v1::ConnectResponse& message) override {
    world_.events.At(absl::Microseconds(200), absl::ZeroDuration(),
                     machine_->Guarded([connected = connected_, worker = &worker_, message] {
                       if (*connected) worker->OnMessage(message);
                     }));
  }
  void Close() override { *connected_ = false; }

 private:
  SimWorld& world_;
  const std::shared_ptr<SimMachine> machine_;
  const std::shared_ptr<bool> connected_;
  Worker& worker_;
};

class Simulation::Watcher : public JobWatcher {
 public:
  explicit Watcher(Simulation& simulation) : simulation_(simulation) {}
  bool OnJob(const v1::Job& job) override {
    simulation_.state_ = job.state();
    if (!job.last_error().empty()) simulation_.last_error_ = job.last_error();
    return true;
  }
  void OnEnd(const absl::Status&) override {}

 private:
  Simulation& simulation_;
};

Simulation::Simulation(uint64_t seed, SimulationOptions options)
    : options_(options),
      world_(seed),
      job_{.asks = options.asks},
      nodes_(MakeSimNodes(job_, target_, world_)) {
  workers_.resize(static_cast<size_t>(options_.workers));
  StartCoordinator();
  for (int i = 0; i < options_.workers; ++i) StartWorker(i);
}

Simulation::~Simulation() {
  for (auto& process : workers_) {
    if (process != nullptr) process->machine->Crash();
  }
  workers_.clear();
  if (coordinator_ != nullptr) coordinator_->machine->Crash();
  coordinator_ = nullptr;
  world_.events.Clear();  // What it owns reaches into disk and network.
}

void Simulation::StartCoordinator() {
  auto process = std::make_unique<CoordinatorProcess>(
      std::make_shared<SimMachine>(next_machine_++, world_.events, world_.disk));
  auto wake = [weak = std::weak_ptr<SimMachine>(process->machine), p = process.get()] {
    if (auto machine = weak.lock()) machine->Post([p] { p->coordinator->RunPosted(); });
  };
  process->coordinator = std::make_unique<Coordinator>(
      CoordinatorOptions{.coordinator_id = absl::StrCat("c", next_machine_),
                         .checkpoint_uri = "file:///checkpoints",
                         .registration_grace = absl::Seconds(1)},
      world_.env(*process->machine), store_,
      [this](const v1::JobSource&) { return CompiledJob{.graph = job_.Graph()}; }, wake);
  MILLRACE_CHECK(process->coordinator->Start().ok());
  coordinator_ = std::move(process);
  for (int i = 0; i < options_.workers; ++i) {
    if (workers_[static_cast<size_t>(i)] != nullptr) Connect(i);
  }
  if (!job_id_.empty()) Watch();
}

void Simulation::CrashCoordinator() {
  ++faults_;
  coordinator_->machine->Crash();
  coordinator_ = nullptr;
  for (auto& process : workers_) {
    if (process == nullptr) continue;
    *process->connected = false;
    process->worker->OnDisconnected();
  }
  world_.events.At(absl::Milliseconds(50), absl::Seconds(2), [this] { StartCoordinator(); });
}

void Simulation::StartWorker(int number) {
  auto process = std::make_unique<WorkerProcess>(
      std::make_shared<SimMachine>(next_machine_++, world_.events, world_.disk));
  SimMachine* machine = process->machine.get();
  auto wake = [weak = std::weak_ptr<SimMachine>(process->machine), p = process.get()] {
    if (auto m = weak.lock()) m->Post([p] { p->worker->RunPosted(); });
  };
  process->worker = std::make_unique<Worker>(
      WorkerOptions{.worker_id = absl::StrCat("w", next_machine_),
                    .data_folder = absl::StrCat("/worker", number)},
      world_.env(*machine), *nodes_, /*cores=*/2,
      [machine = process->machine] { return std::make_shared<SimRunner>(machine); }, wake);
  MILLRACE_CHECK(process->worker->Start().ok());
  workers_[static_cast<size_t>(number)] = std::move(process);
  Connect(number);
}

void Simulation::CrashWorker(int number) {
  if (workers_[static_cast<size_t>(number)] == nullptr) return;
  ++faults_;
  EndWorker(number);
}

void Simulation::EndWorker(int number) {
  auto& process = workers_[static_cast<size_t>(number)];
  *process->connected = false;
  if (coordinator_ != nullptr) coordinator_->coordinator->OnWorkerClosed(process->link_id);
  process->machine->Crash();
  process = nullptr;
  world_.events.At(absl::Milliseconds(20), absl::Seconds(1),
                   [this, number] { StartWorker(number); });
}

void Simulation::AskToLeave(int number) {
  auto& process = workers_[static_cast<size_t>(number)];
  if (process == nullptr || std::exchange(process->leaves, true)) return;
  process->machine->Post([p = process.get()] { p->worker->Leave(); });
}

void Simulation::EndThoseThatMayLeave() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i] == nullptr || !workers_[i]->worker->may_leave()) continue;
    ++workers_left_;
    EndWorker(static_cast<int>(i));
  }
}

void Simulation::Connect(int number) {
  WorkerProcess& process = *workers_[static_cast<size_t>(number)];
  if (coordinator_ == nullptr) return;
  process.connected = std::make_shared<bool>(true);
  process.link_id =
      coordinator_->coordinator->OnWorkerConnected(std::make_shared<Link>(world_, process));
  process.worker->OnConnected([this, connected = process.connected, link = process.link_id,
                               weak = std::weak_ptr<SimMachine>(coordinator_->machine),
                               p = coordinator_.get()](v1::ConnectRequest message) {
    auto machine = weak.lock();
    if (machine == nullptr) return;
    world_.events.At(absl::Microseconds(200), absl::ZeroDuration(),
                     machine->Guarded([connected, link, p, message = std::move(message)] {
                       if (*connected) p->coordinator->OnWorkerMessage(link, message);
                     }));
  });
}

void Simulation::Submit() {
  v1::SubmitJobRequest request;
  request.set_request_id("submit");
  request.mutable_job()->set_yaml("name: sim");
  coordinator_->coordinator->SubmitJob(request, [this](absl::StatusOr<v1::SubmitJobResponse> r) {
    MILLRACE_CHECK(r.ok());
    job_id_ = r->job_id();
    Watch();
  });
  while (job_id_.empty()) MILLRACE_CHECK(world_.events.RunOne());
}

void Simulation::Watch() {
  v1::WatchJobRequest watch;
  watch.set_job(job_id_);
  coordinator_->coordinator->WatchJob(watch, std::make_shared<Watcher>(*this));
}

std::string Simulation::Violation() const {
  for (const auto& [row, times] : target_.rows()) {
    if (times > 1) return absl::StrCat("row is visible ", times, " times: ", row);
  }
  return "";
}

void Simulation::InjectFaults() {
  const auto happens = [&](double per_thousand) {
    return world_.random.Below(1'000'000) < static_cast<uint64_t>(per_thousand * 1000);
  };
  if (happens(options_.worker_crashes)) {
    CrashWorker(static_cast<int>(world_.random.Below(workers_.size())));
  }
  if (coordinator_ != nullptr && happens(options_.coordinator_crashes)) CrashCoordinator();
  if (happens(options_.worker_leaves)) {
    AskToLeave(static_cast<int>(world_.random.Below(workers_.size())));
  }
  if (happens(options_.cuts)) {
    ++faults_;
    world_.network.CutOne();
  }
}

std::string Simulation::RunFaulty(uint64_t events) {
  for (uint64_t i = 0; i < events && state_ != v1::JOB_STATE_FINISHED; ++i) {
    if (!world_.events.RunOne()) return "nothing is going to happen any more";
    InjectFaults();
    EndThoseThatMayLeave();
    if (i % 256 != 0) continue;
    if (std::string violation = Violation(); !violation.empty()) return violation;
  }
  return Violation();
}

bool Simulation::RunHealthy(uint64_t events_max) {
  for (uint64_t i = 0; i < events_max; ++i) {
    if (state_ == v1::JOB_STATE_FINISHED || state_ == v1::JOB_STATE_FAILED) break;
    if (!world_.events.RunOne()) return false;
    EndThoseThatMayLeave();
  }
  return state_ == v1::JOB_STATE_FINISHED;
}

}  // namespace millrace
