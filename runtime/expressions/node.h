// The tree of a bound expression. Private to runtime/expressions.
#pragma once

#include <memory>
#include <vector>

#include "runtime/expressions/value.h"

namespace millrace::expressions {

// Threading: task thread only; nodes keep scratch memory between batches.
class Node {
 public:
  Node(DataType type, bool can_fail) : type(type), can_fail(can_fail) {}
  virtual ~Node() = default;

  // The value for every row of the frame. Rows that cannot be evaluated are NULL and appended to
  // `errors`, perhaps more than once, in any order.
  virtual Value Evaluate(const Frame& frame, RowErrors& errors) = 0;

  const DataType type;
  // False: may be evaluated for rows that do not need it.
  const bool can_fail;
};

using NodePtr = std::unique_ptr<Node>;

// Nodes that evaluate their operands only where they are needed (lazy_nodes.cc).
NodePtr MakeLogicNode(bool is_and, std::vector<NodePtr> operands);
NodePtr MakeCaseNode(DataType type, std::vector<NodePtr> when, std::vector<NodePtr> then,
                     NodePtr otherwise);  // `otherwise` may be null.
NodePtr MakeCoalesceNode(DataType type, std::vector<NodePtr> operands);

}  // namespace millrace::expressions
