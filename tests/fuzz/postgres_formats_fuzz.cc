// What comes from a PostgreSQL server, and the postgres connectors' own bytes in checkpoints: any
// bytes either are refused or read within their bounds. The first byte says whose they are.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "operators/connectors/postgres/pg_batch.h"
#include "operators/connectors/postgres/pg_position.h"
#include "operators/connectors/postgres/pg_table_identity.h"
#include "operators/connectors/postgres/pg_values.h"
#include "operators/connectors/postgres/pgoutput.h"

namespace millrace {
namespace {

size_t BytesOf(const PgTuple& tuple) {
  size_t bytes = 0;
  for (const PgColumnValue& value : tuple) bytes += value.text.size();
  return bytes;
}

void ReadMessage(std::string_view bytes) {
  const auto message = ReadPgMessage(bytes);
  if (!message.ok()) return;
  size_t used = 0;
  if (const auto* insert = std::get_if<PgInsert>(&*message)) used = BytesOf(insert->row);
  if (const auto* update = std::get_if<PgUpdate>(&*message)) {
    used = BytesOf(update->old_row) + BytesOf(update->row);
  }
  if (const auto* gone = std::get_if<PgDelete>(&*message)) used = BytesOf(gone->old_row);
  if (used > bytes.size()) std::abort();
}

void ReadFrame(std::string_view bytes) {
  const auto frame = ReadPgFrame(bytes);
  if (!frame.ok()) return;
  if (const auto* data = std::get_if<PgWalData>(&*frame)) ReadMessage(data->payload);
}

void ReadCopy(std::string_view bytes) {
  std::vector<PgField> fields;
  if (!SplitCopyRow(bytes, 3, fields)) return;
  const DataType types[] = {TypeKind::kInt64,        TypeKind::kFloat64,   TypeKind::kBytes,
                            TypeKind::kDate,         TypeKind::kTimestamp, TypeKind::kInterval,
                            DataType::Decimal(20, 2)};
  for (const DataType kind : types) {
    PgValueReader reader;
    ColumnBuilder column(kind);
    const bool read = reader.Append(fields[0].text, column);
    if (column.length() != (read ? 1 : 0)) std::abort();
    if (read && !PgText(column.Finish(), 0)) std::abort();
  }
}

void ReadOutbox(std::string_view bytes) {
  std::string again;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    bool deleted = false;
    PgValues values;
    if (!ReadPgRow(rest, 2, &deleted, &values).ok()) return;
    AppendPgRow(deleted, values, again);
  }
  if (again != bytes) std::abort();
}

void ReadPosition(std::string_view bytes) {
  const auto position = DecodePgPosition(bytes);
  if (!position.ok()) return;
  const auto again = DecodePgPosition(EncodePgPosition(*position));
  if (!again.ok() || !(*again == *position)) std::abort();
  (void)PgTableChange(position->table, 1, {{"id", 20, -1}});
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      ReadFrame(bytes);
      break;
    case 1:
      ReadCopy(bytes);
      break;
    case 2:
      ReadOutbox(bytes);
      break;
    default:
      ReadPosition(bytes);
  }
  return 0;
}
