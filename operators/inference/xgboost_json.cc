// XGBoost's JSON: trees of booster "gbtree", numerical splits, one target. XGBoost calculates in
// float32, one tree after the other, and so do we.
#include <simdjson.h>

#include <cmath>
#include <string>

#include "operators/inference/forest.h"
#include "operators/inference/json_reader.h"
#include "operators/inference/model_formats.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

using Element = simdjson::dom::element;

struct Objective {
  std::string_view name;
  Link link;
  // The base score is given behind the link: its margin is the link's inverse.
  float (*margin)(float base);
};
float Same(float base) { return base; }
float Logit(float base) { return -std::log(1.0F / base - 1.0F); }
float Log(float base) { return std::log(base); }
constexpr Objective kObjectives[] = {
    {"binary:logistic", Link::kLogisticXgboost, &Logit},
    {"binary:logitraw", Link::kIdentity, &Same},  // Since version 3.
    {"count:poisson", Link::kExp, &Log},
    {"multi:softprob", Link::kSoftmax, &Same},
    {"rank:map", Link::kIdentity, &Same},
    {"rank:ndcg", Link::kIdentity, &Same},
    {"rank:pairwise", Link::kIdentity, &Same},
    {"reg:absoluteerror", Link::kIdentity, &Same},
    {"reg:gamma", Link::kExp, &Log},
    {"reg:logistic", Link::kLogisticXgboost, &Logit},
    {"reg:pseudohubererror", Link::kIdentity, &Same},
    {"reg:quantileerror", Link::kIdentity, &Same},
    {"reg:squarederror", Link::kIdentity, &Same},
    {"reg:squaredlogerror", Link::kIdentity, &Same},
    {"reg:tweedie", Link::kExp, &Log},
};

const Objective* FindObjective(std::string_view name) {
  for (const Objective& one : kObjectives) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

absl::Status Unsupported(std::string_view what) {
  return absl::InvalidArgumentError(Concat("XGBoost models with ", what, " are not supported"));
}

void ReadTree(const Element& tree, JsonReader& json, Forest& forest) {
  const auto left = json.Wholes(json.Member(tree, "left_children"), "left_children");
  const auto right = json.Wholes(json.Member(tree, "right_children"), "right_children");
  const auto feature = json.Wholes(json.Member(tree, "split_indices"), "split_indices");
  const auto value = json.Numbers(json.Member(tree, "split_conditions"), "split_conditions");
  const auto missing = json.Wholes(json.Member(tree, "default_left"), "default_left");
  std::vector<int32_t> kind(left.size(), 0);
  Element kinds;
  if (tree["split_type"].get(kinds) == simdjson::SUCCESS) kind = json.Wholes(kinds, "split_type");
  const size_t nodes = left.size();
  if (nodes == 0 || right.size() != nodes || feature.size() != nodes || value.size() != nodes ||
      missing.size() != nodes || kind.size() != nodes ||
      forest.nodes.size() + nodes > kForestNodesMax) {
    return json.Fail("trees");
  }
  const auto first = static_cast<int32_t>(forest.nodes.size());
  forest.roots.push_back(first);
  for (size_t i = 0; i < nodes; ++i) {
    ForestNode& node = forest.nodes.emplace_back();
    if (left[i] < 0) {
      node.leaf = static_cast<int32_t>(forest.values.size());
      forest.values.push_back(value[i]);
      continue;
    }
    if (kind[i] != 0) json.Fail("categorical splits");
    node.test = ForestNode::Test::kLess;
    node.missing_yes = missing[i] != 0;
    node.feature = feature[i];
    node.threshold = static_cast<float>(value[i]);
    node.yes = left[i] < static_cast<int64_t>(nodes) ? first + left[i] : -1;
    node.no = right[i] >= 0 && right[i] < static_cast<int64_t>(nodes) ? first + right[i] : -1;
  }
}

// "5E-1" before version 3.1, "[5E-1]" or "[1E0,2E0]" since.
std::vector<double> ReadBaseScore(const Element& parameters, JsonReader& json) {
  const std::string text(json.Text(json.Member(parameters, "base_score"), "base_score"));
  simdjson::dom::parser parser;
  Element value;
  if (parser.parse(text).get(value) != simdjson::SUCCESS) {
    json.Fail("base_score");
    return {};
  }
  if (!value.is_array()) return {json.Number(value, "base_score")};
  return json.Numbers(value, "base_score");
}

// With early stopping, some of XGBoost's interfaces leave the last trees out and some do not.
absl::Status CheckBestIteration(const Element& learner, const Element& body, JsonReader& json) {
  Element best;
  if (learner["attributes"]["best_iteration"].get(best) != simdjson::SUCCESS) {
    return absl::OkStatus();
  }
  const int64_t iteration = json.WholeText(learner["attributes"].value(), "best_iteration");
  const auto starts = json.Wholes(json.Member(body, "iteration_indptr"), "iteration_indptr");
  if (!json.ok() || iteration + 2 == static_cast<int64_t>(starts.size())) return absl::OkStatus();
  return Unsupported("trees behind best_iteration (save booster[: best_iteration + 1])");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> LoadXgboostJson(const v1::Model& model, const Wanted& wanted,
                                                       const std::string& bytes) {
  simdjson::dom::parser parser;
  Element root;
  if (const auto error = parser.parse(bytes).get(root); error != simdjson::SUCCESS) {
    return absl::InvalidArgumentError(
        Concat("the file is not JSON: ", simdjson::error_message(error)));
  }
  JsonReader json;
  const Element learner = json.Member(root, "learner");
  const Element booster = json.Member(learner, "gradient_booster");
  const std::string_view kind = json.Text(json.Member(booster, "name"), "name");
  const Element parameters = json.Member(learner, "learner_model_param");
  const std::string_view name =
      json.Text(json.Member(json.Member(learner, "objective"), "name"), "name");
  if (json.ok() && kind != "gbtree") return Unsupported(Concat("booster ", kind));
  const Element body = json.Member(booster, "model");
  const simdjson::dom::array trees = json.Array(json.Member(body, "trees"), "trees");
  if (!json.ok()) {
    return absl::InvalidArgumentError(
        Concat("the file is not a model of XGBoost: member '", json.problem(), "'"));
  }
  int64_t major = 0;
  if (name == "binary:logitraw" &&
      (root["version"].at(0).get(major) != simdjson::SUCCESS || major < 3)) {
    return Unsupported("objective binary:logitraw before version 3; save it again");
  }
  const Objective* known = FindObjective(name);
  if (known == nullptr) return Unsupported(Concat("objective ", name));
  MILLRACE_RETURN_IF_ERROR(CheckBestIteration(learner, body, json));

  Forest forest;
  const int64_t classes = json.WholeText(parameters, "num_class");
  const int64_t features = json.WholeText(parameters, "num_feature");
  Element targets;
  if (parameters["num_target"].get(targets) == simdjson::SUCCESS &&
      json.WholeText(parameters, "num_target") > 1) {
    return Unsupported("several targets");
  }
  if (features < 0 || features > 65'536 || classes < 0 || classes > 65'536) json.Fail("num_class");
  forest.features = static_cast<int32_t>(features);
  forest.scores = std::max(static_cast<int32_t>(classes), 1);
  for (const Element tree : trees) ReadTree(tree, json, forest);
  forest.score_of = json.Wholes(json.Member(body, "tree_info"), "tree_info");
  std::vector<double> base = ReadBaseScore(parameters, json);
  if (json.ok() && base.size() == 1) base.resize(static_cast<size_t>(forest.scores), base[0]);
  if (json.ok() && base.size() != static_cast<size_t>(forest.scores)) json.Fail("base_score");
  if (!json.ok()) {
    return absl::InvalidArgumentError(
        Concat("the model of XGBoost is malformed or not supported: ", json.problem()));
  }
  for (double& score : base) {
    score = known->margin(static_cast<float>(score));
    if (!std::isfinite(score)) return absl::InvalidArgumentError("the base score is out of range");
  }
  forest.base = std::move(base);
  MILLRACE_RETURN_IF_ERROR(
      CheckSignature(model, {.features = forest.features, .outputs = forest.scores}));
  MILLRACE_ASSIGN_OR_RETURN(auto scorer, MakeForestScorer(forest));
  return MakeNativeModel(std::move(scorer), {.link = known->link, .is_float = true},
                         {OutputRole::kScores}, wanted);
}

}  // namespace millrace
