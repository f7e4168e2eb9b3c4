#include "operators/joins/join_side.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
constexpr size_t kDeadlineBytes = 8;

std::string EncodeRow(const JoinRow& row) {
  std::string bytes;
  AppendOrderedInt64(row.count, bytes);
  AppendOrderedInt64(row.partners, bytes);
  return bytes;
}

absl::StatusOr<JoinRow> DecodeRow(std::string_view bytes) {
  if (bytes.size() != 16) return absl::DataLossError("a row of a join has a wrong length");
  return JoinRow{.count = ReadOrderedInt64(bytes), .partners = ReadOrderedInt64(bytes.substr(8))};
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
      key_groups_(context.key_groups),
      max_parallelism_(context.max_parallelism) {
  std::iota(columns_.begin(), columns_.end(), 0);
}

absl::StatusOr<JoinSide> JoinSide::Open(Options options, OperatorContext& context) {
  JoinSide side(std::move(options), context);
  MILLRACE_ASSIGN_OR_RETURN(side.rows_, context.state->OpenKeyedTable(side.options_.name));
  if (side.options_.time < 0) return side;
  MILLRACE_ASSIGN_OR_RETURN(side.deadlines_,
                            context.state->OpenKeyedTable(side.options_.name + "_ends"));
  side.first_deadline_.assign(side.key_groups_.last - side.key_groups_.first + 1, kNone);
  MILLRACE_RETURN_IF_ERROR(
      side.deadlines_->ScanAll([&side](uint32_t group, std::string_view key, std::string_view) {
        int64_t& first = side.FirstDeadline(group);
        first = std::min(first, ReadOrderedInt64(key));
        return true;
      }));
  return side;
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

std::string JoinSide::StateKey(int64_t row) const {
  std::string state_key(keys_.key(row));
  codec_.Append(batch_, columns_, row, state_key);
  return state_key;
}

absl::StatusOr<std::optional<JoinRow>> JoinSide::Find(uint32_t key_group,
                                                      std::string_view state_key) {
  std::string value;
  MILLRACE_ASSIGN_OR_RETURN(const bool found, rows_->Get(key_group, state_key, &value));
  if (!found) return std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(const JoinRow row, DecodeRow(value));
  return row;
}

absl::Status JoinSide::Store(uint32_t key_group, std::string_view state_key, const JoinRow& row) {
  if (row.count == 0) return rows_->Delete(key_group, state_key);
  return rows_->Put(key_group, state_key, EncodeRow(row));
}

absl::Status JoinSide::StoreDeadline(int64_t row, std::string_view state_key) {
  const int64_t deadline = DeadlineOf(row);
  std::string key;
  AppendOrderedInt64(deadline, key);
  key += state_key;
  int64_t& first = FirstDeadline(key_group(row));
  first = std::min(first, deadline);
  return deadlines_->Put(key_group(row), key, "");
}

absl::Status JoinSide::ForEach(uint32_t key_group, std::string_view key, const RowFn& row) {
  absl::Status status;
  MILLRACE_RETURN_IF_ERROR(
      rows_->Scan(key_group, key, [&](std::string_view state_key, std::string_view value) {
        const absl::StatusOr<JoinRow> stored = DecodeRow(value);
        status = stored.status();
        if (status.ok()) row(state_key, *stored);
        return status.ok();
      }));
  return status;
}

absl::Status JoinSide::Decode(std::string_view state_key, size_t key_bytes,
                              BatchBuilder& out) const {
  return codec_.Decode(state_key.substr(key_bytes), out);
}

absl::StatusOr<bool> JoinSide::TakeExpired(EventTime watermark, size_t rows_max, BatchBuilder& out,
                                           std::vector<JoinRow>& rows) {
  if (options_.time < 0) return false;
  for (uint32_t group = key_groups_.first; group <= key_groups_.last; ++group) {
    while (FirstDeadline(group) != kNone && FirstDeadline(group) <= watermark.us) {
      if (rows.size() >= rows_max) return true;
      MILLRACE_RETURN_IF_ERROR(TakeExpiredOf(group, watermark.us, rows_max, out, rows));
    }
  }
  return false;
}

absl::Status JoinSide::TakeExpiredOf(uint32_t key_group, int64_t watermark_us, size_t rows_max,
                                     BatchBuilder& out, std::vector<JoinRow>& rows) {
  std::vector<std::string> expired;
  int64_t& first = FirstDeadline(key_group);
  first = kNone;
  MILLRACE_RETURN_IF_ERROR(
      deadlines_->Scan(key_group, "", [&](std::string_view key, std::string_view) {
        if (ReadOrderedInt64(key) > watermark_us || rows.size() + expired.size() >= rows_max) {
          first = ReadOrderedInt64(key);
          return false;
        }
        expired.emplace_back(key);
        return true;
      }));
  for (const std::string& deadline : expired) {
    const std::string_view state_key = std::string_view(deadline).substr(kDeadlineBytes);
    MILLRACE_RETURN_IF_ERROR(deadlines_->Delete(key_group, deadline));
    MILLRACE_ASSIGN_OR_RETURN(const std::optional<JoinRow> row, Find(key_group, state_key));
    if (!row) continue;
    MILLRACE_RETURN_IF_ERROR(rows_->Delete(key_group, state_key));
    MILLRACE_ASSIGN_OR_RETURN(const size_t key_bytes,
                              KeyBytes(*options_.schema, options_.keys, state_key));
    MILLRACE_RETURN_IF_ERROR(Decode(state_key, key_bytes, out));
    rows.push_back(*row);
  }
  return absl::OkStatus();
}

}  // namespace millrace
