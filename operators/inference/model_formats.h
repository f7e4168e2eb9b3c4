// The readers of model files, one per format. Bytes come from outside: nothing is trusted.
//
// Threading: pure functions.
// Errors:    kInvalidArgument: not of the format, not supported, or not what the job declares.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/inference/model.h"

namespace millrace {

using Wanted = std::vector<WantedOutput>;

absl::StatusOr<std::unique_ptr<Model>> LoadXgboostJson(const v1::Model& model, const Wanted& wanted,
                                                       const std::string& bytes);
absl::StatusOr<std::unique_ptr<Model>> LoadLightGbmText(const v1::Model& model,
                                                        const Wanted& wanted,
                                                        const std::string& bytes);
absl::StatusOr<std::unique_ptr<Model>> LoadLinearJson(const v1::Model& model, const Wanted& wanted,
                                                      const std::string& bytes);
absl::StatusOr<std::unique_ptr<Model>> LoadOnnx(const v1::Model& model, const Wanted& wanted,
                                                const std::string& bytes);

// For formats without names: one input, FLOAT unless `double_features` allows DOUBLE too, with
// `features` values, and one output of `output` with `outputs` values.
struct PlainSignature {
  int64_t features = 0;
  bool double_features = false;
  v1::Tensor::Type output = v1::Tensor::TYPE_FLOAT32;
  int64_t outputs = 1;
};
absl::Status CheckSignature(const v1::Model& model, const PlainSignature& signature);
// "the model takes features FLOAT[6], the job declares ..."
absl::Status DiffersFromJob(std::string_view what, std::string_view model, std::string_view job);
// "FLOAT[6]".
std::string TensorText(v1::Tensor::Type type, int64_t width);

}  // namespace millrace
