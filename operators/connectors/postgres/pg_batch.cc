#include "operators/connectors/postgres/pg_batch.h"

#include <algorithm>
#include <cstring>

#include "operators/connectors/postgres/pg_values.h"
#include "operators/connectors/postgres/postgres_options.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr uint32_t kNull = 0xFFFFFFFF;

void AppendNumber(uint32_t value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

void AppendPgRow(bool deleted, const PgValues& values, std::string& out) {
  out.push_back(deleted ? 1 : 0);
  for (const auto& value : values) {
    AppendNumber(value ? static_cast<uint32_t>(value->size()) : kNull, out);
    if (value) out.append(*value);
  }
}

absl::Status ReadPgRow(std::string_view& bytes, size_t columns, bool* deleted, PgValues* values) {
  const auto malformed = [] { return absl::DataLossError("malformed row in an outbox"); };
  if (bytes.empty() || static_cast<uint8_t>(bytes[0]) > 1) return malformed();
  *deleted = bytes[0] == 1;
  bytes.remove_prefix(1);
  values->clear();
  for (size_t i = 0; i < columns; ++i) {
    uint32_t size = 0;
    if (bytes.size() < sizeof(size)) return malformed();
    std::memcpy(&size, bytes.data(), sizeof(size));
    bytes.remove_prefix(sizeof(size));
    if (size == kNull) {
      values->emplace_back();
      continue;
    }
    if (size > bytes.size()) return malformed();
    values->emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return absl::OkStatus();
}

PgBatch::PgBatch(std::string table, std::vector<PgTargetColumn> columns)
    : table_(std::move(table)), columns_(std::move(columns)) {
  has_key_ = std::any_of(columns_.begin(), columns_.end(),
                         [](const PgTargetColumn& column) { return column.in_key; });
}

void PgBatch::Add(bool deleted, PgValues values) {
  for (const auto& value : values) bytes_ += sizeof(value) + (value ? value->size() : 0);
  if (!has_key_) {
    inserts_.push_back({deleted, std::move(values)});
    return;
  }
  PgValues key;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].in_key) key.push_back(values[i]);
  }
  keyed_.insert_or_assign(std::move(key), Change{deleted, std::move(values)});
}

absl::Status PgBatch::Write(PgConnection& connection) {
  std::vector<const Change*> changes;
  for (const auto& [key, change] : keyed_) changes.push_back(&change);
  for (const Change& change : inserts_) changes.push_back(&change);
  if (changes.empty()) return absl::OkStatus();
  MILLRACE_RETURN_IF_ERROR(connection.Run("SAVEPOINT rows").status());
  if (absl::Status status = WriteAll(connection, changes); !status.ok()) {
    if (!absl::IsInvalidArgument(status)) return status;
    return NameRefused(connection, changes, std::move(status));
  }
  MILLRACE_RETURN_IF_ERROR(connection.Run("RELEASE SAVEPOINT rows").status());
  keyed_.clear();
  inserts_.clear();
  bytes_ = 0;
  return absl::OkStatus();
}

absl::Status PgBatch::WriteAll(PgConnection& connection, Changes changes) const {
  std::vector<const PgValues*> deletes, upserts;
  for (const Change* change : changes) {
    (change->deleted ? deletes : upserts).push_back(&change->values);
  }
  // Only equality uses the index, and it knows no NULLs.
  const auto with_null =
      std::stable_partition(deletes.begin(), deletes.end(),
                            [this](const PgValues* values) { return !HasNullKey(*values); });
  const std::vector<const PgValues*> nulls(with_null, deletes.end());
  deletes.erase(with_null, deletes.end());
  if (!deletes.empty()) MILLRACE_RETURN_IF_ERROR(Delete(connection, deletes, "="));
  if (!nulls.empty()) {
    MILLRACE_RETURN_IF_ERROR(Delete(connection, nulls, "IS NOT DISTINCT FROM"));
  }
  return upserts.empty() ? absl::OkStatus() : Upsert(connection, upserts);
}

// Halves until one row is left. What comes before it was written: it may matter to its constraints.
absl::Status PgBatch::NameRefused(PgConnection& connection, Changes changes,
                                  absl::Status status) const {
  MILLRACE_RETURN_IF_ERROR(connection.Run("ROLLBACK TO SAVEPOINT rows").status());
  while (changes.size() > 1) {
    const Changes half = changes.first(changes.size() / 2);
    MILLRACE_RETURN_IF_ERROR(connection.Run("SAVEPOINT half").status());
    const absl::Status tried = WriteAll(connection, half);
    if (tried.ok()) {
      changes = changes.subspan(half.size());
      continue;
    }
    if (!absl::IsInvalidArgument(tried)) return tried;
    status = tried;
    MILLRACE_RETURN_IF_ERROR(connection.Run("ROLLBACK TO SAVEPOINT half").status());
    changes = half;
  }
  std::string row;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const auto& value = changes[0]->values[i];
    row += Concat(i == 0 ? "" : ", ", columns_[i].name, "=",
                  value ? QuotedText(std::string_view(*value).substr(0, 100)) : "NULL");
  }
  return absl::InvalidArgumentError(Concat("the server refuses a row: ", MessageOf(status), "; ",
                                           changes[0]->deleted ? "delete of " : "",
                                           std::string_view(row).substr(0, 1000)));
}

std::string PgBatch::Arrays(const std::vector<const PgValues*>& rows, bool only_key,
                            std::vector<std::optional<std::string>>& parameters) const {
  std::vector<std::string> arrays;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (only_key && !columns_[i].in_key) continue;
    std::string array = "{";
    for (const PgValues* row : rows) {
      if (array.size() > 1) array.push_back(',');
      AppendPgArrayElement((*row)[i], array);
    }
    array.push_back('}');
    parameters.emplace_back(std::move(array));
    arrays.push_back(Concat("$", parameters.size(), "::", columns_[i].type, "[]"));
  }
  return Concat("unnest(", Join(arrays, ", "), ")");
}

bool PgBatch::HasNullKey(const PgValues& values) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].in_key && !values[i]) return true;
  }
  return false;
}

absl::Status PgBatch::Delete(PgConnection& connection, const std::vector<const PgValues*>& rows,
                             std::string_view equals) const {
  std::vector<std::optional<std::string>> parameters;
  const std::string arrays = Arrays(rows, /*only_key=*/true, parameters);
  std::vector<std::string> names, conditions;
  for (const PgTargetColumn& column : columns_) {
    if (!column.in_key) continue;
    names.push_back(Concat("k", names.size()));
    conditions.push_back(
        Concat("t.", QuotedName(column.name), " ", equals, " gone.", names.back()));
  }
  return connection
      .Run(Concat("DELETE FROM ", table_, " AS t USING ", arrays, " AS gone(", Join(names, ", "),
                  ") WHERE ", Join(conditions, " AND ")),
           parameters)
      .status();
}

absl::Status PgBatch::Upsert(PgConnection& connection,
                             const std::vector<const PgValues*>& rows) const {
  std::vector<std::optional<std::string>> parameters;
  const std::string arrays = Arrays(rows, /*only_key=*/false, parameters);
  std::vector<std::string> names, keys, changes;
  for (const PgTargetColumn& column : columns_) {
    const std::string name = QuotedName(column.name);
    names.push_back(name);
    if (column.in_key) {
      keys.push_back(name);
    } else {
      changes.push_back(Concat(name, " = EXCLUDED.", name));
    }
  }
  std::string sql =
      Concat("INSERT INTO ", table_, " (", Join(names, ", "), ") SELECT * FROM ", arrays);
  if (has_key_) {
    sql += Concat(" ON CONFLICT (", Join(keys, ", "), ") DO ",
                  changes.empty() ? "NOTHING" : Concat("UPDATE SET ", Join(changes, ", ")));
  }
  return connection.Run(sql, parameters).status();
}

}  // namespace millrace
