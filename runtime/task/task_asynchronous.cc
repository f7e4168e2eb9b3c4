// What the task does for operators with rows under way outside: it collects what arrives, holds
// watermarks back, brings everything out before a barrier.
#include <algorithm>
#include <utility>

#include "runtime/task/task.h"
#include "runtime/task/task_node.h"

namespace millrace {

void Task::FindAsynchronous() {
  for (auto& node : nodes_) {
    if (node->op != nullptr && !Collect(*node, /*all=*/false)) return;
    if (node->op != nullptr && !node->settled.synchronous) asynchronous_.push_back(node.get());
  }
}

// False when the task has failed.
bool Task::Collect(Node& node, bool all) {
  absl::StatusOr<Settled> settled = node.op->Collect(all, *node.emitter);
  if (done_) return false;
  if (!settled.ok()) {
    Fail(node.uid, settled.status());
    return false;
  }
  node.settled = *settled;
  return true;
}

// kIdle: nothing came, and there is room for input.
Task::Step Task::RunAsynchronous() {
  bool is_full = false;
  bool came = false;
  for (Node* node : asynchronous_) {
    const uint64_t before = node->settled.rows;
    const bool ends = !node->held.empty() && node->held.back().watermark == EventTime::Max();
    if (!Collect(*node, ends)) return Step::kIdle;
    if (!node->held.empty()) ReleaseWatermark(*node);
    if (done_) return Step::kIdle;
    ReleaseLatencyMark(*node);
    if (pass_.active) return Step::kProgress;
    came |= node->settled.rows != before;
    is_full |= node->settled.full;
  }
  if (idle_wanted_ && !AnyUnderWay()) SendIdle();
  if (came) return Step::kProgress;
  // A barrier asks for everything, also when nothing more fits.
  return is_full && triggers_.empty() ? Blocked(TaskCondition::WaitsFor::kAnswers) : Step::kIdle;
}

// kIdle: nothing is under way any more.
Task::Step Task::BringOut() {
  for (Node* node : asynchronous_) {
    if (node->settled.rows == node->rows_given()) continue;
    const uint64_t before = node->settled.rows;
    if (!Collect(*node, /*all=*/true)) return Step::kIdle;
    if (!node->held.empty()) ReleaseWatermark(*node);
    if (done_) return Step::kIdle;
    ReleaseLatencyMark(*node);
    if (node->settled.rows != before || pass_.active) return Step::kProgress;
    return Blocked(TaskCondition::WaitsFor::kAnswers);
  }
  return Step::kIdle;
}

bool Task::AnyUnderWay() const {
  return std::any_of(asynchronous_.begin(), asynchronous_.end(),
                     [](const Node* node) { return node->settled.rows != node->rows_given(); });
}

// True when the watermark of the pass has to wait for rows that are under way at `node`.
bool Task::HoldWatermark(Node& node) {
  if (node.op == nullptr || node.settled.synchronous) return false;
  if (pass_.released && node.position == pass_.origin) return false;
  const EventTime watermark = PassableTo(node.position, pass_.watermark);
  if (watermark <= node.watermark || node.settled.rows == node.rows_given()) return false;
  const uint64_t rows = node.rows_given();
  if (!node.held.empty() && node.held.back().watermark >= watermark) return true;
  if (!node.held.empty() && node.held.back().rows == rows) node.held.pop_back();
  node.held.push_back({watermark, rows});
  return true;
}

void Task::ReleaseWatermark(Node& node) {
  EventTime watermark = EventTime::Min();
  while (!node.held.empty() && node.held.front().rows <= node.settled.rows) {
    watermark = node.held.front().watermark;
    node.held.pop_front();
  }
  if (watermark <= node.watermark) return;
  pass_ = {.active = true,
           .watermark = watermark,
           .origin = node.position,
           .next = node.position,
           .released = true};
  ContinueWatermark();
}

void Task::ReleaseLatencyMark(Node& node) {
  if (node.held_mark.read_us == 0 || node.held_mark.rows > node.settled.rows) return;
  PassLatencyMark(node.position, std::exchange(node.held_mark.read_us, 0), /*released=*/true);
}

// As much of `watermark` as the nodes before `node` have let pass: those with rows under way, and
// those that give event time themselves.
EventTime Task::PassableTo(size_t node, EventTime watermark) const {
  // Until the end, rows before a clock do not hold up what is behind it.
  const auto is_before_clock = [&](const Node* before) {
    return watermark != EventTime::Max() &&
           std::any_of(time_givers_.begin(), time_givers_.end(), [&](const Node* clock) {
             return before->reaches[clock->position] && clock->reaches[node];
           });
  };
  for (const Node* before : asynchronous_) {
    if (before->position == node || !before->reaches[node] || before->held.empty() ||
        is_before_clock(before)) {
      continue;
    }
    watermark = std::min(watermark, before->watermark);
  }
  for (const Node* before : time_givers_) {
    if (before->position == node || !before->reaches[node]) continue;
    watermark = std::min(watermark, before->watermark);
  }
  return watermark;
}

}  // namespace millrace
