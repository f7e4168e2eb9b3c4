// Cuts that do not wait for the rows before their barriers. An epoch begins aligned. Once it is
// older than its alignment timeout, a task that has not made its cut looks ahead in its keyed
// channels, as far as the barrier in each: what it finds before the barriers is in flight
// (in_flight.h), the cut is made at once, and the rows are processed after it. What is ahead is not
// credited before it is processed, so that a sender gets no further than it would anyway, and what
// is in flight is bounded by what channels hold.
//
// The first moment at which that may be: no watermark is half way through the chain, nothing is
// under way outside, the last snapshot is written, and every channel of another kind (forward,
// broadcast, in turn) has really come to its barrier. Credit is not needed: a cut sends a barrier
// and no rows. A task gives up, and stays aligned in this epoch, when too much is in flight, or a
// truncate, which concerns the rows of every key and so has no owner.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/task/graph_view.h"
#include "runtime/task/task.h"
#include "runtime/task/task_node.h"

namespace millrace {
namespace {

bool HasTruncate(const Batch& batch) {
  const uint8_t* const kinds = batch.kinds();
  return kinds != nullptr &&
         std::count(kinds, kinds + batch.rows(), static_cast<uint8_t>(RowKind::kTruncate)) > 0;
}

bool IsBarrier(const ChannelItem& item) { return item.kind == ChannelItem::Kind::kBarrier; }

}  // namespace

void Task::FindKeyedInputs() {
  const std::vector<SchemaPtr> columns = InputSchemas(options_.graph, nodes_[0]->uid);
  for (Channel& channel : channels_) {
    if (!channel.key_columns) continue;
    const auto known =
        std::find_if(keyed_inputs_.begin(), keyed_inputs_.end(), [&](const KeyedInput& input) {
          return input.input == channel.input && input.key_columns == *channel.key_columns;
        });
    channel.keyed_input = static_cast<size_t>(known - keyed_inputs_.begin());
    if (known != keyed_inputs_.end()) continue;
    keyed_inputs_.push_back({.input = channel.input,
                             .key_columns = *channel.key_columns,
                             .columns = columns.at(static_cast<size_t>(channel.input))});
  }
}

// Of every node: one that is not behind a keyed edge any more cannot take them.
absl::Status Task::OpenInFlight(const Node& node, const std::vector<v1::InFlightRows>& rows) {
  for (const v1::InFlightRows& one : rows) {
    MILLRACE_ASSIGN_OR_RETURN(
        InFlight own, ReadInFlight(options_.storage, one,
                                   node.position == 0 ? keyed_inputs_ : std::vector<KeyedInput>(),
                                   options_.key_groups, options_.graph.max_parallelism()));
    if (!own.batches.empty()) in_flight_.push_back(std::move(own));
  }
  return absl::OkStatus();
}

// One batch, or the watermark that the next ones are to find.
Task::Step Task::DeliverInFlight() {
  Node& head = *nodes_[0];
  InFlight& rows = in_flight_.front();
  if (rows.watermark > head.watermark && !rows.is_reached && !head.gives_time) {
    rows.is_reached = true;
    BeginWatermark(0, rows.watermark);
    return Step::kProgress;
  }
  const auto [input, batch] = std::move(rows.batches.front());
  rows.batches.pop_front();
  if (rows.batches.empty()) in_flight_.pop_front();
  idle_sent_ = idle_wanted_ = false;
  head.counters.bytes_in.Add(batch.byte_size());
  Deliver(0, keyed_inputs_[input].input, batch);
  return Step::kProgress;
}

bool Task::NextItem(Channel& channel, ChannelItem& item) {
  if (channel.ahead.empty()) return channel.receiver->Receive(item);
  item = std::move(channel.ahead.front());
  channel.ahead.pop_front();
  channel.receiver->GiveCredit(item.batch.byte_size());
  return true;
}

bool Task::IsOvertakingDue() {
  return overtaking_.epoch > last_epoch_ &&
         options_.env.clock.MonotonicNanos() >= overtaking_.at_ns;
}

// kIdle: not now.
Task::Step Task::CutWithoutCredit() {
  const bool may_cut =
      !pass_.active && !AnyUnderWay() && !snapshot_running_ && commits_.size() < kCommitsWaitingMax;
  if (!may_cut) return Step::kIdle;
  if (!has_source_) return IsOvertakingDue() ? Overtake() : Step::kIdle;
  const bool begins = !triggers_.empty() && triggers_.front().overtakes &&
                      triggers_.front().after == AfterEpoch::kGoOn;
  return begins ? BeginEpoch() : Step::kIdle;
}

// Makes the cut of the epoch if it may be made now. kIdle: not yet, or never.
Task::Step Task::Overtake() {
  if (snapshot_running_) return Step::kIdle;
  bool all_there = true;
  for (Channel& channel : channels_) {
    all_there = LookAhead(channel) && all_there;
    if (overtaking_.epoch == Epoch{}) return Step::kIdle;
  }
  if (!all_there) return Step::kIdle;
  if (const Step step = PrepareEpoch(); step != Step::kIdle || done_) return step;
  const Epoch epoch = overtaking_.epoch;
  std::deque<InFlight> in_flight = TakeOvertaken();
  if (overtaking_.epoch == Epoch{}) return Step::kIdle;
  if (!TakeEpoch(epoch, std::move(in_flight))) return Step::kIdle;
  EndAlignment();
  return Step::kProgress;
}

// True when the channel is at the barrier, or it is the last item ahead.
bool Task::LookAhead(Channel& channel) {
  const Epoch epoch = overtaking_.epoch;
  if (channel.at_barrier && channel.barrier == epoch) return true;
  if (!channel.key_columns) return false;
  while (channel.ahead.empty() || !IsBarrier(channel.ahead.back()) ||
         channel.ahead.back().epoch < epoch) {
    ChannelItem item;
    if (!channel.receiver->Take(item)) return false;
    channel.ahead.push_back(std::move(item));
  }
  if (channel.ahead.back().epoch == epoch) return true;
  overtaking_.epoch = {};  // A later one supersedes it.
  return false;
}

// The rows before the barriers, which stay ahead, while the barriers go. Gives the epoch up, and
// leaves everything as it is, when they are too many or cannot be kept.
std::deque<InFlight> Task::TakeOvertaken() {
  std::deque<InFlight> in_flight = in_flight_;
  InFlight ahead{.watermark = nodes_[0]->watermark};
  if (!in_flight.empty()) ahead.watermark = std::max(ahead.watermark, in_flight.back().watermark);
  bool has_truncate = false;
  for (const Channel& channel : channels_) {
    if (channel.at_barrier && channel.barrier == overtaking_.epoch) continue;
    for (const ChannelItem& item : channel.ahead) {
      if (item.kind != ChannelItem::Kind::kBatch) continue;
      has_truncate |= HasTruncate(item.batch);
      ahead.batches.emplace_back(channel.keyed_input, item.batch);
    }
  }
  if (!ahead.batches.empty()) in_flight.push_back(std::move(ahead));
  size_t bytes = 0;
  for (const InFlight& rows : in_flight) {
    for (const auto& [input, batch] : rows.batches) bytes += batch.byte_size();
  }
  if (has_truncate || bytes > kInFlightBytesMax) {
    LogInfo("a checkpoint stays aligned at a task",
            {{"job", options_.job_id},
             {"uid", nodes_[0]->uid},
             {"task", options_.id.index},
             {"epoch", overtaking_.epoch.number},
             {"in_flight_bytes", bytes},
             {"reason", has_truncate ? "a truncate waits" : "too much waits"}});
    overtaking_.epoch = {};
    return {};
  }
  for (Channel& channel : channels_) {
    if (channel.at_barrier && channel.barrier == overtaking_.epoch) continue;
    std::erase_if(channel.ahead, IsBarrier);
  }
  return in_flight;
}

}  // namespace millrace
