#include "runtime/columns/batch.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "runtime/base/check.h"
#include "runtime/columns/arrays.h"

namespace millrace {

Column::Column(DataType type, int64_t length, int64_t null_count, BufferPtr validity,
               BufferPtr values, BufferPtr offsets)
    : type_(type),
      length_(length),
      null_count_(null_count),
      validity_bits_(validity == nullptr ? nullptr : validity->data()),
      value_bytes_(values == nullptr ? nullptr : values->data()),
      offsets_(offsets == nullptr ? nullptr : reinterpret_cast<const int32_t*>(offsets->data())),
      validity_(std::move(validity)),
      values_(std::move(values)),
      offsets_buffer_(std::move(offsets)) {}

size_t Column::byte_size() const {
  return (validity_ == nullptr ? 0 : validity_->size()) +
         (values_ == nullptr ? 0 : values_->size()) +
         (offsets_buffer_ == nullptr ? 0 : offsets_buffer_->size());
}

Batch::Batch(SchemaPtr schema, int64_t rows, std::vector<Column> columns)
    : schema_(std::move(schema)), rows_(rows), columns_(std::move(columns)) {
  for (const Column& column : columns_) MILLRACE_CHECK(column.length() == rows_);
}

std::string_view RowKindText(RowKind kind) {
  switch (kind) {
    case RowKind::kInsert:
      return "+I";
    case RowKind::kUpdateBefore:
      return "-U";
    case RowKind::kUpdateAfter:
      return "+U";
    case RowKind::kDelete:
      return "-D";
    case RowKind::kTruncate:
      return "truncate";
  }
  return "?";
}

void Batch::set_kinds(BufferPtr kinds) {
  MILLRACE_CHECK(kinds == nullptr || kinds->size() == static_cast<size_t>(rows_));
  kinds_ = std::move(kinds);
}

Batch Batch::WithColumns(SchemaPtr schema, std::vector<Column> columns) const {
  Batch other(std::move(schema), rows_, std::move(columns));
  other.kinds_ = kinds_;
  other.split = split;
  other.origins_ = origins_;
  other.origin_rows_ = origin_rows_;
  return other;
}

std::optional<RowOrigin> Batch::OriginOf(int64_t row) const {
  if (origins_ == nullptr) return std::nullopt;
  if (origin_rows_ == nullptr) return origins_->Find(row);
  return origins_->Find(reinterpret_cast<const int32_t*>(origin_rows_->data())[row]);
}

Batch Batch::WithoutOrigins() const {
  Batch other = *this;
  other.origins_ = nullptr;
  other.origin_rows_ = nullptr;
  return other;
}

size_t Batch::byte_size() const {
  size_t bytes = kinds_ == nullptr ? 0 : kinds_->size();
  for (const Column& column : columns_) bytes += column.byte_size();
  return bytes;
}

Column Take(const Column& column, std::span<const int32_t> rows) {
  ColumnBuilder builder(column.type(), static_cast<int64_t>(rows.size()));
  builder.AppendTaken(column, rows);
  return builder.Finish();
}

Batch Take(const Batch& batch, std::span<const int32_t> rows) {
  std::vector<Column> columns;
  columns.reserve(static_cast<size_t>(batch.column_count()));
  for (const Column& column : batch.columns()) columns.push_back(Take(column, rows));
  Batch taken(batch.schema(), static_cast<int64_t>(rows.size()), std::move(columns));
  if (const uint8_t* kinds = batch.kinds(); kinds != nullptr) {
    auto chosen = Buffer::Allocate(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) chosen->mutable_data()[i] = kinds[rows[i]];
    taken.set_kinds(std::move(chosen));
  }
  taken.split = batch.split;
  if (batch.origins_ != nullptr) {
    taken.origins_ = batch.origins_;
    auto chosen = Buffer::Allocate(rows.size() * sizeof(int32_t));
    auto* const to = reinterpret_cast<int32_t*>(chosen->mutable_data());
    if (batch.origin_rows_ == nullptr) {
      std::memcpy(to, rows.data(), rows.size() * sizeof(int32_t));
    } else {
      const auto* from = reinterpret_cast<const int32_t*>(batch.origin_rows_->data());
      for (size_t i = 0; i < rows.size(); ++i) to[i] = from[rows[i]];
    }
    taken.origin_rows_ = std::move(chosen);
  }
  return taken;
}

Batch CopyRange(const Batch& batch, int64_t begin, int64_t count) {
  std::vector<int32_t> rows(static_cast<size_t>(count));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = static_cast<int32_t>(begin) + static_cast<int32_t>(i);
  return Take(batch, rows);
}

Batch Concat(std::span<const Batch> batches) {
  MILLRACE_CHECK(!batches.empty());
  int64_t rows = 0;
  for (const Batch& batch : batches) rows += batch.rows();
  BatchBuilder builder(batches[0].schema(), rows);
  for (const Batch& batch : batches) {
    for (int i = 0; i < batch.column_count(); ++i) builder.column(i).AppendColumn(batch.column(i));
  }
  Batch all = builder.Finish();
  if (std::any_of(batches.begin(), batches.end(),
                  [](const Batch& batch) { return batch.kinds() != nullptr; })) {
    std::string kinds;
    for (const Batch& batch : batches) {
      kinds.append(batch.kinds() == nullptr ? std::string(static_cast<size_t>(batch.rows()), '\0')
                                            : std::string(batch.kinds_buffer()->view()));
    }
    all.set_kinds(Buffer::CopyOf(kinds));
  }
  all.split = batches[0].split;
  return all;
}

void SelectTrue(const Column& condition, std::vector<int32_t>& rows) {
  MILLRACE_CHECK(condition.type() == TypeKind::kBool);
  const int64_t length = condition.length();
  for (int64_t word = 0; word * 64 < length; ++word) {
    const auto bytes = static_cast<size_t>(std::min<int64_t>(8, (length - word * 64 + 7) / 8));
    uint64_t bits = 0;
    std::memcpy(&bits, condition.value_bits() + word * 8, bytes);
    if (condition.has_nulls()) {
      uint64_t valid = 0;
      std::memcpy(&valid, condition.validity_bits() + word * 8, bytes);
      bits &= valid;
    }
    if (length - word * 64 < 64) bits &= (uint64_t{1} << (length - word * 64)) - 1;
    while (bits != 0) {
      rows.push_back(static_cast<int32_t>(word * 64 + __builtin_ctzll(bits)));
      bits &= bits - 1;
    }
  }
}

Column NullColumn(DataType type, int64_t length) {
  ColumnBuilder builder(type, length);
  for (int64_t i = 0; i < length; ++i) builder.AppendNull();
  return builder.Finish();
}

namespace {

bool SameValue(const Column& a, const Column& b, int64_t row) {
  if (a.IsNull(row) != b.IsNull(row)) return false;
  if (a.IsNull(row)) return true;
  switch (a.type()) {
    case TypeKind::kBool:
      return a.BoolAt(row) == b.BoolAt(row);
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return a.values<int32_t>()[row] == b.values<int32_t>()[row];
    case TypeKind::kFloat64: {
      const double x = a.values<double>()[row], y = b.values<double>()[row];
      return x == y || (std::isnan(x) && std::isnan(y));
    }
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      return a.StringAt(row) == b.StringAt(row);
    case TypeKind::kDecimal:
      return a.values<Decimal>()[row] == b.values<Decimal>()[row];
    default:
      return a.values<int64_t>()[row] == b.values<int64_t>()[row];
  }
}

std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c;
    if (c == '\'') quoted += '\'';
  }
  return quoted + "'";
}

std::string TimestampText(int64_t us) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%E6S", absl::FromUnixMicros(us), absl::UTCTimeZone());
}

}  // namespace

bool SameRows(const Batch& a, const Batch& b) {
  if (a.rows() != b.rows() || a.column_count() != b.column_count()) return false;
  for (int64_t row = 0; row < a.rows(); ++row) {
    if (a.kind(row) != b.kind(row)) return false;
  }
  for (int c = 0; c < a.column_count(); ++c) {
    if (a.column(c).type() != b.column(c).type()) return false;
  }
  for (int64_t row = 0; row < a.rows(); ++row) {
    if (!SameValues(a, b, row)) return false;
  }
  return true;
}

bool SameValues(const Batch& a, const Batch& b, int64_t row) {
  for (int c = 0; c < a.column_count(); ++c) {
    if (!SameValue(a.column(c), b.column(c), row)) return false;
  }
  return true;
}

namespace {

// "[1, NULL]", "[(1, 'a'), NULL]": the first array of `flat`.
std::string ArrayText(const FlatArrays& flat, const ArrayElement& element) {
  std::string text = "[";
  for (int32_t i = 0; i < flat.end(0); ++i) {
    if (i > 0) text += ", ";
    const bool as_row = element.is_row && flat.is_null[static_cast<size_t>(i)] == 0;
    if (as_row) text += "(";
    for (size_t c = 0; c < (as_row ? flat.columns.size() : 1); ++c) {
      text += (c > 0 ? ", " : "") + ValueText(flat.columns[c], i);
    }
    if (as_row) text += ")";
  }
  return text + "]";
}

}  // namespace

std::string ValueText(const Column& column, int64_t row) {
  if (column.IsNull(row)) return "NULL";
  switch (column.type()) {
    case TypeKind::kBool:
      return column.BoolAt(row) ? "TRUE" : "FALSE";
    case TypeKind::kInt32:
      return std::to_string(column.values<int32_t>()[row]);
    case TypeKind::kInt64:
      return std::to_string(column.values<int64_t>()[row]);
    case TypeKind::kFloat64: {
      char text[32];
      const auto end = std::to_chars(text, text + sizeof(text), column.values<double>()[row]).ptr;
      return std::string(text, end);
    }
    case TypeKind::kString:
      return Quoted(column.StringAt(row));
    case TypeKind::kBytes: {
      static constexpr char kHex[] = "0123456789abcdef";
      std::string text = "x'";
      for (const char c : column.StringAt(row)) {
        text += kHex[static_cast<uint8_t>(c) >> 4];
        text += kHex[static_cast<uint8_t>(c) & 15];
      }
      return text + "'";
    }
    case TypeKind::kDate: {
      const absl::CivilDay day = absl::CivilDay(1970, 1, 1) + column.values<int32_t>()[row];
      return "DATE '" + absl::FormatCivilTime(day) + "'";
    }
    case TypeKind::kTimestamp:
      return "TIMESTAMP '" + TimestampText(column.values<int64_t>()[row]) + "'";
    case TypeKind::kInterval:
      return "INTERVAL '" + std::to_string(column.values<int64_t>()[row]) + "' MICROSECOND";
    case TypeKind::kDecimal:
      return DecimalText(column.values<Decimal>()[row].unscaled(), column.type().scale());
    case TypeKind::kArray: {
      const std::vector<int32_t> one = {static_cast<int32_t>(row)};
      return ArrayText(FlatArrays(Take(column, one)), column.type().element());
    }
  }
  return "?";
}

}  // namespace millrace
