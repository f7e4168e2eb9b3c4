// A forest of decision trees in one form, whatever library trained it.
//
// Threading: data; a Scorer belongs to one task.
// Errors:    kInvalidArgument for nodes that are no trees.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "operators/inference/native_model.h"

namespace millrace {

struct ForestNode {
  enum class Test : uint8_t { kLeaf, kLessOrEqual, kLess, kEqual };
  Test test = Test::kLeaf;
  bool missing_yes = false;      // Where NaN goes.
  bool zero_is_missing = false;  // A value within 1e-35 of zero goes where NaN goes.
  int32_t feature = 0;
  double threshold = 0;
  int32_t yes = -1, no = -1;  // Nodes of the forest: where x <test> threshold holds, and where not.
  int32_t leaf = 0;           // First of the leaf's values.
};

struct Forest {
  int32_t features = 0;
  int32_t scores = 1;
  // How the library that trained it calculates: features as FLOAT or DOUBLE, sums likewise.
  bool double_features = false;
  bool double_sums = false;
  std::vector<ForestNode> nodes;
  std::vector<int32_t> roots;  // Scores are summed in this order.
  // The score that a tree adds to; -1: its leaves have one value per score.
  std::vector<int32_t> score_of;
  std::vector<double> values;
  std::vector<double> base;  // One per score.
  bool base_comes_first = true;
  bool is_average = false;
};

// Most levels that a tree may have, and nodes that a forest may have.
inline constexpr int kTreeDepthMax = 512;
inline constexpr size_t kForestNodesMax = size_t{16} << 20;

absl::StatusOr<std::unique_ptr<Scorer>> MakeForestScorer(const Forest& forest);

}  // namespace millrace
