#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/base/check.h"
#include "runtime/columns/batch.h"

namespace millrace {
namespace {

// Twice the room, at least `size` bytes, with the first `used` bytes kept.
void Grow(std::shared_ptr<Buffer>& buffer, size_t used, size_t size) {
  auto grown = Buffer::Allocate(std::max<size_t>(size, 2 * used));
  if (used > 0) std::memcpy(grown->mutable_data(), buffer->data(), used);
  buffer = std::move(grown);
}

// The same, with the rest zero: bits are written one by one into their bytes.
void GrowBits(std::shared_ptr<Buffer>& buffer, int64_t used, int64_t size) {
  const auto used_bytes = static_cast<size_t>(used + 7) / 8;
  Grow(buffer, used_bytes, static_cast<size_t>(size + 7) / 8);
  std::memset(buffer->mutable_data() + used_bytes, 0, buffer->size() - used_bytes);
}

// What one batch had is expected of the next one, up to here: an outlier is soon forgotten.
constexpr int64_t kExpectedRowsMax = 1 << 14;
constexpr size_t kExpectedBytesMax = 1 << 20;

// Strings are mostly short: copied in blocks, which may read and write behind their end where
// there is room.
constexpr size_t kCopyBytes = 32;

void CopyInBlocks(uint8_t* to, const uint8_t* from, size_t size) {
  for (size_t at = 0; at < size; at += kCopyBytes) std::memcpy(to + at, from + at, kCopyBytes);
}

void SetBits(uint8_t* bits, int64_t begin, int64_t count) {
  int64_t i = begin;
  const int64_t end = begin + count;
  for (; i < end && (i & 7) != 0; ++i) bits[i >> 3] |= static_cast<uint8_t>(1 << (i & 7));
  if (end - i >= 8) {
    const auto bytes = static_cast<size_t>((end - i) / 8);
    std::memset(bits + (i >> 3), 0xFF, bytes);
    i += static_cast<int64_t>(bytes * 8);
  }
  for (; i < end; ++i) bits[i >> 3] |= static_cast<uint8_t>(1 << (i & 7));
}

}  // namespace

ColumnBuilder::ColumnBuilder(DataType type, int64_t rows_expected) : type_(type) {
  // Not a kind alone.
  MILLRACE_CHECK(type != TypeKind::kDecimal || type.precision() > 0);
  MILLRACE_CHECK(type != TypeKind::kArray || type != DataType(TypeKind::kArray));
  if (rows_expected > 0) Reserve(rows_expected);
}

void ColumnBuilder::Reserve(int64_t rows) {
  if (rows <= capacity_) return;
  const int64_t capacity = std::max<int64_t>({rows, capacity_ * 2, 16, expected_rows_});
  const auto used = static_cast<size_t>(length_);
  if (validity_ != nullptr) GrowBits(validity_, length_, capacity);
  if (IsVariableWidth(type_)) {
    const bool first = offsets_ == nullptr;
    Grow(offsets_, first ? 0 : (used + 1) * 4, static_cast<size_t>(capacity + 1) * 4);
    if (first) reinterpret_cast<int32_t*>(offsets_->mutable_data())[0] = 0;
  } else if (type_ == TypeKind::kBool) {
    GrowBits(values_, length_, capacity);
  } else {
    const auto width = static_cast<size_t>(FixedWidth(type_));
    Grow(values_, used * width, static_cast<size_t>(capacity) * width);
  }
  capacity_ = capacity;
}

void ColumnBuilder::ReserveStringData(size_t bytes) {
  const size_t needed = string_data_size_ + bytes;
  MILLRACE_CHECK(needed <= static_cast<size_t>(std::numeric_limits<int32_t>::max()));
  if (string_data_ == nullptr || needed > string_data_->size()) {
    Grow(string_data_, string_data_size_, std::max<size_t>({needed, 256, expected_string_bytes_}));
  }
}

void ColumnBuilder::AppendValid(int64_t count) {
  if (validity_ != nullptr) {
    uint8_t* bits = validity_->mutable_data();
    if (count == 1) {
      bits[length_ >> 3] |= static_cast<uint8_t>(1 << (length_ & 7));
    } else {
      SetBits(bits, length_, count);
    }
  }
  length_ += count;
}

void ColumnBuilder::AppendNull() {
  Reserve(length_ + 1);
  if (validity_ == nullptr) {
    GrowBits(validity_, 0, capacity_);
    SetBits(validity_->mutable_data(), 0, length_);
  }
  const auto row = static_cast<size_t>(length_);
  if (IsVariableWidth(type_)) {
    auto* offsets = reinterpret_cast<int32_t*>(offsets_->mutable_data());
    offsets[row + 1] = static_cast<int32_t>(string_data_size_);
  } else if (type_ != TypeKind::kBool) {
    const auto width = static_cast<size_t>(FixedWidth(type_));
    std::memset(values_->mutable_data() + row * width, 0, width);
  }
  // Room that was truncated may hold old bits.
  validity_->mutable_data()[row >> 3] &= static_cast<uint8_t>(~(1 << (row & 7)));
  ++length_;
  ++null_count_;
}

void ColumnBuilder::AppendBool(bool value) {
  MILLRACE_CHECK(type_ == TypeKind::kBool);
  Reserve(length_ + 1);
  uint8_t& byte = values_->mutable_data()[length_ >> 3];
  const auto mask = static_cast<uint8_t>(1 << (length_ & 7));
  byte = static_cast<uint8_t>(value ? byte | mask : byte & ~mask);
  AppendValid(1);
}

void ColumnBuilder::AppendInt32(int32_t value) {
  MILLRACE_CHECK(FixedWidth(type_) == 4);
  Reserve(length_ + 1);
  reinterpret_cast<int32_t*>(values_->mutable_data())[length_] = value;
  AppendValid(1);
}

void ColumnBuilder::AppendInt64(int64_t value) {
  MILLRACE_CHECK(FixedWidth(type_) == 8 && type_ != TypeKind::kFloat64);
  Reserve(length_ + 1);
  reinterpret_cast<int64_t*>(values_->mutable_data())[length_] = value;
  AppendValid(1);
}

void ColumnBuilder::AppendFloat64(double value) {
  MILLRACE_CHECK(type_ == TypeKind::kFloat64);
  Reserve(length_ + 1);
  reinterpret_cast<double*>(values_->mutable_data())[length_] = value;
  AppendValid(1);
}

void ColumnBuilder::AppendDecimal(Int128 unscaled) {
  MILLRACE_CHECK(type_ == TypeKind::kDecimal && FitsPrecision(unscaled, type_.precision()));
  Reserve(length_ + 1);
  reinterpret_cast<Decimal*>(values_->mutable_data())[length_] = Decimal(unscaled);
  AppendValid(1);
}

void ColumnBuilder::AppendString(std::string_view value) {
  MILLRACE_CHECK(IsVariableWidth(type_));
  Reserve(length_ + 1);
  ReserveStringData(value.size());
  if (!value.empty()) {
    std::memcpy(string_data_->mutable_data() + string_data_size_, value.data(), value.size());
  }
  string_data_size_ += value.size();
  reinterpret_cast<int32_t*>(offsets_->mutable_data())[length_ + 1] =
      static_cast<int32_t>(string_data_size_);
  AppendValid(1);
}

void ColumnBuilder::AppendFrom(const Column& column, int64_t row) {
  const auto index = static_cast<int32_t>(row);
  AppendTaken(column, {&index, 1});
}

void ColumnBuilder::AppendTaken(const Column& column, std::span<const int32_t> rows) {
  MILLRACE_CHECK(column.type() == type_);
  if (rows.empty()) return;
  const auto count = static_cast<int64_t>(rows.size());
  Reserve(length_ + count);
  const int64_t begin = length_;
  if (IsVariableWidth(type_)) {
    const int32_t* from = column.offsets();
    size_t bytes = 0;
    for (const int32_t row : rows) bytes += static_cast<size_t>(from[row + 1] - from[row]);
    ReserveStringData(bytes + kCopyBytes);
    auto* offsets = reinterpret_cast<int32_t*>(offsets_->mutable_data()) + begin + 1;
    uint8_t* data = string_data_->mutable_data();
    const auto* source = column.values<uint8_t>();
    const size_t readable = column.values_buffer()->size();
    size_t to = string_data_size_;
    for (const int32_t row : rows) {
      const auto at = static_cast<size_t>(from[row]);
      const auto size = static_cast<size_t>(from[row + 1]) - at;
      if (size <= 4 * kCopyBytes && at + size + kCopyBytes <= readable) {
        CopyInBlocks(data + to, source + at, size);
      } else if (size > 0) {
        std::memcpy(data + to, source + at, size);
      }
      to += size;
      *offsets++ = static_cast<int32_t>(to);
    }
    string_data_size_ = to;
  } else if (type_ == TypeKind::kBool) {
    uint8_t* bits = values_->mutable_data();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = begin + i;
      const auto mask = static_cast<uint8_t>(1 << (at & 7));
      bits[at >> 3] =
          static_cast<uint8_t>(column.BoolAt(rows[static_cast<size_t>(i)]) ? bits[at >> 3] | mask
                                                                           : bits[at >> 3] & ~mask);
    }
  } else if (FixedWidth(type_) == 8) {
    auto* to = reinterpret_cast<uint64_t*>(values_->mutable_data()) + begin;
    const auto* from = column.values<uint64_t>();
    for (const int32_t row : rows) *to++ = from[row];
  } else if (FixedWidth(type_) == 16) {
    auto* to = reinterpret_cast<Decimal*>(values_->mutable_data()) + begin;
    const auto* from = column.values<Decimal>();
    for (const int32_t row : rows) *to++ = from[row];
  } else {
    auto* to = reinterpret_cast<uint32_t*>(values_->mutable_data()) + begin;
    const auto* from = column.values<uint32_t>();
    for (const int32_t row : rows) *to++ = from[row];
  }
  AppendValid(count);
  if (!column.has_nulls()) return;
  for (int64_t i = 0; i < count; ++i) {
    if (!column.IsNull(rows[static_cast<size_t>(i)])) continue;
    if (validity_ == nullptr) {
      GrowBits(validity_, 0, capacity_);
      SetBits(validity_->mutable_data(), 0, length_);
    }
    const int64_t at = begin + i;
    validity_->mutable_data()[at >> 3] &= static_cast<uint8_t>(~(1 << (at & 7)));
    ++null_count_;
  }
}

void ColumnBuilder::AppendColumn(const Column& column) {
  if (!column.has_nulls() && FixedWidth(type_) > 0 && column.type() == type_) {
    const auto bytes = static_cast<size_t>(column.length() * FixedWidth(type_));
    if (bytes == 0) return;
    std::memcpy(AppendUninitialized(column.length()), column.values<uint8_t>(), bytes);
    return;
  }
  std::vector<int32_t> rows(static_cast<size_t>(column.length()));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  AppendTaken(column, rows);
}

uint8_t* ColumnBuilder::AppendUninitialized(int64_t count) {
  MILLRACE_CHECK(FixedWidth(type_) > 0);
  Reserve(length_ + count);
  uint8_t* at = values_->mutable_data() + length_ * FixedWidth(type_);
  AppendValid(count);
  return at;
}

void ColumnBuilder::Truncate(int64_t length) {
  MILLRACE_CHECK(length <= length_);
  if (validity_ != nullptr) {
    for (int64_t row = length; row < length_; ++row) {
      if (!Column::Bit(validity_->data(), row)) --null_count_;
    }
    // Bits after the end are written anew by every append: set by AppendValid, cleared by
    // AppendNull.
  }
  length_ = length;
  if (IsVariableWidth(type_) && offsets_ != nullptr) {
    string_data_size_ =
        static_cast<size_t>(reinterpret_cast<const int32_t*>(offsets_->data())[length]);
  }
}

Column ColumnBuilder::Peek() const {
  const bool variable = IsVariableWidth(type_);
  return Column(type_, length_, null_count_, null_count_ > 0 ? validity_ : nullptr,
                variable ? string_data_ : values_, variable ? offsets_ : nullptr);
}

Column ColumnBuilder::Finish() {
  Reserve(std::max<int64_t>(length_, 1));
  const auto rows = static_cast<size_t>(length_);
  BufferPtr validity;
  if (null_count_ > 0) {
    validity_->Shrink((rows + 7) / 8);
    validity = std::move(validity_);
  }
  BufferPtr values, offsets;
  if (IsVariableWidth(type_)) {
    ReserveStringData(0);
    string_data_->Shrink(string_data_size_);
    offsets_->Shrink((rows + 1) * 4);
    values = std::move(string_data_);
    offsets = std::move(offsets_);
  } else {
    values_->Shrink(type_ == TypeKind::kBool ? (rows + 7) / 8
                                             : rows * static_cast<size_t>(FixedWidth(type_)));
    values = std::move(values_);
  }
  Column column(type_, length_, null_count_, std::move(validity), std::move(values),
                std::move(offsets));
  // The next batch will be about as large: it grows at once, not step by step.
  expected_rows_ = std::min(length_, kExpectedRowsMax);
  expected_string_bytes_ = std::min(string_data_size_ + string_data_size_ / 8, kExpectedBytesMax);
  length_ = null_count_ = capacity_ = 0;
  string_data_size_ = 0;
  validity_ = values_ = offsets_ = string_data_ = nullptr;
  return column;
}

BatchBuilder::BatchBuilder(SchemaPtr schema, int64_t rows_expected) : schema_(std::move(schema)) {
  columns_.reserve(static_cast<size_t>(schema_->size()));
  for (const Field& field : schema_->fields()) columns_.emplace_back(field.type, rows_expected);
}

void BatchBuilder::AppendRow(const Batch& batch, int64_t row) {
  for (int i = 0; i < batch.column_count(); ++i) column(i).AppendFrom(batch.column(i), row);
  if (batch.kinds() != nullptr) SetKind(batch.kind(row));
}

void BatchBuilder::SetKind(RowKind kind) {
  kinds_.resize(static_cast<size_t>(rows()), static_cast<char>(RowKind::kInsert));
  kinds_.back() = static_cast<char>(kind);
}

Batch BatchBuilder::Finish() {
  const int64_t rows = this->rows();
  std::vector<Column> columns;
  columns.reserve(columns_.size());
  for (ColumnBuilder& builder : columns_) {
    MILLRACE_CHECK(builder.length() == rows);
    columns.push_back(builder.Finish());
  }
  Batch batch(schema_, rows, std::move(columns));
  if (!kinds_.empty()) {
    kinds_.resize(static_cast<size_t>(rows), static_cast<char>(RowKind::kInsert));
    batch.set_kinds(Buffer::CopyOf(kinds_));
    kinds_.clear();
  }
  return batch;
}

}  // namespace millrace
