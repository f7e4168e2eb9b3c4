// A Model is a trained model, loaded and compared with its declaration. Its result for a row
// depends on that row alone: not on the other rows of the batch, the number of threads or the time.
//
// Threading: one task owns it; models are not shared.
// Errors:    Load…: kInvalidArgument for a file that is not what the job says, or not supported;
//            kNotFound and others of the disk; kFailedPrecondition when ONNX Runtime is needed and
//            missing. Predict: kInvalidArgument when the model fails on these rows.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/columns/batch.h"

namespace millrace {

class Disk;
namespace v1 {
class Inference;
class Model;
}  // namespace v1

// Rows of one call of Predict: more do not make it faster, but leave the caches (measured).
inline constexpr int64_t kModelRows = 256;

// Which value of which output becomes an output column.
struct WantedOutput {
  int tensor = 0;     // Index of the model's declared outputs.
  int64_t index = 0;  // Of the tensor's values.
};
std::vector<WantedOutput> WantedOutputs(const v1::Model& model, const v1::Inference& node);

class Model {
 public:
  virtual ~Model() = default;
  // `features`: one column of `rows` rows per value of the inputs, in their order; DOUBLE for
  // FLOAT and DOUBLE tensors, else of the tensor's own type. Only DOUBLE columns may hold NULLs,
  // which mean NaN. Replaces `predictions` by one column per wanted output, without NULLs.
  virtual absl::Status Predict(std::span<const Column> features, int64_t rows,
                               std::vector<Column>& predictions) = 0;
};

// Reads the file of a local model, checks size and digest, and loads it.
absl::StatusOr<std::unique_ptr<Model>> LoadModelFile(const v1::Model& model,
                                                     const std::vector<WantedOutput>& wanted,
                                                     Disk& disk);
// The same for bytes that were checked.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const v1::Model& model,
                                                 const std::vector<WantedOutput>& wanted,
                                                 std::string bytes);

}  // namespace millrace
