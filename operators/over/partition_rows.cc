#include "operators/over/partition_rows.h"

#include <algorithm>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/state/state_store.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr size_t kPartitionsPerStep = 256;
constexpr size_t kTimeBytes = 8;

}  // namespace

absl::StatusOr<PartitionRows> PartitionRows::Open(OperatorContext& context,
                                                  const v1::Fields& partition,
                                                  const v1::Fields& time) {
  PartitionRows rows;
  rows.context_ = &context;
  rows.input_ = context.input_schemas[0];
  for (const uint32_t id : partition.ids()) rows.partition_.push_back(rows.input_->IndexOfId(id));
  rows.time_ = rows.input_->IndexOfId(time.ids(0));
  for (int i = 0; i < rows.input_->size(); ++i) rows.columns_.push_back(i);
  rows.codec_.emplace(rows.input_);
  MILLRACE_ASSIGN_OR_RETURN(rows.rows_, context.state->OpenKeyedTable("rows"));
  MILLRACE_ASSIGN_OR_RETURN(KeyedTable* const ends, context.state->OpenKeyedTable("row_ends"));
  MILLRACE_ASSIGN_OR_RETURN(DeadlineIndex index, DeadlineIndex::Open(ends, context.key_groups));
  rows.ends_.emplace(std::move(index));
  rows.watermark_ = context.restored_watermark;
  return rows;
}

absl::Status PartitionRows::Add(const Batch& batch, std::optional<int64_t> stays_us, Emitter& out) {
  EncodeKeys(batch, partition_, keys_);
  const auto* times = batch.column(time_).values<int64_t>();
  std::vector<int32_t> late;
  for (int32_t row = 0; row < batch.rows(); ++row) {
    if (times[row] < watermark_.us) {
      late.push_back(row);
    } else {
      MILLRACE_RETURN_IF_ERROR(Keep(batch, row, times[row], stays_us));
    }
  }
  if (late.empty()) return absl::OkStatus();
  context_->counters.rows_late.Add(late.size());
  out.Emit(OutputPort::kLate, Take(batch, late));
  return absl::OkStatus();
}

absl::Status PartitionRows::Keep(const Batch& batch, int32_t row, int64_t time_us,
                                 std::optional<int64_t> stays_us) {
  const std::string_view partition = keys_.key(row);
  const uint32_t group =
      KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], context_->max_parallelism);
  std::string key(partition);
  AppendOrderedInt64(time_us, key);
  codec_->Append(batch, columns_, row, key);
  std::string bytes;
  MILLRACE_ASSIGN_OR_RETURN(const bool found, rows_->Get(group, key, &bytes));
  const int64_t count = found ? ReadOrderedInt64(bytes) : 0;
  bytes.clear();
  AppendOrderedInt64(count + 1, bytes);
  MILLRACE_RETURN_IF_ERROR(rows_->Put(group, key, bytes));
  if (found) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(ends_->Add(group, partition, WatermarkPast(time_us)));
  if (!stays_us) return absl::OkStatus();
  return ends_->Add(group, partition, WatermarkPast(time_us, *stays_us));
}

absl::StatusOr<Progress> PartitionRows::Pass(EventTime watermark, const Emitter& out,
                                             const AdvanceFn& advance) {
  bool more = true;
  while (more) {
    if (out.full()) return Progress::kAgain;
    std::vector<DeadlineIndex::Due> due;
    MILLRACE_ASSIGN_OR_RETURN(more, ends_->Take(watermark.us, kPartitionsPerStep, due));
    for (const DeadlineIndex::Due& one : due) {
      // A partition is there once for each of its rows.
      if (!done_.insert(one.key).second) continue;
      MILLRACE_RETURN_IF_ERROR(advance(one.key_group, one.key));
    }
  }
  done_.clear();
  watermark_ = std::max(watermark_, watermark);
  return Progress::kDone;
}

absl::Status PartitionRows::AwaitEnd(uint32_t key_group, std::string_view partition) {
  return ends_->Add(key_group, partition, EventTime::Max().us);
}

absl::StatusOr<PartitionRows::Rows> PartitionRows::Read(uint32_t key_group,
                                                        const std::string& partition,
                                                        EventTime watermark) {
  Rows rows;
  BatchBuilder builder(input_);
  absl::Status status;
  MILLRACE_RETURN_IF_ERROR(
      rows_->Scan(key_group, partition, [&](std::string_view key, std::string_view value) {
        const int64_t time = ReadOrderedInt64(key.substr(partition.size()));
        if (time >= watermark.us && watermark != EventTime::Max()) return false;
        for (int64_t n = ReadOrderedInt64(value); n > 0 && status.ok(); --n) {
          rows.keys.emplace_back(key);
          rows.times.push_back(time);
          status = codec_->Decode(key.substr(partition.size() + kTimeBytes), builder);
        }
        return status.ok();
      }));
  MILLRACE_RETURN_IF_ERROR(status);
  rows.batch = builder.Finish();
  return rows;
}

absl::Status PartitionRows::Drop(uint32_t key_group, const Rows& rows, size_t end) {
  for (size_t i = 0; i < end;) {
    size_t next = i;
    while (next < rows.size() && rows.keys[next] == rows.keys[i]) ++next;
    if (next <= end) {
      MILLRACE_RETURN_IF_ERROR(rows_->Delete(key_group, rows.keys[i]));
    } else {
      std::string bytes;
      AppendOrderedInt64(static_cast<int64_t>(next - end), bytes);
      MILLRACE_RETURN_IF_ERROR(rows_->Put(key_group, rows.keys[i], bytes));
    }
    i = next;
  }
  return absl::OkStatus();
}

}  // namespace millrace
