#include "runtime/columns/row_codec.h"

#include <cstring>
#include <optional>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/columns/arrays.h"
#include "runtime/columns/keys.h"

namespace millrace {
namespace {

constexpr char kVersion = 1;
constexpr size_t kHeadBytes = 5;

template <typename T>
void AppendRaw(T value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void AppendValue(const Column& column, int64_t row, std::string& out) {
  switch (column.type()) {
    case TypeKind::kBool:
      out.push_back(column.BoolAt(row) ? 1 : 0);
      return;
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray: {
      const std::string_view value = column.StringAt(row);
      AppendRaw(static_cast<uint32_t>(value.size()), out);
      out.append(value);
      return;
    }
    default:
      const auto width = static_cast<size_t>(FixedWidth(column.type()));
      out.append(column.values<char>() + static_cast<size_t>(row) * width, width);
  }
}

// Takes a value of the front of `bytes`; false when they are too short.
template <typename T>
bool Take(std::string_view& bytes, T* value) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return true;
}

bool DecodeValue(std::string_view& bytes, ColumnBuilder& out) {
  switch (out.type()) {
    case TypeKind::kBool: {
      uint8_t value = 0;
      if (!Take(bytes, &value) || value > 1) return false;
      out.AppendBool(value == 1);
      return true;
    }
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kArray: {
      uint32_t size = 0;
      if (!Take(bytes, &size) || size > bytes.size()) return false;
      if (out.type() == TypeKind::kArray && !IsArray(out.type().element(), bytes.substr(0, size))) {
        return false;
      }
      out.AppendString(bytes.substr(0, size));
      bytes.remove_prefix(size);
      return true;
    }
    default:
      const auto width = static_cast<size_t>(FixedWidth(out.type()));
      if (bytes.size() < width) return false;
      std::memcpy(out.AppendUninitialized(1), bytes.data(), width);
      bytes.remove_prefix(width);
      return true;
  }
}

// Takes the bytes of a value off the front; nothing: they are too short.
std::optional<std::string_view> TakeValue(DataType type, std::string_view& bytes) {
  size_t width = static_cast<size_t>(FixedWidth(type));
  if (type == TypeKind::kBool) width = 1;
  if (IsVariableWidth(type)) {
    uint32_t size = 0;
    std::string_view rest = bytes;
    if (!Take(rest, &size)) return std::nullopt;
    width = sizeof(size) + size;
  }
  if (bytes.size() < width) return std::nullopt;
  const std::string_view value = bytes.substr(0, width);
  bytes.remove_prefix(width);
  return value;
}

std::vector<DataType> TypesOf(const Schema& schema) {
  std::vector<DataType> types;
  for (const Field& field : schema.fields()) types.push_back(field.type);
  return types;
}

uint32_t FingerprintOf(const std::vector<DataType>& types) {
  std::string text;
  for (const DataType type : types) {
    AppendRaw(static_cast<uint8_t>(type.kind()), text);
    if (type == TypeKind::kDecimal) {
      AppendRaw(static_cast<uint8_t>(type.precision()), text);
      AppendRaw(static_cast<uint8_t>(type.scale()), text);
    }
    if (type == TypeKind::kArray) text += TypeText(type);
  }
  return static_cast<uint32_t>(HashKey(text));
}

absl::Status Malformed() { return absl::DataLossError("malformed row in state"); }

// The bitmap of a row of `count` columns; takes it and what is before it off the front.
absl::StatusOr<std::string_view> TakeHead(size_t count, uint32_t fingerprint,
                                          std::string_view& bytes) {
  const size_t bitmap_bytes = (count + 7) / 8;
  if (bytes.size() < kHeadBytes + bitmap_bytes || bytes[0] != kVersion) return Malformed();
  if (std::memcmp(bytes.data() + 1, &fingerprint, sizeof(fingerprint)) != 0) {
    return absl::FailedPreconditionError(
        "the state holds rows with other columns: the job's columns changed since it was written");
  }
  const std::string_view bitmap = bytes.substr(kHeadBytes, bitmap_bytes);
  bytes.remove_prefix(kHeadBytes + bitmap_bytes);
  return bitmap;
}

bool IsSet(std::string_view bitmap, size_t column) {
  return (bitmap[column / 8] >> (column % 8) & 1) != 0;
}

// Returns where the bitmap of a row of `count` columns begins.
size_t AppendHead(size_t count, uint32_t fingerprint, std::string& out) {
  out.push_back(kVersion);
  AppendRaw(fingerprint, out);
  const size_t bitmap = out.size();
  out.append((count + 7) / 8, '\0');
  return bitmap;
}

void SetBit(size_t bitmap, size_t column, std::string& out) {
  out[bitmap + column / 8] = static_cast<char>(out[bitmap + column / 8] | 1 << (column % 8));
}

}  // namespace

RowCodec::RowCodec(SchemaPtr schema)
    : schema_(std::move(schema)), fingerprint_(FingerprintOf(TypesOf(*schema_))) {}

void RowCodec::Append(const Batch& batch, const std::vector<int>& columns, int64_t row,
                      std::string& out) const {
  MILLRACE_CHECK(columns.size() == static_cast<size_t>(schema_->size()));
  const size_t bitmap = AppendHead(columns.size(), fingerprint_, out);
  for (size_t i = 0; i < columns.size(); ++i) {
    const Column& column = batch.column(columns[i]);
    if (column.IsNull(row)) continue;
    SetBit(bitmap, i, out);
    AppendValue(column, row, out);
  }
}

absl::Status RowCodec::Decode(std::string_view bytes, BatchBuilder& out) const {
  const auto count = static_cast<size_t>(schema_->size());
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view bitmap, TakeHead(count, fingerprint_, bytes));
  for (size_t i = 0; i < count; ++i) {
    ColumnBuilder& column = out.column(static_cast<int>(i));
    if (!IsSet(bitmap, i)) {
      column.AppendNull();
    } else if (!DecodeValue(bytes, column)) {
      return Malformed();
    }
  }
  return bytes.empty() ? absl::OkStatus() : Malformed();
}

RowConverter::RowConverter(const Schema& from, const Schema& to, std::vector<int> sources)
    : from_(TypesOf(from)),
      to_(TypesOf(to)),
      sources_(std::move(sources)),
      from_fingerprint_(FingerprintOf(from_)),
      to_fingerprint_(FingerprintOf(to_)) {
  MILLRACE_CHECK(sources_.size() == to_.size());
}

absl::Status RowConverter::Convert(std::string_view bytes, std::string& out) const {
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view bitmap,
                            TakeHead(from_.size(), from_fingerprint_, bytes));
  std::vector<std::optional<std::string_view>> values(from_.size());
  for (size_t i = 0; i < from_.size(); ++i) {
    if (!IsSet(bitmap, i)) continue;
    values[i] = TakeValue(from_[i], bytes);
    if (!values[i]) return Malformed();
  }
  if (!bytes.empty()) return Malformed();
  const size_t new_bitmap = AppendHead(to_.size(), to_fingerprint_, out);
  for (size_t i = 0; i < to_.size(); ++i) {
    if (sources_[i] < 0) continue;
    const auto source = static_cast<size_t>(sources_[i]);
    if (!values[source]) continue;
    SetBit(new_bitmap, i, out);
    if (from_[source] == TypeKind::kInt32 && to_[i] == TypeKind::kInt64) {
      int32_t narrow = 0;
      std::memcpy(&narrow, values[source]->data(), sizeof(narrow));
      AppendRaw(int64_t{narrow}, out);
    } else {
      out.append(*values[source]);
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
