// Rows of a query or of a node, shown as they come: a table that changes in place on a terminal,
// lines of JSON or YAML elsewhere, a table at the end of bounded input.
//
// A query with changes, or with a key, is a table of the rows as they are now; any other is a list
// of rows. Values are shown as text without anything that a terminal would obey.
//
// Threading: one thread. Ownership: the stream is borrowed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "cli/output.h"
#include "millrace/v1/job_service.pb.h"

namespace millrace {

struct ResultViewOptions {
  OutputFormat format = OutputFormat::kTable;  // kWide: columns are not cut.
  bool terminal = false;                       // The stream is one that can move its cursor.
  bool colours = false;
  // Each row as it comes with its op, also where rows are changed later.
  bool changelog = false;
  // Rows of a table that are kept; of more, the oldest are forgotten, and counted.
  size_t rows_max = 1000;
  std::FILE* out = stdout;
};

// What standard output can do: whether it is a terminal, and wants colours (NO_COLOR, TERM).
ResultViewOptions ResultViewOptionsFor(OutputFormat format);

class ResultView {
 public:
  explicit ResultView(const ResultViewOptions& options) : options_(options) {}

  // The message with the columns, then those with rows.
  void Add(const v1::TailNodeResponse& response);
  // Draws what has changed; a table on a terminal only. To be called several times per second.
  void Draw();
  // Takes the table off the terminal, so that others may write; the next Draw puts it back.
  void Erase();
  // The last table.
  void Finish();

  uint64_t rows_seen() const { return rows_seen_; }
  // The stream took not all of what was written here. It is not asked: whoever writes to it holds
  // its lock, for as long as nobody reads.
  bool failed() const { return failed_; }

 private:
  struct Row {
    std::string key;
    std::string op;
    std::vector<std::string> texts;
  };
  using Rows = std::list<Row>;

  void Flush();
  bool lists() const;
  std::string KeyOf(const v1::TailedRow& row) const;
  std::vector<std::string> TextsOf(const v1::TailedRow& row) const;
  std::string JsonOf(const v1::TailedRow& row) const;
  void Apply(const v1::TailedRow& row);
  void PrintListed(const std::vector<Row>& rows);
  void Forget();
  std::string Line(const Row& row, size_t width_max) const;
  std::vector<std::string> Lines(size_t rows_shown, size_t width_max);

  const ResultViewOptions options_;
  v1::TailNodeResponse columns_;
  bool failed_ = false;
  bool has_columns_ = false;
  bool is_table_ = false;
  bool head_printed_ = false;
  std::vector<size_t> key_columns_;
  std::vector<size_t> widths_;  // Characters, of each column so far; only grow.
  Rows rows_;                   // Oldest first.
  std::multimap<std::string, Rows::iterator> by_key_;
  uint64_t rows_seen_ = 0;
  uint64_t forgotten_ = 0;
  bool changed_ = false;
  size_t lines_drawn_ = 0;
};

}  // namespace millrace
