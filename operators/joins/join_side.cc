#include "operators/joins/join_side.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/task/former_rows.h"

namespace millrace {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// The first byte of state keys that begin with a slice. It differs from that of all others, which
// is 0x01: of a key column that is not NULL, or of a row.
constexpr char kSliceTag = 2;
constexpr std::string_view kNoSliceTag = "\1";
constexpr size_t kSliceBytes = 9;
constexpr int64_t kSliceMinUs = int64_t{1} << 20;

// Partners are within five slices at the most, and rows stay longer by less than half of the span,
// or a second.
int64_t SliceWidth(int64_t partner_span_us) {
  int64_t width = kSliceMinUs;
  while (width < partner_span_us / 4) width *= 2;
  return width;
}

void AppendSlice(int64_t slice, std::string& bytes) {
  bytes.push_back(kSliceTag);
  AppendOrderedInt64(slice, bytes);
}

// The count; partners and shown of sides that track them; expires_us of those with a TTL.
void EncodeRow(const JoinRow& row, bool tracks_partners, std::string& bytes) {
  bytes.clear();
  AppendOrderedInt64(row.count, bytes);
  if (tracks_partners) {
    AppendOrderedInt64(row.partners, bytes);
    AppendOrderedInt64(row.shown, bytes);
  }
  if (row.expires_us != 0) AppendOrderedInt64(row.expires_us, bytes);
}

absl::StatusOr<JoinRow> DecodeRow(std::string_view bytes, bool tracks_partners) {
  const size_t size = tracks_partners ? 24 : 8;
  if (bytes.size() != size && bytes.size() != size + 8) {
    return absl::DataLossError("a row of a join has a wrong length");
  }
  JoinRow row{.count = ReadOrderedInt64(bytes)};
  if (tracks_partners) {
    row.partners = ReadOrderedInt64(bytes.substr(8));
    row.shown = ReadOrderedInt64(bytes.substr(16));
  }
  if (bytes.size() > size) row.expires_us = ReadOrderedInt64(bytes.substr(size));
  return row;
}

// The bytes of the join key at the beginning of a state key.
absl::StatusOr<size_t> KeyBytes(const Schema& schema, const std::vector<int>& keys,
                                std::string_view state_key) {
  std::vector<ColumnBuilder> builders;
  std::vector<ColumnBuilder*> columns;
  builders.reserve(keys.size());
  for (const int key : keys) columns.push_back(&builders.emplace_back(schema.field(key).type));
  std::string_view rest = state_key;
  MILLRACE_RETURN_IF_ERROR(DecodeKey(rest, columns));
  return state_key.size() - rest.size();
}

}  // namespace

JoinSide::JoinSide(Options options, OperatorContext& context)
    : options_(std::move(options)),
      codec_(options_.schema),
      columns_(static_cast<size_t>(options_.schema->size())),
      max_parallelism_(context.max_parallelism),
      key_groups_(context.key_groups) {
  std::iota(columns_.begin(), columns_.end(), 0);
  time_is_key_ = options_.time >= 0 && std::find(options_.keys.begin(), options_.keys.end(),
                                                 options_.time) != options_.keys.end();
  if (options_.time < 0 || time_is_key_ || options_.tracks_partners) return;
  slice_us_ = SliceWidth(options_.partner_span_us);
  slices_.resize(key_groups_.last - key_groups_.first + 1);
}

absl::StatusOr<JoinSide> JoinSide::Open(Options options, OperatorContext& context) {
  JoinSide side(std::move(options), context);
  MILLRACE_ASSIGN_OR_RETURN(side.rows_, context.state->OpenKeyedTable(side.options_.name));
  KeyedTable* ends = nullptr;
  if (side.options_.time >= 0 || side.options_.ttl_us > 0) {
    MILLRACE_ASSIGN_OR_RETURN(ends, context.state->OpenKeyedTable(side.options_.name + "_ends"));
  }
  if (const auto converter = FormerRowsOf(context, side.options_.name)) {
    MILLRACE_RETURN_IF_ERROR(side.ConvertRows(*converter, ends, context.key_groups));
  }
  if (side.slice_us_ > 0) {
    MILLRACE_RETURN_IF_ERROR(side.OpenSlices(ends));
  } else if (ends != nullptr) {
    MILLRACE_RETURN_IF_ERROR(side.OpenDeadlines(ends));
  }
  return side;
}

absl::Status JoinSide::OpenDeadlines(KeyedTable* ends) {
  MILLRACE_ASSIGN_OR_RETURN(DeadlineIndex deadlines, DeadlineIndex::Open(ends, key_groups_));
  deadlines_.emplace(std::move(deadlines));
  return absl::OkStatus();
}

absl::Status JoinSide::OpenSlices(KeyedTable* ends) {
  std::vector<std::pair<uint32_t, int64_t>> moved;
  for (uint32_t group = key_groups_.first; group <= key_groups_.last; ++group) {
    MILLRACE_RETURN_IF_ERROR(MoveToSlices(group, *ends, moved));
  }
  MILLRACE_RETURN_IF_ERROR(OpenDeadlines(ends));
  MILLRACE_RETURN_IF_ERROR(
      ends->ScanAll([this](uint32_t group, std::string_view key, std::string_view) {
        const int64_t slice = ReadOrderedInt64(key.substr(key.size() - sizeof(int64_t)));
        std::vector<int64_t>& slices = Slices(group);
        slices.insert(std::upper_bound(slices.begin(), slices.end(), slice), slice);
        return true;
      }));
  for (const auto& [group, slice] : moved) MILLRACE_RETURN_IF_ERROR(NoteSlice(group, slice));
  return absl::OkStatus();
}

absl::Status JoinSide::MoveToSlices(uint32_t key_group, KeyedTable& ends,
                                    std::vector<std::pair<uint32_t, int64_t>>& moved) {
  std::vector<std::pair<std::string, std::string>> rows;
  MILLRACE_RETURN_IF_ERROR(rows_->Scan(key_group, kNoSliceTag,
                                       [&rows](std::string_view state_key, std::string_view value) {
                                         rows.emplace_back(state_key, value);
                                         return true;
                                       }));
  if (rows.empty()) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(rows_->DeletePrefix(key_group, kNoSliceTag));
  MILLRACE_RETURN_IF_ERROR(ends.DeletePrefix(key_group, ""));
  BatchBuilder builder(options_.schema);
  for (const auto& [state_key, value] : rows) {
    MILLRACE_ASSIGN_OR_RETURN(const size_t key_bytes,
                              KeyBytes(*options_.schema, options_.keys, state_key));
    MILLRACE_RETURN_IF_ERROR(codec_.Decode(std::string_view(state_key).substr(key_bytes), builder));
  }
  const Batch decoded = builder.Finish();
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t slice = SliceOf(decoded.column(options_.time).values<int64_t>()[i]);
    moved.emplace_back(key_group, slice);
    std::string state_key;
    AppendSlice(slice, state_key);
    state_key += rows[i].first;
    MILLRACE_RETURN_IF_ERROR(rows_->Put(key_group, state_key, rows[i].second));
  }
  return absl::OkStatus();
}

absl::Status JoinSide::NoteSlice(uint32_t key_group, int64_t slice) {
  std::vector<int64_t>& slices = Slices(key_group);
  const auto at = std::lower_bound(slices.begin(), slices.end(), slice);
  if (at != slices.end() && *at == slice) return absl::OkStatus();
  slices.insert(at, slice);
  std::string prefix;
  AppendSlice(slice, prefix);
  return deadlines_->Add(key_group, prefix, DeadlineOf(slice + (slice_us_ - 1)));
}

// Rows that differed in a column that is gone are one row, several times.
absl::Status JoinSide::ConvertRows(const RowConverter& converter, KeyedTable* ends,
                                   KeyGroupRange key_groups) {
  const auto convert = [&](std::string& state_key) -> absl::Status {
    const size_t slice_bytes = SliceBytes(state_key);
    if (slice_bytes == state_key.size()) return absl::OkStatus();  // A deadline of a slice.
    MILLRACE_ASSIGN_OR_RETURN(
        size_t key_bytes,
        KeyBytes(*options_.schema, options_.keys, std::string_view(state_key).substr(slice_bytes)));
    key_bytes += slice_bytes;
    if (key_bytes == state_key.size()) return absl::OkStatus();  // A deadline of a join key.
    std::string converted = state_key.substr(0, key_bytes);
    MILLRACE_RETURN_IF_ERROR(
        converter.Convert(std::string_view(state_key).substr(key_bytes), converted));
    state_key = std::move(converted);
    return absl::OkStatus();
  };
  MILLRACE_RETURN_IF_ERROR(RewriteTable(
      *rows_, key_groups, [&](std::string& key, std::string&) { return convert(key); },
      [&](std::string& value, std::string_view further) -> absl::Status {
        MILLRACE_ASSIGN_OR_RETURN(JoinRow row, DecodeRow(value, options_.tracks_partners));
        MILLRACE_ASSIGN_OR_RETURN(const JoinRow other,
                                  DecodeRow(further, options_.tracks_partners));
        row.count += other.count;
        row.shown += other.shown;
        row.expires_us = std::max(row.expires_us, other.expires_us);
        EncodeRow(row, options_.tracks_partners, value);
        return absl::OkStatus();
      }));
  if (ends == nullptr) return absl::OkStatus();
  return DeadlineIndex::ConvertKeys(*ends, key_groups, convert);
}

void JoinSide::Begin(const Batch& batch) {
  batch_ = batch;
  EncodeKeys(batch_, options_.keys, keys_);
}

bool JoinSide::HasNullKey(int64_t row) const {
  return std::any_of(options_.keys.begin(), options_.keys.end(),
                     [&](int key) { return batch_.column(key).IsNull(row); });
}

uint32_t JoinSide::key_group(int64_t row) const {
  return KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], max_parallelism_);
}

int64_t JoinSide::TimeOf(int64_t row) const {
  return batch_.column(options_.time).values<int64_t>()[row];
}

int64_t JoinSide::DeadlineOf(int64_t time_us) const {
  int64_t deadline = 0;
  if (__builtin_add_overflow(time_us, options_.partner_lag_us, &deadline)) return kNone - 1;
  return deadline;
}

size_t JoinSide::SliceBytes(std::string_view state_key) const {
  return slice_us_ > 0 && state_key.front() == kSliceTag ? kSliceBytes : 0;
}

const std::string& JoinSide::StateKey(int64_t row) {
  state_key_.clear();
  if (slice_us_ > 0) AppendSlice(SliceOf(TimeOf(row)), state_key_);
  state_key_ += keys_.key(row);
  codec_.Append(batch_, columns_, row, state_key_);
  return state_key_;
}

absl::StatusOr<std::optional<JoinRow>> JoinSide::Find(uint32_t key_group,
                                                      std::string_view state_key) {
  MILLRACE_ASSIGN_OR_RETURN(const bool found, rows_->Get(key_group, state_key, &value_));
  if (!found) return std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(const JoinRow row, DecodeRow(value_, options_.tracks_partners));
  return row;
}

absl::Status JoinSide::Add(uint32_t key_group, std::string_view state_key, const JoinRow& row) {
  EncodeRow(row, options_.tracks_partners, value_);
  std::string there;
  MILLRACE_ASSIGN_OR_RETURN(const bool added, rows_->Insert(key_group, state_key, value_, &there));
  if (added) return absl::OkStatus();
  MILLRACE_ASSIGN_OR_RETURN(JoinRow sum, DecodeRow(there, options_.tracks_partners));
  sum.count += row.count;
  sum.shown += row.shown;
  sum.partners = row.partners;
  sum.expires_us = row.expires_us;
  return Store(key_group, state_key, sum);
}

absl::Status JoinSide::Store(uint32_t key_group, std::string_view state_key, const JoinRow& row) {
  if (row.count == 0) return rows_->Delete(key_group, state_key);
  EncodeRow(row, options_.tracks_partners, value_);
  return rows_->Put(key_group, state_key, value_);
}

absl::Status JoinSide::StoreDeadline(int64_t row, std::string_view state_key,
                                     const JoinRow& stored) {
  if (options_.ttl_us > 0) return deadlines_->Add(key_group(row), state_key, stored.expires_us);
  if (slice_us_ > 0) return NoteSlice(key_group(row), SliceOf(TimeOf(row)));
  return deadlines_->Add(key_group(row), time_is_key_ ? keys_.key(row) : state_key,
                         DeadlineOf(TimeOf(row)));
}

absl::Status JoinSide::ForEach(uint32_t key_group, std::string_view key, Times times, RowFn row) {
  if (slice_us_ == 0) return Scan(key_group, key, row);
  const std::vector<int64_t>& slices = Slices(key_group);
  auto slice = std::lower_bound(slices.begin(), slices.end(), SliceOf(times.first_us));
  for (bool more = true; more && slice != slices.end() && *slice <= times.last_us; ++slice) {
    state_key_.clear();
    AppendSlice(*slice, state_key_);
    state_key_ += key;
    MILLRACE_RETURN_IF_ERROR(
        Scan(key_group, state_key_, [&](std::string_view state_key, const JoinRow& one) {
          return more = row(state_key, one);
        }));
  }
  return absl::OkStatus();
}

absl::Status JoinSide::Scan(uint32_t key_group, std::string_view prefix, RowFn row) {
  absl::Status status;
  MILLRACE_RETURN_IF_ERROR(
      rows_->Scan(key_group, prefix, [&](std::string_view state_key, std::string_view value) {
        const absl::StatusOr<JoinRow> stored = DecodeRow(value, options_.tracks_partners);
        status = stored.status();
        return status.ok() && row(state_key, *stored);
      }));
  return status;
}

absl::Status JoinSide::Decode(std::string_view state_key, size_t key_bytes,
                              BatchBuilder& out) const {
  return codec_.Decode(state_key.substr(SliceBytes(state_key) + key_bytes), out);
}

absl::StatusOr<bool> JoinSide::ForgetExpired(EventTime watermark, size_t rows_max) {
  expired_.clear();
  if (options_.time < 0) return false;
  std::vector<DeadlineIndex::Due> due;
  MILLRACE_ASSIGN_OR_RETURN(bool more, deadlines_->Take(watermark.us, rows_max, due));
  for (const DeadlineIndex::Due& one : due) {
    if (slice_us_ > 0) {
      const int64_t slice = ReadOrderedInt64(one.key.substr(kSliceBytes - sizeof(int64_t)));
      std::erase(Slices(one.key_group), slice);
      MILLRACE_RETURN_IF_ERROR(rows_->DeletePrefix(one.key_group, one.key));
      continue;
    }
    // A state key is the beginning of itself alone, a join key of all of its rows.
    const size_t first = expired_.size();
    bool whole = true;
    MILLRACE_RETURN_IF_ERROR(
        Scan(one.key_group, one.key, [&](std::string_view state_key, const JoinRow& row) {
          whole = expired_.size() < rows_max;
          if (whole) expired_.push_back({std::string(state_key), row});
          return whole;
        }));
    for (size_t i = first; i < expired_.size(); ++i) {
      MILLRACE_RETURN_IF_ERROR(rows_->Delete(one.key_group, expired_[i].state_key));
    }
    if (whole) continue;
    more = true;
    MILLRACE_RETURN_IF_ERROR(deadlines_->Add(one.key_group, one.key, one.deadline_us));
  }
  return more;
}

absl::StatusOr<bool> JoinSide::TakeExpired(EventTime watermark, size_t rows_max, BatchBuilder& out,
                                           std::vector<JoinRow>& rows) {
  MILLRACE_ASSIGN_OR_RETURN(const bool more, ForgetExpired(watermark, rows_max));
  for (const Expired& one : expired_) {
    MILLRACE_ASSIGN_OR_RETURN(const size_t key_bytes,
                              KeyBytes(*options_.schema, options_.keys, one.state_key));
    MILLRACE_RETURN_IF_ERROR(Decode(one.state_key, key_bytes, out));
    rows.push_back(one.row);
  }
  return more;
}

absl::StatusOr<uint64_t> JoinSide::DropExpired(int64_t now_us, size_t rows_max) {
  std::vector<DeadlineIndex::Due> due;
  MILLRACE_RETURN_IF_ERROR(deadlines_->Take(now_us, rows_max, due).status());
  uint64_t dropped = 0;
  for (const DeadlineIndex::Due& one : due) {
    MILLRACE_ASSIGN_OR_RETURN(const std::optional<JoinRow> row, Find(one.key_group, one.key));
    // It has come again since, and has a later deadline.
    if (!row || row->expires_us > one.deadline_us) continue;
    MILLRACE_RETURN_IF_ERROR(rows_->Delete(one.key_group, one.key));
    ++dropped;
  }
  return dropped;
}

}  // namespace millrace
