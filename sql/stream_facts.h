// What is known of the rows that flow along an edge while a graph is compiled.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"

namespace millrace {

struct StreamFacts {
  v1::Schema schema;
  // Columns that no row of the stream undercuts by more than the watermark says: the column of a
  // watermark node, and copies of it.
  std::set<uint32_t> event_times;
  // Columns that hold the end of a window whose rows are complete when the watermark reaches it.
  std::set<uint32_t> window_ends;
  // Columns that hold the time at which a row passed a processing_time node.
  std::set<uint32_t> processing_times;
  bool has_watermark = false;
  // Uid of the source whose chain this is: only filters and projections of the same tasks are
  // between here and there. Empty elsewhere.
  std::string chain_source;
  // How rows change earlier ones; never UNSPECIFIED.
  v1::ChangelogMode mode = v1::CHANGELOG_MODE_APPEND;
  // Ids of the columns that identify a row; empty: none do, or nothing is known. In every mode the
  // changes of one key come from one task, in order.
  std::vector<uint32_t> key;
};

// Rows of two edges in one input, with the same columns: only what both promise holds. False: the
// changes of the two cannot be united.
bool UniteFacts(const StreamFacts& other, StreamFacts& all);

}  // namespace millrace
