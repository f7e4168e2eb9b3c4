#include "runtime/expressions/value.h"

#include <algorithm>
#include <bit>

namespace millrace::expressions {

Value NullScalar(DataType type) { return {NullColumn(type, 1), true}; }

const Column& Frame::column(int i) const {
  if (batch_ != nullptr) return batch_->column(i);
  for (const auto& [index, column] : gathered_) {
    if (index == i) return *column;
  }
  gathered_.emplace_back(i, std::make_unique<Column>(Take(parent_->column(i), selected_)));
  return *gathered_.back().second;
}

BitWords BitWords::Validity(const Value& value) {
  if (value.scalar) return Constant(!value.column.IsNull(0));
  return value.column.has_nulls() ? Bits(value.column.validity_bits()) : Constant(true);
}

BitWords BitWords::Values(const Value& value) {
  return value.scalar ? Constant(value.column.BoolAt(0)) : Bits(value.column.value_bits());
}

BitmapWriter::BitmapWriter(int64_t rows)
    : buffer_(Buffer::Allocate(static_cast<size_t>(WordCount(rows)) * 8)),
      words_(reinterpret_cast<uint64_t*>(buffer_->mutable_data())) {}

Validity FinishValidity(BitmapWriter writer, int64_t rows) {
  int64_t valid = 0;
  for (int64_t w = 0; w < WordCount(rows); ++w) {
    valid += std::popcount(writer.Get(w) & WordMask(rows, w));
  }
  if (valid == rows) return {};
  return {writer.Finish(), rows - valid};
}

Validity IntersectValidity(std::span<const Value> operands, int64_t rows) {
  const Column* only = nullptr;
  int with_nulls = 0;
  for (const Value& value : operands) {
    if (value.scalar || !value.column.has_nulls()) continue;
    only = &value.column;
    ++with_nulls;
  }
  if (with_nulls == 0) return {};
  if (with_nulls == 1) return {only->validity_buffer(), only->null_count()};
  BitmapWriter writer(rows);
  for (int64_t w = 0; w < WordCount(rows); ++w) writer.Set(w, ~uint64_t{0});
  for (const Value& value : operands) {
    if (value.scalar || !value.column.has_nulls()) continue;
    const BitWords valid = BitWords::Validity(value);
    for (int64_t w = 0; w < WordCount(rows); ++w) writer.Set(w, writer.Get(w) & valid[w]);
  }
  return FinishValidity(std::move(writer), rows);
}

Validity WithoutRows(Validity validity, std::span<const int32_t> rows_out, int64_t rows) {
  BitmapWriter writer(rows);
  const BitWords valid =
      validity.bits == nullptr ? BitWords::Constant(true) : BitWords::Bits(validity.bits->data());
  for (int64_t w = 0; w < WordCount(rows); ++w) writer.Set(w, valid[w]);
  for (const int32_t row : rows_out) {
    writer.Set(row >> 6, writer.Get(row >> 6) & ~(uint64_t{1} << (row & 63)));
  }
  return FinishValidity(std::move(writer), rows);
}

Value MakeBool(int64_t rows, BitmapWriter values, Validity validity) {
  return {Column(TypeKind::kBool, rows, validity.null_count, std::move(validity.bits),
                 values.Finish())};
}

bool AnyNullScalar(std::span<const Value> arguments) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [](const Value& value) { return value.IsNullScalar(); });
}

StringWriter::StringWriter(int64_t rows, size_t bytes_expected)
    : offsets_buffer_(Buffer::Allocate(static_cast<size_t>(rows + 1) * sizeof(int32_t))),
      data_(Buffer::Allocate(std::max<size_t>(bytes_expected, 64))),
      offsets_(reinterpret_cast<int32_t*>(offsets_buffer_->mutable_data())) {
  offsets_[0] = 0;
}

void StringWriter::Grow(size_t needed) {
  auto grown = Buffer::Allocate(std::max(needed, 2 * data_->size()));
  std::memcpy(grown->mutable_data(), data_->data(), size_);
  data_ = std::move(grown);
}

char* StringWriter::Room(size_t size) {
  const size_t needed = size_ + size;
  if (too_long_ || size > kValueBytesMax || needed - value_begin_ > kValueBytesMax ||
      needed > kColumnBytesMax) {
    too_long_ = true;
    return nullptr;
  }
  if (needed > data_->size()) Grow(needed);
  char* at = reinterpret_cast<char*>(data_->mutable_data()) + size_;
  size_ = needed;
  return at;
}

bool StringWriter::Close(int64_t row) {
  if (too_long_) {
    CloseEmpty(row);
    return false;
  }
  value_begin_ = size_;
  offsets_[row + 1] = static_cast<int32_t>(size_);
  return true;
}

void StringWriter::CloseEmpty(int64_t row) {
  too_long_ = false;
  size_ = value_begin_;
  offsets_[row + 1] = static_cast<int32_t>(size_);
}

Value StringWriter::Finish(DataType type, int64_t rows, Validity validity) {
  data_->Shrink(size_);
  return {Column(type, rows, validity.null_count, std::move(validity.bits), std::move(data_),
                 std::move(offsets_buffer_))};
}

absl::StatusOr<BoundKernel> MakeKernel(const KernelRequest& request) {
  static constexpr absl::StatusOr<BoundKernel> (*kFamilies[])(const KernelRequest&) = {
      MakeComparisonKernel, MakeDecimalKernel,  MakeArithmeticKernel, MakeMathKernel,
      MakeStringKernel,     MakeEncodingKernel, MakePatternKernel,    MakeArrayKernel,
      MakeJsonKernel,       MakeTimeKernel,     MakeArrowKernel};
  for (const auto family : kFamilies) {
    absl::StatusOr<BoundKernel> made = family(request);
    if (!made.ok() || made->run != nullptr) return made;
  }
  return absl::NotFoundError("function without a kernel: " + std::string(request.name));
}

}  // namespace millrace::expressions
