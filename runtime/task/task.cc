// The task's loop: what comes in, in which order, and what waits. Opening is in task_open.cc,
// epochs are in task_epoch.cc.
#include "runtime/task/task.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/task/task_node.h"

namespace millrace {
namespace {

// How many items of a channel are looked at before others get their turn.
constexpr int kItemsPerStep = 16;
// Some things are looked at every so many steps, because each time would cost too much.
constexpr uint32_t kStepsPerLook = 64;
constexpr int64_t kLatencyMarkIntervalNs = 1'000'000'000;
// Of one sink between two commits; more are not needed.
constexpr size_t kLatencyMarksMax = 1000;

uint64_t Packed(TaskId id) { return uint64_t{id.chain} << 32 | id.index; }
TaskId Unpacked(uint64_t packed) {
  return {static_cast<uint32_t>(packed >> 32), static_cast<uint32_t>(packed)};
}

}  // namespace

void Task::NodeEmitter::Emit(OutputPort port, Batch batch) {
  if (batch.rows() == 0 || task_.done_) return;
  if (port == OutputPort::kMain) {
    node_.counters.rows_out.Add(static_cast<uint64_t>(batch.rows()));
    if (const uint8_t* kinds = batch.kinds()) {
      node_.counters.truncates_out.Add(static_cast<uint64_t>(
          std::count(kinds, kinds + batch.rows(), static_cast<uint8_t>(RowKind::kTruncate))));
    }
    if (node_.tap != nullptr) task_.ShowRows(node_, batch);
  }
  for (TaskOutput& output : node_.outputs) {
    if (output.port != port) continue;
    node_.counters.bytes_out.Add(batch.byte_size());
    output.router->SendBatch(batch);
  }
  for (const Node::Child& child : node_.children) {
    if (child.port == port) task_.Deliver(child.node, child.input, batch);
  }
}

void Task::Deliver(size_t position, int input, const Batch& batch) {
  if (done_) return;
  Node& node = *nodes_[position];
  node.counters.rows_in.Add(static_cast<uint64_t>(batch.rows()));
  if (node.tap != nullptr && node.sink != nullptr) ShowRows(node, batch);
  const absl::Status status = node.sink != nullptr ? node.sink->Write(batch)
                                                   : node.op->Process(input, batch, *node.emitter);
  if (!status.ok()) Fail(node.uid, status);
}

std::shared_ptr<RowDelivery> TaskListener::DeliverRows(TaskId, std::string_view, v1::TailedRows) {
  return nullptr;
}

void Task::SetTap(std::string_view uid, uint32_t rows_per_second_max) {
  Post([this, uid = std::string(uid), rows_per_second_max] {
    for (auto& node : nodes_) {
      if (node->uid != uid) continue;
      taps_ -= node->tap != nullptr ? 1 : 0;
      node->tap =
          rows_per_second_max == 0 ? nullptr : std::make_unique<NodeTap>(rows_per_second_max);
      taps_ += node->tap != nullptr ? 1 : 0;
    }
  });
}

void Task::ShowRows(Node& node, const Batch& batch) {
  const NodeTap::Share share = node.tap->Take(batch.rows(), options_.env.clock.MonotonicNanos());
  if (share.rows == 0) return;
  options_.listener.OnRows(options_.id, node.uid, CopyRange(batch, 0, share.rows).WithoutOrigins(),
                           share.left_out);
}

void Task::TellLeftOut() {
  const int64_t now = options_.env.clock.MonotonicNanos();
  for (auto& node : nodes_) {
    if (node->tap == nullptr) continue;
    const uint64_t left_out = node->tap->TakeLeftOut(now);
    if (left_out > 0) options_.listener.OnRows(options_.id, node->uid, Batch(), left_out);
  }
}

void Task::Post(Mailbox::Letter letter) {
  // Letters run only while somebody holds the task.
  mailbox_.Post(
      [this, posted = options_.env.clock.MonotonicNanos(), letter = std::move(letter)]() mutable {
        letters_.Add(1);
        letters_wait_ns_.Add(static_cast<uint64_t>(env_.clock.MonotonicNanos() - posted));
        std::move(letter)();
      });
}

void Task::Start(std::vector<TaskOutput> outputs) {
  for (TaskOutput& output : outputs) {
    auto it = std::find_if(nodes_.begin(), nodes_.end(),
                           [&](const auto& node) { return node->uid == output.uid; });
    MILLRACE_CHECK(it != nodes_.end());
    (*it)->outputs.push_back(std::move(output));
  }
}

Task::Step Task::RunOnce() {
  using WaitsFor = TaskCondition::WaitsFor;
  const Step step = RunStep();
  if (taps_ > 0) TellLeftOut();
  if (step != Step::kBlocked) {
    SetWait(step == Step::kIdle ? WaitsFor::kInput : WaitsFor::kNothing);
  }
  return step;
}

void Task::SetWait(TaskCondition::WaitsFor why) {
  const auto number = static_cast<uint64_t>(why);
  if (waits_for_.value() == number) return;
  waits_for_.Set(number);
  if (why <= TaskCondition::WaitsFor::kInput) return;
  waits_since_ns_.Set(static_cast<uint64_t>(options_.env.clock.MonotonicNanos()));
}

TaskCondition Task::condition() const {
  const int64_t now = options_.env.clock.MonotonicNanos();
  const auto since = [now](const TaskCounter& began) {
    const auto at = static_cast<int64_t>(began.value());
    return at == 0 ? 0 : now - at;
  };
  TaskCondition condition;
  condition.waits_for = static_cast<TaskCondition::WaitsFor>(waits_for_.value());
  if (condition.waits_for > TaskCondition::WaitsFor::kInput) {
    condition.waits_ns = since(waits_since_ns_);
  }
  condition.receiver = Unpacked(receiver_.value());
  condition.aligning_epoch = aligning_epoch_.value();
  condition.align_ns = since(align_began_ns_);
  condition.missing = Unpacked(missing_.value());
  condition.snapshot_ns = since(snapshot_began_ns_);
  condition.commit_ns = since(commit_began_ns_);
  return condition;
}

Task::Step Task::RunStep() {
  if (done_) return Step::kIdle;
  if (!started_) {
    started_ = true;
    // Channels begin at Min(): tell downstream where the restored epoch stood.
    for (auto& node : nodes_) {
      if (node->watermark == EventTime::Min()) continue;
      for (TaskOutput& output : node->outputs) {
        output.router->SendToAll(
            {.kind = ChannelItem::Kind::kWatermark, .watermark = node->watermark});
      }
    }
    if (has_source_) ScheduleDiscovery();
    FindAsynchronous();
    FindTimeGivers();
  }
  const bool posted = mailbox_.RunPosted() > 0;
  if (done_) return Step::kIdle;
  const bool credit = HasCredit();
  if (!credit || ++steps_ % kStepsPerLook == 0) queued_bytes_.Set(QueuedBytes());
  if (!credit) {
    if (const Step step = CutWithoutCredit(); step == Step::kProgress || done_) return step;
    return Blocked(TaskCondition::WaitsFor::kCredit);
  }
  if (pass_.active) {
    ContinueWatermark();
    return Step::kProgress;
  }
  if (!time_givers_.empty()) {
    AdvanceOwnWatermarks();
    if (pass_.active) return Step::kProgress;
    if (done_) return Step::kIdle;
  }
  if (!asynchronous_.empty()) {
    const Step step = RunAsynchronous();
    if (step != Step::kIdle) return step;
  }
  if (commits_.size() >= kCommitsWaitingMax) return Blocked(TaskCondition::WaitsFor::kCommit);
  if (blocked_since_ns_ != 0) {
    split_watermarks_.ExcludeBlockedTime(std::exchange(blocked_since_ns_, 0),
                                         options_.env.clock.MonotonicNanos());
  }
  const Step step = has_source_ ? RunSource() : RunChannels();
  if (step == Step::kIdle && !done_) {
    if (absl::Status status = EndsStatus(); !status.ok()) Fail("", status);
  }
  return posted && step == Step::kIdle ? Step::kProgress : step;
}

// Waits, and not for input: its sources are not idle meanwhile.
Task::Step Task::Blocked(TaskCondition::WaitsFor why) {
  SetWait(why);
  if (absl::Status status = EndsStatus(); !status.ok()) {
    Fail("", status);
    return Step::kIdle;
  }
  if (blocked_since_ns_ == 0) blocked_since_ns_ = options_.env.clock.MonotonicNanos();
  return Step::kBlocked;
}

Task::Step Task::RunSource() {
  if (!triggers_.empty()) return BeginEpoch();
  if (source_ended_ || source_held_) return Step::kIdle;
  return PollSource(*nodes_[0]);
}

Task::Step Task::BeginEpoch() {
  if (triggers_.front().epoch <= last_epoch_) {  // Of a coordinator whose time is over.
    triggers_.pop_front();
    return Step::kProgress;
  }
  if (triggers_.front().after == AfterEpoch::kDrain && !source_ended_) {
    source_ended_ = true;
    BeginWatermark(0, EventTime::Max());
    return Step::kProgress;
  }
  if (const Step step = PrepareEpoch(); step != Step::kIdle || done_) return step;
  if (!TakeEpoch(triggers_.front().epoch)) return Step::kIdle;
  source_held_ |= triggers_.front().after == AfterEpoch::kHold;
  triggers_.pop_front();
  return Step::kProgress;
}

Task::Step Task::PollSource(Node& node) {
  const absl::Time polled = options_.env.clock.Now();
  absl::StatusOr<PollResult> result = node.source->Poll(*node.emitter);
  if (done_) return Step::kIdle;
  if (!result.ok()) {
    Fail(node.uid, result.status());
    return Step::kIdle;
  }
  if (*result == PollResult::kEnd) {
    source_ended_ = true;
    LookAtSplits(options_.env.clock.MonotonicNanos());
    BeginWatermark(0, EventTime::Max());
    if (!std::exchange(exhausted_reported_, true)) options_.listener.OnExhausted(options_.id);
    return Step::kProgress;
  }
  const int64_t now = options_.env.clock.MonotonicNanos();
  if (*result == PollResult::kEmitted || source_rows_ns_.value() == 0) {
    source_rows_ns_.Set(static_cast<uint64_t>(now));
  }
  if (*result == PollResult::kEmitted && now >= next_mark_ns_) {
    next_mark_ns_ = now + kLatencyMarkIntervalNs;
    PassLatencyMark(0, absl::ToUnixMicros(polled), /*released=*/false);
  }
  if (*result == PollResult::kIdle || steps_ % kStepsPerLook == 0) LookAtSplits(now);
  if (watermark_node_ >= 0) {
    const auto origin = static_cast<size_t>(watermark_node_);
    const EventTime watermark = split_watermarks_.Current(now, /*ended=*/false);
    if (watermark > nodes_[origin]->watermark) {
      idle_sent_ = idle_wanted_ = false;
      BeginWatermark(origin, watermark);
    } else if (*result == PollResult::kIdle && split_watermarks_.AllIdle(now)) {
      SendIdle();
    } else if (*result == PollResult::kEmitted) {
      idle_sent_ = idle_wanted_ = false;
    }
  }
  return *result == PollResult::kIdle ? Step::kIdle : Step::kProgress;
}

void Task::LookAtSplits(int64_t now_ns) {
  uint64_t idle = 0, finished = 0;
  EventTime slowest = EventTime::Max(), fastest = EventTime::Min();
  const std::vector<Split> positions = nodes_[0]->source->Positions();
  for (uint32_t i = 0; i < positions.size(); ++i) {
    if (positions[i].finished) {
      ++finished;
      // It no longer holds the watermark back.
      if (watermark_node_ >= 0) split_watermarks_.FinishSplit(i);
    } else if (watermark_node_ >= 0 && split_watermarks_.IsIdle(i, now_ns)) {
      ++idle;
    } else if (watermark_node_ >= 0) {
      slowest = std::min(slowest, split_watermarks_.OfSplit(i));
      fastest = std::max(fastest, split_watermarks_.OfSplit(i));
    }
  }
  const bool has_drift = EventTime::Min() < slowest && slowest < fastest;
  watermark_drift_us_.Set(has_drift ? static_cast<uint64_t>(fastest.us - slowest.us) : 0);
  split_counts_.idle.Set(idle);
  split_counts_.finished.Set(finished);
  split_counts_.active.Set(positions.size() - idle - finished);
}

Task::Step Task::RunChannels() {
  if (IsOvertakingDue()) {
    if (const Step step = Overtake(); step != Step::kIdle || done_) return step;
  }
  if (!in_flight_.empty()) return DeliverInFlight();
  if (align_since_ns_ != 0 && std::all_of(channels_.begin(), channels_.end(),
                                          [](const Channel& c) { return c.at_barrier; })) {
    const Epoch epoch = channels_[0].barrier;
    for (const Channel& channel : channels_) MILLRACE_CHECK(channel.barrier == epoch);
    MILLRACE_CHECK(epoch > last_epoch_);
    if (const Step step = PrepareEpoch(); step != Step::kIdle || done_) return step;
    if (!TakeEpoch(epoch)) return Step::kIdle;
    EndAlignment();
    return Step::kProgress;
  }
  bool received = false;
  for (size_t i = 0; i < channels_.size(); ++i) {
    Channel& channel = channels_[next_channel_++ % channels_.size()];
    ChannelItem item;
    for (int n = 0; n < kItemsPerStep && !channel.at_barrier && NextItem(channel, item); ++n) {
      received = true;
      HandleItem(channel, std::move(item));
      // One watermark that has not yet passed is a step; so is one batch that may have filled up an
      // asynchronous operator.
      if (done_ || pass_.active || !asynchronous_.empty() || !HasCredit() || IsOvertakingDue()) {
        return Step::kProgress;
      }
    }
  }
  return received ? Step::kProgress : Step::kIdle;
}

void Task::EndAlignment() {
  for (Channel& channel : channels_) channel.at_barrier = false;
  align_since_ns_ = 0;
  aligning_epoch_.Set(0);
  align_began_ns_.Set(0);
}

void Task::HandleItem(Channel& channel, ChannelItem item) {
  switch (item.kind) {
    case ChannelItem::Kind::kBatch:
      channel.idle = false;
      idle_sent_ = idle_wanted_ = false;
      nodes_[0]->counters.bytes_in.Add(item.batch.byte_size());
      Deliver(0, channel.input, item.batch);
      return;
    case ChannelItem::Kind::kWatermark:
      channel.idle = false;
      channel.watermark = std::max(channel.watermark, item.watermark);
      if (channel.watermark != EventTime::Max()) channel.before_end = channel.watermark;
      AdvanceInputWatermark();
      return;
    case ChannelItem::Kind::kLatencyMark:
      return PassLatencyMark(0, item.read_us, /*released=*/false);
    case ChannelItem::Kind::kIdle:
      channel.idle = true;
      AdvanceInputWatermark();
      return;
    case ChannelItem::Kind::kBarrier:
      return HandleBarrier(channel, item.epoch);
  }
}

// A coordinator that ended, or lost a worker, may have begun an epoch at some sources only. The
// next one supersedes it: this task skips the epoch and never acknowledges it, so that it cannot
// become complete.
void Task::HandleBarrier(Channel& channel, Epoch epoch) {
  if (align_since_ns_ == 0) align_since_ns_ = options_.env.clock.MonotonicNanos();
  channel.at_barrier = true;
  channel.barrier = epoch;
  Epoch newest = epoch;
  for (const Channel& one : channels_) {
    if (one.at_barrier) newest = std::max(newest, one.barrier);
  }
  for (Channel& one : channels_) {
    one.at_barrier = one.at_barrier && one.barrier == newest;
    if (!one.at_barrier) missing_.Set(Packed(one.from));
  }
  if (newest > overtaking_.epoch) overtaking_.epoch = {};
  aligning_epoch_.Set(newest.number);
  align_began_ns_.Set(static_cast<uint64_t>(align_since_ns_));
}

// The minimum over the inputs that are active. Nobody waits for those that are idle or have ended:
// without an active one the newest watermark of any counts, in whatever order they fell silent.
void Task::AdvanceInputWatermark() {
  EventTime minimum = EventTime::Max(), latest = EventTime::Min();
  bool any_active = false, all_ended = true;
  for (const Channel& channel : channels_) {
    const bool ended = channel.watermark == EventTime::Max();
    all_ended &= ended;
    latest = std::max(latest, channel.before_end);
    if (ended || channel.idle) continue;
    any_active = true;
    minimum = std::min(minimum, channel.watermark);
  }
  const EventTime watermark = all_ended ? EventTime::Max() : any_active ? minimum : latest;
  if (watermark > nodes_[0]->watermark &&
      (!nodes_[0]->gives_time || watermark == EventTime::Max())) {
    idle_sent_ = idle_wanted_ = false;
    BeginWatermark(0, watermark);
  }
  if (!any_active && !all_ended && !done_) SendIdle();
}

void Task::BeginWatermark(size_t origin, EventTime watermark) {
  pass_ = {.active = true, .watermark = watermark, .origin = origin, .next = origin};
  ContinueWatermark();
}

void Task::ContinueWatermark() {
  for (; pass_.next < nodes_.size(); ++pass_.next) {
    Node& node = *nodes_[pass_.next];
    if (!nodes_[pass_.origin]->reaches[pass_.next] || HoldWatermark(node)) continue;
    const EventTime watermark = PassableTo(pass_.next, pass_.watermark);
    if (node.gives_time && pass_.next != pass_.origin && watermark != EventTime::Max()) continue;
    if (node.watermark >= watermark) continue;
    if (node.op != nullptr) {
      absl::StatusOr<Progress> progress = node.op->OnWatermark(watermark, *node.emitter);
      if (done_) return;
      if (!progress.ok()) return Fail(node.uid, progress.status());
      if (*progress == Progress::kAgain) return;  // RunOnce comes back when there is room.
    }
    node.watermark = watermark;
    node.watermark_us.Set(static_cast<uint64_t>(node.watermark.us));
    for (TaskOutput& output : node.outputs) {
      output.router->SendToAll({.kind = ChannelItem::Kind::kWatermark, .watermark = watermark});
    }
  }
  pass_.active = false;
  if (idle_wanted_) SendIdle();
}

void Task::SendIdle() {
  // Downstream must not go on without these rows, and needs the watermark first.
  idle_wanted_ = pass_.active || AnyUnderWay();
  if (idle_wanted_ || std::exchange(idle_sent_, true)) return;
  for (auto& node : nodes_) {
    if (node->is_behind_clock) continue;  // Their time goes on.
    for (TaskOutput& output : node->outputs) {
      output.router->SendToAll({.kind = ChannelItem::Kind::kIdle});
    }
  }
}

void Task::FindTimeGivers() {
  for (auto& node : nodes_) {
    if (node->op == nullptr || !node->op->OwnWatermark()) continue;
    node->gives_time = true;
    time_givers_.push_back(node.get());
    for (size_t i = 0; i < nodes_.size(); ++i) nodes_[i]->is_behind_clock |= node->reaches[i];
  }
}

void Task::AdvanceOwnWatermarks() {
  for (Node* node : time_givers_) {
    const EventTime own = *node->op->OwnWatermark();
    if (own > node->watermark) BeginWatermark(node->position, own);
    if (pass_.active || done_) return;
  }
}

// To every node of the chain that `origin` reaches, and on; it waits before rows that are under
// way.
void Task::PassLatencyMark(size_t origin, int64_t read_us, bool released) {
  std::vector<bool> waits(nodes_.size(), false);
  for (size_t i = origin; i < nodes_.size(); ++i) {
    Node& node = *nodes_[i];
    if (!nodes_[origin]->reaches[i] || waits[i]) continue;
    if (node.op != nullptr && !node.settled.synchronous && !(released && i == origin) &&
        node.settled.rows != node.rows_given()) {
      if (node.held_mark.read_us == 0) node.held_mark = {read_us, node.rows_given()};
      for (size_t j = i; j < nodes_.size(); ++j) waits[j] = waits[j] || node.reaches[j];
      continue;
    }
    for (TaskOutput& output : node.outputs) {
      output.router->SendToNext({.kind = ChannelItem::Kind::kLatencyMark, .read_us = read_us});
    }
    if (node.sink == nullptr) continue;
    if (node.sink->VisibleOnWrite()) {
      ObserveLatency(node, read_us);
    } else if (node.marks.size() < kLatencyMarksMax) {
      node.marks.push_back({.epoch = {}, .read_us = read_us});
    }
  }
}

void Task::ObserveLatency(Node& node, int64_t read_us) {
  const int64_t us = absl::ToUnixMicros(options_.env.clock.Now()) - read_us;
  node.latency->Observe(std::max(0.0, static_cast<double>(us) / 1e6));  // Clocks may differ.
}

bool Task::HasCredit() {
  for (auto& node : nodes_) {
    for (TaskOutput& output : node->outputs) {
      if (output.router->HasCredit()) continue;
      const size_t sender = output.router->full_sender();
      if (sender < output.receivers.size()) receiver_.Set(Packed(output.receivers[sender]));
      return false;
    }
  }
  return true;
}

size_t Task::QueuedBytes() const {
  size_t bytes = 0;
  for (const auto& node : nodes_) {
    for (const TaskOutput& output : node->outputs) bytes += output.router->queued_bytes();
  }
  return bytes;
}

absl::Status Task::EndsStatus() const {
  for (const auto& node : nodes_) {
    for (const TaskOutput& output : node->outputs) {
      if (absl::Status status = output.router->status(); !status.ok()) return status;
    }
  }
  for (const Channel& channel : channels_) {
    if (absl::Status status = channel.receiver->status(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void Task::Fail(std::string_view uid, const absl::Status& status) {
  if (std::exchange(done_, true)) return;
  LogError("task failed", {{"job", options_.job_id},
                           {"chain", options_.id.chain},
                           {"task", options_.id.index},
                           {"uid", uid},
                           {"error", status.ToString()}});
  options_.listener.OnFailed(options_.id, uid, status);
}

void Task::Stop() {
  done_ = true;
  // Senders and receivers may reach into the data plane, which does not outlive the attempt.
  for (auto& node : nodes_) node->outputs.clear();
  channels_.clear();
}

bool Task::blocking() const {
  for (const auto& node : nodes_) {
    if (options_.factory.IsBlocking(*node->proto)) return true;
  }
  return false;
}

absl::Duration Task::idle_poll_interval() const {
  // Watermark idleness, sources without a wake-up and the clock need a look now and then.
  if (has_source_ && !source_ended_) return absl::Milliseconds(2);
  return time_givers_.empty() ? absl::Milliseconds(100) : absl::Milliseconds(10);
}

int64_t Task::source_idle_ns() const {
  const auto last = static_cast<int64_t>(source_rows_ns_.value());
  return last == 0 ? 0 : options_.env.clock.MonotonicNanos() - last;
}

std::vector<Task::NodeView> Task::Views() const {
  std::vector<NodeView> views;
  for (const auto& node : nodes_) {
    views.push_back({node->uid, &node->counters, &node->watermark_us, node->source != nullptr,
                     node->sink != nullptr});
  }
  return views;
}

}  // namespace millrace
