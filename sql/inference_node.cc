#include <algorithm>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/expression_text.h"
#include "sql/models.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

const v1::Model* CompileModelName(const NodeContext& context, const v1::Inference& body) {
  if (const v1::Model* model = FindModel(*context.graph, body.model())) return model;
  std::vector<std::string_view> names;
  for (const v1::Model& model : context.graph->models()) names.push_back(model.name());
  const std::string_view nearest = NearestName(body.model(), names);
  context.Error("MR1511", ".inference.model",
                body.model().empty() ? "the model is missing"
                                     : Concat("no model is called '", body.model(), "'"),
                names.empty()     ? "declare it under models:"
                : nearest.empty() ? Concat("models: ", Join(names, ", "))
                                  : Concat("did you mean '", nearest, "'?"));
  return nullptr;
}

// What may go into a tensor without losing anything; floating point takes every number.
bool Fits(v1::Type::Kind feature, v1::Tensor::Type tensor) {
  const bool is_int = feature == v1::Type::KIND_INT32;
  const bool is_whole = is_int || feature == v1::Type::KIND_INT64;
  switch (tensor) {
    case v1::Tensor::TYPE_FLOAT32:
    case v1::Tensor::TYPE_FLOAT64:
      return is_whole || feature == v1::Type::KIND_DECIMAL || feature == v1::Type::KIND_FLOAT64;
    case v1::Tensor::TYPE_INT32:
      return is_int;
    case v1::Tensor::TYPE_INT64:
      return is_whole;
    default:
      return feature == ColumnType(tensor).kind();
  }
}

// The feature as a column of the type that the model takes.
bool CompileFeature(const NodeContext& context, const std::string& at, const v1::Tensor& tensor,
                    v1::NamedExpr& feature) {
  v1::Expr& expr = *feature.mutable_expr();
  if (!CompileExpression(context, at + ".expr", context.input->schema, expr)) return false;
  const v1::Field* bare = FieldById(context.input->schema, expr.field_id());
  if (feature.name().empty()) feature.set_name(bare != nullptr ? bare->name() : "");
  if (!Fits(expr.type().kind(), tensor.type())) {
    context.Error("MR1512", at,
                  Concat("input '", tensor.name(), "' is ", TensorText(tensor), ", the feature is ",
                         TypeText(expr.type())),
                  expr.type().kind() == v1::Type::KIND_BOOL
                      ? "write: CASE WHEN flag THEN 1 ELSE 0 END"
                      : "convert it: CAST(x AS type)");
    return false;
  }
  const v1::Type wanted = ColumnType(tensor.type());
  if (expr.type().kind() == wanted.kind()) return true;
  v1::Expr cast;
  *cast.mutable_type() = wanted;
  *cast.mutable_cast()->mutable_input() = expr;
  expr = std::move(cast);
  return true;
}

bool CompileFeatures(const NodeContext& context, const v1::Model& model, v1::Inference& body) {
  uint64_t values = 0;
  for (const v1::Tensor& tensor : model.inputs()) values += tensor.width();
  if (values != static_cast<uint64_t>(body.features_size())) {
    context.Error("MR1512", ".inference.features",
                  Concat("model '", model.name(), "' takes ", values, " features, not ",
                         body.features_size()),
                  "list one column or expression per value, in the order of the inputs");
    return false;
  }
  bool ok = true;
  int next = 0;
  for (const v1::Tensor& tensor : model.inputs()) {
    for (uint32_t i = 0; i < tensor.width(); ++i, ++next) {
      v1::NamedExpr& feature = *body.mutable_features(next);
      ok &= CompileFeature(context, Concat(".inference.features[", next, "]"), tensor, feature);
      if (feature.name().empty()) feature.set_name(Concat("f", next));
    }
    const bool is_float =
        tensor.type() == v1::Tensor::TYPE_FLOAT32 || tensor.type() == v1::Tensor::TYPE_FLOAT64;
    if (body.missing() != v1::Inference::MISSING_NAN || is_float) continue;
    context.Error(
        "MR1514", ".inference.missing",
        Concat("input '", tensor.name(), "' is ", TensorText(tensor), ", which has no NaN"),
        "replace NULLs by an expression: COALESCE(x, 0)");
    ok = false;
  }
  return ok;
}

bool CompileFallback(const NodeContext& context, const std::string& at, const v1::Model& model,
                     v1::Prediction& output) {
  if (!output.has_fallback()) return true;
  v1::Expr& fallback = *output.mutable_fallback();
  if (!model.has_remote()) {
    context.Error("MR1515", at, "only remote models have fallback values");
    return false;
  }
  if (!CompileExpression(context, at, v1::Schema(), fallback)) return false;
  const v1::Type::Kind wanted = output.type().kind();
  const bool widens =
      (wanted == v1::Type::KIND_FLOAT64 || wanted == v1::Type::KIND_INT64) &&
      CanCastImplicitly(DataType::FromProto(fallback.type()), DataType::FromProto(output.type()));
  if (fallback.type().kind() == wanted) return true;
  if (!widens) {
    context.Error("MR1515", at,
                  Concat("the fallback is ", TypeText(fallback.type()), ", the column ",
                         TypeText(output.type())));
    return false;
  }
  v1::Expr cast;
  *cast.mutable_type() = output.type();
  *cast.mutable_cast()->mutable_input() = fallback;
  fallback = std::move(cast);
  return true;
}

bool CompileOutput(const NodeContext& context, const std::string& at, const v1::Model& model,
                   v1::Prediction& output) {
  if (output.tensor().empty() && model.outputs_size() == 1) {
    output.set_tensor(model.outputs(0).name());
  }
  std::vector<std::string_view> names;
  const v1::Tensor* tensor = nullptr;
  for (const v1::Tensor& candidate : model.outputs()) {
    names.push_back(candidate.name());
    if (candidate.name() == output.tensor()) tensor = &candidate;
  }
  if (tensor == nullptr) {
    context.Error("MR1513", at,
                  output.tensor().empty()
                      ? Concat("which output of model '", model.name(), "'?")
                      : Concat("model '", model.name(), "' has no output '", output.tensor(), "'"),
                  names.empty() ? "" : Concat("outputs: ", Join(names, ", ")));
    return false;
  }
  if (output.index() >= tensor->width()) {
    context.Error("MR1513", at,
                  Concat("output '", tensor->name(), "' is ", TensorText(*tensor),
                         ", it has no value ", output.index()),
                  "values are counted from 0");
    return false;
  }
  if (output.name().empty()) output.set_name(tensor->name());
  *output.mutable_type() = ColumnType(tensor->type());
  return CompileFallback(context, at + ".fallback", model, output);
}

// Adds a column under `id`, or under the next free one.
uint32_t AppendColumn(v1::Schema& schema, uint32_t id, const std::string& name,
                      const v1::Type& type) {
  if (id == 0) id = LargestId(schema) + 1;
  AddField(schema, id, name, type, true);
  return id;
}

bool IsNumber(const v1::Type& type) {
  return type.kind() == v1::Type::KIND_FLOAT64 || type.kind() == v1::Type::KIND_INT32 ||
         type.kind() == v1::Type::KIND_INT64;
}

bool CompileBaselines(const NodeContext& context, const v1::Model& model,
                      const v1::Inference& body) {
  bool ok = true;
  for (const v1::Baseline& baseline : model.baselines()) {
    const v1::Type* type = nullptr;
    for (const v1::Prediction& output : body.outputs()) {
      if (output.name() == baseline.column()) type = &output.type();
    }
    for (const v1::NamedExpr& feature : body.features()) {
      if (feature.name() == baseline.column()) type = &feature.expr().type();
    }
    if (type != nullptr && IsNumber(*type)) continue;
    context.Error("MR1508", ".inference.model",
                  Concat("the baseline '", baseline.column(), "' of model '", model.name(),
                         type == nullptr ? "' is neither a feature nor an output of this node"
                                         : "' belongs to a column that holds no numbers"),
                  type == nullptr ? "name the feature: expression AS name" : "");
    ok = false;
  }
  return ok;
}

std::optional<StreamFacts> CompileInference(const NodeContext& context) {
  v1::Inference& body = *context.node.mutable_inference();
  const v1::Model* model = CompileModelName(context, body);
  if (model == nullptr) return std::nullopt;
  if (body.missing() == v1::Inference::MISSING_UNSPECIFIED) {
    body.set_missing(v1::Inference::MISSING_DEAD_LETTER);
  }
  bool ok = CompileFeatures(context, *model, body);
  if (body.outputs_size() == 0) {
    context.Error("MR1513", ".inference.outputs", "the outputs are missing",
                  Concat("write for example outputs: ",
                         model->outputs_size() == 0 ? "label" : model->outputs(0).name()));
    ok = false;
  }
  for (int i = 0; i < body.outputs_size(); ++i) {
    ok &= CompileOutput(context, Concat(".inference.outputs[", i, "]"), *model,
                        *body.mutable_outputs(i));
  }
  if (!ok || !CompileBaselines(context, *model, body)) return std::nullopt;
  StreamFacts out = *context.input;
  out.chain_source.clear();
  for (v1::Prediction& output : *body.mutable_outputs()) {
    output.set_id(AppendColumn(out.schema, output.id(), output.name(), output.type()));
  }
  v1::Type text;
  text.set_kind(v1::Type::KIND_STRING);
  if (!body.version_name().empty()) {
    body.set_version_id(AppendColumn(out.schema, body.version_id(), body.version_name(), text));
  }
  if (!body.sha256_name().empty()) {
    if (model->has_remote()) {
      context.Error("MR1513", ".inference.sha256_name", "a remote model has no digest");
      return std::nullopt;
    }
    body.set_sha256_id(AppendColumn(out.schema, body.sha256_id(), body.sha256_name(), text));
  }
  if (!CheckNames(context, ".inference", out.schema)) return std::nullopt;
  return out;
}

// ---- explain ----

std::string InferenceText(const v1::Node& node, const v1::Schema& input) {
  const v1::Inference& body = node.inference();
  std::vector<std::string> features, outputs;
  for (const v1::NamedExpr& feature : body.features()) {
    features.push_back(ExpressionText(feature.expr(), input));
  }
  for (const v1::Prediction& output : body.outputs()) {
    std::string text = output.tensor();
    if (output.index() > 0) text += Concat("[", output.index(), "]");
    outputs.push_back(text == output.name() ? text : Concat(text, " AS ", output.name()));
  }
  return Concat("inference ", Join(outputs, ", "), " of model ", body.model(), " (",
                Join(features, ", "), ")");
}

}  // namespace

const NodeKind kInferenceNode = {
    .body = v1::Node::kInference,
    .name = "inference",
    .compile = &CompileInference,
    .text = &InferenceText,
    .state_text = [](const v1::Node& node, const v1::Schema&,
                     uint64_t) { return Concat("which model: ", node.inference().model()); },
    .layout = [](const v1::Node&, const std::vector<v1::Schema>&, v1::StateLayout&) {},
    .has_dead_letter_output = true,
};

}  // namespace millrace
