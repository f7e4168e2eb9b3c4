// Leaves in the schema of every source only the columns that the job needs, so that decoders skip
// the rest, and takes bare columns that nobody reads out of projections.
//
// A source keeps all its columns when leaving one out would change results: csv and raw read by
// position, datagen draws by position, and json with 'json.fail-on-missing-field' = 'true' or
// 'json.ignore-unknown-fields' = 'false' looks at whole messages. So does a source whose rows meet
// those of another node in one input, because their columns must stay the same.
//
// Threading: pure function.
#pragma once

#include "millrace/v1/graph.pb.h"

namespace millrace {

// `graph` is compiled (ids, types, schemas). Changes the schemas
// of sources and of the nodes behind them that pass rows on.
void PushDownProjections(v1::JobGraph& graph);

}  // namespace millrace
