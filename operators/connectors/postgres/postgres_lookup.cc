// A table of PostgreSQL, asked by key: one statement for many keys.
#include <algorithm>
#include <map>
#include <utility>

#include "operators/connectors/postgres/pg_connection.h"
#include "operators/connectors/postgres/pg_values.h"
#include "operators/connectors/postgres/postgres_connector.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

class PostgresLookup : public LookupTable {
 public:
  explicit PostgresLookup(PostgresLookupOptions options) : options_(std::move(options)) {}

  absl::Status Open(SchemaPtr schema, std::vector<int> keys, const Env&) override {
    schema_ = std::move(schema);
    keys_ = std::move(keys);
    std::vector<std::string> columns;
    for (const Field& field : schema_->fields()) columns.push_back("t." + QuotedName(field.name));
    select_ = Concat("SELECT ", Join(columns, ", "), " FROM ", options_.table.Quoted(), " t");
    MILLRACE_RETURN_IF_ERROR(Connect());
    return Describe();
  }

  bool finds_by_key() const override { return true; }

  absl::Status Find(const Batch& wanted, BatchBuilder& out, RowErrors&) override {
    std::vector<std::optional<std::string>> arrays;
    for (int i = 0; i < wanted.column_count(); ++i) {
      std::string array = "{";
      for (int64_t row = 0; row < wanted.rows(); ++row) {
        if (row > 0) array += ',';
        AppendPgArrayElement(PgText(wanted.column(i), row), array);
      }
      arrays.emplace_back(array + "}");
    }
    return Read(find_, arrays, std::numeric_limits<int64_t>::max(), out);
  }

  absl::Status ReadAll(int64_t rows_max, BatchBuilder& out) override {
    MILLRACE_RETURN_IF_ERROR(Connect());
    MILLRACE_RETURN_IF_ERROR(Drop(connection_->Run("SET statement_timeout = 0").status()));
    return Read(Concat(select_, " LIMIT ", rows_max + 1), {}, rows_max, out);
  }

 private:
  absl::Status Connect() {
    if (connection_ != nullptr) return absl::OkStatus();
    MILLRACE_ASSIGN_OR_RETURN(connection_, PgConnection::Open(options_.table, false));
    return Drop(
        connection_
            ->Run(Concat("SET statement_timeout = ", absl::ToInt64Milliseconds(options_.timeout)))
            .status());
  }

  // A connection that was lost is made anew by the next call.
  absl::Status Drop(const absl::Status& status) {
    if (absl::IsUnavailable(status)) connection_ = nullptr;
    return status;
  }

  // Checks the columns, and finds out the types that keys are compared as.
  absl::Status Describe() {
    const auto found = connection_->Run(
        "SELECT a.attname, format_type(a.atttypid, -1), CASE t.typtype WHEN 'd' THEN t.typbasetype "
        "ELSE t.oid END FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
        {options_.table.Quoted()});
    if (!found.ok()) return Drop(found.status());
    if (found->rows() == 0) {
      return absl::NotFoundError(Concat("there is no such table: ", options_.table.Text()));
    }
    std::map<std::string, int, std::less<>> rows;
    for (int row = 0; row < found->rows(); ++row) rows.emplace(found->Text(row, 0), row);
    std::vector<std::string> problems, types;
    for (const Field& field : schema_->fields()) {
      const auto row = rows.find(field.name);
      uint32_t oid = 0;
      if (row == rows.end()) {
        problems.push_back(Concat("there is no column '", field.name, "'"));
        types.emplace_back();
        continue;
      }
      types.emplace_back(found->Text(row->second, 1));
      if (!ParseNumber(found->Text(row->second, 2), oid) || !CanReadPgType(oid, field.type)) {
        problems.push_back(Concat("column '", field.name, "' is ", types.back(),
                                  ", which cannot be read as ", TypeText(field.type)));
      }
    }
    if (!problems.empty()) {
      return absl::FailedPreconditionError(
          Concat("cannot look up in ", options_.table.Text(), ": ", Join(problems, "; ")));
    }
    std::vector<std::string> arrays, names, equal;
    for (size_t i = 0; i < keys_.size(); ++i) {
      const auto column = static_cast<size_t>(keys_[i]);
      const std::string name = Concat("k", i);
      arrays.push_back(Concat("$", i + 1, "::", types[column], "[]"));
      names.push_back(name);
      equal.push_back(Concat("t.", QuotedName(schema_->field(keys_[i]).name), " = w.", name));
    }
    find_ = keys_.size() == 1
                ? Concat(select_, " WHERE t.", QuotedName(schema_->field(keys_[0]).name), " = ANY(",
                         arrays[0], ")")
                : Concat(select_, " JOIN unnest(", Join(arrays, ", "), ") AS w(", Join(names, ", "),
                         ") ON ", Join(equal, " AND "));
    return absl::OkStatus();
  }

  absl::Status Read(const std::string& sql, const std::vector<std::optional<std::string>>& values,
                    int64_t rows_max, BatchBuilder& out) {
    MILLRACE_RETURN_IF_ERROR(Connect());
    const auto found = connection_->Run(sql, values);
    if (!found.ok()) return Drop(found.status());
    if (found->rows() > rows_max) {
      return absl::ResourceExhaustedError(
          Concat(options_.table.Text(), " has more than ", rows_max, " rows"));
    }
    for (int row = 0; row < found->rows(); ++row) {
      for (int i = 0; i < schema_->size(); ++i) {
        if (found->IsNull(row, i)) {
          out.column(i).AppendNull();
        } else if (!reader_.Append(found->Text(row, i), out.column(i))) {
          return absl::InvalidArgumentError(
              Concat("column '", schema_->field(i).name, "' of ", options_.table.Text(), " has '",
                     std::string(found->Text(row, i).substr(0, 60)), "', which is not ",
                     TypeText(schema_->field(i).type)));
        }
      }
    }
    return absl::OkStatus();
  }

  const PostgresLookupOptions options_;
  SchemaPtr schema_;
  std::vector<int> keys_;
  std::string select_, find_;
  std::unique_ptr<PgConnection> connection_;  // Null: to be made.
  PgValueReader reader_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LookupTable>> MakePostgresLookup(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(PostgresLookupOptions options, ReadPostgresLookupOptions(node));
  return std::make_unique<PostgresLookup>(std::move(options));
}

}  // namespace millrace
