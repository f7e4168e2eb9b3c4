// Computed columns of sources become project nodes behind them, because a source delivers what the
// connector and the format read and nothing else.
//
// Threading: pure function.
#pragma once

#include "millrace/v1/graph.pb.h"

namespace millrace {

// For every source with computed columns a node "<uid>.computed", which takes over the edges from
// the source's main output, and the readers of its dead letters too. `graph` is compiled.
void LowerComputedColumns(v1::JobGraph& graph);

}  // namespace millrace
