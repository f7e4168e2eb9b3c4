#include "runtime/task/restore.h"

#include <algorithm>

#include "runtime/columns/keys.h"

namespace millrace {
namespace {

bool IsCalled(const v1::Node& node, std::string_view uid) {
  return node.uid() == uid || std::find(node.former_uids().begin(), node.former_uids().end(),
                                        uid) != node.former_uids().end();
}

void TakeNode(const v1::NodeSnapshot& from, uint32_t from_index, KeyGroupRange key_groups,
              uint32_t index, uint32_t parallelism, RestoredNode& into) {
  for (const v1::Segment& segment : from.state()) {
    if (key_groups.Overlaps({segment.key_group_first(), segment.key_group_last()})) {
      into.state.push_back(segment);
    }
  }
  for (const v1::InFlightRows& rows : from.in_flight()) {
    if (key_groups.Overlaps({rows.segment().key_group_first(), rows.segment().key_group_last()})) {
      into.in_flight.push_back(rows);
    }
  }
  for (const v1::SplitPosition& split : from.splits()) {
    if (OwnerOfSplit(split.split_id(), parallelism) != index) continue;
    into.splits.push_back({.id = split.split_id(),
                           .position = split.position(),
                           .watermark = EventTime{split.watermark_us()},
                           .finished = split.finished()});
  }
  // The slots of tasks that no longer exist are completed by those that do.
  for (const v1::CommitToken& token : from.tokens()) {
    if (token.slot() % parallelism == index) into.tokens.push_back(token);
  }
  if (from_index % parallelism == index) {
    into.rows_in += from.rows_in();
    into.rows_out += from.rows_out();
    into.rows_late += from.rows_late();
    into.rows_dead_lettered += from.rows_dead_lettered();
    into.rows_skipped += from.rows_skipped();
    into.truncates_out += from.truncates_out();
  }
}

}  // namespace

uint32_t OwnerOfSplit(std::string_view split_id, uint32_t parallelism) {
  return static_cast<uint32_t>(HashKey(split_id) % parallelism);
}

const v1::StateLayout* FormerLayout(const v1::Manifest& manifest, const v1::Node& node) {
  for (const v1::StateLayout& layout : manifest.layouts()) {
    if (IsCalled(node, layout.uid())) return &layout;
  }
  return nullptr;
}

RestoredNode RestoreNode(const v1::Manifest& manifest, const v1::Node& node,
                         KeyGroupRange key_groups, uint32_t index, uint32_t parallelism) {
  RestoredNode restored;
  EventTime watermark = EventTime::Max();
  for (const v1::TaskSnapshot& task : manifest.tasks()) {
    for (const v1::NodeSnapshot& snapshot : task.nodes()) {
      if (!IsCalled(node, snapshot.uid())) continue;
      restored.found = true;
      // Where barriers are aligned, all tasks of a node stood at the same watermark. Where they
      // have overtaken rows, the rows bring the watermark of their task with them.
      watermark = std::min(watermark, EventTime{snapshot.watermark_us()});
      TakeNode(snapshot, task.index(), key_groups, index, parallelism, restored);
    }
  }
  if (restored.found) restored.watermark = watermark;
  std::stable_sort(restored.tokens.begin(), restored.tokens.end(),
                   [](const v1::CommitToken& a, const v1::CommitToken& b) {
                     return std::pair(a.slot(), a.epoch()) < std::pair(b.slot(), b.epoch());
                   });
  // Rows are never behind a watermark that their task had not reached: see in_flight.h.
  std::stable_sort(restored.in_flight.begin(), restored.in_flight.end(),
                   [](const v1::InFlightRows& a, const v1::InFlightRows& b) {
                     return a.watermark_us() < b.watermark_us();
                   });
  return restored;
}

}  // namespace millrace
