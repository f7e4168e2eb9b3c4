// What the PostgreSQL connector reads: messages of the replication stream, rows of COPY, positions,
// rows of an outbox. Any bytes are either refused or mean something that stays.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "operators/connectors/postgres/pg_batch.h"
#include "operators/connectors/postgres/pg_position.h"
#include "operators/connectors/postgres/pg_values.h"
#include "operators/connectors/postgres/pgoutput.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto message = ReadPgMessage(bytes); message.ok()) {
    size_t text = 0;
    if (const auto* insert = std::get_if<PgInsert>(&*message)) {
      for (const PgColumnValue& value : insert->row) text += value.text.size();
    }
    if (text > size) std::abort();
  }
  if (const auto frame = ReadPgFrame(bytes); frame.ok()) {
    const auto* wal = std::get_if<PgWalData>(&*frame);
    if (wal != nullptr && wal->payload.size() > size) std::abort();
  }
  std::vector<PgField> fields;
  size_t copied = 0;
  if (SplitCopyRow(bytes, 3, fields)) {
    for (const PgField& field : fields) copied += field.text.size();
  }
  if (copied > size) std::abort();
  if (const auto position = DecodePgPosition(bytes); position.ok()) {
    const auto again = DecodePgPosition(EncodePgPosition(*position));
    if (!again.ok() || !(*again == *position)) std::abort();
  }
  std::string_view rest = bytes;
  bool deleted = false;
  PgValues values;
  while (!rest.empty() && ReadPgRow(rest, 2, &deleted, &values).ok()) {
  }
  PgValueReader reader;
  for (const TypeKind type : {TypeKind::kInt64, TypeKind::kFloat64, TypeKind::kBytes,
                              TypeKind::kDate, TypeKind::kTimestamp}) {
    ColumnBuilder builder(type);
    const bool read = reader.Append(bytes, builder);
    if (builder.length() != (read ? 1 : 0)) std::abort();
  }
  return 0;
}
