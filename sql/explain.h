// The logical graph of a compiled job as text: what every node does, its columns, how rows reach
// it, what state it keeps.
//
// Threading: pure function.
#pragma once

#include <string>

#include "millrace/v1/graph.pb.h"

namespace millrace {

std::string ExplainGraph(const v1::JobGraph& compiled);

}  // namespace millrace
