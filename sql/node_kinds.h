// The table of what a node can be: all that submit, planning and `explain` must know about each
// kind of node. A new operator has one NodeKind, at the end of the file that compiles it, and one
// line in node_kinds.cc; the code that runs it is found by operators/all_operators.cc.
//
// Threading: constant tables; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "sql/stream_facts.h"

namespace millrace {

struct NodeContext;

// A set of changelog modes.
using Modes = uint32_t;
constexpr Modes ModeBit(v1::ChangelogMode mode) { return Modes{1} << mode; }
inline constexpr Modes kAppendOnly = ModeBit(v1::CHANGELOG_MODE_APPEND);
inline constexpr Modes kExactChanges = kAppendOnly | ModeBit(v1::CHANGELOG_MODE_RETRACT);
inline constexpr Modes kKeyedChanges = kExactChanges | ModeBit(v1::CHANGELOG_MODE_UPSERT);
inline constexpr Modes kAllChanges = kKeyedChanges | ModeBit(v1::CHANGELOG_MODE_CAPTURED);
using FieldIds = std::set<uint32_t>;

struct NodeKind {
  v1::Node::BodyCase body;
  std::string_view name;  // "window aggregate".
  // See node_compiler.h.
  std::optional<StreamFacts> (*compile)(const NodeContext& context);
  // What `explain` says of a compiled node whose input has the columns `input`.
  std::string (*text)(const v1::Node& node, const v1::Schema& input);
  // What it keeps, and how much about; null: nothing. `lag_ms` is the out-of-orderness above it.
  std::string (*state_text)(const v1::Node& node, const v1::Schema& input,
                            uint64_t lag_ms) = nullptr;
  // What a later version of the node must have in common with it to go on with its state, beside
  // kind and time to live: its `inputs` have the origins of columns as their names. Null: it keeps
  // nothing.
  void (*layout)(const v1::Node& node, const std::vector<v1::Schema>& inputs,
                 v1::StateLayout& out) = nullptr;
  // The columns of input `input` whose key groups own its state, or its rows: they are spread by
  // them. Null, or nothing: not keyed.
  std::optional<v1::Fields> (*keys)(const v1::Node& node, uint32_t input) = nullptr;
  // Adds the columns of the input that the node itself reads. Null: it reads all.
  void (*reads)(const v1::Node& node, FieldIds& out) = nullptr;
  // Whether nothing but a time to live (Node.state_ttl_ms) frees the state of keys that fall
  // silent. Null: no.
  bool (*keeps_for_ever)(const v1::Node& node) = nullptr;
  // Of joins: the columns of both sides, as its condition sees them. Null: those of the input.
  v1::Schema (*sides)(const v1::Node& node, const v1::Schema& left,
                      const v1::Schema& right) = nullptr;
  uint32_t inputs = 1;
  // Its output has the columns of its input, and those that `adds` names.
  bool passes_columns = false;
  void (*adds)(const v1::Node& node, FieldIds& out) = nullptr;
  // The changelog modes of the input that it understands.
  Modes accepts = kAppendOnly;
  bool has_late_output = false;
  bool has_dead_letter_output = false;
};

// Null for a body that is not set, or newer than this program.
const NodeKind* FindNodeKind(v1::Node::BodyCase body);
bool KeepsForEver(const v1::Node& node);
// The columns by which the rows of an input of a keyed node are spread; nothing for other nodes.
std::optional<v1::Fields> KeysOf(const v1::Node& node, uint32_t input);

}  // namespace millrace
