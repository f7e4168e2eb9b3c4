// The part that sources of generated rows share: splits "generator/<i>", positions, pace, end.
// Split i of n holds the rows i, i + n, i + 2n, ...; its position is how many of them were emitted.
//
// Threading: as for Source (runtime/task/source.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/task/source.h"

namespace millrace {

// Makes rows as a pure function of their numbers.
class RowGenerator {
 public:
  virtual ~RowGenerator() = default;
  // kInvalidArgument: a column that it cannot make.
  virtual absl::Status Open(const SchemaPtr& schema) = 0;
  // Appends rows first, first + step, ...: `count` of them.
  virtual void AppendRows(uint64_t first, uint64_t step, int64_t count, BatchBuilder& out) = 0;
};

struct GeneratedRows {
  uint64_t first = 0;             // Number of the first row.
  std::optional<uint64_t> total;  // Unset: no end.
  uint32_t splits = 1;
  std::optional<uint64_t> rows_per_second;  // Over all splits.
};

std::unique_ptr<Source> MakeGeneratedSource(GeneratedRows rows,
                                            std::unique_ptr<RowGenerator> generator);
std::unique_ptr<SplitDiscovery> MakeGeneratedDiscovery(uint32_t splits);

}  // namespace millrace
