// LightGBM's text format: numerical splits, constant leaves. LightGBM compares and sums in double.
#include <charconv>
#include <cmath>
#include <map>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "operators/inference/forest.h"
#include "operators/inference/model_formats.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

using Section = std::map<std::string, std::string, std::less<>>;

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(
      Concat("the model of LightGBM is malformed or not supported: ", what));
}

template <typename Number>
bool ParseList(const Section& section, std::string_view name, std::vector<Number>& out) {
  const auto found = section.find(name);
  if (found == section.end()) return false;
  for (const auto word : absl::StrSplit(found->second, ' ', absl::SkipEmpty())) {
    Number value{};
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, value);
    if (error != std::errc() || stop != end) return false;
    out.push_back(value);
  }
  return true;
}

bool ParseWhole(const Section& section, std::string_view name, int32_t& out) {
  std::vector<int32_t> list;
  if (!ParseList(section, name, list) || list.size() != 1) return false;
  out = list[0];
  return true;
}

// The parameters, and one section per tree. Lines are "name=value" or a single word.
struct Text {
  Section head;
  std::vector<Section> trees;
  bool is_complete = false;
};

absl::StatusOr<Text> ReadText(std::string_view bytes) {
  Text text;
  Section* section = &text.head;
  bool is_first = true;
  while (!bytes.empty() && !text.is_complete) {
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (is_first && line != "tree") {
      return absl::InvalidArgumentError("the file is not a model of LightGBM");
    }
    is_first = false;
    if (line == "end of trees") text.is_complete = true;
    const size_t equals = line.find('=');
    const std::string_view name = line.substr(0, equals);
    if (name == "Tree") section = &text.trees.emplace_back();
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : line.substr(equals + 1);
    (*section)[std::string(name)] = std::string(value);
  }
  if (!text.is_complete) return Malformed("the end is missing");
  return text;
}

int32_t NodeOf(int32_t first, int32_t leaves, int32_t child) {
  const int32_t splits = leaves - 1;
  if (child >= 0) return child < splits ? first + child : -1;
  return ~child < leaves ? first + splits + ~child : -1;
}

absl::Status ReadTree(const Section& section, Forest& forest) {
  int32_t leaves = 0, categorical = 0, linear = 0;
  if (!ParseWhole(section, "num_leaves", leaves) || leaves < 1) return Malformed("num_leaves");
  if (ParseWhole(section, "num_cat", categorical) && categorical > 0) {
    return Malformed("categorical splits");
  }
  if (ParseWhole(section, "is_linear", linear) && linear != 0) return Malformed("linear leaves");
  std::vector<double> leaf, threshold;
  std::vector<int32_t> feature, decision, left, right;
  const auto splits = static_cast<size_t>(leaves - 1);
  if (!ParseList(section, "leaf_value", leaf) || leaf.size() != static_cast<size_t>(leaves)) {
    return Malformed("leaf_value");
  }
  if (splits > 0 &&
      (!ParseList(section, "split_feature", feature) ||
       !ParseList(section, "threshold", threshold) ||
       !ParseList(section, "decision_type", decision) || !ParseList(section, "left_child", left) ||
       !ParseList(section, "right_child", right))) {
    return Malformed("the splits of a tree");
  }
  if (feature.size() != splits || threshold.size() != splits || decision.size() != splits ||
      left.size() != splits || right.size() != splits ||
      forest.nodes.size() + leaf.size() + splits > kForestNodesMax) {
    return Malformed("the splits of a tree");
  }
  const auto first = static_cast<int32_t>(forest.nodes.size());
  forest.roots.push_back(first);
  for (size_t i = 0; i < splits; ++i) {
    ForestNode node{.test = ForestNode::Test::kLessOrEqual,
                    .feature = feature[i],
                    .threshold = threshold[i],
                    .yes = NodeOf(first, leaves, left[i]),
                    .no = NodeOf(first, leaves, right[i])};
    const int missing = (decision[i] >> 2) & 3;
    if ((decision[i] & 1) != 0 || missing > 2) return Malformed("categorical splits");
    node.zero_is_missing = missing == 1;
    // Without a way for missing values, NaN is 0.
    node.missing_yes = missing == 0 ? 0.0 <= node.threshold : (decision[i] & 2) != 0;
    forest.nodes.push_back(node);
  }
  for (const double value : leaf) {
    ForestNode& node = forest.nodes.emplace_back();
    node.leaf = static_cast<int32_t>(forest.values.size());
    forest.values.push_back(value);
  }
  return absl::OkStatus();
}

// "binary sigmoid:1", "regression sqrt", "multiclass num_class:3".
absl::StatusOr<Head> ReadObjective(const Section& head) {
  const auto found = head.find("objective");
  if (found == head.end()) return Head{};
  const std::vector<std::string> words = absl::StrSplit(found->second, ' ', absl::SkipEmpty());
  if (words.empty()) return Head{};
  Head out;
  bool is_sqrt = false;
  for (const std::string& word : words) {
    is_sqrt |= word == "sqrt";
    if (word.starts_with("sigmoid:") && !absl::SimpleAtod(word.substr(8), &out.scale)) {
      return Malformed("objective");
    }
  }
  static constexpr std::pair<std::string_view, Link> kLinks[] = {
      {"binary", Link::kLogistic},
      {"cross_entropy", Link::kLogistic},
      {"custom", Link::kIdentity},
      {"fair", Link::kIdentity},
      {"gamma", Link::kExp},
      {"huber", Link::kIdentity},
      {"lambdarank", Link::kIdentity},
      {"mape", Link::kIdentity},
      {"multiclass", Link::kSoftmax},
      {"multiclassova", Link::kLogistic},
      {"poisson", Link::kExp},
      {"quantile", Link::kIdentity},
      {"rank_xendcg", Link::kIdentity},
      {"regression", Link::kIdentity},
      {"regression_l1", Link::kIdentity},
      {"tweedie", Link::kExp},
  };
  for (const auto& [name, link] : kLinks) {
    if (name != words[0]) continue;
    out.link = is_sqrt ? Link::kSignedSquare : link;
    return out;
  }
  return Malformed(Concat("objective ", words[0]));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> LoadLightGbmText(const v1::Model& model,
                                                        const Wanted& wanted,
                                                        const std::string& bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const Text text, ReadText(bytes));
  int32_t per_iteration = 0, feature_max = 0;
  if (!ParseWhole(text.head, "num_tree_per_iteration", per_iteration) || per_iteration < 1 ||
      per_iteration > 65'536 || !ParseWhole(text.head, "max_feature_idx", feature_max) ||
      feature_max < 0 || feature_max >= 65'536) {
    return Malformed("num_tree_per_iteration, max_feature_idx");
  }
  Forest forest{.features = feature_max + 1, .scores = per_iteration, .double_sums = true};
  forest.double_features =
      model.inputs_size() > 0 && model.inputs(0).type() == v1::Tensor::TYPE_FLOAT64;
  forest.is_average = text.head.contains("average_output");
  for (const Section& tree : text.trees) {
    forest.score_of.push_back(static_cast<int32_t>(forest.roots.size()) % per_iteration);
    MILLRACE_RETURN_IF_ERROR(ReadTree(tree, forest));
  }
  if (forest.is_average && per_iteration > 1) return Malformed("averages of several classes");
  forest.base.assign(static_cast<size_t>(per_iteration), 0.0);
  MILLRACE_ASSIGN_OR_RETURN(Head head, ReadObjective(text.head));
  MILLRACE_RETURN_IF_ERROR(CheckSignature(model, {.features = forest.features,
                                                  .double_features = true,
                                                  .output = v1::Tensor::TYPE_FLOAT64,
                                                  .outputs = forest.scores}));
  MILLRACE_ASSIGN_OR_RETURN(auto scorer, MakeForestScorer(forest));
  return MakeNativeModel(std::move(scorer), std::move(head), {OutputRole::kScores}, wanted);
}

}  // namespace millrace
