// Rows of one side with those of the other that belong to them: of another input, or of a table
// outside.
#pragma once

#include <memory>

#include "runtime/task/lookup_table.h"
#include "runtime/task/operator.h"

namespace millrace {

std::unique_ptr<Operator> MakeJoin();
// With the row of the key as it was at the event time of the left row.
std::unique_ptr<Operator> MakeTemporalJoin();
// With the rows of `table` as they are when the left row comes.
std::unique_ptr<Operator> MakeLookupJoin(std::unique_ptr<LookupTable> table);

}  // namespace millrace
