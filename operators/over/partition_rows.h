// The rows of each partition in the order of event time, from when they come until no row to come
// looks at them; rows of one time are ordered by their other columns.
//
// State: "rows": partition, time, row -> how often it is there. "row_ends": partitions by when
// there is something to do for them (DeadlineIndex).
// Threading: the task thread.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"
#include "operators/expiry/deadline_index.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/task/operator.h"

namespace millrace {

class PartitionRows {
 public:
  static absl::StatusOr<PartitionRows> Open(OperatorContext& context, const v1::Fields& partition,
                                            const v1::Fields& time);

  // Keeps the rows of a batch, and gives late ones to the late output. `stays_us`: how long behind
  // its time a partition has something to do for a row again; nothing: never.
  absl::Status Add(const Batch& batch, std::optional<int64_t> stays_us, Emitter& out);

  // Calls `advance` for partitions that have something to do until the watermark. kAgain: the
  // output is full; call it again.
  using AdvanceFn = std::function<absl::Status(uint32_t key_group, const std::string& partition)>;
  absl::StatusOr<Progress> Pass(EventTime watermark, const Emitter& out, const AdvanceFn& advance);
  // The watermark that all rows before which have passed.
  EventTime watermark() const { return watermark_; }
  // The partition has something to do at the end of the input.
  absl::Status AwaitEnd(uint32_t key_group, std::string_view partition);

  // Rows of a partition that the watermark is past, in order.
  struct Rows {
    Batch batch;
    std::vector<std::string> keys;  // In the state; a row that is there twice stands twice.
    std::vector<int64_t> times;
    size_t size() const { return times.size(); }
  };
  absl::StatusOr<Rows> Read(uint32_t key_group, const std::string& partition, EventTime watermark);
  // Lets go of the first `end` of them.
  absl::Status Drop(uint32_t key_group, const Rows& rows, size_t end);

 private:
  PartitionRows() = default;
  absl::Status Keep(const Batch& batch, int32_t row, int64_t time_us,
                    std::optional<int64_t> stays_us);

  OperatorContext* context_ = nullptr;
  SchemaPtr input_;
  std::vector<int> partition_, columns_;
  int time_ = -1;
  std::optional<RowCodec> codec_;
  KeyedTable* rows_ = nullptr;
  std::optional<DeadlineIndex> ends_;
  EventTime watermark_ = EventTime::Min();
  std::set<std::string> done_;  // Partitions, of the watermark that is passing.
  EncodedKeys keys_;            // Of one batch.
};

}  // namespace millrace
