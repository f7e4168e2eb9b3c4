// A worker hosts the tasks of attempts: it makes them as the coordinator says, runs them on task
// threads, connects their channels, and reports what happens.
//
// Threading: one event loop (RunPosted, by the worker's main thread or the simulator). OnMessage,
//            OnConnected and OnDisconnected from any thread: they post. Tasks report by posting
//            too.
// Ownership: the worker owns runners, data plane and attempts; Env, factory and runners' clock are
//            borrowed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/base/env.h"
#include "runtime/base/mailbox.h"
#include "runtime/checkpoint/local_copies.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/exchange/data_plane.h"
#include "runtime/state/memory_budget.h"
#include "runtime/task/node_factory.h"
#include "runtime/task/task_runner.h"

namespace millrace {

class Attempt;
class S3Access;
class StatePreparation;
class Task;

struct WorkerOptions {
  std::string worker_id;  // Names this incarnation.
  std::string name;       // Names its place (a pod): may be empty. See RegisterWorker.
  std::string data_address = "127.0.0.1:0";
  std::string http_address;  // Only reported.
  std::string data_folder;   // Cold state and copies of segments; wiped at start.
  uint64_t state_memory_bytes = uint64_t{1} << 30;
  std::shared_ptr<S3Access> s3;  // Null: checkpoints in s3:// are refused.
  // Of the segments written to checkpoint storage whose URI begins with the prefix; 0: none.
  uint64_t local_copies_bytes_max = uint64_t{1} << 30;
  std::string local_copies_of = "s3://";
  size_t channel_bytes_max = 1 << 20;
  bool interactive = false;
};

// What attempts use; shared, because io work of a stopped attempt may outlast the worker. Constant
// after Start; every part may be used from any thread.
struct WorkerParts {
  const WorkerOptions options;
  Env env;
  const NodeFactory& factory;
  Mailbox mailbox;
  MemoryBudget budget;
  LocalCopies copies;
  std::unique_ptr<DataPlane> data_plane;

  // Whether segments of this checkpoint storage are copied, as the options say.
  bool KeepsCopies(std::string_view uri) const;
  // See OpenCheckpointStorage; with local copies where there are any. Lives as long as this.
  absl::StatusOr<std::unique_ptr<CheckpointStorage>> OpenStorage(const std::string& uri);
};

class Worker {
 public:
  using MakeRunner = std::function<std::shared_ptr<TaskRunner>()>;
  // The way to a coordinator. `close` gives it up, so that another one is looked for; both may be
  // called after it has ended.
  struct Link {
    std::function<void(v1::ConnectRequest)> send;
    std::function<void()> close;
  };

  // `cores` runners are made at once, one more for each blocking task. `wake`: see Mailbox; what it
  // captures must stay valid after the worker is gone.
  Worker(WorkerOptions options, Env env, const NodeFactory& factory, int cores,
         MakeRunner make_runner, std::function<void()> wake);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the data plane. Blocks.
  absl::Status Start();

  // The link to the coordinator. A worker without a link goes on processing; epochs wait.
  // A coordinator that is silent for too long, or whose term is over, is given up.
  void OnConnected(Link link);
  void OnDisconnected();
  void OnMessage(v1::ConnectResponse message);

  // Asks the coordinator to take the tasks away; `may_leave` is true when it has. Worker thread.
  void Leave();
  bool may_leave() const { return may_leave_; }

  size_t RunPosted() { return parts_->mailbox.RunPosted(); }
  // Sends a line to the coordinator, for `millrace logs`, if the job runs here; any thread.
  void AddLogLine(std::string job_id, v1::LogLine line);

  // One task, for metrics. Worker thread.
  void VisitTasks(const std::function<void(const std::string& job_id, Task&)>& visit) const;
  const MemoryBudget& budget() const { return parts_->budget; }
  const LocalCopies& copies() const { return parts_->copies; }
  const std::string& worker_id() const { return parts_->options.worker_id; }
  // A coordinator has answered, and the connection has not ended since.
  bool connected() const { return link_.has_value() && registered_; }
  size_t attempt_count() const { return attempts_.size(); }
  // Letters for the loop, e.g. to visit tasks from the metrics thread.
  Mailbox& mailbox() { return parts_->mailbox; }

 private:
  friend class Attempt;

  void Handle(const v1::ConnectResponse& message);
  void Deploy(const v1::DeployAttempt& deploy);
  void PrepareState(const v1::PrepareState& message);
  // Forgets it; what it holds is freed on an io thread.
  void ForgetPrepared(const std::string& job_id);
  void StopAttemptsOlderThan(const v1::AttemptId& id);
  void StopOne(const AttemptKey& key);
  Attempt* Find(const v1::AttemptId& id);
  std::shared_ptr<TaskRunner> RunnerFor(bool blocking);
  void Register();
  void CloseLink(const char* reason);
  void SendHeartbeat();
  void ScheduleHeartbeat();
  void Report(v1::ConnectRequest message);

  const std::shared_ptr<WorkerParts> parts_;
  const MakeRunner make_runner_;
  std::vector<std::shared_ptr<TaskRunner>> runners_;  // One per core.
  size_t next_runner_ = 0;
  std::map<AttemptKey, std::shared_ptr<Attempt>> attempts_;
  std::vector<std::weak_ptr<Attempt>> stopping_;  // On the io pool.
  struct Prepared {
    std::shared_ptr<StatePreparation> state;
    uint64_t under_way = 0;  // The number of the round; 0 = none is.
  };
  std::map<std::string, Prepared> prepared_;  // By job.
  uint64_t preparations_ = 0;
  std::optional<Link> link_;
  bool registered_ = false;  // By this link.
  absl::Duration heartbeat_interval_ = absl::Seconds(1);
  absl::Duration silence_timeout_ = absl::Seconds(5);  // Infinite: for ever patient.
  int64_t heard_ns_ = 0;                               // The last message of the coordinator.
  uint64_t term_ = 0;                                  // The highest of a leader so far.
  bool heartbeat_scheduled_ = false;
  uint64_t dropped_messages_ = 0;  // Of lower generations.
  bool leaving_ = false;
  bool may_leave_ = false;
};

}  // namespace millrace
