// Trees and linear models of ONNX (domain ai.onnx.ml) as our own. Results follow ONNX Runtime: sums
// in float32, tree by tree, base values last.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "onnx/onnx.pb.h"
#include "operators/inference/forest.h"
#include "operators/inference/linear.h"
#include "operators/inference/onnx_model.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(Concat("the trees of the ONNX model: ", what));
}

// The attributes of one node.
class Attributes {
 public:
  explicit Attributes(const onnx::NodeProto& node) {
    for (const onnx::AttributeProto& one : node.attribute()) by_name_[one.name()] = &one;
  }
  const google::protobuf::RepeatedField<int64_t>& ints(const std::string& name) const {
    return Find(name).ints();
  }
  const google::protobuf::RepeatedField<float>& floats(const std::string& name) const {
    return Find(name).floats();
  }
  const google::protobuf::RepeatedPtrField<std::string>& strings(const std::string& name) const {
    return Find(name).strings();
  }
  std::string text(const std::string& name, const std::string& otherwise) const {
    return Has(name) ? Find(name).s() : otherwise;
  }
  int64_t whole(const std::string& name, int64_t otherwise) const {
    return Has(name) ? Find(name).i() : otherwise;
  }
  bool Has(const std::string& name) const { return by_name_.contains(name); }
  // Attributes of opset 3 with double values.
  bool HasTensors() const {
    return std::any_of(by_name_.begin(), by_name_.end(),
                       [](const auto& entry) { return entry.first.ends_with("_as_tensor"); });
  }

 private:
  const onnx::AttributeProto& Find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? onnx::AttributeProto::default_instance() : *found->second;
  }
  std::map<std::string, const onnx::AttributeProto*> by_name_;
};

// A native model in the making. Functions that return false met something that we do not run.
struct Native {
  int32_t features;  // Of the graph's input: trees may look at fewer.
  NativeOnnx result = {};
};

std::optional<Link> LinkOf(const std::string& name) {
  if (name == "NONE") return Link::kIdentity;
  if (name == "LOGISTIC") return Link::kLogisticOnnx;
  if (name == "SOFTMAX") return Link::kSoftmax;
  if (name == "SOFTMAX_ZERO") return Link::kSoftmaxZero;
  return std::nullopt;
}

void ReadLabels(const Attributes& attributes, const std::string& ints, const std::string& strings,
                Head& head) {
  const auto& whole = attributes.ints(ints);
  head.int_labels.assign(whole.begin(), whole.end());
  const auto& text = attributes.strings(strings);
  head.string_labels.assign(text.begin(), text.end());
  if (!head.string_labels.empty()) head.int_labels.clear();
}

class TreesReader {
 public:
  TreesReader(const Attributes& attributes, const std::string& prefix)
      : attributes_(attributes), prefix_(prefix) {}

  // Nodes in the order of the file; trees in the order of their first node.
  absl::Status ReadNodes(Forest& forest) {
    const auto& trees = attributes_.ints("nodes_treeids");
    const auto& ids = attributes_.ints("nodes_nodeids");
    const auto& features = attributes_.ints("nodes_featureids");
    const auto& modes = attributes_.strings("nodes_modes");
    const auto& values = attributes_.floats("nodes_values");
    const auto& yes = attributes_.ints("nodes_truenodeids");
    const auto& no = attributes_.ints("nodes_falsenodeids");
    const auto& missing = attributes_.ints("nodes_missing_value_tracks_true");
    const int count = trees.size();
    if (count == 0 || static_cast<size_t>(count) > kForestNodesMax || ids.size() != count ||
        features.size() != count || modes.size() != count || values.size() != count ||
        yes.size() != count || no.size() != count ||
        (missing.size() != count && missing.size() != 0)) {
      return Malformed("attributes of unequal length");
    }
    for (int i = 0; i < count; ++i) {
      if (!index_.emplace(std::pair(trees[i], ids[i]), i).second) {
        return Malformed("a node is there twice");
      }
      if (i == 0 || trees[i] != trees[i - 1]) {
        if (!tree_of_.emplace(trees[i], forest.roots.size()).second) {
          return Malformed("the nodes of a tree are apart");
        }
        forest.roots.push_back(i);
      }
      if (features[i] < 0 || features[i] > INT32_MAX) return Malformed("feature out of range");
    }
    forest.nodes.resize(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      ForestNode& node = forest.nodes[static_cast<size_t>(i)];
      const std::string& mode = modes[i];
      if (mode == "LEAF") continue;
      node.feature = static_cast<int32_t>(features[i]);
      node.threshold = values[i];
      node.yes = NodeOf(trees[i], yes[i]);
      node.no = NodeOf(trees[i], no[i]);
      node.missing_yes = missing.size() > 0 && missing[i] != 0;
      if (!SetTest(mode, node)) return Malformed(Concat("unknown mode ", mode));
    }
    return absl::OkStatus();
  }

  // Leaf values, as the `target_` or `class_` attributes say.
  absl::Status ReadLeaves(Forest& forest) {
    const auto& trees = attributes_.ints(prefix_ + "_treeids");
    const auto& nodes = attributes_.ints(prefix_ + "_nodeids");
    const auto& ids = attributes_.ints(prefix_ + "_ids");
    const auto& weights = attributes_.floats(prefix_ + "_weights");
    const int count = trees.size();
    if (nodes.size() != count || ids.size() != count || weights.size() != count || count == 0) {
      return Malformed("leaf values of unequal length");
    }
    std::map<int64_t, std::set<int64_t>> scores_of_tree;
    for (int i = 0; i < count; ++i) {
      if (ids[i] < 0 || ids[i] >= forest.scores) return Malformed("a target that does not exist");
      scores_of_tree[trees[i]].insert(ids[i]);
      all_positive_ &= weights[i] >= 0;
      scores_.insert(ids[i]);
    }
    forest.score_of.assign(forest.roots.size(), 0);
    for (const auto& [tree, scores] : scores_of_tree) {
      const auto found = tree_of_.find(tree);
      if (found == tree_of_.end()) return Malformed("leaf values of no tree");
      forest.score_of[found->second] =
          scores.size() == 1 ? static_cast<int32_t>(*scores.begin()) : -1;
    }
    std::vector<int> tree_of_node(forest.nodes.size());
    for (const auto& [key, node] : index_) {
      tree_of_node[static_cast<size_t>(node)] = static_cast<int>(tree_of_.at(key.first));
    }
    for (size_t i = 0; i < forest.nodes.size(); ++i) {
      ForestNode& node = forest.nodes[i];
      if (node.test != ForestNode::Test::kLeaf) continue;
      node.leaf = static_cast<int32_t>(forest.values.size());
      const bool one = forest.score_of[static_cast<size_t>(tree_of_node[i])] >= 0;
      forest.values.resize(forest.values.size() + (one ? 1 : static_cast<size_t>(forest.scores)));
      if (forest.values.size() > 4 * kForestNodesMax) return Malformed("too many leaf values");
    }
    for (int i = 0; i < count; ++i) {
      const int32_t at = NodeOf(trees[i], nodes[i]);
      if (at < 0 || forest.nodes[static_cast<size_t>(at)].test != ForestNode::Test::kLeaf) {
        return Malformed("the value of a node that is no leaf");
      }
      const size_t tree = tree_of_.at(trees[i]);
      const int64_t offset = forest.score_of[tree] >= 0 ? 0 : ids[i];
      const ForestNode& node = forest.nodes[static_cast<size_t>(at)];
      forest.values[static_cast<size_t>(node.leaf + offset)] += static_cast<double>(weights[i]);
    }
    return absl::OkStatus();
  }

  bool all_positive() const { return all_positive_; }
  // Targets that some leaf has a value of.
  const std::set<int64_t>& scores() const { return scores_; }

 private:
  int32_t NodeOf(int64_t tree, int64_t id) const {
    const auto found = index_.find({tree, id});
    return found == index_.end() ? -1 : found->second;
  }

  // NaN goes where the comparison is false, unless it tracks true.
  static bool SetTest(const std::string& mode, ForestNode& node) {
    using Test = ForestNode::Test;
    struct Mode {
      std::string_view name;
      Test test;
      bool is_inverse;
    };
    static constexpr Mode kModes[] = {
        {"BRANCH_LEQ", Test::kLessOrEqual, false}, {"BRANCH_LT", Test::kLess, false},
        {"BRANCH_GTE", Test::kLess, true},         {"BRANCH_GT", Test::kLessOrEqual, true},
        {"BRANCH_EQ", Test::kEqual, false},        {"BRANCH_NEQ", Test::kEqual, true},
    };
    for (const Mode& one : kModes) {
      if (one.name != mode) continue;
      node.test = one.test;
      if (one.is_inverse) {
        std::swap(node.yes, node.no);
        node.missing_yes = !node.missing_yes;
      }
      return true;
    }
    return false;
  }

  const Attributes& attributes_;
  const std::string prefix_;
  std::map<std::pair<int64_t, int64_t>, int32_t> index_;  // (tree, node) -> position.
  std::map<int64_t, size_t> tree_of_;                     // Tree -> index of its root.
  std::set<int64_t> scores_;
  bool all_positive_ = true;
};

absl::StatusOr<bool> ReadForest(const Attributes& attributes, bool is_classifier, Native& native) {
  Head& head = native.result.head;
  head.is_float = true;
  const std::optional<Link> link = LinkOf(attributes.text("post_transform", "NONE"));
  const std::string aggregate = attributes.text("aggregate_function", "SUM");
  if (!link || attributes.HasTensors() || (aggregate != "SUM" && aggregate != "AVERAGE")) {
    return false;
  }
  head.link = *link;
  Forest forest{
      .features = native.features, .base_comes_first = false, .is_average = aggregate == "AVERAGE"};
  if (is_classifier) {
    ReadLabels(attributes, "classlabels_int64s", "classlabels_strings", head);
    forest.scores =
        static_cast<int32_t>(std::max(head.int_labels.size(), head.string_labels.size()));
  } else {
    forest.scores =
        static_cast<int32_t>(std::clamp<int64_t>(attributes.whole("n_targets", 1), 0, 65'536));
  }
  if (forest.scores < 1 || forest.scores > 65'536) return Malformed("no targets");
  TreesReader reader(attributes, is_classifier ? "class" : "target");
  MILLRACE_RETURN_IF_ERROR(reader.ReadNodes(forest));
  MILLRACE_RETURN_IF_ERROR(reader.ReadLeaves(forest));
  const auto& base = attributes.floats("base_values");
  forest.base.assign(static_cast<size_t>(forest.scores), 0.0);
  if (is_classifier && forest.scores == 2 && reader.scores().size() == 1) {
    // One score for two classes.
    if (base.size() > 1 || (*link != Link::kLogisticOnnx && !reader.all_positive())) return false;
    head.is_pair = true;
    head.pair_threshold = reader.all_positive() ? 0.5 : 0;
    forest.scores = 1;
    forest.base.assign(1, base.empty() ? 0.0 : base[0]);
    forest.score_of.assign(forest.roots.size(), 0);
  } else if (static_cast<size_t>(base.size()) == forest.base.size()) {
    forest.base.assign(base.begin(), base.end());
  } else if (!base.empty()) {
    return false;
  }
  native.result.outputs = head.is_pair ? 2 : forest.scores;
  MILLRACE_ASSIGN_OR_RETURN(native.result.scorer, MakeForestScorer(forest));
  return true;
}

absl::StatusOr<bool> ReadLinear(const Attributes& attributes, bool is_classifier, Native& native) {
  Head& head = native.result.head;
  head.is_float = true;
  const std::optional<Link> link = LinkOf(attributes.text("post_transform", "NONE"));
  if (!link) return false;
  head.link = *link;
  const auto& coefficients = attributes.floats("coefficients");
  const auto& intercepts = attributes.floats("intercepts");
  int64_t scores = std::max<int64_t>(attributes.whole("targets", 1), 1);
  if (is_classifier) {
    ReadLabels(attributes, "classlabels_ints", "classlabels_strings", head);
    scores = static_cast<int64_t>(std::max(head.int_labels.size(), head.string_labels.size()));
    // ONNX Runtime makes two scores of one; seldom, so it may do that.
    if (scores < 2 || intercepts.size() != scores) return false;
  }
  if (scores > 65'536 || coefficients.size() != scores * native.features ||
      (!intercepts.empty() && intercepts.size() != scores)) {
    return absl::InvalidArgumentError("the coefficients of the ONNX model do not fit");
  }
  LinearScores linear{.rounds_to_float = true};
  for (int64_t k = 0; k < scores; ++k) {
    const auto first = coefficients.begin() + k * native.features;
    linear.coefficients.emplace_back(first, first + native.features);
    linear.intercepts.push_back(intercepts.empty() ? 0 : intercepts[static_cast<int>(k)]);
  }
  native.result.outputs = scores;
  MILLRACE_ASSIGN_OR_RETURN(native.result.scorer, MakeLinearScorer(std::move(linear)));
  return true;
}

// One node, trees or linear.
absl::StatusOr<bool> ReadNode(const onnx::NodeProto& node, Native& native) {
  const Attributes attributes(node);
  const std::string& type = node.op_type();
  if (type == "TreeEnsembleRegressor") return ReadForest(attributes, false, native);
  if (type == "TreeEnsembleClassifier") return ReadForest(attributes, true, native);
  if (type == "LinearRegressor") return ReadLinear(attributes, false, native);
  if (type == "LinearClassifier") return ReadLinear(attributes, true, native);
  return false;
}

}  // namespace

absl::StatusOr<std::optional<NativeOnnx>> MakeNativeOnnx(const onnx::ModelProto& model) {
  const onnx::GraphProto& graph = model.graph();
  const onnx::NodeProto& first = graph.node(0);
  if (graph.input_size() != 1 || first.domain() != "ai.onnx.ml" || first.input_size() != 1 ||
      first.input(0) != graph.input(0).name() || graph.initializer_size() > 0 ||
      graph.input(0).type().tensor_type().elem_type() != 1) {
    return std::optional<NativeOnnx>();
  }
  const auto& shape = graph.input(0).type().tensor_type().shape();
  const int64_t features = shape.dim_size() == 2 ? shape.dim(1).dim_value() : 0;
  if (features < 1 || features > 65'536) return std::optional<NativeOnnx>();
  Native native{.features = static_cast<int32_t>(features)};
  MILLRACE_ASSIGN_OR_RETURN(const bool known, ReadNode(first, native));
  if (!known) return std::optional<NativeOnnx>();
  native.result.input = graph.input(0).name();
  // Values by name: the outputs of the node, and what other nodes only rename.
  std::map<std::string, OutputRole> roles;
  const bool has_labels = first.op_type().ends_with("Classifier");
  for (int i = 0; i < first.output_size(); ++i) {
    roles[first.output(i)] = has_labels && i == 0 ? OutputRole::kLabel : OutputRole::kScores;
  }
  for (int i = 1; i < graph.node_size(); ++i) {
    const onnx::NodeProto& node = graph.node(i);
    if (node.input_size() != 1 || node.output_size() != 1 || !roles.contains(node.input(0))) {
      return std::optional<NativeOnnx>();
    }
    const OutputRole role = roles[node.input(0)];
    const bool is_l1 = node.op_type() == "Normalizer" && role == OutputRole::kScores &&
                       Attributes(node).text("norm", "MAX") == "L1";
    if (is_l1) {
      native.result.head.normalize = true;
      roles.erase(node.input(0));  // Not normalized: no longer ours to give.
    } else if (node.op_type() != "Identity") {
      return std::optional<NativeOnnx>();
    }
    roles[node.output(0)] = role;
  }
  for (const onnx::ValueInfoProto& output : graph.output()) {
    const auto found = roles.find(output.name());
    if (found == roles.end()) return std::optional<NativeOnnx>();
    native.result.names.push_back({output.name(), found->second});
  }
  return std::optional<NativeOnnx>(std::move(native.result));
}

}  // namespace millrace
