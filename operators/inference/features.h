// What inference operators, local and remote, do with rows before and after the model: features,
// rows that have none, output columns, metrics.
//
// Threading: the task thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"
#include "operators/inference/drift.h"
#include "runtime/expressions/expression.h"
#include "runtime/task/operator.h"

namespace millrace {

// The model that a compiled inference node names. kInvalidArgument: there is none.
absl::StatusOr<const v1::Model*> ModelOf(const OperatorContext& context);

// Rows that can be asked, with their features.
struct FeatureRows {
  Batch batch;
  std::vector<Column> features;  // One per value of the model's inputs.
};

class FeatureReader {
 public:
  // `context` outlives this.
  static absl::StatusOr<FeatureReader> Make(const OperatorContext& context, const v1::Model& model);
  // Evaluates the features; rows that fail (MR4101, MR4102, MR4103) go to the dead-letter output.
  absl::StatusOr<FeatureRows> Read(const Batch& batch, Emitter& out);

 private:
  FeatureReader(const OperatorContext& context) : context_(&context) {}

  const OperatorContext* context_;
  std::vector<std::unique_ptr<Expression>> expressions_;
  std::vector<v1::Tensor::Type> types_;  // Of the tensor that a feature goes into.
  bool nan_is_allowed_ = false;
};

// Metrics of one model in one operator.
class ModelMetrics {
 public:
  ModelMetrics(const OperatorContext& context, const v1::Model& model);
  ~ModelMetrics();  // The model is no longer the one in use.

  // After one call for `rows` rows that took `nanos`.
  void ObserveCall(int64_t rows, int64_t nanos);
  // Drift of rows that were predicted.
  void ObserveRows(const std::vector<Column>& features, const std::vector<Column>& predictions);
  void CountErrors(uint64_t rows) { errors_.Add(static_cast<double>(rows)); }

 private:
  OperatorMetrics::Histogram& seconds_;
  OperatorMetrics::Histogram& batch_rows_;
  OperatorMetrics::Number& errors_;
  OperatorMetrics::Number& info_;
  struct Watched {
    bool is_feature;
    size_t column;
    DriftMonitor monitor;
  };
  std::vector<Watched> watched_;
};

// The output batch: input columns, predictions, columns of version and digest. Rows with a
// prediction that is not finite go to the dead-letter output (MR4104).
Batch WithPredictions(const OperatorContext& context, const v1::Model& model, const Batch& batch,
                      const std::vector<Column>& predictions, ModelMetrics& metrics, Emitter& out);

}  // namespace millrace
