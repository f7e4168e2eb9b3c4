// The task's part in an epoch: the cut at a barrier, the durable part on an io thread, the commit
// after the epoch record exists.
#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/check.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/segment_name.h"
#include "runtime/task/task.h"
#include "runtime/task/task_node.h"

namespace millrace {
namespace {

absl::Status WriteParts(SnapshotJob& job) {
  MILLRACE_FAILPOINT("task.before_snapshot_write");
  for (SnapshotJob::Part& part : job.parts) {
    v1::NodeSnapshot& node = *job.snapshot.mutable_nodes(part.node);
    MILLRACE_ASSIGN_OR_RETURN(std::vector<v1::Segment> segments, part.write());
    for (v1::Segment& segment : segments) {
      if (part.kind == v1::Segment::KIND_STATE_DELTA) {
        *node.add_state() = std::move(segment);
      } else if (part.kind == v1::Segment::KIND_IN_FLIGHT) {
        *node.mutable_in_flight(part.in_flight)->mutable_segment() = std::move(segment);
      }
    }
  }
  MILLRACE_FAILPOINT("task.after_snapshot_write");
  return absl::OkStatus();
}

constexpr char kCommitLater[] = "millrace.commit_later";
// Until a commit that was put off is tried again: others have the io thread meanwhile.
constexpr absl::Duration kCommitPause = absl::Milliseconds(20);

absl::Status CommitToken(Sink& sink, const v1::CommitToken& token) {
  MILLRACE_FAILPOINT("task.before_commit");
  MILLRACE_RETURN_IF_ERROR(sink.Commit(token));
  MILLRACE_FAILPOINT("task.after_commit");
  return absl::OkStatus();
}

}  // namespace

absl::Status CommitLater() {
  absl::Status status = absl::UnavailableError("the target is not ready for the commit");
  status.SetPayload(kCommitLater, absl::Cord());
  return status;
}

bool IsCommitLater(const absl::Status& status) {
  return status.GetPayload(kCommitLater).has_value();
}

void Task::TriggerEpoch(Epoch epoch, AfterEpoch after, absl::Duration alignment_timeout) {
  const bool overtakes = alignment_timeout > absl::ZeroDuration();
  if (has_source_) {
    return Post([this, epoch, after, overtakes] {
      triggers_.push_back({epoch, after, overtakes});
    });
  }
  if (!overtakes) return;
  const int64_t now = options_.env.clock.MonotonicNanos();
  Post([this, epoch, now, alignment_timeout] {
    overtaking_ = {.epoch = epoch,
                   .triggered_ns = now,
                   .at_ns = now + absl::ToInt64Nanoseconds(alignment_timeout)};
  });
  env_.executor.RunAfter(alignment_timeout, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->options_.wake();
  });
}

void Task::KeepSegments(bool keep) {
  Post([this, keep] {
    for (auto& node : nodes_) {
      if (node->state != nullptr) node->state->KeepSegments(keep);
    }
  });
}

Task::Step Task::PrepareEpoch() {
  if (snapshot_running_) {  // Woken by the letter that ends it.
    SetWait(TaskCondition::WaitsFor::kSnapshot);
    return Step::kBlocked;
  }
  return BringOut();
}

bool Task::TakeEpoch(Epoch epoch, std::deque<InFlight> in_flight) {
  last_epoch_ = epoch;
  const int64_t begin = options_.env.clock.MonotonicNanos();
  auto job = std::make_shared<SnapshotJob>();
  job->snapshot.set_chain(options_.id.chain);
  job->snapshot.set_index(options_.id.index);
  job->snapshot.set_key_group_first(options_.key_groups.first);
  job->snapshot.set_key_group_last(options_.key_groups.last);
  uint64_t state_bytes = 0;
  for (auto& node : nodes_) {
    if (absl::Status status = SnapshotNode(*node, epoch, *job); !status.ok()) {
      Fail(node->uid, Annotate(status, absl::StrCat("cannot snapshot epoch ", epoch.number)));
      return false;
    }
    if (node->state == nullptr) continue;
    state_bytes += node->state->memory_bytes() + node->state->cold_bytes();
    node->state_metrics->Set(node->state->cold_stats());
  }
  state_bytes_.Set(state_bytes);
  // Rows that wait have waited since the epoch began, also where no barrier has been met.
  const int64_t align_since =
      !in_flight.empty() && align_since_ns_ == 0 ? overtaking_.triggered_ns : align_since_ns_;
  SnapshotInFlight(epoch, std::move(in_flight), *job);
  for (auto& node : nodes_) {
    for (TaskOutput& output : node->outputs) {
      output.router->SendToAll({.kind = ChannelItem::Kind::kBarrier, .epoch = epoch});
    }
  }
  const int64_t cut = options_.env.clock.MonotonicNanos();
  TaskListener::EpochTimes times{.align_ns = align_since == 0 ? 0 : begin - align_since,
                                 .sync_ns = cut - begin};
  snapshot_running_ = true;
  snapshot_began_ns_.Set(static_cast<uint64_t>(cut));
  options_.env.executor.RunBlocking([self = shared_from_this(), job, epoch, times, cut]() mutable {
    const absl::Status status = WriteParts(*job);
    times.async_ns = self->options_.env.clock.MonotonicNanos() - cut;
    // The raw pointer is safe: letters run only while somebody holds the task.
    self->Post([task = self.get(), job, epoch, times, status] {
      task->snapshot_running_ = false;
      task->snapshot_began_ns_.Set(0);
      if (task->done_) return;
      if (!status.ok()) {
        // The output of the epoch may be incomplete on disk: only a restart from the last complete
        // epoch is safe.
        return task->Fail("", Annotate(status, absl::StrCat("cannot write the snapshot of epoch ",
                                                            epoch.number)));
      }
      task->options_.listener.OnSnapshot(task->options_.id, epoch, std::move(job->snapshot), times);
    });
  });
  return true;
}

absl::Status Task::SnapshotNode(Node& node, Epoch epoch, SnapshotJob& job) {
  const int index = job.snapshot.nodes_size();
  v1::NodeSnapshot& snapshot = *job.snapshot.add_nodes();
  snapshot.set_uid(node.uid);
  if (node.op != nullptr) {
    MILLRACE_RETURN_IF_ERROR(node.op->FlushState(epoch));
    if (const ModelHolder* holder = node.op->model_holder()) {
      *snapshot.mutable_model() = holder->model();
    }
  }
  if (node.state != nullptr) {
    MILLRACE_ASSIGN_OR_RETURN(SegmentWork work, node.state->FreezeEpoch(epoch));
    auto shared = std::make_shared<SegmentWork>(std::move(work));
    job.parts.push_back({.node = index,
                         .write = [shared] { return std::move(*shared)(); },
                         .kind = v1::Segment::KIND_STATE_DELTA});
  }
  if (node.sink != nullptr) {
    MILLRACE_ASSIGN_OR_RETURN(v1::CommitToken token, node.sink->Prepare(epoch));
    node.pending.push_back(std::move(token));
    for (Node::LatencyMark& mark : node.marks) {
      if (mark.epoch == Epoch{}) mark.epoch = epoch;
    }
    auto shared = std::make_shared<SegmentWork>(node.outbox->TakeWork());
    job.parts.push_back({.node = index, .write = [shared] { return std::move(*shared)(); }});
    // Everything that is not yet committed: a restore from this epoch must complete it all.
    for (const v1::CommitToken& pending : node.pending) *snapshot.add_tokens() = pending;
  }
  if (node.source != nullptr) {
    std::vector<Split> positions = node.source->Positions();
    for (uint32_t i = 0; i < positions.size(); ++i) {
      if (watermark_node_ >= 0) positions[i].watermark = split_watermarks_.OfSplit(i);
      v1::SplitPosition& split = *snapshot.add_splits();
      split.set_split_id(positions[i].id);
      split.set_position(positions[i].position);
      split.set_watermark_us(positions[i].watermark.us);
      split.set_finished(positions[i].finished);
    }
    node.snapshots.emplace_back(epoch, std::move(positions));
  }
  snapshot.set_rows_in(node.counters.rows_in.value());
  snapshot.set_rows_out(node.counters.rows_out.value());
  snapshot.set_rows_late(node.counters.rows_late.value());
  snapshot.set_rows_dead_lettered(node.counters.rows_dead_lettered.value());
  snapshot.set_rows_skipped(node.counters.rows_skipped.value());
  snapshot.set_truncates_out(node.counters.truncates_out.value());
  snapshot.set_watermark_us(node.watermark.us);
  return absl::OkStatus();
}

void Task::SnapshotInFlight(Epoch epoch, std::deque<InFlight> in_flight, SnapshotJob& job) {
  v1::NodeSnapshot& snapshot = *job.snapshot.mutable_nodes(0);
  for (InFlight& rows : in_flight) {
    v1::Segment identity;
    identity.set_name(SegmentName({.uid = snapshot.uid(), .prefix = SegmentPrefix()},
                                  v1::Segment::KIND_IN_FLIGHT, epoch,
                                  static_cast<uint64_t>(snapshot.in_flight_size())));
    identity.set_kind(v1::Segment::KIND_IN_FLIGHT);
    identity.set_uid(snapshot.uid());
    identity.set_key_group_first(options_.key_groups.first);
    identity.set_key_group_last(options_.key_groups.last);
    identity.set_epoch(epoch.number);
    v1::InFlightRows described = DescribeInFlight(rows, keyed_inputs_);
    job.parts.push_back(
        {.node = 0,
         .write = [&storage = options_.storage, identity,
                   rows = std::make_shared<InFlight>(
                       std::move(rows))]() -> absl::StatusOr<std::vector<v1::Segment>> {
           MILLRACE_ASSIGN_OR_RETURN(v1::Segment segment, WriteInFlight(storage, identity, *rows));
           return std::vector<v1::Segment>{std::move(segment)};
         },
         .kind = v1::Segment::KIND_IN_FLIGHT,
         .in_flight = snapshot.in_flight_size()});
    *snapshot.add_in_flight() = std::move(described);
  }
}

void Task::PrepareModel(Epoch epoch, const v1::Model& model) {
  Post([this, epoch, model] {
    if (done_) return;
    auto holders = std::make_shared<std::vector<ModelHolder*>>();
    for (auto& node : nodes_) {
      ModelHolder* holder = node->op == nullptr ? nullptr : node->op->model_holder();
      if (holder != nullptr && holder->model().name() == model.name()) holders->push_back(holder);
    }
    options_.env.executor.RunBlocking([self = shared_from_this(), epoch, model, holders] {
      auto loaded = std::make_shared<std::vector<std::unique_ptr<ModelHolder::Loaded>>>();
      absl::Status status;
      for (const ModelHolder* holder : *holders) {
        absl::StatusOr<std::unique_ptr<ModelHolder::Loaded>> one = holder->Load(model);
        status = one.status();
        if (!status.ok()) break;
        loaded->push_back(*std::move(one));
      }
      self->Post([task = self.get(), epoch, holders, loaded, status] {
        if (task->done_) return;
        for (size_t i = 0; status.ok() && i < holders->size(); ++i) {
          (*holders)[i]->UseFrom(epoch, std::move((*loaded)[i]));
        }
        task->options_.listener.OnModelPrepared(task->options_.id, epoch, status);
      });
    });
  });
}

void Task::CompleteEpoch(Epoch epoch) {
  Post([this, epoch] {
    if (done_) return;
    for (auto& node : nodes_) {
      if (node->source == nullptr) continue;
      std::erase_if(node->snapshots, [&](auto& snapshot) {
        if (snapshot.first == epoch) node->source->OnEpochCompleted(snapshot.second);
        return snapshot.first <= epoch;
      });
    }
    commits_.push_back(epoch);
    RunCommits();
  });
}

void Task::RunCommits() {
  if (commit_running_ || commits_.empty()) return;
  const Epoch epoch = commits_.front();
  commits_.pop_front();
  // Of an epoch that was abandoned nothing was committed; its tokens go with the next complete one.
  std::vector<std::pair<Node*, v1::CommitToken>> due;
  for (auto& node : nodes_) {
    for (const v1::CommitToken& token : node->pending) {
      if (token.epoch() <= epoch.number) due.emplace_back(node.get(), token);
    }
  }
  if (due.empty()) {
    options_.listener.OnCommitted(options_.id, epoch);
    return RunCommits();
  }
  commit_running_ = true;
  commit_began_ns_.Set(static_cast<uint64_t>(options_.env.clock.MonotonicNanos()));
  Commit(epoch, std::move(due));
}

void Task::Commit(Epoch epoch, std::vector<std::pair<Node*, v1::CommitToken>> due) {
  options_.env.executor.RunBlocking([self = shared_from_this(), due = std::move(due), epoch] {
    absl::Status status;
    std::string uid;
    for (const auto& [node, token] : due) {
      const int64_t begin = self->options_.env.clock.MonotonicNanos();
      status = CommitToken(*node->sink, token);
      uid = node->uid;
      if (!status.ok()) break;
      // One commit runs at a time: this thread is the only writer.
      node->counters.commits.Add(1);
      node->counters.commit_ns.Add(
          static_cast<uint64_t>(self->options_.env.clock.MonotonicNanos() - begin));
    }
    self->Post([task = self.get(), epoch, status, uid, due] {
      if (IsCommitLater(status) && !task->done_) {
        task->env_.executor.RunAfter(kCommitPause, [self = task->shared_from_this(), epoch, due] {
          self->Commit(epoch, due);
        });
        return;
      }
      task->commit_running_ = false;
      task->commit_began_ns_.Set(0);
      if (task->done_) return;
      if (!status.ok()) {
        return task->Fail(uid,
                          Annotate(status, absl::StrCat("cannot commit epoch ", epoch.number)));
      }
      for (auto& node : task->nodes_) {
        std::erase_if(node->pending,
                      [&](const v1::CommitToken& token) { return token.epoch() <= epoch.number; });
        std::erase_if(node->marks, [&](const Node::LatencyMark& mark) {
          const bool visible = mark.epoch != Epoch{} && mark.epoch <= epoch;
          if (visible) task->ObserveLatency(*node, mark.read_us);
          return visible;
        });
      }
      task->options_.listener.OnCommitted(task->options_.id, epoch);
      task->RunCommits();
    });
  });
}

}  // namespace millrace
