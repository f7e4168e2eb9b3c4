// Linear models: score = intercept + sum of coefficient * feature, column by column.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "operators/inference/native_model.h"

namespace millrace {

struct LinearScores {
  std::vector<std::vector<double>> coefficients;  // By score, then feature.
  std::vector<double> intercepts;                 // One per score.
  bool rounds_to_float = false;                   // Features and scores are FLOAT.
};
// kInvalidArgument: rows of unequal length, none, or too many.
absl::StatusOr<std::unique_ptr<Scorer>> MakeLinearScorer(LinearScores linear);

}  // namespace millrace
