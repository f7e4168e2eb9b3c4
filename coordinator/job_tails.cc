// Rows of a job for those who look on. Of most nodes they are samples, which tasks send while
// somebody listens, and nobody waits for. Of a sink `collect` they are the results of a query: its
// task waits until the reader has taken them, so they stand here between the two, one message per
// task at the most.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/job_controller.h"
#include "coordinator/job_state.h"

namespace millrace {
namespace {

constexpr uint32_t kRowsPerSecondDefault = 100;
constexpr uint32_t kRowsPerSecondMax = 1000;
constexpr size_t kWatchersMax = 64;
// Without a reader for so long, a query whose rows wait is over: its client is gone.
constexpr absl::Duration kReaderPatience = absl::Minutes(1);

bool IsCollect(const v1::Node& node) {
  return node.has_sink() && node.sink().connector() == "collect";
}

const v1::Node* FindNode(const v1::JobGraph& graph, const std::string& uid) {
  for (const v1::Node& node : graph.nodes()) {
    if (node.uid() == uid) return &node;
  }
  return nullptr;
}

// A sink has no columns: those that it is given.
const v1::Node* NodeWithColumns(const v1::JobGraph& graph, const v1::Node& node) {
  if (!node.has_sink()) return &node;
  for (const v1::Edge& edge : graph.edges()) {
    if (edge.to() == node.uid()) return FindNode(graph, edge.from());
  }
  return nullptr;
}

v1::TailNodeResponse ColumnsOf(const v1::Node& node) {
  v1::TailNodeResponse response;
  *response.mutable_schema() = node.schema();
  response.set_changelog_mode(node.changelog_mode() == v1::CHANGELOG_MODE_UNSPECIFIED
                                  ? v1::CHANGELOG_MODE_APPEND
                                  : node.changelog_mode());
  for (const v1::Field& field : node.schema().fields()) {
    const auto& ids = node.key().ids();
    if (std::find(ids.begin(), ids.end(), field.id()) != ids.end()) {
      response.add_key(field.name());
    }
  }
  return response;
}

}  // namespace

absl::Status JobController::Tail(const v1::TailNodeRequest& request,
                                 std::shared_ptr<TailWatcher> watcher) {
  if (!live()) return EndedStatus(job_id(), state());
  const v1::Node* const node = FindNode(graph(), request.uid());
  if (node == nullptr) {
    const std::string uids = absl::StrJoin(
        graph().nodes(), ", ",
        [](std::string* out, const v1::Node& one) { absl::StrAppend(out, one.uid()); });
    return absl::NotFoundError(
        absl::StrCat("job ", job_id(), " has no node ", request.uid(), "; it has ", uids));
  }
  const v1::Node* const columns = NodeWithColumns(graph(), *node);
  if (columns == nullptr) return absl::InternalError("the sink has no input");
  std::erase_if(tails_, [](const TailedNode& tail) { return !tail.watcher->listening(); });
  if (tails_.size() >= kWatchersMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kWatchersMax, " readers look at rows of the job; try again later"));
  }
  TailedNode tail{.uid = request.uid(), .rows_per_second_max = 0, .watcher = std::move(watcher)};
  if (IsCollect(*node)) {
    const bool is_read = std::any_of(tails_.begin(), tails_.end(), [&](const TailedNode& other) {
      return other.uid == tail.uid;
    });
    if (is_read) {
      return absl::FailedPreconditionError(
          absl::StrCat("somebody else reads the rows of ", tail.uid));
    }
    for (UntakenRows& rows : untaken_) rows.given &= rows.message.uid() != tail.uid;
  } else {
    tail.rows_per_second_max = request.rows_per_second_max() == 0
                                   ? kRowsPerSecondDefault
                                   : std::min(request.rows_per_second_max(), kRowsPerSecondMax);
  }
  if (!tail.watcher->OnRows(ColumnsOf(*columns), nullptr)) return absl::OkStatus();
  tails_.push_back(tail);
  SendTap(tail.uid);
  GiveUntaken();
  return absl::OkStatus();
}

// Tells the tasks of the node how many rows are wanted: those of the most curious.
void JobController::SendTap(const std::string& uid) {
  if (attempt_.phase != AttemptPhase::kRunning) return;
  const v1::Node* const node = FindNode(graph(), uid);
  if (node == nullptr || IsCollect(*node)) return;
  v1::ConnectResponse message;
  v1::TailTasks& tail = *message.mutable_tail_tasks();
  *tail.mutable_attempt() = attempt_.id;
  tail.set_uid(uid);
  for (const TailedNode& one : tails_) {
    if (one.uid == uid) {
      tail.set_rows_per_second_max(std::max(tail.rows_per_second_max(), one.rows_per_second_max));
    }
  }
  SendToAttempt(message);
}

void JobController::SendTaps() {
  std::set<std::string> uids;
  for (const TailedNode& tail : tails_) uids.insert(tail.uid);
  for (const std::string& uid : uids) SendTap(uid);
}

void JobController::OnNodeRows(const std::string& worker_id, const v1::NodeRows& message) {
  if (!IsCurrent(message.attempt())) return;
  if (message.number() != 0) {
    const bool known = std::any_of(untaken_.begin(), untaken_.end(), [&](const UntakenRows& rows) {
      return rows.worker_id == worker_id && rows.message.number() == message.number();
    });
    if (!known) untaken_.push_back({.worker_id = worker_id, .message = message});
    return GiveUntaken();
  }
  v1::TailNodeResponse response;
  *response.mutable_rows() = message.rows();
  for (const TailedNode& tail : tails_) {
    if (tail.uid == message.uid()) (void)tail.watcher->OnRows(response, nullptr);
  }
  LookAtTails();
}

void JobController::GiveUntaken() {
  for (UntakenRows& rows : untaken_) {
    if (rows.given) continue;
    for (const TailedNode& tail : tails_) {
      if (tail.uid != rows.message.uid()) continue;
      v1::TailNodeResponse response;
      *response.mutable_rows() = rows.message.rows();
      rows.given = tail.watcher->OnRows(
          response, [this, post = loop_.poster(), worker_id = rows.worker_id,
                     number = rows.message.number(), id = rows.message.attempt()] {
            post([this, worker_id, id, number] { OnRowsTaken(worker_id, id, number); });
          });
    }
  }
}

void JobController::OnRowsTaken(const std::string& worker_id, const v1::AttemptId& id,
                                uint64_t number) {
  if (!IsCurrent(id)) return;
  std::erase_if(untaken_, [&](const UntakenRows& rows) {
    return rows.worker_id == worker_id && rows.message.number() == number;
  });
  v1::ConnectResponse message;
  *message.mutable_node_rows_taken()->mutable_attempt() = id;
  message.mutable_node_rows_taken()->set_number(number);
  host_.SendTo(worker_id, message);
}

// Forgets who does not listen any more, and ends a query that nobody reads.
void JobController::LookAtTails() {
  std::set<std::string> left;
  std::erase_if(tails_, [&](const TailedNode& tail) {
    if (tail.watcher->listening()) return false;
    left.insert(tail.uid);
    return true;
  });
  for (const std::string& uid : left) SendTap(uid);
  const bool unread = std::any_of(untaken_.begin(), untaken_.end(), [&](const UntakenRows& rows) {
    return std::none_of(tails_.begin(), tails_.end(),
                        [&](const TailedNode& tail) { return tail.uid == rows.message.uid(); });
  });
  if (!unread) {
    unread_since_ns_ = 0;
    return;
  }
  const int64_t now = loop_.env().clock.MonotonicNanos();
  if (unread_since_ns_ == 0) unread_since_ns_ = now;
  if (absl::Nanoseconds(now - unread_since_ns_) < kReaderPatience) return;
  unread_since_ns_ = 0;
  Fail(absl::FailedPreconditionError(absl::StrCat("nobody has read the rows of the query for ",
                                                  absl::FormatDuration(kReaderPatience))),
       "no_reader");
}

void JobController::EndTails(const absl::Status& status) {
  for (const TailedNode& tail : std::exchange(tails_, {})) tail.watcher->OnEnd(status);
}

}  // namespace millrace
