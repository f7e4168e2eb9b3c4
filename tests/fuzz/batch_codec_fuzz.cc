// Any bytes as an encoded batch (what workers send each other, and what state holds) and as an
// encoded key: refused, or columns that can be read and encoded again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/columns/arrays.h"
#include "runtime/columns/batch.h"
#include "runtime/columns/batch_codec.h"
#include "runtime/columns/keys.h"

namespace {

using millrace::TypeKind;

const millrace::DataType kTypes[] = {
    TypeKind::kInt64,
    TypeKind::kString,
    TypeKind::kBool,
    TypeKind::kInt32,
    TypeKind::kFloat64,
    TypeKind::kBytes,
    millrace::DataType::Array(
        {.is_row = true, .fields = {{"n", TypeKind::kInt32}, {"s", TypeKind::kString}}})};

millrace::SchemaPtr Columns() {
  std::vector<millrace::Field> fields;
  for (const millrace::DataType type : kTypes) {
    fields.push_back({.id = static_cast<uint32_t>(fields.size() + 1), .name = "c", .type = type});
  }
  return millrace::Schema::Make(fields);
}

std::string Encoded(const millrace::Batch& batch) {
  const millrace::EncodedBatch encoded = millrace::EncodeBatch(batch);
  std::string bytes = encoded.head;
  for (const millrace::BufferPtr& buffer : encoded.body) {
    bytes.append(reinterpret_cast<const char*>(buffer->data()), buffer->size());
  }
  return bytes;
}

void TryKey(std::string_view bytes) {
  std::vector<millrace::ColumnBuilder> builders;
  builders.reserve(std::size(kTypes));
  std::vector<millrace::ColumnBuilder*> columns;
  for (const millrace::DataType type : kTypes) columns.push_back(&builders.emplace_back(type));
  std::string_view rest = bytes;
  if (!millrace::DecodeKey(rest, columns).ok()) return;
  std::vector<millrace::Column> values;
  for (millrace::ColumnBuilder& builder : builders) values.push_back(builder.Finish());
  millrace::EncodedKeys keys;
  millrace::EncodeKeys(millrace::Batch(Columns(), 1, values), std::vector<int>{0, 1, 2, 3, 4, 5, 6},
                       keys);
  // One encoding per value, but for the NaNs and -0.0, which have one each too.
  std::string_view again = keys.key(0);
  for (millrace::ColumnBuilder& builder : builders) builder.Truncate(0);
  MILLRACE_CHECK(millrace::DecodeKey(again, columns).ok() && again.empty());
}

// Two rows, NULLs among them, encoded.
std::string SoundBatch() {
  millrace::BatchBuilder builder(Columns());
  for (int row = 0; row < 2; ++row) {
    builder.column(0).AppendInt64(row);
    builder.column(1).AppendString(row == 0 ? "first" : "");
    builder.column(2).AppendBool(row == 1);
    builder.column(3).AppendInt32(-row);
    builder.column(4).AppendNull();
    builder.column(5).AppendString("bytes");
    const millrace::ArrayElement& element = kTypes[6].element();
    millrace::ColumnBuilder number(TypeKind::kInt32), text(TypeKind::kString);
    number.AppendInt32(row);
    text.AppendString("in a row");
    const millrace::Column values[] = {number.Finish(), text.Finish()};
    std::string array;
    millrace::AppendElement(element, values, 0, array);
    millrace::AppendNullElement(array);
    builder.column(6).AppendString(array);
  }
  return Encoded(builder.Finish());
}

void TryBatch(std::string_view bytes) {
  static const millrace::SchemaPtr* const schema = new millrace::SchemaPtr(Columns());
  const auto batch = millrace::DecodeBatch(*schema, millrace::Buffer::CopyOf(bytes), 0);
  if (!batch.ok()) return;
  for (int c = 0; c < batch->column_count(); ++c) {
    for (int64_t row = 0; row < batch->rows(); ++row) {
      (void)millrace::ValueText(batch->column(c), row);  // Reads the value.
    }
  }
  const auto again = millrace::DecodeBatch(*schema, millrace::Buffer::CopyOf(Encoded(*batch)), 0);
  MILLRACE_CHECK(again.ok() && again->rows() == batch->rows());
}

}  // namespace

// The bytes as they are; and as edits of a sound batch: offset (2 bytes, little endian), value.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string* const sound = new std::string(SoundBatch());
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  TryKey(bytes);
  TryBatch(bytes);
  std::string edited = *sound;
  for (size_t i = 0; i + 2 < size; i += 3) {
    edited[(data[i] | data[i + 1] << 8) % edited.size()] = static_cast<char>(data[i + 2]);
  }
  TryBatch(edited);
  return 0;
}
