#include "runtime/columns/row_codec.h"

#include <cstring>
#include <utility>

#include "runtime/base/check.h"
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
    case TypeKind::kBytes: {
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
    case TypeKind::kBytes: {
      uint32_t size = 0;
      if (!Take(bytes, &size) || size > bytes.size()) return false;
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

}  // namespace

RowCodec::RowCodec(SchemaPtr schema) : schema_(std::move(schema)) {
  std::string columns;
  for (const Field& field : schema_->fields()) {
    AppendRaw(field.id, columns);
    AppendRaw(static_cast<uint8_t>(field.type.kind()), columns);
    if (field.type == TypeKind::kDecimal) {
      AppendRaw(static_cast<uint8_t>(field.type.precision()), columns);
      AppendRaw(static_cast<uint8_t>(field.type.scale()), columns);
    }
  }
  fingerprint_ = static_cast<uint32_t>(HashKey(columns));
}

void RowCodec::Append(const Batch& batch, const std::vector<int>& columns, int64_t row,
                      std::string& out) const {
  MILLRACE_CHECK(columns.size() == static_cast<size_t>(schema_->size()));
  out.push_back(kVersion);
  AppendRaw(fingerprint_, out);
  const size_t bitmap = out.size();
  out.append((columns.size() + 7) / 8, '\0');
  for (size_t i = 0; i < columns.size(); ++i) {
    const Column& column = batch.column(columns[i]);
    if (column.IsNull(row)) continue;
    out[bitmap + i / 8] = static_cast<char>(out[bitmap + i / 8] | 1 << (i % 8));
    AppendValue(column, row, out);
  }
}

absl::Status RowCodec::Decode(std::string_view bytes, BatchBuilder& out) const {
  const auto malformed = [] { return absl::DataLossError("malformed row in state"); };
  const auto count = static_cast<size_t>(schema_->size());
  const size_t bitmap_bytes = (count + 7) / 8;
  if (bytes.size() < kHeadBytes + bitmap_bytes || bytes[0] != kVersion) return malformed();
  if (std::memcmp(bytes.data() + 1, &fingerprint_, sizeof(fingerprint_)) != 0) {
    return absl::FailedPreconditionError(
        "the state holds rows with other columns: the job's columns changed since it was written");
  }
  const std::string_view bitmap = bytes.substr(kHeadBytes, bitmap_bytes);
  bytes.remove_prefix(kHeadBytes + bitmap_bytes);
  for (size_t i = 0; i < count; ++i) {
    ColumnBuilder& column = out.column(static_cast<int>(i));
    if ((bitmap[i / 8] >> (i % 8) & 1) == 0) {
      column.AppendNull();
    } else if (!DecodeValue(bytes, column)) {
      return malformed();
    }
  }
  return bytes.empty() ? absl::OkStatus() : malformed();
}

}  // namespace millrace
