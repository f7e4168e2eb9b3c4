// Columns to requests of the Open Inference Protocol, and responses to columns.
//
// Threading: one task. Errors: kInvalidArgument for a model that is not as declared; kDataLoss for
// a response whose names, types, shapes or sizes are not those that were asked for: no row may get
// the values of another.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/open_inference.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/inference/model.h"
#include "runtime/columns/batch.h"

namespace millrace {

class TensorCodec {
 public:
  // Compares the model's own metadata, as far as it has any, with what the job declares.
  static absl::StatusOr<TensorCodec> Make(const v1::Model& model, std::vector<WantedOutput> wanted,
                                          const inference::ModelMetadataResponse& metadata);

  // 1 for models with a fixed batch of one row; else 0: any number.
  int64_t rows_max() const { return rows_max_; }
  // `features`: as of Model::Predict.
  inference::ModelInferRequest Encode(const std::vector<Column>& features, int64_t rows,
                                      std::string id) const;
  // One column per wanted output. Raw and typed contents.
  absl::StatusOr<std::vector<Column>> Decode(const inference::ModelInferResponse& response,
                                             int64_t rows) const;

 private:
  struct Input {
    v1::Tensor tensor;
    bool is_flat;  // [rows] instead of [rows, width].
  };
  const v1::Model* model_ = nullptr;  // Of the graph.
  std::vector<Input> inputs_;
  std::vector<WantedOutput> wanted_;
  int64_t rows_max_ = 0;
};

}  // namespace millrace
