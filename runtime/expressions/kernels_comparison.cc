// Comparisons, tests for NULL and truth, NOT, IN, NULLIF, GREATEST and LEAST.
#include <algorithm>

#include "runtime/expressions/text.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

enum class Relation { kEq, kNe, kLt, kLe, kGt, kGe };

template <Relation R>
struct Holds {
  template <typename T>
  bool operator()(const T& a, const T& b) const {
    if constexpr (R == Relation::kEq) return a == b;
    if constexpr (R == Relation::kNe) return a != b;
    if constexpr (R == Relation::kLt) return a < b;
    if constexpr (R == Relation::kLe) return a <= b;
    if constexpr (R == Relation::kGt) return a > b;
    if constexpr (R == Relation::kGe) return a >= b;
  }
};

// Eight bytes of 0 or 1 as eight bits.
uint64_t PackBytes(const uint8_t* bytes) {
  uint64_t eight;
  std::memcpy(&eight, bytes, 8);
  return (eight * 0x0102040810204080ULL) >> 56;
}

// Bitmap of `holds(row)`: 64 bytes at a time, which the compiler vectorises, then packed.
template <typename F>
BitmapWriter CompareRows(int64_t rows, F holds) {
  BitmapWriter writer(rows);
  int64_t row = 0;
  for (; row + 64 <= rows; row += 64) {
    uint8_t bytes[64];
    for (int64_t i = 0; i < 64; ++i) bytes[i] = holds(row + i);
    uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= PackBytes(bytes + i * 8) << (i * 8);
    writer.Set(row >> 6, bits);
  }
  if (row < rows) {
    uint64_t bits = 0;
    for (int64_t i = row; i < rows; ++i) bits |= uint64_t{holds(i)} << (i - row);
    writer.Set(row >> 6, bits);
  }
  return writer;
}

template <typename T>
struct FixedReader {
  template <typename F>
  static void With(const Value& value, F f) {
    WithOperand<T>(value, f);
  }
};
struct TextOperand {
  const Column* column;
  std::string_view operator[](int64_t row) const { return column->StringAt(row); }
};
struct TextReader {
  template <typename F>
  static void With(const Value& value, F f) {
    if (value.scalar) return f(ScalarOperand<std::string_view>{value.column.StringAt(0)});
    return f(TextOperand{&value.column});
  }
};

// `a R b` for every row, whatever is NULL.
template <Relation R, typename Reader>
BitmapWriter CompareWith(const Value& a, const Value& b, int64_t rows) {
  BitmapWriter bits(0);
  Reader::With(a, [&](auto left) {
    Reader::With(b, [&](auto right) {
      bits = CompareRows(rows, [&](int64_t row) { return Holds<R>()(left[row], right[row]); });
    });
  });
  return bits;
}

template <Relation R>
BitmapWriter CompareBools(const Value& a, const Value& b, int64_t rows) {
  const BitWords left = BitWords::Values(a), right = BitWords::Values(b);
  BitmapWriter bits(rows);
  for (int64_t w = 0; w < WordCount(rows); ++w) {
    const uint64_t x = left[w], y = right[w];
    if constexpr (R == Relation::kEq) bits.Set(w, ~(x ^ y));
    if constexpr (R == Relation::kNe) bits.Set(w, x ^ y);
    if constexpr (R == Relation::kLt) bits.Set(w, ~x & y);
    if constexpr (R == Relation::kLe) bits.Set(w, ~x | y);
    if constexpr (R == Relation::kGt) bits.Set(w, x & ~y);
    if constexpr (R == Relation::kGe) bits.Set(w, x | ~y);
  }
  return bits;
}

template <Relation R>
BitmapWriter Compare(const Value& a, const Value& b, int64_t rows) {
  switch (a.column.type()) {
    case TypeKind::kBool:
      return CompareBools<R>(a, b, rows);
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return CompareWith<R, FixedReader<int32_t>>(a, b, rows);
    case TypeKind::kFloat64:
      return CompareWith<R, FixedReader<double>>(a, b, rows);
    case TypeKind::kDecimal:
      return CompareWith<R, FixedReader<Decimal>>(a, b, rows);
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      return CompareWith<R, TextReader>(a, b, rows);
    default:
      return CompareWith<R, FixedReader<int64_t>>(a, b, rows);
  }
}

template <Relation R>
Value RunComparison(const KernelInput& in) {
  if (AnyNullScalar(in.arguments)) return NullScalar(TypeKind::kBool);
  return MakeBool(in.rows, Compare<R>(in.arguments[0], in.arguments[1], in.rows),
                  IntersectValidity(in.arguments, in.rows));
}

// Both NULL, or both not NULL and equal.
Value RunNotDistinct(const KernelInput& in, bool negated) {
  const Value& a = in.arguments[0];
  const Value& b = in.arguments[1];
  const BitmapWriter equal = Compare<Relation::kEq>(a, b, in.rows);
  const BitWords left = BitWords::Validity(a), right = BitWords::Validity(b);
  const uint64_t flip = negated ? ~uint64_t{0} : 0;
  return MakeBool(
      in.rows,
      [&](int64_t w) {
        return flip ^ ((left[w] & right[w] & equal.Get(w)) | (~left[w] & ~right[w]));
      },
      [](int64_t) { return ~uint64_t{0}; });
}

// A bit function of (value, validity) that is never NULL.
template <typename F>
BoundKernel Total(F f) {
  return {[f](const KernelInput& in) {
    const Value& x = in.arguments[0];
    const BitWords valid = BitWords::Validity(x);
    const BitWords value =
        x.column.type() == TypeKind::kBool ? BitWords::Values(x) : BitWords::Constant(false);
    return MakeBool(
        in.rows, [&](int64_t w) { return f(value[w], valid[w]); },
        [](int64_t) { return ~uint64_t{0}; });
  }};
}

Value RunNot(const KernelInput& in) {
  const BitWords value = BitWords::Values(in.arguments[0]);
  const BitWords valid = BitWords::Validity(in.arguments[0]);
  return MakeBool(
      in.rows, [&](int64_t w) { return ~value[w]; }, [&](int64_t w) { return valid[w]; });
}

// True if one equals; else NULL if the first or one of the others is NULL; else false.
Value RunIn(const KernelInput& in) {
  const Value& needle = in.arguments[0];
  BitmapWriter found(in.rows), all_valid(in.rows);
  const BitWords needle_valid = BitWords::Validity(needle);
  for (int64_t w = 0; w < WordCount(in.rows); ++w) {
    found.Set(w, 0);
    all_valid.Set(w, needle_valid[w]);
  }
  for (const Value& candidate : in.arguments.subspan(1)) {
    const BitWords valid = BitWords::Validity(candidate);
    const BitmapWriter equal = Compare<Relation::kEq>(needle, candidate, in.rows);
    for (int64_t w = 0; w < WordCount(in.rows); ++w) {
      found.Set(w, found.Get(w) | (equal.Get(w) & valid[w] & needle_valid[w]));
      all_valid.Set(w, all_valid.Get(w) & valid[w]);
    }
  }
  return MakeBool(
      in.rows, [&](int64_t w) { return found.Get(w); },
      [&](int64_t w) { return found.Get(w) | all_valid.Get(w); });
}

// The values of `from`, with other NULLs. The buffers are shared.
Value WithValidity(const Value& from, int64_t rows, Validity validity) {
  const Column& column = from.column;
  return {Column(column.type(), rows, validity.null_count, std::move(validity.bits),
                 column.values_buffer(), column.offsets_buffer())};
}

// A scalar as a column of `rows` rows.
Value Expand(const Value& value, int64_t rows) {
  if (!value.scalar) return value;
  const std::vector<int32_t> zeros(static_cast<size_t>(rows), 0);
  return {Take(value.column, zeros)};
}

Value RunNullif(const KernelInput& in) {
  const Value first = Expand(in.arguments[0], in.rows);
  const Value& second = in.arguments[1];
  const BitmapWriter equal = Compare<Relation::kEq>(first, second, in.rows);
  const BitWords left = BitWords::Validity(first), right = BitWords::Validity(second);
  BitmapWriter valid(in.rows);
  for (int64_t w = 0; w < WordCount(in.rows); ++w) {
    valid.Set(w, left[w] & ~(right[w] & equal.Get(w)));
  }
  return WithValidity(first, in.rows, FinishValidity(std::move(valid), in.rows));
}

template <typename T, Relation R>
Value PickFixed(const KernelInput& in, DataType type) {
  FixedWriter<T> writer(in.rows);
  T* out = writer.values();
  WithOperand<T>(in.arguments[0], [&](auto first) {
    for (int64_t row = 0; row < in.rows; ++row) out[row] = first[row];
  });
  for (const Value& next : in.arguments.subspan(1)) {
    WithOperand<T>(next, [&](auto other) {
      for (int64_t row = 0; row < in.rows; ++row) {
        out[row] = Holds<R>()(T{other[row]}, out[row]) ? other[row] : out[row];
      }
    });
  }
  return writer.Finish(type, in.rows, IntersectValidity(in.arguments, in.rows));
}

template <Relation R>
Value PickText(const KernelInput& in, DataType type) {
  std::vector<Argument> arguments(in.arguments.begin(), in.arguments.end());
  return StringLoop(in, type, [&](int64_t row, StringWriter& writer, std::string&) {
    std::string_view best = arguments[0].Text(row);
    for (size_t i = 1; i < arguments.size(); ++i) {
      const std::string_view other = arguments[i].Text(row);
      if (Holds<R>()(other, best)) best = other;
    }
    writer.Append(best);
    return RowOutcome::kValue;
  });
}

// GREATEST (kGt) and LEAST (kLt): the first of equal values.
template <Relation R>
Value RunPick(const KernelInput& in) {
  const DataType type = in.arguments[0].column.type();
  if (AnyNullScalar(in.arguments)) return NullScalar(type);
  switch (type) {
    case TypeKind::kBool: {
      std::vector<BitWords> values;
      for (const Value& value : in.arguments) values.push_back(BitWords::Values(value));
      BitmapWriter bits(in.rows);
      for (int64_t w = 0; w < WordCount(in.rows); ++w) {
        uint64_t picked = values[0][w];
        for (const BitWords& other : values) {
          picked = R == Relation::kGt ? picked | other[w] : picked & other[w];
        }
        bits.Set(w, picked);
      }
      return MakeBool(in.rows, std::move(bits), IntersectValidity(in.arguments, in.rows));
    }
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return PickFixed<int32_t, R>(in, type);
    case TypeKind::kFloat64:
      return PickFixed<double, R>(in, type);
    case TypeKind::kDecimal:
      return PickFixed<Decimal, R>(in, type);
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      return PickText<R>(in, type);
    default:
      return PickFixed<int64_t, R>(in, type);
  }
}

}  // namespace

absl::StatusOr<BoundKernel> MakeComparisonKernel(const KernelRequest& request) {
  const std::string_view name = request.name;
  if (name == "eq") return BoundKernel{RunComparison<Relation::kEq>};
  if (name == "ne") return BoundKernel{RunComparison<Relation::kNe>};
  if (name == "lt") return BoundKernel{RunComparison<Relation::kLt>};
  if (name == "le") return BoundKernel{RunComparison<Relation::kLe>};
  if (name == "gt") return BoundKernel{RunComparison<Relation::kGt>};
  if (name == "ge") return BoundKernel{RunComparison<Relation::kGe>};
  if (name == "not") return BoundKernel{RunNot};
  if (name == "in") return BoundKernel{RunIn};
  if (name == "nullif") return BoundKernel{RunNullif};
  if (name == "greatest") return BoundKernel{RunPick<Relation::kGt>, true};
  if (name == "least") return BoundKernel{RunPick<Relation::kLt>, true};
  if (name == "is_distinct_from") {
    return BoundKernel{[](const KernelInput& in) { return RunNotDistinct(in, true); }};
  }
  if (name == "is_not_distinct_from") {
    return BoundKernel{[](const KernelInput& in) { return RunNotDistinct(in, false); }};
  }
  if (name == "is_null") return Total([](uint64_t, uint64_t valid) { return ~valid; });
  if (name == "is_not_null") return Total([](uint64_t, uint64_t valid) { return valid; });
  if (name == "is_true") return Total([](uint64_t v, uint64_t valid) { return v & valid; });
  if (name == "is_not_true") return Total([](uint64_t v, uint64_t valid) { return ~(v & valid); });
  if (name == "is_false") return Total([](uint64_t v, uint64_t valid) { return ~v & valid; });
  if (name == "is_not_false") {
    return Total([](uint64_t v, uint64_t valid) { return ~(~v & valid); });
  }
  return BoundKernel{};
}

}  // namespace millrace::expressions
