// CREATE TABLE in Flink's dialect: columns, computed and metadata columns, nested rows, watermark,
// primary key, options.
//
// Threading: pure functions.
// Errors:    SqlProblem with an offset of the script.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "sql/query/script.h"

namespace millrace {

struct TableDefinition {
  std::string name;
  size_t offset = 0;
  // One field per value: those of ROW<…> columns are fields of their own, called "bid.price", with
  // their path. Computed columns have their text in computed.sql.
  v1::Schema schema;
  std::vector<std::vector<std::string>> names;  // Of each field: {"bid", "price"}.
  std::vector<size_t> offsets;                  // Of each field; of the text of computed ones.
  struct Watermark {
    std::string column;
    std::string expression;
    size_t offset = 0;
  };
  std::optional<Watermark> watermark;
  std::vector<std::string> primary_key;
  std::map<std::string, std::string> options;
};

// The statement begins with CREATE [TEMPORARY] TABLE.
bool ReadTableDefinition(const SqlText& text, const Statement& statement, TableDefinition* out,
                         SqlProblem* problem);

}  // namespace millrace
