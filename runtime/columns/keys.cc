#include "runtime/columns/keys.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/base/check.h"
#include "runtime/columns/arrays.h"

namespace millrace {
namespace {

constexpr char kNullTag = 0;
constexpr char kValueTag = 1;

template <typename T>
void AppendBigEndian(T value, std::string& out) {
  if constexpr (std::endian::native == std::endian::little) {
    value = sizeof(T) == 8 ? static_cast<T>(__builtin_bswap64(value))
                           : static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
  }
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
T ReadBigEndian(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  if constexpr (std::endian::native == std::endian::little) {
    value = sizeof(T) == 8 ? static_cast<T>(__builtin_bswap64(value))
                           : static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
  }
  return value;
}

constexpr uint64_t kSign64 = uint64_t{1} << 63;
constexpr uint32_t kSign32 = uint32_t{1} << 31;

uint64_t OrderedBits(double value) {
  if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
  if (value == 0) value = 0;  // -0.0 as 0.0.
  const auto bits = std::bit_cast<uint64_t>(value);
  return (bits & kSign64) != 0 ? ~bits : bits | kSign64;
}

double FromOrderedBits(uint64_t bits) {
  return std::bit_cast<double>((bits & kSign64) != 0 ? bits & ~kSign64 : ~bits);
}

void AppendEscaped(std::string_view text, std::string& out) {
  while (true) {
    const size_t zero = text.find('\0');
    out.append(text.substr(0, zero));
    if (zero == std::string_view::npos) break;
    out.append("\0\xFF", 2);
    text.remove_prefix(zero + 1);
  }
  out.append(2, '\0');
}

// Takes an escaped text off the front, and appends it to `text` if that is not null; false: it is
// malformed.
bool TakeEscaped(std::string_view& bytes, std::string* text) {
  while (true) {
    const size_t zero = bytes.find('\0');
    if (zero == std::string_view::npos || zero + 1 >= bytes.size()) return false;
    if (text != nullptr) text->append(bytes.substr(0, zero));
    const char next = bytes[zero + 1];
    bytes.remove_prefix(zero + 2);
    if (next == '\0') return true;
    if (next != '\xFF') return false;
    if (text != nullptr) *text += '\0';
  }
}

// Bytes of a value that is not NULL, of a type with a fixed width.
size_t EncodedWidth(DataType type) {
  return type == TypeKind::kBool ? 1 : static_cast<size_t>(FixedWidth(type));
}

// One 8-byte integer column without NULLs, the most frequent key: 9 bytes per row, no branches.
void EncodeInt64Keys(const Column& column, EncodedKeys& out) {
  const auto rows = static_cast<size_t>(column.length());
  out.bytes.resize(rows * 9);
  out.offsets.resize(rows + 1);
  out.hashes.resize(rows);
  char* at = out.bytes.data();
  const auto* values = column.values<uint64_t>();
  for (size_t row = 0; row < rows; ++row, at += 9) {
    at[0] = kValueTag;
    const uint64_t ordered = __builtin_bswap64(values[row] ^ kSign64);
    std::memcpy(at + 1, &ordered, 8);
    out.hashes[row] = XXH64(at, 9, 0);
    out.offsets[row] = static_cast<uint32_t>(row * 9);
  }
  out.offsets[rows] = static_cast<uint32_t>(rows * 9);
}

}  // namespace

uint64_t HashKey(std::string_view encoded_key) {
  return XXH64(encoded_key.data(), encoded_key.size(), 0);
}

void AppendKeyValue(const Column& column, int64_t row, std::string& out) {
  if (column.IsNull(row)) {
    out += kNullTag;
    return;
  }
  out += kValueTag;
  switch (column.type()) {
    case TypeKind::kBool:
      out += column.BoolAt(row) ? '\1' : '\0';
      return;
    case TypeKind::kInt32:
    case TypeKind::kDate:
      AppendBigEndian<uint32_t>(column.values<uint32_t>()[row] ^ kSign32, out);
      return;
    case TypeKind::kFloat64:
      AppendBigEndian<uint64_t>(OrderedBits(column.values<double>()[row]), out);
      return;
    case TypeKind::kDecimal: {
      const Int128 value = column.values<Decimal>()[row].unscaled();
      AppendBigEndian<uint64_t>(static_cast<uint64_t>(value >> 64) ^ kSign64, out);
      AppendBigEndian<uint64_t>(static_cast<uint64_t>(value), out);
      return;
    }
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      AppendEscaped(column.StringAt(row), out);
      return;
    default:
      AppendBigEndian<uint64_t>(column.values<uint64_t>()[row] ^ kSign64, out);
      return;
  }
}

void AppendKeyNull(std::string& out) { out += kNullTag; }

bool SkipKeyValue(DataType type, std::string_view& bytes) {
  if (bytes.empty() || (bytes[0] != kNullTag && bytes[0] != kValueTag)) return false;
  const bool null = bytes[0] == kNullTag;
  bytes.remove_prefix(1);
  if (null) return true;
  if (IsVariableWidth(type)) return TakeEscaped(bytes, nullptr);
  const size_t width = EncodedWidth(type);
  if (bytes.size() < width) return false;
  bytes.remove_prefix(width);
  return true;
}

void EncodeKeys(const Batch& batch, std::span<const int> columns, EncodedKeys& out) {
  if (columns.size() == 1 && FixedWidth(batch.column(columns[0]).type()) == 8 &&
      batch.column(columns[0]).type() != TypeKind::kFloat64 &&
      !batch.column(columns[0]).has_nulls() && std::endian::native == std::endian::little) {
    EncodeInt64Keys(batch.column(columns[0]), out);
    return;
  }
  const auto rows = static_cast<size_t>(batch.rows());
  out.bytes.clear();
  out.offsets.resize(rows + 1);
  out.hashes.resize(rows);
  out.offsets[0] = 0;
  for (size_t row = 0; row < rows; ++row) {
    for (const int column : columns) {
      AppendKeyValue(batch.column(column), static_cast<int64_t>(row), out.bytes);
    }
    MILLRACE_CHECK(out.bytes.size() <= std::numeric_limits<uint32_t>::max());
    out.offsets[row + 1] = static_cast<uint32_t>(out.bytes.size());
    out.hashes[row] = HashKey(out.key(static_cast<int64_t>(row)));
  }
}

absl::Status DecodeKey(std::string_view& bytes, std::span<ColumnBuilder* const> columns) {
  const auto malformed = [] { return absl::DataLossError("malformed key encoding"); };
  for (ColumnBuilder* column : columns) {
    if (bytes.empty() || (bytes[0] != kNullTag && bytes[0] != kValueTag)) return malformed();
    const bool null = bytes[0] == kNullTag;
    bytes.remove_prefix(1);
    if (null) {
      column->AppendNull();
      continue;
    }
    if (IsVariableWidth(column->type())) {
      std::string text;
      if (!TakeEscaped(bytes, &text)) return malformed();
      if (column->type() == TypeKind::kArray && !IsArray(column->type().element(), text)) {
        return malformed();
      }
      column->AppendString(text);
      continue;
    }
    const size_t width = EncodedWidth(column->type());
    if (bytes.size() < width) return malformed();
    switch (column->type()) {
      case TypeKind::kBool:
        column->AppendBool(bytes[0] != 0);
        break;
      case TypeKind::kInt32:
      case TypeKind::kDate:
        column->AppendInt32(static_cast<int32_t>(ReadBigEndian<uint32_t>(bytes.data()) ^ kSign32));
        break;
      case TypeKind::kFloat64:
        column->AppendFloat64(FromOrderedBits(ReadBigEndian<uint64_t>(bytes.data())));
        break;
      case TypeKind::kDecimal: {
        const auto high = static_cast<int64_t>(ReadBigEndian<uint64_t>(bytes.data()) ^ kSign64);
        const Int128 value =
            Int128{high} * (Int128{1} << 64) + ReadBigEndian<uint64_t>(bytes.data() + 8);
        if (!FitsPrecision(value, column->type().precision())) return malformed();
        column->AppendDecimal(value);
        break;
      }
      default:
        column->AppendInt64(static_cast<int64_t>(ReadBigEndian<uint64_t>(bytes.data()) ^ kSign64));
    }
    bytes.remove_prefix(width);
  }
  return absl::OkStatus();
}

void AppendOrderedInt64(int64_t value, std::string& out) {
  AppendBigEndian<uint64_t>(static_cast<uint64_t>(value) ^ kSign64, out);
}

int64_t ReadOrderedInt64(std::string_view bytes) {
  MILLRACE_CHECK(bytes.size() >= 8);
  return static_cast<int64_t>(ReadBigEndian<uint64_t>(bytes.data()) ^ kSign64);
}

int CompareValues(const Column& left, int64_t left_row, const Column& right, int64_t right_row) {
  const auto order = [](auto a, auto b) { return a < b ? -1 : a > b ? 1 : 0; };
  switch (left.type()) {
    case TypeKind::kBool:
      return order(left.BoolAt(left_row), right.BoolAt(right_row));
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return order(left.values<int32_t>()[left_row], right.values<int32_t>()[right_row]);
    case TypeKind::kFloat64:
      return order(OrderedBits(left.values<double>()[left_row]),
                   OrderedBits(right.values<double>()[right_row]));
    case TypeKind::kDecimal:
      return order(left.values<Decimal>()[left_row], right.values<Decimal>()[right_row]);
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray:
      return left.StringAt(left_row).compare(right.StringAt(right_row));
    default:
      return order(left.values<int64_t>()[left_row], right.values<int64_t>()[right_row]);
  }
}

}  // namespace millrace
