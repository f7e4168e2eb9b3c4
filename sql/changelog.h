// Rules about the changes that flow along edges: who understands which, what keeps a key, and the
// columns that captured changes have beside those of their table.
//
// Threading: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/catalog/catalog.h"
#include "sql/node_compiler.h"
#include "sql/stream_facts.h"

namespace millrace {

// "upserts", "captured changes", ...
std::string_view ModeText(v1::ChangelogMode mode);

// Reports an input whose changes the node does not understand.
bool CheckAccepts(const NodeContext& context, const NodeKind& kind);

// Captured changes have two further columns, BYTES and nullable, at the end of the schema:
//  - "$sequence": where the change stands in its split, 24 bytes that order as by memcmp within one
//    split: hash of the split id (8 bytes, big endian), then the position. NULL: it never comes
//    again.
//  - "$unavailable": bit i of byte i / 8 tells that column i of the batch did not change and has no
//    value here. NULL: every column has its value.
inline constexpr std::string_view kSequenceColumn = "$sequence";
inline constexpr std::string_view kUnavailableColumn = "$unavailable";
bool IsCaptureColumn(const v1::Field& field);
void AddCaptureColumns(v1::Schema& schema);
void RemoveCaptureColumns(v1::Schema& schema);

// The mode and the key of a source's rows, by its connector and format and the key that it is
// given. Nothing: reported.
bool CompileSourceChanges(const NodeContext& context, v1::ChangelogMode mode, StreamFacts& out);
// What of `input`'s mode and key is left behind a projection to `out`; `kept` gives the new id of
// a column, 0 when it is gone.
bool ProjectChanges(const NodeContext& context, const StreamFacts& input,
                    uint32_t (*kept)(const v1::Node& node, uint32_t id), StreamFacts& out);
// The columns that an expression reads are part of the key, where they must be.
bool CheckFilteredChanges(const NodeContext& context, const v1::Expr& predicate);

// Notes the mode of the input and the key of a sink in its node.
bool CompileSinkChanges(const NodeContext& context, SinkKey need);

}  // namespace millrace
