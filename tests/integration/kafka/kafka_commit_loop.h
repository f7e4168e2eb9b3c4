// The rows that kafka_commit_loop writes in an epoch; its test expects the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace millrace {

inline std::vector<std::string> RowsOfEpoch(uint64_t epoch) {
  std::vector<std::string> rows;
  // Some epochs are empty, some large enough for several blocks.
  const uint64_t count = epoch % 7 == 3 ? 0 : epoch % 11 == 5 ? 2000 : epoch % 13;
  for (uint64_t i = 0; i < count; ++i) {
    rows.push_back("epoch " + std::to_string(epoch) + " row " + std::to_string(i));
  }
  return rows;
}

}  // namespace millrace
