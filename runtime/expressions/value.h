// What flows between the nodes of a bound expression. Private to runtime/expressions.
//
// Threading: task thread only.
#pragma once

#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/columns/batch.h"
#include "runtime/expressions/expression.h"

namespace millrace::expressions {

// A column of the frame's rows, or one value for all of them (a column of length 1). Literals and
// what is computed from literals alone are never expanded.
struct Value {
  Column column;
  bool scalar = false;

  bool IsNullScalar() const { return scalar && column.IsNull(0); }
};

Value NullScalar(DataType type);

// The rows that an expression is evaluated for: a batch, or some rows of another frame. The columns
// of a selection are gathered when they are first asked for.
class Frame {
 public:
  explicit Frame(const Batch& batch) : batch_(&batch), rows_(batch.rows()) {}
  // Both are borrowed.
  Frame(const Frame& parent, std::span<const int32_t> selected)
      : parent_(&parent), selected_(selected), rows_(static_cast<int64_t>(selected.size())) {}

  int64_t rows() const { return rows_; }
  const Column& column(int i) const;

 private:
  const Batch* batch_ = nullptr;
  const Frame* parent_ = nullptr;
  std::span<const int32_t> selected_;
  const int64_t rows_;
  mutable std::vector<std::pair<int, std::unique_ptr<Column>>> gathered_;
};

// What a kernel is given. Operands are columns of `rows` rows or scalars, except that all are
// scalars only when rows == 1: then a kernel may treat them as columns.
struct KernelInput {
  std::span<const Value> arguments;
  int64_t rows;
  RowErrors& errors;
};

// Returns a column of `rows` rows, or a scalar. Reports rows that it cannot evaluate and makes them
// NULL. Called once per batch.
using Kernel = std::function<Value(const KernelInput&)>;

struct BoundKernel {
  Kernel run;
  // False: no row can ever fail, so the kernel may be run for rows that do not need it.
  bool can_fail = false;
};

// A call at bind time. `literals` holds the value of each argument that is a literal, else null.
struct KernelRequest {
  std::string_view name;
  std::span<const DataType> types;
  DataType result;
  std::span<const Value* const> literals;
};

// One of the families below makes the kernel of a call; an empty `run` = not this family's.
absl::StatusOr<BoundKernel> MakeKernel(const KernelRequest& request);
// Arithmetic with a DECIMAL operand.
absl::StatusOr<BoundKernel> MakeDecimalKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeArithmeticKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeMathKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeComparisonKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeStringKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeEncodingKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakePatternKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeArrayKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeJsonKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeTimeKernel(const KernelRequest& request);
absl::StatusOr<BoundKernel> MakeArrowKernel(const KernelRequest& request);
BoundKernel MakeCastKernel(DataType from, DataType to, bool try_cast);

// --- Bitmaps -----------------------------------------------------------------------------------

inline int64_t WordCount(int64_t rows) { return (rows + 63) / 64; }
// The bits of word `word` that belong to rows.
inline uint64_t WordMask(int64_t rows, int64_t word) {
  const int64_t rest = rows - word * 64;
  return rest >= 64 ? ~uint64_t{0} : (uint64_t{1} << rest) - 1;
}

// 64 bits at a time out of a bitmap, or a constant. Buffers are padded, so that the last word may
// be read whole; its bits after the last row mean nothing.
class BitWords {
 public:
  static BitWords Constant(bool value) { return {nullptr, value ? ~uint64_t{0} : 0}; }
  static BitWords Bits(const uint8_t* bits) { return {bits, 0}; }
  static BitWords Validity(const Value& value);
  // The values of a BOOL.
  static BitWords Values(const Value& value);

  uint64_t operator[](int64_t word) const {
    if (bits_ == nullptr) return constant_;
    uint64_t bits;
    std::memcpy(&bits, bits_ + word * 8, 8);
    return bits;
  }

 private:
  BitWords(const uint8_t* bits, uint64_t constant) : bits_(bits), constant_(constant) {}
  const uint8_t* bits_;
  uint64_t constant_;
};

// A bitmap to be filled word by word.
class BitmapWriter {
 public:
  explicit BitmapWriter(int64_t rows);
  void Set(int64_t word, uint64_t bits) { words_[word] = bits; }
  uint64_t Get(int64_t word) const { return words_[word]; }
  BufferPtr Finish() { return std::move(buffer_); }

 private:
  std::shared_ptr<Buffer> buffer_;
  uint64_t* words_;
};

// Validity of a result; `bits` null = no NULLs.
struct Validity {
  BufferPtr bits;
  int64_t null_count = 0;

  bool IsValid(int64_t row) const { return bits == nullptr || Column::Bit(bits->data(), row); }
};

// Rows where every operand is not NULL. No operand may be a NULL scalar.
Validity IntersectValidity(std::span<const Value> operands, int64_t rows);
// `validity` without `rows_out` (ascending or not, may repeat, may be invalid already).
Validity WithoutRows(Validity validity, std::span<const int32_t> rows_out, int64_t rows);
Validity FinishValidity(BitmapWriter writer, int64_t rows);

// A BOOL column out of two bitmaps by `value(word)` and `valid(word)`.
template <typename ValueOf, typename ValidOf>
Value MakeBool(int64_t rows, ValueOf value, ValidOf valid) {
  BitmapWriter values(rows), validity(rows);
  for (int64_t w = 0; w < WordCount(rows); ++w) {
    values.Set(w, value(w));
    validity.Set(w, valid(w));
  }
  Validity finished = FinishValidity(std::move(validity), rows);
  return {Column(TypeKind::kBool, rows, finished.null_count, std::move(finished.bits),
                 values.Finish())};
}
Value MakeBool(int64_t rows, BitmapWriter values, Validity validity);

// --- Operands ----------------------------------------------------------------------------------

template <typename T>
struct ColumnOperand {
  const T* values;
  T operator[](int64_t row) const { return values[row]; }
};
template <typename T>
struct ScalarOperand {
  T value;
  T operator[](int64_t) const { return value; }
};

// Calls `f` with the operand in the form that fits: loops are compiled once per form.
template <typename T, typename F>
auto WithOperand(const Value& value, F f) {
  if (value.scalar) return f(ScalarOperand<T>{value.column.values<T>()[0]});
  return f(ColumnOperand<T>{value.column.values<T>()});
}

// Row-wise access for the long tail: a scalar answers every row with its one value.
class Argument {
 public:
  explicit Argument(const Value& value) : column_(&value.column), mask_(value.scalar ? 0 : -1) {}
  std::string_view Text(int64_t row) const { return column_->StringAt(row & mask_); }
  int64_t Int(int64_t row) const { return column_->values<int64_t>()[row & mask_]; }
  int32_t Int32(int64_t row) const { return column_->values<int32_t>()[row & mask_]; }
  double Float(int64_t row) const { return column_->values<double>()[row & mask_]; }
  Int128 Unscaled(int64_t row) const { return column_->values<Decimal>()[row & mask_].unscaled(); }
  bool Bool(int64_t row) const { return column_->BoolAt(row & mask_); }
  bool IsNull(int64_t row) const { return column_->IsNull(row & mask_); }

 private:
  const Column* column_;
  int64_t mask_;
};

// Uninitialised values of a fixed-width result.
template <typename T>
class FixedWriter {
 public:
  explicit FixedWriter(int64_t rows)
      : buffer_(Buffer::Allocate(static_cast<size_t>(rows) * sizeof(T))),
        values_(reinterpret_cast<T*>(buffer_->mutable_data())) {}
  T* values() { return values_; }
  Value Finish(DataType type, int64_t rows, Validity validity) {
    return {Column(type, rows, validity.null_count, std::move(validity.bits), std::move(buffer_))};
  }

 private:
  std::shared_ptr<Buffer> buffer_;
  T* values_;
};

// Builds a string column value by value: text is appended, then the value is closed.
class StringWriter {
 public:
  // No value may be longer, nor a column: a function that would make one fails for that row.
  static constexpr size_t kValueBytesMax = size_t{16} << 20;
  static constexpr size_t kColumnBytesMax = size_t{1} << 30;

  StringWriter(int64_t rows, size_t bytes_expected);

  void Append(std::string_view text) {
    char* to = Room(text.size());
    if (to != nullptr && !text.empty()) std::memcpy(to, text.data(), text.size());
  }
  void Append(char c) { Append(std::string_view(&c, 1)); }
  // `size` bytes to be written by the caller, or null when the value would be too long.
  char* Room(size_t size);
  // Returns what was not used of the last Room: its bytes from `used_end` to `end`.
  void GiveBack(const char* end, const char* used_end) {
    size_ -= static_cast<size_t>(end - used_end);
  }
  // Ends the value of `row`; false: it was too long, the value is empty.
  bool Close(int64_t row);
  // Ends the value of `row` as empty.
  void CloseEmpty(int64_t row);
  Value Finish(DataType type, int64_t rows, Validity validity);

 private:
  void Grow(size_t needed);

  std::shared_ptr<Buffer> offsets_buffer_, data_;
  int32_t* offsets_;
  size_t size_ = 0;
  size_t value_begin_ = 0;
  bool too_long_ = false;
};

// --- Loops of the long tail --------------------------------------------------------------------

enum class RowOutcome { kValue, kNull, kError };

// Notes rows that become NULL while a loop runs, and their errors.
class RowFailures {
 public:
  explicit RowFailures(RowErrors& errors) : errors_(errors) {}
  void Null(int64_t row) { rows_.push_back(static_cast<int32_t>(row)); }
  void Error(int64_t row, std::string message) {
    Null(row);
    errors_.entries.push_back({static_cast<int32_t>(row), std::move(message)});
  }
  Validity Apply(Validity validity, int64_t rows) const {
    return rows_.empty() ? validity : WithoutRows(std::move(validity), rows_, rows);
  }
  RowErrors& errors() { return errors_; }

 private:
  RowErrors& errors_;
  std::vector<int32_t> rows_;
};

bool AnyNullScalar(std::span<const Value> arguments);

// Strict function to STRING or BYTES: `f(row, writer, error)` appends to the writer.
template <typename F>
Value StringLoop(const KernelInput& in, DataType type, F f) {
  if (AnyNullScalar(in.arguments)) return NullScalar(type);
  Validity validity = IntersectValidity(in.arguments, in.rows);
  RowFailures failures(in.errors);
  StringWriter writer(in.rows, static_cast<size_t>(in.rows) * 16);
  std::string error;
  for (int64_t row = 0; row < in.rows; ++row) {
    if (!validity.IsValid(row)) {
      writer.CloseEmpty(row);
      continue;
    }
    const RowOutcome outcome = f(row, writer, error);
    if (outcome == RowOutcome::kValue) {
      if (!writer.Close(row)) failures.Error(row, "the result is longer than 16 MiB");
      continue;
    }
    writer.CloseEmpty(row);
    if (outcome == RowOutcome::kNull) {
      failures.Null(row);
    } else {
      failures.Error(row, std::move(error));
    }
  }
  return writer.Finish(type, in.rows, failures.Apply(std::move(validity), in.rows));
}

// Strict function to a fixed-width type: `f(row, T& out, error)`.
template <typename T, typename F>
Value FixedLoop(const KernelInput& in, DataType type, F f) {
  if (AnyNullScalar(in.arguments)) return NullScalar(type);
  Validity validity = IntersectValidity(in.arguments, in.rows);
  RowFailures failures(in.errors);
  FixedWriter<T> writer(in.rows);
  std::string error;
  for (int64_t row = 0; row < in.rows; ++row) {
    writer.values()[row] = T{};
    if (!validity.IsValid(row)) continue;
    const RowOutcome outcome = f(row, writer.values()[row], error);
    if (outcome == RowOutcome::kNull) failures.Null(row);
    if (outcome == RowOutcome::kError) failures.Error(row, std::move(error));
  }
  return writer.Finish(type, in.rows, failures.Apply(std::move(validity), in.rows));
}

// Strict function to BOOL: `f(row, bool& out, error)`.
template <typename F>
Value BoolLoop(const KernelInput& in, F f) {
  if (AnyNullScalar(in.arguments)) return NullScalar(TypeKind::kBool);
  Validity validity = IntersectValidity(in.arguments, in.rows);
  RowFailures failures(in.errors);
  BitmapWriter values(in.rows);
  std::string error;
  for (int64_t word = 0; word < WordCount(in.rows); ++word) {
    uint64_t bits = 0;
    const int64_t end = std::min<int64_t>(in.rows, word * 64 + 64);
    for (int64_t row = word * 64; row < end; ++row) {
      if (!validity.IsValid(row)) continue;
      bool value = false;
      const RowOutcome outcome = f(row, value, error);
      if (outcome == RowOutcome::kNull) failures.Null(row);
      if (outcome == RowOutcome::kError) failures.Error(row, std::move(error));
      bits |= uint64_t{value} << (row & 63);
    }
    values.Set(word, bits);
  }
  return MakeBool(in.rows, std::move(values), failures.Apply(std::move(validity), in.rows));
}

}  // namespace millrace::expressions
