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
      max_parallelism_(context.max_parallelism) {
  std::iota(columns_.begin(), columns_.end(), 0);
  time_is_key_ = options_.time >= 0 && std::find(options_.keys.begin(), options_.keys.end(),
                                                 options_.time) != options_.keys.end();
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
  if (ends == nullptr) return side;
  MILLRACE_ASSIGN_OR_RETURN(DeadlineIndex deadlines, DeadlineIndex::Open(ends, context.key_groups));
  side.deadlines_.emplace(std::move(deadlines));
  return side;
}

// Rows that differed in a column that is gone are one row, several times.
absl::Status JoinSide::ConvertRows(const RowConverter& converter, KeyedTable* ends,
                                   KeyGroupRange key_groups) {
  const auto convert = [&](std::string& state_key) -> absl::Status {
    MILLRACE_ASSIGN_OR_RETURN(const size_t key_bytes,
                              KeyBytes(*options_.schema, options_.keys, state_key));
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

int64_t JoinSide::DeadlineOf(int64_t row) const {
  int64_t deadline = 0;
  const int64_t time = batch_.column(options_.time).values<int64_t>()[row];
  if (__builtin_add_overflow(time, options_.partner_lag_us, &deadline)) return kNone - 1;
  return deadline;
}

const std::string& JoinSide::StateKey(int64_t row) {
  state_key_.assign(keys_.key(row));
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

absl::Status JoinSide::Store(uint32_t key_group, std::string_view state_key, const JoinRow& row) {
  if (row.count == 0) return rows_->Delete(key_group, state_key);
  EncodeRow(row, options_.tracks_partners, value_);
  return rows_->Put(key_group, state_key, value_);
}

absl::Status JoinSide::StoreDeadline(int64_t row, std::string_view state_key,
                                     const JoinRow& stored) {
  if (options_.ttl_us > 0) return deadlines_->Add(key_group(row), state_key, stored.expires_us);
  return deadlines_->Add(key_group(row), time_is_key_ ? keys_.key(row) : state_key,
                         DeadlineOf(row));
}

absl::Status JoinSide::ForEach(uint32_t key_group, std::string_view key, RowFn row) {
  absl::Status status;
  MILLRACE_RETURN_IF_ERROR(
      rows_->Scan(key_group, key, [&](std::string_view state_key, std::string_view value) {
        const absl::StatusOr<JoinRow> stored = DecodeRow(value, options_.tracks_partners);
        status = stored.status();
        return status.ok() && row(state_key, *stored);
      }));
  return status;
}

absl::Status JoinSide::Decode(std::string_view state_key, size_t key_bytes,
                              BatchBuilder& out) const {
  return codec_.Decode(state_key.substr(key_bytes), out);
}

absl::StatusOr<bool> JoinSide::ForgetExpired(EventTime watermark, size_t rows_max) {
  expired_.clear();
  if (options_.time < 0) return false;
  std::vector<DeadlineIndex::Due> due;
  MILLRACE_ASSIGN_OR_RETURN(bool more, deadlines_->Take(watermark.us, rows_max, due));
  for (const DeadlineIndex::Due& one : due) {
    // A state key is the beginning of itself alone, a join key of all of its rows.
    const size_t first = expired_.size();
    bool whole = true;
    MILLRACE_RETURN_IF_ERROR(
        ForEach(one.key_group, one.key, [&](std::string_view state_key, const JoinRow& row) {
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
