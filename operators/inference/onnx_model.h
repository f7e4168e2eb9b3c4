// ONNX models: read, checked, and run natively where they are trees or linear models.
//
// Threading: pure functions.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "operators/inference/model_formats.h"
#include "operators/inference/native_model.h"

namespace millrace {

namespace onnx {
class ModelProto;
}

// Refuses what would reach beyond the bytes of the file: external data, operators of other domains,
// nested graphs too deep.
absl::Status CheckOnnx(const onnx::ModelProto& model);

// What Millrace can run by itself. Outputs by their names in the graph.
struct NativeOnnx {
  std::unique_ptr<Scorer> scorer;
  Head head;
  std::string input;
  int64_t outputs = 0;  // Scores of a row.
  struct Output {
    std::string name;
    OutputRole role;
  };
  std::vector<Output> names;
};
// Nothing: the graph is something else. kInvalidArgument: it is trees, but malformed.
absl::StatusOr<std::optional<NativeOnnx>> MakeNativeOnnx(const onnx::ModelProto& model);

}  // namespace millrace
