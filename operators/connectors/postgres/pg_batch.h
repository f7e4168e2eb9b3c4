// The rows of an epoch on their way into a table: compacted by key, the last one of each wins, and
// written as few statements.
//
// Threading: one thread.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "operators/connectors/postgres/pg_connection.h"

namespace millrace {

struct PgTargetColumn {
  std::string name;
  std::string type;  // As the server calls it.
  bool in_key = false;
};

using PgValues = std::vector<std::optional<std::string>>;

// Values as the outbox keeps them.
void AppendPgRow(bool deleted, const PgValues& values, std::string& out);
// kDataLoss: malformed.
absl::Status ReadPgRow(std::string_view& bytes, size_t columns, bool* deleted, PgValues* values);

class PgBatch {
 public:
  // `table`: quoted.
  PgBatch(std::string table, std::vector<PgTargetColumn> columns);

  void Add(bool deleted, PgValues values);
  size_t rows() const { return keyed_.size() + inserts_.size(); }
  // Of the rows added since the last Write, replaced ones too.
  size_t bytes() const { return bytes_; }
  // Within the open transaction. Keys in ascending order: writers of other slots do not deadlock.
  // kInvalidArgument names the first row that the server refuses; the transaction must then end.
  absl::Status Write(PgConnection& connection);

 private:
  struct Change {
    bool deleted;
    PgValues values;
  };
  using Changes = std::span<const Change* const>;
  absl::Status WriteAll(PgConnection& connection, Changes changes) const;
  absl::Status NameRefused(PgConnection& connection, Changes changes, absl::Status status) const;
  bool HasNullKey(const PgValues& values) const;
  absl::Status Delete(PgConnection& connection, const std::vector<const PgValues*>& rows,
                      std::string_view equals) const;
  absl::Status Upsert(PgConnection& connection, const std::vector<const PgValues*>& rows) const;
  // One array per column of `rows`, and "unnest($1::t[], …)".
  std::string Arrays(const std::vector<const PgValues*>& rows, bool only_key,
                     std::vector<std::optional<std::string>>& parameters) const;

  const std::string table_;
  const std::vector<PgTargetColumn> columns_;
  bool has_key_ = false;
  std::map<PgValues, Change> keyed_;  // By key.
  std::vector<Change> inserts_;       // Without one.
  size_t bytes_ = 0;
};

}  // namespace millrace
