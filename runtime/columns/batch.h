// Batches of columns in Arrow's layout: the only form in which rows move through the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/buffer.h"
#include "runtime/columns/decimal.h"
#include "runtime/columns/types.h"

namespace millrace {

// One column of a batch; immutable, cheap to copy (three shared pointers).
// Layout: validity = bitmap, LSB first, 1 = not NULL, null pointer = no NULLs. values =
// FixedWidth() bytes per row, or a bitmap for BOOL, or the concatenated bytes of strings; offsets =
// length + 1 int32. There are no slice offsets: row 0 is always bit 0 / value 0. Values under NULL
// are unspecified but readable. Bits after the last row are unspecified.
class Column {
 public:
  Column() = default;
  Column(DataType type, int64_t length, int64_t null_count, BufferPtr validity, BufferPtr values,
         BufferPtr offsets = nullptr);

  DataType type() const { return type_; }
  int64_t length() const { return length_; }
  int64_t null_count() const { return null_count_; }
  bool has_nulls() const { return null_count_ != 0; }

  bool IsNull(int64_t row) const { return null_count_ != 0 && !Bit(validity_bits_, row); }
  // Fixed-width values; T must have FixedWidth(type()) bytes.
  template <typename T>
  const T* values() const {
    return reinterpret_cast<const T*>(value_bytes_);
  }
  bool BoolAt(int64_t row) const { return Bit(value_bytes_, row); }
  std::string_view StringAt(int64_t row) const {
    const int32_t begin = offsets_[row];
    return {reinterpret_cast<const char*>(value_bytes_) + begin,
            static_cast<size_t>(offsets_[row + 1] - begin)};
  }

  const uint8_t* validity_bits() const { return validity_bits_; }  // Null pointer: no NULLs.
  const uint8_t* value_bits() const { return value_bytes_; }       // BOOL.
  const int32_t* offsets() const { return offsets_; }
  const BufferPtr& validity_buffer() const { return validity_; }
  const BufferPtr& values_buffer() const { return values_; }
  const BufferPtr& offsets_buffer() const { return offsets_buffer_; }
  // Bytes of all buffers, as the exchange's credits count them.
  size_t byte_size() const;

  static bool Bit(const uint8_t* bits, int64_t i) { return (bits[i >> 3] >> (i & 7)) & 1; }

 private:
  DataType type_;
  int64_t length_ = 0;
  int64_t null_count_ = 0;
  const uint8_t* validity_bits_ = nullptr;
  const uint8_t* value_bytes_ = nullptr;
  const int32_t* offsets_ = nullptr;
  BufferPtr validity_, values_, offsets_buffer_;
};

// What a row says about the rows before it. Numbers are part of the batch codec: never reused.
enum class RowKind : uint8_t {
  kInsert = 0,        // +I
  kUpdateBefore = 1,  // -U: the row as it was; the kUpdateAfter of the same row follows.
  kUpdateAfter = 2,   // +U
  kDelete = 3,        // -D
  // All rows of the table are gone; its columns are NULL. Only between a source of captured changes
  // and the normalize operator behind it.
  kTruncate = 4,
};
inline constexpr uint8_t kRowKindMax = 4;
// "+I", "-U", "+U", "-D", "truncate".
std::string_view RowKindText(RowKind kind);
// True for rows that take an earlier one back.
constexpr bool IsRetraction(RowKind kind) {
  return kind == RowKind::kUpdateBefore || kind == RowKind::kDelete;
}

// The record of an external system that a row was made of.
struct RowOrigin {
  std::string_view source;  // Topic or file.
  std::optional<int32_t> partition;
  int64_t offset = 0;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
};

// What a source still knows of the records of a batch that it emitted; asked only when a row fails.
//
// Threading: the task thread of the source; it never passes an exchange.
class RowOrigins {
 public:
  virtual ~RowOrigins() = default;
  // Of row `row` of the batch as it was emitted. Views live until the source is polled again.
  virtual RowOrigin Find(int64_t row) const = 0;
};

// Rows of one schema. Cheap to copy and move; all columns have `rows()` rows.
class Batch {
 public:
  Batch() = default;
  Batch(SchemaPtr schema, int64_t rows, std::vector<Column> columns);

  const SchemaPtr& schema() const { return schema_; }
  int64_t rows() const { return rows_; }
  int column_count() const { return static_cast<int>(columns_.size()); }
  const Column& column(int i) const { return columns_[static_cast<size_t>(i)]; }
  const std::vector<Column>& columns() const { return columns_; }
  size_t byte_size() const;

  // One RowKind per row, or a null pointer where all are kInsert (every append-only edge).
  const uint8_t* kinds() const { return kinds_ == nullptr ? nullptr : kinds_->data(); }
  const BufferPtr& kinds_buffer() const { return kinds_; }
  RowKind kind(int64_t row) const {
    return kinds_ == nullptr ? RowKind::kInsert : static_cast<RowKind>(kinds_->data()[row]);
  }
  // `kinds` has one byte per row; a null pointer makes all rows kInsert.
  void set_kinds(BufferPtr kinds);

  // Where the rows came from: row i of this batch is row i of `origins`. Taken rows keep theirs.
  void set_origins(std::shared_ptr<const RowOrigins> origins) { origins_ = std::move(origins); }
  bool has_origins() const { return origins_ != nullptr; }
  // Nothing where nobody knows: behind an exchange, and of rows that an operator made itself.
  std::optional<RowOrigin> OriginOf(int64_t row) const;
  Batch WithoutOrigins() const;

  // Other columns for the same rows: their kinds, their split and their origins are handed on.
  Batch WithColumns(SchemaPtr schema, std::vector<Column> columns) const;

  // Which split of the source the rows came from: index in the order in which the task gave splits
  // to the source. Meaningful only before the first exchange; operators hand it on unchanged.
  uint32_t split = 0;

 private:
  SchemaPtr schema_;
  int64_t rows_ = 0;
  std::vector<Column> columns_;
  BufferPtr kinds_;
  std::shared_ptr<const RowOrigins> origins_;
  BufferPtr origin_rows_;  // int32 per row, its row in origins_; null: the same.

  friend Batch Take(const Batch& batch, std::span<const int32_t> rows);
};

// Builds one column row by row or in runs. Reusable: Finish() leaves it empty.
class ColumnBuilder {
 public:
  explicit ColumnBuilder(DataType type, int64_t rows_expected = 0);

  DataType type() const { return type_; }
  int64_t length() const { return length_; }

  void AppendNull();
  void AppendBool(bool value);
  void AppendInt32(int32_t value);  // INT32, DATE.
  void AppendInt64(int64_t value);  // INT64, TIMESTAMP, INTERVAL.
  void AppendFloat64(double value);
  void AppendDecimal(Int128 unscaled);        // Must fit the precision.
  void AppendString(std::string_view value);  // STRING, BYTES; the bytes of an ARRAY.
  // The value of `row` of a column of the same type.
  void AppendFrom(const Column& column, int64_t row);
  // Rows of a column of the same type, by index.
  void AppendTaken(const Column& column, std::span<const int32_t> rows);
  void AppendColumn(const Column& column);
  // Fixed-width types: makes room for `count` not-NULL values and returns where to write them.
  uint8_t* AppendUninitialized(int64_t count);
  // Bytes of string data so far; builders refuse (CHECK) more than 2^31 - 1.
  int64_t string_bytes() const { return static_cast<int64_t>(string_data_size_); }
  // The rows so far; they hold until the builder is used again.
  Column Peek() const;
  // Drops all rows after the first `length`.
  void Truncate(int64_t length);

  Column Finish();

 private:
  void Reserve(int64_t rows);
  void ReserveStringData(size_t bytes);
  void AppendValid(int64_t count);

  const DataType type_;
  int64_t length_ = 0;
  int64_t null_count_ = 0;
  int64_t capacity_ = 0;
  int64_t expected_rows_ = 0;  // Of the next column, by the last one.
  size_t expected_string_bytes_ = 0;
  std::shared_ptr<Buffer> validity_;  // Null until the first NULL.
  std::shared_ptr<Buffer> values_;    // Fixed width and BOOL.
  std::shared_ptr<Buffer> offsets_;
  std::shared_ptr<Buffer> string_data_;
  size_t string_data_size_ = 0;
};

// One builder per column.
class BatchBuilder {
 public:
  explicit BatchBuilder(SchemaPtr schema, int64_t rows_expected = 0);
  ColumnBuilder& column(int i) { return columns_[static_cast<size_t>(i)]; }
  const SchemaPtr& schema() const { return schema_; }
  int64_t rows() const { return columns_.empty() ? 0 : columns_[0].length(); }
  // The row of a batch with the same column types, and its kind.
  void AppendRow(const Batch& batch, int64_t row);
  // The kind of the row whose columns were appended last; rows without one are kInsert.
  void SetKind(RowKind kind);
  Batch Finish();

 private:
  const SchemaPtr schema_;
  std::vector<ColumnBuilder> columns_;
  std::string kinds_;  // Of the first rows; the others are kInsert.
};

// The rows of `batch` named by `rows`, in that order.
Batch Take(const Batch& batch, std::span<const int32_t> rows);
Column Take(const Column& column, std::span<const int32_t> rows);
// Rows [begin, begin + count) as a batch of their own (copied).
Batch CopyRange(const Batch& batch, int64_t begin, int64_t count);
Batch Concat(std::span<const Batch> batches);  // At least one; equal schemas.
// Indexes of the rows where `condition` (BOOL) is true; NULL counts as false. Appends to `rows`.
void SelectTrue(const Column& condition, std::vector<int32_t>& rows);
// A column that holds `length` NULLs.
Column NullColumn(DataType type, int64_t length);

// Equality of values with NULL = NULL, and of kinds, for tests and verification.
bool SameRows(const Batch& a, const Batch& b);
// Row `row` of both has equal values, NULL = NULL; kinds aside.
bool SameValues(const Batch& a, const Batch& b, int64_t row);
// One value as SQL text ("NULL", 'it''s', 12, TIMESTAMP '2024-…'); for messages, tests and `print`.
std::string ValueText(const Column& column, int64_t row);

}  // namespace millrace
