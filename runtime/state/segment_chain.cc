#include "runtime/state/segment_chain.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/storage.h"
#include "runtime/state/state_format.h"

namespace millrace {
namespace {

KeyGroupRange RangeOf(const v1::Segment& segment) {
  return {segment.key_group_first(), segment.key_group_last()};
}

// One segment of a merge, positioned at its current row.
struct MergeInput {
  KeyGroupRange range;
  std::unique_ptr<SegmentReader> reader;
  StateRecord row;
  bool at_end = false;
  std::string previous;
  std::map<uint32_t, int64_t> drops;  // By table: panes up to this one were dropped.

  absl::Status Next(std::map<uint32_t, TableIdentity>& tables, const v1::Segment& segment) {
    std::string_view bytes;
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, reader->Next(&bytes));
      if (!more) {
        at_end = true;
        return absl::OkStatus();
      }
      MILLRACE_ASSIGN_OR_RETURN(row, ParseStateRecord(bytes));
      switch (row.op) {
        case StateOp::kTable: {
          const auto [at, added] = tables.try_emplace(row.table.id, row.table);
          if (!added && at->second != row.table) {
            return absl::DataLossError(
                Concat("segment ", segment.name(), " redefines table ", row.table.name));
          }
          continue;
        }
        case StateOp::kDrop: {
          const auto [at, added] = drops.try_emplace(row.table_id, row.pane);
          at->second = std::max(at->second, row.pane);
          continue;
        }
        default:
          break;
      }
      const auto table = tables.find(row.table_id);
      if (row.key <= previous || table == tables.end()) {
        return absl::DataLossError(Concat("segment ", segment.name(), " has rows out of order"));
      }
      MILLRACE_RETURN_IF_ERROR(CheckRow(table->second, row));
      previous.assign(row.key);
      if (range.Contains(KeyGroupOfRow(row.key))) return absl::OkStatus();
    }
  }
};

}  // namespace

absl::Status MergeSegments(CheckpointStorage& storage, const std::vector<v1::Segment>& segments,
                           SegmentWriter& base) {
  std::map<uint32_t, TableIdentity> tables;
  std::vector<MergeInput> inputs(segments.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    inputs[i].range = RangeOf(segments[i]);
    MILLRACE_ASSIGN_OR_RETURN(inputs[i].reader, SegmentReader::Open(storage, segments[i]));
    MILLRACE_RETURN_IF_ERROR(inputs[i].Next(tables, segments[i]));
  }
  std::string record;
  for (const auto& [id, table] : tables) {
    EncodeTable(table, record);
    MILLRACE_RETURN_IF_ERROR(base.Append(record));
  }
  // A drop matters to older segments only; none is older than a base. It is kept where every input
  // agrees on it, as the mark below which no pane comes back.
  std::map<uint32_t, int64_t> drops;
  for (const auto& [id, table] : tables) {
    if (table.kind != TableKind::kPane) continue;
    std::map<KeyGroupRange, int64_t> by_range;
    for (const MergeInput& input : inputs) {
      const auto found = input.drops.find(id);
      const int64_t pane = found == input.drops.end() ? INT64_MIN : found->second;
      const auto [at, added] = by_range.try_emplace(input.range, pane);
      at->second = std::max(at->second, pane);
    }
    int64_t agreed = INT64_MAX;
    for (const auto& [range, pane] : by_range) agreed = std::min(agreed, pane);
    if (agreed == INT64_MIN || by_range.empty()) continue;
    EncodeDrop(id, agreed, record);
    MILLRACE_RETURN_IF_ERROR(base.Append(record));
  }
  const auto dropped = [&](size_t input, std::string_view key) {
    const uint32_t table = TableOfRow(key);
    if (tables.at(table).kind != TableKind::kPane) return false;
    const int64_t pane = PaneOfRow(key);
    const uint32_t key_group = KeyGroupOfRow(key);
    for (size_t later = input + 1; later < inputs.size(); ++later) {
      if (!inputs[later].range.Contains(key_group)) continue;
      const auto found = inputs[later].drops.find(table);
      if (found != inputs[later].drops.end() && pane <= found->second) return true;
    }
    return false;
  };
  // A heap of inputs by (row key, newest first).
  const auto after = [&](size_t a, size_t b) {
    const int order = inputs[a].row.key.compare(inputs[b].row.key);
    return order != 0 ? order > 0 : a < b;
  };
  std::vector<size_t> heap;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].at_end) heap.push_back(i);
  }
  std::make_heap(heap.begin(), heap.end(), after);
  std::string last;
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), after);
    const size_t i = heap.back();
    const StateRecord& row = inputs[i].row;
    if (row.key != last) {
      last.assign(row.key);
      if (row.op == StateOp::kPut && !dropped(i, row.key)) {
        EncodeRow(StateOp::kPut, row.key, row.value, record);
        MILLRACE_RETURN_IF_ERROR(base.Append(record));
      }
    }
    MILLRACE_RETURN_IF_ERROR(inputs[i].Next(tables, segments[i]));
    if (inputs[i].at_end) {
      heap.pop_back();
    } else {
      std::push_heap(heap.begin(), heap.end(), after);
    }
  }
  return absl::OkStatus();
}

struct SegmentChain::State {
  struct Entry {
    v1::Segment segment;
    // At most one of these; none once the segment is durable.
    std::unique_ptr<SegmentWriter> run;
    std::unique_ptr<FrozenDelta> delta;
  };

  CheckpointStorage& storage;
  const SegmentOwner owner;
  const KeyGroupRange key_groups;
  const Limits limits;
  std::vector<Entry> entries;
  uint64_t sequence = 0;

  v1::Segment Identity(v1::Segment::Kind kind, Epoch epoch) {
    v1::Segment segment;
    segment.set_name(SegmentName(owner, kind, epoch, sequence++));
    segment.set_kind(kind);
    segment.set_uid(owner.uid);
    segment.set_key_group_first(key_groups.first);
    segment.set_key_group_last(key_groups.last);
    segment.set_epoch(epoch.number);
    return segment;
  }

  absl::Status WriteEntry(Entry& entry) {
    if (entry.run != nullptr) {
      MILLRACE_RETURN_IF_ERROR(entry.run->Publish().status());
      entry.run.reset();
    }
    if (entry.delta != nullptr) {
      MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<SegmentWriter> writer,
                                SegmentWriter::Create(storage, entry.segment));
      MILLRACE_RETURN_IF_ERROR(entry.delta->Write(*writer));
      MILLRACE_ASSIGN_OR_RETURN(entry.segment, writer->Publish());
      entry.delta.reset();
    }
    return absl::OkStatus();
  }

  bool WantsBase() const {
    uint64_t base_bytes = 0;
    uint64_t delta_bytes = 0;
    size_t deltas = 0;
    for (const Entry& entry : entries) {
      if (entry.segment.kind() == v1::Segment::KIND_STATE_BASE) {
        base_bytes += entry.segment.bytes();
      } else {
        delta_bytes += entry.segment.bytes();
        ++deltas;
      }
    }
    return entries.size() > limits.deltas_max ||
           (deltas > limits.deltas_min && delta_bytes > base_bytes);
  }

  std::vector<v1::Segment> Segments() const {
    std::vector<v1::Segment> segments;
    for (const Entry& entry : entries) segments.push_back(entry.segment);
    return segments;
  }

  absl::Status WriteBase(Epoch epoch) {
    MILLRACE_ASSIGN_OR_RETURN(
        std::unique_ptr<SegmentWriter> writer,
        SegmentWriter::Create(storage, Identity(v1::Segment::KIND_STATE_BASE, epoch)));
    MILLRACE_RETURN_IF_ERROR(MergeSegments(storage, Segments(), *writer));
    Entry base;
    MILLRACE_ASSIGN_OR_RETURN(base.segment, writer->Publish());
    entries.clear();
    entries.push_back(std::move(base));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<v1::Segment>> Run(Epoch epoch, bool may_merge) {
    for (Entry& entry : entries) MILLRACE_RETURN_IF_ERROR(WriteEntry(entry));
    if (may_merge && WantsBase()) MILLRACE_RETURN_IF_ERROR(WriteBase(epoch));
    return Segments();
  }
};

SegmentChain::SegmentChain(CheckpointStorage& storage, SegmentOwner owner, KeyGroupRange key_groups,
                           Limits limits)
    : state_(std::shared_ptr<State>(new State{.storage = storage,
                                              .owner = std::move(owner),
                                              .key_groups = key_groups,
                                              .limits = limits,
                                              .entries = {}})) {}
SegmentChain::~SegmentChain() = default;

void SegmentChain::AddRestored(const v1::Segment& segment) {
  State::Entry entry;
  entry.segment = segment;
  state_->entries.push_back(std::move(entry));
}

absl::StatusOr<std::unique_ptr<SegmentWriter>> SegmentChain::BeginRun(Epoch epoch) {
  return SegmentWriter::Create(state_->storage,
                               state_->Identity(v1::Segment::KIND_STATE_DELTA, epoch));
}

absl::Status SegmentChain::AddRun(std::unique_ptr<SegmentWriter> run) {
  State::Entry entry;
  MILLRACE_ASSIGN_OR_RETURN(entry.segment, run->Finish());
  entry.run = std::move(run);
  state_->entries.push_back(std::move(entry));
  return absl::OkStatus();
}

void SegmentChain::AddDelta(Epoch epoch, std::unique_ptr<FrozenDelta> delta) {
  State::Entry entry;
  entry.segment = state_->Identity(v1::Segment::KIND_STATE_DELTA, epoch);
  entry.delta = std::move(delta);
  state_->entries.push_back(std::move(entry));
}

SegmentWork SegmentChain::TakeWork(Epoch epoch, bool may_merge) {
  return [state = state_, epoch, may_merge] { return state->Run(epoch, may_merge); };
}

}  // namespace millrace
