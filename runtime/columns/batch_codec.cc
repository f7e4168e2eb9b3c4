#include "runtime/columns/batch_codec.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/columns/arrays.h"

namespace millrace {
namespace {

// Little endian, 8-byte aligned within the frame.
struct BatchHead {
  uint32_t magic;
  uint32_t columns;
  int64_t rows;
  uint32_t split;
  uint32_t flags;
};
constexpr uint32_t kHasKinds = 1;
struct ColumnHead {
  uint32_t type;
  uint32_t reserved;
  int64_t null_count;
  uint64_t validity_bytes;  // 0 = no NULLs.
  uint64_t values_bytes;
  uint64_t offsets_bytes;  // 0 = fixed width.
};
constexpr uint32_t kMagic = 0x4D524231;  // "MRB1".
constexpr int64_t kRowsMax = int64_t{1} << 30;

size_t Padded(size_t size) { return (size + 7) & ~size_t{7}; }

template <typename T>
void AppendHead(const T& head, std::string& out) {
  out.append(reinterpret_cast<const char*>(&head), sizeof(head));
}

absl::Status Malformed(const char* what) {
  return absl::DataLossError(std::string("malformed batch: ") + what);
}

bool OffsetsAreValid(const int32_t* offsets, int64_t rows, uint64_t bytes) {
  if (offsets[0] != 0) return false;
  for (int64_t row = 0; row < rows; ++row) {
    if (offsets[row + 1] < offsets[row]) return false;
  }
  return static_cast<uint64_t>(offsets[rows]) <= bytes;
}

bool ArraysAreValid(const ArrayElement& element, const Buffer& values, const Buffer& offsets,
                    int64_t rows) {
  const auto* const places = reinterpret_cast<const int32_t*>(offsets.data());
  const auto* const bytes = reinterpret_cast<const char*>(values.data());
  for (int64_t row = 0; row < rows; ++row) {
    const auto size = static_cast<size_t>(places[row + 1] - places[row]);
    if (!IsArray(element, {bytes + places[row], size})) return false;
  }
  return true;
}

int64_t CountNulls(const uint8_t* bits, int64_t rows) {
  int64_t valid = 0;
  for (int64_t row = 0; row < rows; ++row) valid += Column::Bit(bits, row) ? 1 : 0;
  return rows - valid;
}

}  // namespace

EncodedBatch EncodeBatch(const Batch& batch) {
  EncodedBatch encoded;
  encoded.head.reserve(sizeof(BatchHead) +
                       sizeof(ColumnHead) * static_cast<size_t>(batch.column_count()));
  AppendHead(BatchHead{.magic = kMagic,
                       .columns = static_cast<uint32_t>(batch.column_count()),
                       .rows = batch.rows(),
                       .split = batch.split,
                       .flags = batch.kinds() == nullptr ? 0 : kHasKinds},
             encoded.head);
  const auto add = [&](const BufferPtr& buffer) {
    if (buffer == nullptr || buffer->size() == 0) return;
    // The padding of a Buffer is readable up to 64 bytes, so 8 are always there.
    encoded.body.push_back(Buffer::Borrow(buffer->data(), Padded(buffer->size()), buffer));
  };
  add(batch.kinds_buffer());
  for (const Column& column : batch.columns()) {
    const BufferPtr& offsets = column.offsets_buffer();
    AppendHead(
        ColumnHead{.type = static_cast<uint32_t>(column.type().kind()),
                   .reserved = 0,
                   .null_count = column.null_count(),
                   .validity_bytes = column.has_nulls() ? column.validity_buffer()->size() : 0,
                   .values_bytes = column.values_buffer()->size(),
                   .offsets_bytes = offsets == nullptr ? 0 : offsets->size()},
        encoded.head);
    if (column.has_nulls()) add(column.validity_buffer());
    add(column.values_buffer());
    add(offsets);
  }
  return encoded;
}

absl::StatusOr<Batch> DecodeBatch(const SchemaPtr& schema, const BufferPtr& frame, size_t offset) {
  const auto take = [&](void* to, size_t size) {
    if (offset > frame->size() || frame->size() - offset < size) return false;
    std::memcpy(to, frame->data() + offset, size);
    offset += size;
    return true;
  };
  BatchHead head;
  if (!take(&head, sizeof(head))) return Malformed("short head");
  if (head.magic != kMagic) return Malformed("wrong magic number");
  if (head.columns != static_cast<uint32_t>(schema->size())) return Malformed("number of columns");
  if (head.rows < 0 || head.rows > kRowsMax) return Malformed("number of rows");
  if ((head.flags & ~kHasKinds) != 0) return Malformed("flags");
  std::vector<ColumnHead> heads(head.columns);
  for (ColumnHead& column : heads) {
    if (!take(&column, sizeof(column))) return Malformed("short column head");
  }
  bool short_frame = false;
  const auto buffer = [&](uint64_t size) -> BufferPtr {
    if (offset > frame->size() || size > frame->size() - offset) {
      short_frame = true;
      return nullptr;
    }
    BufferPtr part = Buffer::Borrow(frame->data() + offset, size, frame);
    offset += Padded(size);
    return part;
  };
  const auto rows = static_cast<uint64_t>(head.rows);
  BufferPtr kinds = (head.flags & kHasKinds) != 0 ? buffer(rows) : nullptr;
  if (short_frame) return Malformed("kinds of rows reach past the end");
  if (kinds != nullptr && !std::all_of(kinds->data(), kinds->data() + rows,
                                       [](uint8_t kind) { return kind <= kRowKindMax; })) {
    return Malformed("kind of a row");
  }
  std::vector<Column> columns;
  for (uint32_t i = 0; i < head.columns; ++i) {
    const ColumnHead& column = heads[i];
    const DataType type = schema->field(static_cast<int>(i)).type;
    if (column.type != static_cast<uint32_t>(type.kind())) return Malformed("type of a column");
    if ((column.validity_bytes == 0) != (column.null_count == 0)) return Malformed("NULL count");
    BufferPtr validity = column.validity_bytes == 0 ? nullptr : buffer(column.validity_bytes);
    BufferPtr values = buffer(column.values_bytes);
    BufferPtr offsets = IsVariableWidth(type) ? buffer(column.offsets_bytes) : nullptr;
    if (short_frame) return Malformed("buffers reach past the end");
    if (validity != nullptr && (validity->size() < (rows + 7) / 8 ||
                                CountNulls(validity->data(), head.rows) != column.null_count)) {
      return Malformed("NULL bitmap");
    }
    if (IsVariableWidth(type)) {
      if (offsets->size() != (rows + 1) * 4 ||
          !OffsetsAreValid(reinterpret_cast<const int32_t*>(offsets->data()), head.rows,
                           values->size())) {
        return Malformed("string offsets");
      }
      if (type == TypeKind::kArray && !ArraysAreValid(type.element(), *values, *offsets, head.rows))
        return Malformed("elements of an array");
    } else {
      const uint64_t needed =
          type == TypeKind::kBool ? (rows + 7) / 8 : rows * static_cast<uint64_t>(FixedWidth(type));
      if (values->size() < needed) return Malformed("values of a column");
    }
    columns.emplace_back(type, head.rows, column.null_count, std::move(validity), std::move(values),
                         std::move(offsets));
  }
  Batch batch(schema, head.rows, std::move(columns));
  batch.set_kinds(std::move(kinds));
  batch.split = head.split;
  return batch;
}

}  // namespace millrace
