// The rows of one input of a join, as state: how often each is there, with how many rows of the
// other side it goes together, and until when it is of use.
//
// State: "<side>": join key, row -> JoinRow. "<side>_ends" (joins with times or a TTL): a
// DeadlineIndex of state keys; when the time is a part of the join key, as that of windows is, of
// join keys, which stand for all of their rows.
//
// Sides with a time that is not a part of the key, whose rows go without being looked at, keep them
// by slices of time: "<side>": slice, join key, row -> JoinRow; "<side>_ends": of slices, which go
// as a whole. The rows of a slice whose deadline has come are still there, and still found, until
// that of its last moment comes. State of before there were slices is brought into them by Open.
//
// Threading: the task thread.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/expiry/deadline_index.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/state/state_store.h"
#include "runtime/task/operator.h"

namespace millrace {

struct JoinRow {
  int64_t count = 0;  // How often this very row is there.
  // Of sides that track partners: rows of the other side that go with it, and how many of `count`
  // stand in the output by themselves, not in pairs. Without a TTL the second follows from the
  // first; with one, partners are forgotten and what was given because of them is not.
  int64_t partners = 0;
  int64_t shown = 0;
  int64_t expires_us = 0;  // Of sides with a TTL: by the clock, since it came last.
};

class JoinSide {
 public:
  struct Options {
    std::string name;  // Of the tables.
    SchemaPtr schema;
    std::vector<int> keys;
    // Partners are counted: rows without one matter.
    bool tracks_partners = false;
    // The event time, -1: none. The latest partner is at time + partner_lag_us; it has come when
    // the watermark is there.
    int time = -1;
    int64_t partner_lag_us = 0;
    // From the earliest to the latest partner. Slices follow from it: a part of the state's format.
    int64_t partner_span_us = 0;
    // Instead: the clock frees rows that came this long ago; 0: never.
    int64_t ttl_us = 0;
  };
  static absl::StatusOr<JoinSide> Open(Options options, OperatorContext& context);

  const Options& options() const { return options_; }

  // The rows of the batch are addressed by their number from here on.
  void Begin(const Batch& batch);
  bool HasNullKey(int64_t row) const;
  std::string_view key(int64_t row) const { return keys_.key(row); }
  uint32_t key_group(int64_t row) const;
  // Only with a time: that of a row, and what no partner of a row of that time comes after.
  int64_t TimeOf(int64_t row) const;
  int64_t DeadlineOf(int64_t time_us) const;
  // The state key of a row; until the next call.
  const std::string& StateKey(int64_t row);

  // The row with this state key; nothing when it is not there.
  absl::StatusOr<std::optional<JoinRow>> Find(uint32_t key_group, std::string_view state_key);
  // Puts a row, or adds it to the one with its state key: counts add up, the rest is that of `row`.
  absl::Status Add(uint32_t key_group, std::string_view state_key, const JoinRow& row);
  // A count of 0 removes the row.
  absl::Status Store(uint32_t key_group, std::string_view state_key, const JoinRow& row);
  // When the row may go: its deadline, or with a TTL `stored.expires_us`.
  absl::Status StoreDeadline(int64_t row, std::string_view state_key, const JoinRow& stored);
  // Calls `row` for every row with this join key, until it returns false. With a time: at least
  // for those whose time is within `times`.
  struct Times {
    int64_t first_us = std::numeric_limits<int64_t>::min();
    int64_t last_us = std::numeric_limits<int64_t>::max();
  };
  using RowFn = absl::FunctionRef<bool(std::string_view state_key, const JoinRow& row)>;
  absl::Status ForEach(uint32_t key_group, std::string_view key, Times times, RowFn row);

  // Appends the columns of a stored row to a builder of the side's schema.
  absl::Status Decode(std::string_view state_key, size_t key_bytes, BatchBuilder& out) const;

  // Takes rows whose deadline is at or before the watermark out of the state, at most `rows_max`.
  // False: there are no more.
  absl::StatusOr<bool> ForgetExpired(EventTime watermark, size_t rows_max);
  // The same, and appends them to `out` and `rows`.
  absl::StatusOr<bool> TakeExpired(EventTime watermark, size_t rows_max, BatchBuilder& out,
                                   std::vector<JoinRow>& rows);
  // With a TTL: forgets rows whose time is over by the clock, at most `rows_max`; returns how many.
  absl::StatusOr<uint64_t> DropExpired(int64_t now_us, size_t rows_max);

 private:
  JoinSide(Options options, OperatorContext& context);
  absl::Status ConvertRows(const RowConverter& converter, KeyedTable* ends,
                           KeyGroupRange key_groups);
  absl::Status OpenDeadlines(KeyedTable* ends);
  absl::Status Scan(uint32_t key_group, std::string_view prefix, RowFn row);

  // Of sides with slices, which are named by the time at which they begin.
  int64_t SliceOf(int64_t time_us) const { return time_us & -slice_us_; }
  std::vector<int64_t>& Slices(uint32_t key_group) {
    return slices_[key_group - key_groups_.first];
  }
  size_t SliceBytes(std::string_view state_key) const;
  absl::Status OpenSlices(KeyedTable* ends);
  absl::Status NoteSlice(uint32_t key_group, int64_t slice);
  // What no slice holds yet; appends the slices to `moved`, which are to be noted.
  absl::Status MoveToSlices(uint32_t key_group, KeyedTable& ends,
                            std::vector<std::pair<uint32_t, int64_t>>& moved);

  Options options_;
  RowCodec codec_;
  std::vector<int> columns_;  // 0, 1, 2, ...
  uint32_t max_parallelism_;
  KeyGroupRange key_groups_;
  KeyedTable* rows_ = nullptr;
  std::optional<DeadlineIndex> deadlines_;
  bool time_is_key_ = false;
  int64_t slice_us_ = 0;                      // A power of two; 0: there are no slices.
  std::vector<std::vector<int64_t>> slices_;  // Of each key group: those with rows, ascending.

  Batch batch_;
  EncodedKeys keys_;
  std::string state_key_, value_;  // Scratch.
  struct Expired {
    std::string state_key;
    JoinRow row;
  };
  std::vector<Expired> expired_;  // By ForgetExpired.
};

}  // namespace millrace
