// One attempt to run a job, as far as this worker takes part: its tasks and their channels.
//
// Threading: the worker's loop, but for the TaskListener methods, which post to it.
// Ownership: the worker; tasks borrow graph, manifest and storage from here, so an attempt lives
// until
//            its last task is gone.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/exchange/data_plane.h"
#include "runtime/task/task.h"
#include "runtime/task/task_runner.h"

namespace millrace {

class StatePreparation;
class Worker;
struct WorkerParts;

class Attempt : public TaskListener, public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(Worker& worker, std::shared_ptr<WorkerParts> parts, v1::DeployAttempt deploy);
  ~Attempt() override;

  // Makes the tasks and opens them on io threads; each reports READY or FAILED. Takes what it can
  // use of `prepared`; null: nothing is prepared.
  absl::Status Build(StatePreparation* prepared);
  // Connects the outputs and hands the tasks to their runners.
  void Start();
  // Takes the tasks off their runners. Blocks until none of them runs; io work may go on. Any
  // thread, once no other method is called.
  void Stop();

  void TriggerEpoch(const v1::TriggerEpoch& trigger);
  void CompleteEpoch(Epoch epoch);
  void PrepareModel(Epoch epoch, const v1::Model& model);
  // Shows the coordinator rows of a node's tasks here.
  void Tail(const v1::TailTasks& tail);
  // The reader has taken the rows of that number.
  void OnRowsTaken(uint64_t number);
  void AddProgress(v1::Heartbeat& heartbeat) const;
  // Lets go of io threads that wait for a reader. Before Stop; any thread.
  void EndDeliveries() { deliveries_end_->store(true); }
  // The last state of each task, and the rows that wait for their reader, for a coordinator that
  // has come back.
  void ReportStates() const;
  void VisitTasks(const std::function<void(const std::string&, Task&)>& visit) const;

  const AttemptKey& key() const { return key_; }
  const v1::AttemptId& id() const { return deploy_.attempt(); }

  void OnExhausted(TaskId task) override;
  void OnFailed(TaskId task, std::string_view uid, const absl::Status& status) override;
  void OnSnapshot(TaskId task, Epoch epoch, v1::TaskSnapshot snapshot, EpochTimes times) override;
  void OnCommitted(TaskId task, Epoch epoch) override;
  void OnModelPrepared(TaskId task, Epoch epoch, const absl::Status& status) override;
  void OnRows(TaskId task, std::string_view uid, const Batch& rows, uint64_t left_out) override;
  std::shared_ptr<RowDelivery> DeliverRows(TaskId task, std::string_view uid,
                                           v1::TailedRows rows) override;

 private:
  // Rows that wait for their reader; shared with the io threads that wait.
  struct Delivery : RowDelivery {
    explicit Delivery(std::shared_ptr<const std::atomic<bool>> ends) : end(std::move(ends)) {}
    absl::StatusOr<bool> Wait(absl::Duration patience) override;

    v1::ConnectRequest message;
    absl::Notification taken;
    const std::shared_ptr<const std::atomic<bool>> end;  // Of the attempt.
  };
  struct Hosted {
    const v1::Task* spec;
    std::shared_ptr<Task> task;
    std::shared_ptr<TaskRunner> runner;
    v1::TaskStateChanged state;
  };

  // Runs `letter` on the worker's loop if this attempt still exists then.
  void Post(std::function<void(Attempt&)> letter);
  bool KeepsCopies() const;  // Of segments of its checkpoint storage.
  absl::Status MakeTask(const v1::Task& spec);
  std::vector<TaskInput> MakeInputs(const v1::Task& spec, const v1::Chain& chain,
                                    std::function<void()> wake);
  std::vector<TaskOutput> MakeOutputs(const Hosted& hosted);
  std::vector<std::unique_ptr<ChannelSender>> MakeSenders(const Hosted& hosted, int edge);
  const v1::Chain* ChainOf(std::string_view uid) const;
  const v1::Task* FindTask(uint32_t chain, uint32_t index) const;
  void Open(Hosted& hosted, PreparedState prepared);
  void WakeTask(TaskId id);
  void AddCondition(const Hosted& hosted, v1::TaskCondition& out) const;
  void AddProgress(const Hosted& hosted, v1::Heartbeat& heartbeat) const;
  void SetState(Hosted& hosted, v1::TaskStateChanged::State state);
  Hosted* FindHosted(TaskId id);

  Worker& worker_;  // Only touched on its loop: an attempt may outlive it.
  const std::shared_ptr<WorkerParts> parts_;
  const v1::DeployAttempt deploy_;
  const AttemptKey key_;
  std::unique_ptr<CheckpointStorage> storage_;
  std::map<TaskId, Hosted> tasks_;
  // Channels between two tasks of this worker: the sender waits here until its task starts.
  std::map<ChannelKey, std::unique_ptr<ChannelSender>> local_senders_;
  bool started_ = false;
  // Of its tasks; not yet complete. Only for the sake of local copies.
  std::map<Epoch, std::vector<v1::Segment>> state_of_epochs_;
  std::map<uint64_t, std::shared_ptr<Delivery>> deliveries_;  // By number.
  uint64_t last_delivery_ = 0;
  const std::shared_ptr<std::atomic<bool>> deliveries_end_ =
      std::make_shared<std::atomic<bool>>(false);
  bool keep_segments_ = false;  // As the tasks were told last.
  absl::once_flag stopped_;
};

}  // namespace millrace
