#include "tests/simulation/simulation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/check.h"
#include "runtime/base/failpoint.h"

namespace millrace {
namespace {

constexpr absl::Duration kLease = absl::Seconds(2);
constexpr size_t kChannel = 1 << 20;
constexpr size_t kSmallChannel = 400;  // A handful of batches.

// Runs tasks one step at a time, whenever somebody wakes it.
class SimRunner : public TaskRunner, public std::enable_shared_from_this<SimRunner> {
 public:
  SimRunner(std::shared_ptr<SimMachine> machine, SimRandom& random, uint32_t slow_receivers)
      : machine_(std::move(machine)), random_(random), slow_receivers_(slow_receivers) {}

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
      if (slow_receivers_ > 0 && !tasks_[i]->has_source() && !random_.OneIn(slow_receivers_)) {
        continue;
      }
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
  SimRandom& random_;
  const uint32_t slow_receivers_;
  std::vector<std::shared_ptr<Task>> tasks_;
  bool scheduled_ = false;
  bool polling_ = false;
};

}  // namespace

// One connection between a worker and a coordinator.
struct Simulation::Wire {
  bool open = true;
  bool to_worker = true;  // False: what is sent that way is lost.
  bool to_coordinator = true;
};

struct Simulation::WorkerProcess {
  explicit WorkerProcess(std::shared_ptr<SimMachine> m) : machine(std::move(m)) {}
  std::shared_ptr<SimMachine> machine;
  std::unique_ptr<Worker> worker;
  bool leaves = false;
  std::shared_ptr<Wire> wire;                       // Null: not connected.
  const CoordinatorProcess* coordinator = nullptr;  // Where the wire leads to.
  std::function<void()> tell_coordinator;           // That the connection has ended.
  size_t next_coordinator = 0;
};

struct Simulation::CoordinatorProcess {
  CoordinatorProcess(std::shared_ptr<SimMachine> m, Env env)
      : machine(std::move(m)), loop(env, Wake()) {}
  std::shared_ptr<SimMachine> machine;
  Loop loop;  // Of the election.
  std::unique_ptr<LeaderElection> election;
  std::unique_ptr<LeaderMetadataStore> store;
  std::unique_ptr<Coordinator> coordinator;  // Of the leader only.
  bool over = false;

  // Work of a machine that has crashed does not run: this is there whenever it does.
  std::function<void()> Wake() {
    return [weak = std::weak_ptr<SimMachine>(machine), this] {
      if (auto alive = weak.lock()) alive->Post([this] { Run(); });
    };
  }
  // As the main loop of the program.
  void Run() {
    loop.RunPosted();
    if (coordinator == nullptr || over) return;
    coordinator->RunPosted();
    if (!election->holds()) over = true;
  }
};

// The coordinator's way to one worker, through the network's delays, in order.
class Simulation::Link : public WorkerLink {
 public:
  Link(Simulation& simulation, int number, WorkerProcess& process)
      : simulation_(simulation),
        number_(number),
        machine_(process.machine),
        wire_(process.wire),
        worker_(*process.worker) {}
  void Send(const v1::ConnectResponse& message) override {
    if (!wire_->open || !wire_->to_worker) return;
    simulation_.world_.events.At(absl::Microseconds(200), absl::ZeroDuration(),
                                 machine_->Guarded([wire = wire_, worker = &worker_, message] {
                                   if (wire->open) worker->OnMessage(message);
                                 }));
  }
  void Close() override { simulation_.Hangup(number_, wire_); }

 private:
  Simulation& simulation_;
  const int number_;
  const std::shared_ptr<SimMachine> machine_;
  const std::shared_ptr<Wire> wire_;
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

SimulationOptions MixOfFaults(uint64_t seed) {
  SimRandom random(seed ^ 0xFA017);
  const auto some = [&random](double most) {
    if (random.OneIn(2)) return 0.0;
    return most * static_cast<double>(1 + random.Below(100)) / 100;
  };
  return {.workers = static_cast<int>(1 + random.Below(4)),
          .coordinators = static_cast<int>(1 + random.Below(3)),
          .worker_crashes = some(0.6),
          .leader_crashes = some(0.3),
          .leader_pauses = some(0.2),
          .cuts = some(0.5),
          .silences = some(0.3),
          .store_outages = some(0.1),
          .store_unknowns = some(100),
          .worker_pauses = some(0.2),
          .failpoints = some(10),
          .disk_errors = some(5),
          .worker_leaves = some(0.3),
          .asks = random.OneIn(3),
          .rescales = some(0.3),
          .upgrades = some(0.9),
          .wrong_clocks = some(0.5),
          .spoilt_copies = some(2),
          .alignment_timeout_ms = random.OneIn(2) ? 0 : static_cast<uint32_t>(1 + random.Below(10)),
          .slow_receivers = random.OneIn(3) ? 0 : static_cast<uint32_t>(3 + random.Below(7))};
}

Simulation::Simulation(uint64_t seed, SimulationOptions options)
    : options_(options),
      world_(seed),
      job_{.asks = options.asks, .alignment_timeout_ms = options.alignment_timeout_ms},
      nodes_(MakeSimNodes(job_, target_, world_)) {
  store_.SetFaults(
      [this](MemoryMetadataStore::Call, const std::string&) { return NextStoreFault(); });
  world_.disk.SetFaults([this] {
    if (healthy_ || !Happens(options_.disk_errors)) return absl::OkStatus();
    ++faults_;
    return world_.random.OneIn(2) ? absl::ResourceExhaustedError("no space left on the device")
                                  : absl::UnavailableError("input/output error");
  });
  Failpoints::SetPlan([this](std::string_view name) { return OnFailpoint(name); });
  workers_.resize(static_cast<size_t>(options_.workers));
  coordinators_.resize(static_cast<size_t>(options_.coordinators));
  for (int i = 0; i < options_.coordinators; ++i) StartCoordinator(i);
  for (int i = 0; i < options_.workers; ++i) StartWorker(i);
}

Simulation::~Simulation() {
  Failpoints::SetPlan(nullptr);
  for (auto& process : workers_) {
    if (process != nullptr) process->machine->Crash();
  }
  workers_.clear();
  for (auto& process : coordinators_) {
    if (process != nullptr) process->machine->Crash();
  }
  coordinators_.clear();
  world_.events.Clear();  // What it owns reaches into disk and network.
}

// ---- Coordinators.

void Simulation::StartCoordinator(int number) {
  auto machine = world_.MakeMachine();
  auto& process = coordinators_[static_cast<size_t>(number)];
  process = std::make_unique<CoordinatorProcess>(machine, world_.env(*machine));
  process->election = std::make_unique<LeaderElection>(
      LeaderElectionOptions{.coordinator_id = absl::StrCat("c", machine->number()),
                            .address = absl::StrCat("c", machine->number(), ":1"),
                            .lease = kLease},
      process->loop, store_,
      LeaderElection::Events{
          .on_elected = [this, p = process.get()](const Leadership& won) { Lead(*p, won); },
          .on_lost = [p = process.get()](const absl::Status&) { p->over = true; }});
  process->election->Start();
}

void Simulation::Lead(CoordinatorProcess& process, const Leadership& leadership) {
  ++elections_;
  process.store = std::make_unique<LeaderMetadataStore>(store_, leadership.guard);
  process.coordinator = std::make_unique<Coordinator>(
      CoordinatorOptions{.coordinator_id = absl::StrCat("c", process.machine->number()),
                         .term = leadership.term,
                         .checkpoint_uri = "file:///checkpoints",
                         .registration_grace = absl::Seconds(1),
                         .sweep_interval = absl::Seconds(1),
                         .sweep_grace = absl::Seconds(3),
                         .on_fenced = [p = &process](const absl::Status&) { p->over = true; }},
      world_.env(*process.machine), *process.store,
      [this](const v1::JobSource& source) {
        return CompiledJob{.graph = source.has_graph() ? source.graph() : job_.Graph()};
      },
      process.Wake());
  if (!process.coordinator->Start().ok()) {
    process.over = true;
    return;
  }
  if (!job_id_.empty()) Watch(*process.coordinator);
}

void Simulation::EndCoordinator(int number) {
  auto& process = coordinators_[static_cast<size_t>(number)];
  process->machine->Crash();
  for (int i = 0; i < options_.workers; ++i) {
    WorkerProcess* worker = workers_[static_cast<size_t>(i)].get();
    if (worker == nullptr || worker->wire == nullptr) continue;
    if (worker->coordinator == process.get()) Hangup(i, worker->wire);
  }
  process = nullptr;
  world_.events.At(absl::Milliseconds(50), absl::Seconds(2),
                   [this, number] { StartCoordinator(number); });
}

Simulation::CoordinatorProcess* Simulation::Leader() {
  for (const auto& process : coordinators_) {
    if (process != nullptr && process->coordinator != nullptr && process->election->holds()) {
      return process.get();
    }
  }
  return nullptr;
}

// ---- Workers.

void Simulation::StartWorker(int number) {
  auto process = std::make_unique<WorkerProcess>(world_.MakeMachine());
  SimMachine* machine = process->machine.get();
  auto wake = [weak = std::weak_ptr<SimMachine>(process->machine), p = process.get()] {
    if (auto m = weak.lock()) m->Post([p] { p->worker->RunPosted(); });
  };
  process->worker = std::make_unique<Worker>(
      WorkerOptions{.worker_id = absl::StrCat("w", machine->number()),
                    .data_folder = absl::StrCat("/worker", number),
                    .local_copies_of = "",
                    .channel_bytes_max = options_.slow_receivers > 0 ? kSmallChannel : kChannel},
      world_.env(*machine), *nodes_, /*cores=*/2,
      [this, machine = process->machine] {
        return std::make_shared<SimRunner>(machine, world_.random, options_.slow_receivers);
      },
      wake);
  if (!process->worker->Start().ok()) {
    process->machine->Crash();
    world_.events.At(absl::Milliseconds(20), absl::Seconds(1),
                     [this, number] { StartWorker(number); });
    return;
  }
  workers_[static_cast<size_t>(number)] = std::move(process);
  Dial(number, absl::ZeroDuration());
}

void Simulation::CrashWorker(int number) {
  if (workers_[static_cast<size_t>(number)] == nullptr) return;
  ++faults_;
  EndWorker(number);
}

void Simulation::EndWorker(int number) {
  auto& process = workers_[static_cast<size_t>(number)];
  if (process->wire != nullptr) {
    process->wire->open = false;
    process->tell_coordinator();
  }
  process->machine->Crash();
  AddCopyReads(*process->worker, copy_reads_);
  process = nullptr;
  world_.events.At(absl::Milliseconds(20), absl::Seconds(1),
                   [this, number] { StartWorker(number); });
}

void Simulation::AddCopyReads(const Worker& worker, CopyReads& sum) {
  const LocalCopies::Counters counters = worker.copies().counters();
  sum.used += counters.local_reads;
  sum.refused += counters.missing + counters.damaged;
}

Simulation::CopyReads Simulation::copy_reads() const {
  CopyReads sum = copy_reads_;
  for (const auto& process : workers_) {
    if (process != nullptr) AddCopyReads(*process->worker, sum);
  }
  return sum;
}

void Simulation::AskToLeave(int number) {
  auto& process = workers_[static_cast<size_t>(number)];
  if (process == nullptr || std::exchange(process->leaves, true)) return;
  process->machine->Post([p = process.get()] { p->worker->Leave(); });
}

void Simulation::AskToRescale() {
  CoordinatorProcess* leader = Leader();
  if (leader == nullptr) return;
  v1::RescaleJobRequest request;
  request.set_job(job_id_);
  request.set_parallelism(static_cast<uint32_t>(1 + world_.random.Below(6)));
  leader->machine->Post([this, coordinator = leader->coordinator.get(), request] {
    coordinator->RescaleJob(request, [this](absl::StatusOr<v1::RescaleJobResponse> response) {
      rescales_ += response.ok() ? 1 : 0;
    });
  });
}

void Simulation::AskToUpgrade() {
  CoordinatorProcess* leader = Leader();
  if (leader == nullptr) return;
  const bool broken = world_.random.OneIn(4);
  v1::UpgradeJobRequest request;
  request.set_job(job_id_);
  *request.mutable_source()->mutable_graph() =
      job_.NewVersion(/*renamed=*/world_.random.OneIn(2), broken);
  leader->machine->Post([this, coordinator = leader->coordinator.get(), request, broken] {
    coordinator->UpgradeJob(request, [this, broken](absl::StatusOr<v1::UpgradeJobResponse> answer) {
      MILLRACE_CHECK(!broken || !answer.ok());
      upgrades_ += answer.ok() ? 1 : 0;
      rollbacks_ += absl::IsInvalidArgument(answer.status()) ? 1 : 0;
    });
  });
}

void Simulation::EndThoseThatMayLeave() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i] == nullptr || !workers_[i]->worker->may_leave()) continue;
    ++workers_left_;
    EndWorker(static_cast<int>(i));
  }
}

void Simulation::Dial(int number, absl::Duration delay) {
  WorkerProcess& process = *workers_[static_cast<size_t>(number)];
  world_.events.At(delay, absl::Milliseconds(10), process.machine->Guarded([this, number] {
    WorkerProcess& worker = *workers_[static_cast<size_t>(number)];
    if (worker.wire != nullptr) return;
    auto& to = coordinators_[worker.next_coordinator++ % coordinators_.size()];
    if (to != nullptr && to->coordinator != nullptr && !to->over) return Connect(number, *to);
    Dial(number, absl::Milliseconds(100));
  }));
}

void Simulation::Connect(int number, CoordinatorProcess& to) {
  WorkerProcess& process = *workers_[static_cast<size_t>(number)];
  process.wire = std::make_shared<Wire>();
  process.coordinator = &to;
  const std::weak_ptr<SimMachine> machine = to.machine;
  const uint64_t link =
      to.coordinator->OnWorkerConnected(std::make_shared<Link>(*this, number, process));
  const auto post = [this, machine, p = &to](std::function<void(Coordinator&)> what) {
    auto alive = machine.lock();
    if (alive == nullptr) return;
    world_.events.At(absl::Microseconds(200), absl::ZeroDuration(),
                     alive->Guarded([p, what = std::move(what)] { what(*p->coordinator); }));
  };
  process.tell_coordinator = [post, link] {
    post([link](Coordinator& coordinator) { coordinator.OnWorkerClosed(link); });
  };
  process.worker->OnConnected(
      {.send =
           [post, link, wire = process.wire](v1::ConnectRequest message) {
             if (!wire->open || !wire->to_coordinator) return;
             post([link, wire, message = std::move(message)](Coordinator& coordinator) {
               if (wire->open) coordinator.OnWorkerMessage(link, message);
             });
           },
       .close = [this, number, wire = process.wire] { Hangup(number, wire); }});
}

// Either end closes the connection: both learn of it.
void Simulation::Hangup(int number, const std::shared_ptr<Wire>& wire) {
  if (!std::exchange(wire->open, false)) return;
  WorkerProcess* process = workers_[static_cast<size_t>(number)].get();
  if (process == nullptr || process->wire != wire) return;
  process->wire = nullptr;
  process->tell_coordinator();
  process->worker->OnDisconnected();
  Dial(number, absl::Milliseconds(1));
}

// ---- The job.

void Simulation::Submit() {
  healthy_ = true;
  CoordinatorProcess* leader = nullptr;
  while ((leader = Leader()) == nullptr ||
         leader->coordinator->Workers().size() < workers_.size()) {
    MILLRACE_CHECK(world_.events.RunOne());
  }
  v1::SubmitJobRequest request;
  request.set_request_id("submit");
  request.mutable_job()->set_yaml("name: sim");
  leader->coordinator->SubmitJob(
      request, [this, c = leader->coordinator.get()](absl::StatusOr<v1::SubmitJobResponse> r) {
        MILLRACE_CHECK(r.ok());
        job_id_ = r->job_id();
        Watch(*c);
      });
  while (job_id_.empty()) MILLRACE_CHECK(world_.events.RunOne());
}

void Simulation::Watch(Coordinator& coordinator) {
  v1::WatchJobRequest watch;
  watch.set_job(job_id_);
  coordinator.WatchJob(watch, std::make_shared<Watcher>(*this));
}

std::string Simulation::Violation() const {
  for (const auto& [row, times] : target_.rows()) {
    if (times > 1) return absl::StrCat("row is visible ", times, " times: ", row);
  }
  return "";
}

// ---- Faults.

MemoryMetadataStore::Fault Simulation::NextStoreFault() {
  using Fault = MemoryMetadataStore::Fault;
  if (healthy_) return Fault::kNone;
  if (store_is_away_) return Fault::kUnavailable;
  if (!Happens(options_.store_unknowns)) return Fault::kNone;
  ++faults_;
  const Fault kinds[] = {Fault::kUnknownApplied, Fault::kUnknownDropped, Fault::kUnknownDelayed};
  const Fault kind = kinds[world_.random.Below(3)];
  if (kind == Fault::kUnknownDelayed) {
    world_.events.At(absl::ZeroDuration(), absl::Seconds(3), [this] { store_.ApplyDelayed(); });
  }
  return kind;
}

bool Simulation::Happens(double per_thousand) {
  return per_thousand > 0 &&
         world_.random.Below(1'000'000) < static_cast<uint64_t>(per_thousand * 1000);
}

absl::Duration Simulation::SomePause() {
  return kLease * static_cast<double>(world_.random.Below(200)) / 100.0;
}

std::vector<SimMachine*> Simulation::Machines() const {
  std::vector<SimMachine*> machines;
  for (const auto& process : coordinators_) {
    if (process != nullptr) machines.push_back(process->machine.get());
  }
  for (const auto& process : workers_) {
    if (process != nullptr) machines.push_back(process->machine.get());
  }
  return machines;
}

void Simulation::MakeAClockWrong() {
  const std::vector<SimMachine*> machines = Machines();
  if (machines.empty()) return;
  ++faults_;
  SimMachineClock& clock = machines[world_.random.Below(machines.size())]->clock();
  if (world_.random.OneIn(2)) {
    clock.SetWrongBy(absl::Seconds(world_.random.Below(1200)) - absl::Minutes(10));
  } else {
    clock.SetRate(world_.random.OneIn(2) ? 2 : 0.5);
  }
}

void Simulation::InjectFaults() {
  const auto some = [&](const auto& of) {
    return static_cast<int>(world_.random.Below(of.size()));
  };
  if (Happens(options_.worker_crashes)) CrashWorker(some(workers_));
  if (Happens(options_.leader_crashes)) {
    for (size_t i = 0; i < coordinators_.size(); ++i) {
      if (coordinators_[i] == nullptr || coordinators_[i].get() != Leader()) continue;
      ++faults_;
      EndCoordinator(static_cast<int>(i));
      break;
    }
  }
  if (Happens(options_.leader_pauses) && Leader() != nullptr) {
    ++faults_;
    Leader()->machine->Pause(SomePause());
  }
  if (Happens(options_.worker_pauses)) {
    const auto& worker = workers_[static_cast<size_t>(some(workers_))];
    if (worker != nullptr) {
      ++faults_;
      worker->machine->Pause(SomePause());
    }
  }
  if (Happens(options_.worker_leaves)) AskToLeave(some(workers_));
  if (Happens(options_.rescales)) AskToRescale();
  if (Happens(options_.upgrades)) AskToUpgrade();
  if (Happens(options_.wrong_clocks)) MakeAClockWrong();
  if (Happens(options_.spoilt_copies)) {
    const std::string folder = absl::StrCat("/worker", some(workers_), "/copies");
    faults_ += world_.disk.SpoilOne(folder) ? 1 : 0;
  }
  if (Happens(options_.cuts)) {
    ++faults_;
    world_.network.CutOne();
  }
  if (Happens(options_.silences)) {
    const auto& worker = workers_[static_cast<size_t>(some(workers_))];
    if (worker != nullptr && worker->wire != nullptr) {
      ++faults_;
      (world_.random.OneIn(2) ? worker->wire->to_worker : worker->wire->to_coordinator) = false;
    }
  }
  if (!store_is_away_ && Happens(options_.store_outages)) {
    ++faults_;
    store_is_away_ = true;
    world_.events.At(absl::ZeroDuration(), absl::Seconds(8), [this] { store_is_away_ = false; });
  }
}

absl::Status Simulation::OnFailpoint(std::string_view name) {
  auto& [reached, failed] = failpoints_[std::string(name)];
  ++reached;
  // What is seldom reached fails more often when it is.
  const double chance = options_.failpoints * (reached <= 3 ? 60 : reached < 10 ? 10 : 1);
  if (healthy_ || !Happens(chance)) return absl::OkStatus();
  ++failed;
  ++faults_;
  if (world_.random.OneIn(2)) {
    world_.events.At(absl::ZeroDuration(), absl::ZeroDuration(),
                     [this, number = world_.disk.machine()] { CrashMachine(number); });
  }
  return absl::UnavailableError(absl::StrCat("failpoint ", std::string(name)));
}

void Simulation::CrashMachine(int number) {
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i] != nullptr && workers_[i]->machine->number() == number) {
      return EndWorker(static_cast<int>(i));
    }
  }
  for (size_t i = 0; i < coordinators_.size(); ++i) {
    if (coordinators_[i] != nullptr && coordinators_[i]->machine->number() == number) {
      return EndCoordinator(static_cast<int>(i));
    }
  }
}

void Simulation::EndCoordinatorsThatAreOver() {
  for (size_t i = 0; i < coordinators_.size(); ++i) {
    if (coordinators_[i] != nullptr && coordinators_[i]->over) EndCoordinator(static_cast<int>(i));
  }
}

bool Simulation::RunOne() {
  if (!world_.events.RunOne()) return false;
  EndThoseThatMayLeave();
  EndCoordinatorsThatAreOver();
  return true;
}

bool Simulation::RunUntilRunning(uint64_t events_max) {
  for (uint64_t i = 0; i < events_max && state_ != v1::JOB_STATE_RUNNING; ++i) {
    if (!RunOne()) return false;
  }
  return state_ == v1::JOB_STATE_RUNNING;
}

std::string Simulation::RunFaulty(uint64_t events) {
  healthy_ = false;
  for (uint64_t i = 0; i < events && state_ != v1::JOB_STATE_FINISHED; ++i) {
    if (!RunOne()) return "nothing is going to happen any more";
    InjectFaults();
    if (i % 256 != 0) continue;
    if (std::string violation = Violation(); !violation.empty()) return violation;
  }
  healthy_ = true;
  // Wall times stay wrong.
  for (SimMachine* machine : Machines()) machine->clock().SetRate(1);
  return Violation();
}

bool Simulation::RunHealthy(uint64_t events_max) {
  for (uint64_t i = 0; i < events_max; ++i) {
    if (state_ == v1::JOB_STATE_FINISHED || state_ == v1::JOB_STATE_FAILED) break;
    if (!RunOne()) return false;
  }
  return state_ == v1::JOB_STATE_FINISHED;
}

}  // namespace millrace
