#include "operators/inference/features.h"

#include <cmath>
#include <limits>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/expressions/row_errors.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

const std::vector<double>& SecondsBounds() {
  static const auto* const bounds = new std::vector<double>{
      1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30};
  return *bounds;
}

const std::vector<double>& RowsBounds() {
  static const auto* const bounds =
      new std::vector<double>{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
  return *bounds;
}

void TakeRows(const std::vector<int32_t>& rows, std::vector<Column>& columns) {
  for (Column& column : columns) column = Take(column, rows);
}

Column Repeated(const std::string& text, int64_t rows) {
  ColumnBuilder column(TypeKind::kString, rows);
  for (int64_t i = 0; i < rows; ++i) column.AppendString(text);
  return column.Finish();
}

}  // namespace

absl::StatusOr<const v1::Model*> ModelOf(const OperatorContext& context) {
  const std::string& name = context.node.inference().model();
  for (const v1::Model& model : context.graph->models()) {
    if (model.name() == name) return &model;
  }
  return absl::InvalidArgumentError(Concat("the job has no model called ", name));
}

absl::StatusOr<FeatureReader> FeatureReader::Make(const OperatorContext& context,
                                                  const v1::Model& model) {
  FeatureReader reader(context);
  const v1::Inference& node = context.node.inference();
  reader.nan_is_allowed_ = node.missing() == v1::Inference::MISSING_NAN;
  for (const v1::Tensor& input : model.inputs()) {
    reader.types_.insert(reader.types_.end(), input.width(), input.type());
  }
  if (reader.types_.size() != static_cast<size_t>(node.features_size())) {
    return absl::InvalidArgumentError("the features do not fit the model; compile the job again");
  }
  for (const v1::NamedExpr& feature : node.features()) {
    MILLRACE_ASSIGN_OR_RETURN(auto expression,
                              BindExpression(feature.expr(), *context.input_schemas[0]));
    reader.expressions_.push_back(std::move(expression));
  }
  return reader;
}

absl::StatusOr<FeatureRows> FeatureReader::Read(const Batch& batch, Emitter& out) {
  FeatureRows rows{.batch = batch, .features = {}};
  RowErrors failed, missing, too_large;
  for (auto& expression : expressions_) {
    MILLRACE_ASSIGN_OR_RETURN(Column column, expression->Evaluate(batch, failed));
    rows.features.push_back(std::move(column));
  }
  KeepFirstErrors(failed);
  const v1::Inference& node = context_->node.inference();
  for (size_t f = 0; f < rows.features.size(); ++f) {
    const Column& column = rows.features[f];
    const std::string& name = node.features(static_cast<int>(f)).name();
    const bool is_float = column.type() == TypeKind::kFloat64;
    if (column.has_nulls() && !nan_is_allowed_) {
      for (int32_t row = 0; row < batch.rows(); ++row) {
        if (column.IsNull(row)) missing.entries.push_back({row, Concat(name, " is NULL")});
      }
    }
    if (!is_float) continue;
    const double* values = column.values<double>();
    constexpr double kMax = std::numeric_limits<float>::max();
    // Values under NULL are not ours to judge; such rows are rare, so they are looked at below.
    bool odd = false;
    for (int64_t row = 0; row < batch.rows(); ++row) odd |= !(std::abs(values[row]) <= kMax);
    if (!odd) continue;
    for (int32_t row = 0; row < batch.rows(); ++row) {
      if (column.IsNull(row)) continue;
      if (std::isnan(values[row]) && !nan_is_allowed_) {
        missing.entries.push_back({row, Concat(name, " is NaN")});
      } else if (types_[f] == v1::Tensor::TYPE_FLOAT32 && std::isfinite(values[row]) &&
                 std::abs(values[row]) > kMax) {
        too_large.entries.push_back({row, Concat(name, " is too large for a FLOAT")});
      }
    }
  }
  const std::pair<std::string_view, RowErrors*> kinds[] = {
      {"MR4101", &failed}, {"MR4102", &missing}, {"MR4103", &too_large}};
  for (const auto& [code, errors] : kinds) {
    if (errors->empty()) continue;
    KeepFirstErrors(*errors);
    // Rows are numbered as in `batch`: those that were taken out are taken out of the lists, too.
    const std::vector<int32_t> good = RowsExcept(rows.batch.rows(), errors->entries);
    rows.batch = DeadLetterRows(context_->node.uid(), code, rows.batch, *errors, context_->counters,
                                context_->clock, out);
    TakeRows(good, rows.features);
    std::vector<int32_t> moved(static_cast<size_t>(batch.rows()), -1);
    for (size_t i = 0; i < good.size(); ++i) {
      moved[static_cast<size_t>(good[i])] = static_cast<int32_t>(i);
    }
    for (const auto& [other_code, other] : kinds) {
      if (other == errors) continue;
      std::vector<RowErrors::Entry> kept;
      for (RowErrors::Entry& entry : other->entries) {
        const int32_t row = moved[static_cast<size_t>(entry.row)];
        if (row >= 0) kept.push_back({row, std::move(entry.message)});
      }
      other->entries = std::move(kept);
    }
  }
  return rows;
}

ModelMetrics::ModelMetrics(const OperatorContext& context, const v1::Model& model)
    : seconds_(context.counters.metrics.MakeHistogram("millrace_model_inference_seconds",
                                                      "Time of one call of the model.",
                                                      {{"model", model.name()}}, SecondsBounds())),
      batch_rows_(context.counters.metrics.MakeHistogram("millrace_model_batch_rows",
                                                         "Rows of one call of the model.",
                                                         {{"model", model.name()}}, RowsBounds())),
      errors_(context.counters.metrics.Counter(
          "millrace_model_errors_total",
          "Rows that the model failed on, or whose prediction is not finite.",
          {{"model", model.name()}})),
      info_(context.counters.metrics.Gauge("millrace_model_info", "1 for the model that is used.",
                                           {{"model", model.name()},
                                            {"version", model.version()},
                                            {"sha256", model.local().sha256()}})) {
  info_.Set(1);
  OperatorMetrics& metrics = context.counters.metrics;
  const v1::Inference& node = context.node.inference();
  const auto watch = [&](const v1::Baseline& baseline, bool is_feature, size_t column) {
    const std::string kind = is_feature ? "feature" : "prediction";
    const OperatorMetrics::Labels labels = {{"model", model.name()}, {kind, baseline.column()}};
    OperatorMetrics::Histogram& values = metrics.MakeHistogram(
        Concat("millrace_", kind, "_value"), Concat("Values of a ", kind, " with a baseline."),
        labels, {baseline.edges().begin(), baseline.edges().end()});
    OperatorMetrics::Number& psi = metrics.Gauge(
        Concat("millrace_", kind, "_drift_psi"),
        Concat("Population stability index of a ", kind, " against its baseline."), labels);
    watched_.push_back(
        {is_feature, column,
         DriftMonitor(baseline, model.drift_rows(), model.drift_rows_min(), values, psi)});
  };
  for (const v1::Baseline& baseline : model.baselines()) {
    for (int i = 0; i < node.features_size(); ++i) {
      if (node.features(i).name() == baseline.column())
        watch(baseline, true, static_cast<size_t>(i));
    }
    for (int i = 0; i < node.outputs_size(); ++i) {
      if (node.outputs(i).name() == baseline.column())
        watch(baseline, false, static_cast<size_t>(i));
    }
  }
}

ModelMetrics::~ModelMetrics() { info_.Set(std::numeric_limits<double>::quiet_NaN()); }

void ModelMetrics::ObserveCall(int64_t rows, int64_t nanos) {
  seconds_.Observe(static_cast<double>(nanos) / 1e9);
  batch_rows_.Observe(static_cast<double>(rows));
}

void ModelMetrics::ObserveRows(const std::vector<Column>& features,
                               const std::vector<Column>& predictions) {
  for (Watched& one : watched_) {
    one.monitor.Observe((one.is_feature ? features : predictions)[one.column]);
  }
}

Batch WithPredictions(const OperatorContext& context, const v1::Model& model, const Batch& batch,
                      const std::vector<Column>& predictions, ModelMetrics& metrics, Emitter& out) {
  RowErrors errors;
  const v1::Inference& node = context.node.inference();
  for (size_t i = 0; i < predictions.size(); ++i) {
    if (predictions[i].type() != TypeKind::kFloat64) continue;
    const double* values = predictions[i].values<double>();
    for (int32_t row = 0; row < batch.rows(); ++row) {
      if (std::isfinite(values[row])) continue;
      errors.entries.push_back({row, Concat("prediction ", node.outputs(static_cast<int>(i)).name(),
                                            " is ", std::isnan(values[row]) ? "NaN" : "infinite")});
    }
  }
  std::vector<Column> own = predictions;
  Batch rest = batch;
  if (!errors.empty()) {
    KeepFirstErrors(errors);
    metrics.CountErrors(errors.entries.size());
    TakeRows(RowsExcept(batch.rows(), errors.entries), own);
    rest = DeadLetterRows(context.node.uid(), "MR4104", batch, errors, context.counters,
                          context.clock, out);
  }
  std::vector<Column> columns = rest.columns();
  for (Column& column : own) columns.push_back(std::move(column));
  if (!node.version_name().empty()) columns.push_back(Repeated(model.version(), rest.rows()));
  if (!node.sha256_name().empty()) columns.push_back(Repeated(model.local().sha256(), rest.rows()));
  return rest.WithColumns(context.output_schema, std::move(columns));
}

}  // namespace millrace
