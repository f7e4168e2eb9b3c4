#include "operators/inference/forest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Trees of at most so many levels are stored in full, children by position.
constexpr int kFullDepthMax = 8;
// Rows that go down a tree together; one AVX-512 register of floats.
constexpr int kLanes = 16;
constexpr double kZero = 1e-35F;  // LightGBM's.

absl::Status NotATree(const char* what) {
  return absl::InvalidArgumentError(Concat("the trees of the model are malformed: ", what));
}

// Checks that every root is a tree whose nodes belong to it alone; its depths by tree.
absl::StatusOr<std::vector<int>> DepthsOf(const Forest& forest) {
  if (forest.nodes.size() > kForestNodesMax) return NotATree("too many nodes");
  const auto nodes = static_cast<int32_t>(forest.nodes.size());
  std::vector<bool> seen(forest.nodes.size(), false);
  std::vector<int> depths;
  for (size_t tree = 0; tree < forest.roots.size(); ++tree) {
    const int32_t score = forest.score_of[tree];
    if (score < -1 || score >= forest.scores) return NotATree("a score that does not exist");
    const int32_t values = score < 0 ? forest.scores : 1;
    std::vector<std::pair<int32_t, int>> todo = {{forest.roots[tree], 0}};
    int depth = 0;
    while (!todo.empty()) {
      const auto [at, level] = todo.back();
      todo.pop_back();
      if (at < 0 || at >= nodes) return NotATree("a node that does not exist");
      if (seen[static_cast<size_t>(at)]) return NotATree("a node has two parents");
      if (level > kTreeDepthMax) return NotATree("too many levels");
      seen[static_cast<size_t>(at)] = true;
      depth = std::max(depth, level);
      const ForestNode& node = forest.nodes[static_cast<size_t>(at)];
      if (node.test == ForestNode::Test::kLeaf) {
        const auto end = static_cast<int64_t>(node.leaf) + values;
        if (node.leaf < 0 || end > static_cast<int64_t>(forest.values.size())) {
          return NotATree("a leaf without value");
        }
        continue;
      }
      if (node.feature < 0 || node.feature >= forest.features) {
        return NotATree("a feature that does not exist");
      }
      if (std::isnan(node.threshold)) return NotATree("a threshold that is not a number");
      todo.emplace_back(node.yes, level + 1);
      todo.emplace_back(node.no, level + 1);
    }
    depths.push_back(depth);
  }
  return depths;
}

// The largest T x with x <= threshold, or x < threshold.
template <typename X>
X Bound(const ForestNode& node) {
  X bound = static_cast<X>(node.threshold);
  constexpr X kDown = -std::numeric_limits<X>::infinity();
  if (static_cast<double>(bound) > node.threshold) bound = std::nextafter(bound, kDown);
  const bool equal = static_cast<double>(bound) == node.threshold;
  if (node.test == ForestNode::Test::kLess && equal) bound = std::nextafter(bound, kDown);
  return bound;
}

// One tree as arrays. A row at node i goes to its first child where x <= bound[i], else to the
// second one. Full trees: children of i are 2i + 1 and 2i + 2. Others: child[i] and child[i] + 1; a
// leaf is its own first child, and its bound is +inf.
template <typename X>
struct TreeView {
  const int32_t*
      offset;  // Of the feature in the block, times 2; odd: NaN goes to the second child.
  const X* bound;
  const int32_t* child;  // Null: full.
  int depth;
};

template <typename X, bool kMissing, bool kFull>
[[gnu::always_inline]] inline void Descend(const TreeView<X>& tree, const X* block,
                                           int32_t* __restrict at) {
  for (int level = 0; level < tree.depth; ++level) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t i = at[lane];
      const int32_t offset = tree.offset[i];
      const X x = block[(offset >> 1) + lane];
      int32_t second = x > tree.bound[i] ? 1 : 0;
      if constexpr (kMissing) second |= x != x ? offset & 1 : 0;
      at[lane] = (kFull ? 2 * i + 1 : tree.child[i]) + second;
    }
  }
}

// All trees over one block of rows. `leaf` of a tree's node i is first[i]; sums[score][row].
template <typename X, typename Sum>
struct Trees {
  struct Tree {
    size_t nodes;  // First in the arrays.
    size_t leaves;
    int depth;
    bool is_full;
    int32_t score;
  };
  std::vector<Tree> trees;
  std::vector<int32_t> offset, child;
  std::vector<X> bound;
  std::vector<Sum> leaf;  // By node; full trees: by position in the last level.
};

template <typename X, typename Sum, bool kMissing>
[[gnu::always_inline]] inline void AddTrees(const Trees<X, Sum>& forest, int scores, const X* block,
                                            int rows, Sum* __restrict sums) {
  for (const auto& tree : forest.trees) {
    const TreeView<X> view{.offset = forest.offset.data() + tree.nodes,
                           .bound = forest.bound.data() + tree.nodes,
                           .child = forest.child.data() + tree.nodes,
                           .depth = tree.depth};
    const Sum* leaf = forest.leaf.data() + tree.leaves;
    const int32_t first = tree.is_full ? (1 << tree.depth) - 1 : 0;
    for (int row = 0; row < rows; row += kLanes) {
      alignas(64) int32_t at[kLanes] = {};
      if (tree.is_full) {
        Descend<X, kMissing, true>(view, block + row, at);
      } else {
        Descend<X, kMissing, false>(view, block + row, at);
      }
      if (tree.score >= 0) {
        Sum* sum = sums + tree.score * kModelRows + row;
        for (int lane = 0; lane < kLanes; ++lane) sum[lane] += leaf[at[lane] - first];
        continue;
      }
      for (int k = 0; k < scores; ++k) {
        Sum* sum = sums + k * kModelRows + row;
        for (int lane = 0; lane < kLanes; ++lane) {
          sum[lane] += leaf[(at[lane] - first) * scores + k];
        }
      }
    }
  }
}

template <typename X, typename Sum>
using AddFn = void (*)(const Trees<X, Sum>&, int scores, const X* block, int rows, Sum* sums);

template <typename X, typename Sum, bool kMissing>
void AddPlain(const Trees<X, Sum>& forest, int scores, const X* block, int rows, Sum* sums) {
  AddTrees<X, Sum, kMissing>(forest, scores, block, rows, sums);
}

#if defined(__x86_64__)
template <typename X, typename Sum, bool kMissing>
[[gnu::target("avx512f,avx512dq,avx512vl,avx512bw,prefer-vector-width=512")]] void AddAvx512(
    const Trees<X, Sum>& forest, int scores, const X* block, int rows, Sum* sums) {
  AddTrees<X, Sum, kMissing>(forest, scores, block, rows, sums);
}

bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}
#endif

template <typename X, typename Sum, bool kMissing>
AddFn<X, Sum> PickAdd() {
#if defined(__x86_64__)
  if (HasAvx512()) return &AddAvx512<X, Sum, kMissing>;
#endif
  return &AddPlain<X, Sum, kMissing>;
}

template <typename X, typename Sum>
class ForestScorer : public Scorer {
 public:
  ForestScorer(const Forest& forest, const std::vector<int>& depths)
      : forest_(forest),
        block_(static_cast<size_t>(std::max(forest.features, 1) * kModelRows)),
        sums_(static_cast<size_t>(forest.scores * kModelRows)) {
    for (const ForestNode& node : forest.nodes) {
      is_plain_ &= node.test != ForestNode::Test::kEqual && !node.zero_is_missing;
    }
    if (!is_plain_) return;
    for (size_t tree = 0; tree < forest.roots.size(); ++tree) AddTree(tree, depths[tree]);
  }

  int scores() const override { return forest_.scores; }
  int features() const override { return forest_.features; }

  void Score(std::span<const Column> features, int64_t begin, int rows, double* out) override {
    const bool has_nan = FillFeatures<X>(features, begin, rows, block_.data());
    for (int k = 0; k < forest_.scores; ++k) {
      const Sum start = forest_.base_comes_first ? base(k) : Sum(0);
      std::fill_n(sums_.data() + k * kModelRows, kModelRows, start);
    }
    if (is_plain_) {
      (has_nan ? add_missing_ : add_)(trees_, forest_.scores, block_.data(), rows, sums_.data());
    } else {
      for (int row = 0; row < rows; ++row) AddRow(row);
    }
    const auto trees = static_cast<Sum>(forest_.roots.size());
    for (int k = 0; k < forest_.scores; ++k) {
      for (int row = 0; row < rows; ++row) {
        Sum sum = sums_[static_cast<size_t>(k * kModelRows + row)];
        if (forest_.is_average) sum /= trees;
        if (!forest_.base_comes_first) sum += base(k);
        out[k * kModelRows + row] = sum;
      }
    }
  }

 private:
  Sum base(int score) const { return static_cast<Sum>(forest_.base[static_cast<size_t>(score)]); }

  int32_t OffsetOf(const ForestNode& node) const {
    return static_cast<int32_t>(node.feature * kModelRows * 2) + (node.missing_yes ? 0 : 1);
  }

  void AddTree(size_t tree, int depth) {
    const int32_t score = forest_.score_of[tree];
    typename Trees<X, Sum>::Tree entry{.nodes = trees_.offset.size(),
                                       .leaves = trees_.leaf.size(),
                                       .depth = depth,
                                       .is_full = depth <= kFullDepthMax,
                                       .score = score};
    if (entry.is_full) {
      AddFullTree(forest_.roots[tree], depth, score < 0 ? forest_.scores : 1);
    } else {
      AddLinkedTree(forest_.roots[tree], score < 0 ? forest_.scores : 1);
    }
    trees_.trees.push_back(entry);
  }

  // A leaf above the last level is repeated down to it.
  void AddFullTree(int32_t root, int depth, int values) {
    std::vector<int32_t> level = {root};
    for (int d = 0; d < depth; ++d) {
      std::vector<int32_t> next;
      for (const int32_t at : level) {
        const ForestNode& node = forest_.nodes[static_cast<size_t>(at)];
        const bool is_leaf = node.test == ForestNode::Test::kLeaf;
        trees_.offset.push_back(is_leaf ? 0 : OffsetOf(node));
        trees_.bound.push_back(is_leaf ? std::numeric_limits<X>::infinity() : Bound<X>(node));
        trees_.child.push_back(0);
        next.push_back(is_leaf ? at : node.yes);
        next.push_back(is_leaf ? at : node.no);
      }
      level = std::move(next);
    }
    for (const int32_t at : level) AddLeaf(forest_.nodes[static_cast<size_t>(at)], values);
  }

  // Children side by side, in breadth-first order.
  void AddLinkedTree(int32_t root, int values) {
    std::vector<int32_t> order = {root};
    for (size_t i = 0; i < order.size(); ++i) {
      const ForestNode& node = forest_.nodes[static_cast<size_t>(order[i])];
      const bool is_leaf = node.test == ForestNode::Test::kLeaf;
      trees_.offset.push_back(is_leaf ? 0 : OffsetOf(node));
      trees_.bound.push_back(is_leaf ? std::numeric_limits<X>::infinity() : Bound<X>(node));
      trees_.child.push_back(static_cast<int32_t>(is_leaf ? i : order.size()));
      if (is_leaf) {
        AddLeaf(node, values);
        continue;
      }
      trees_.leaf.insert(trees_.leaf.end(), static_cast<size_t>(values), Sum(0));
      order.push_back(node.yes);
      order.push_back(node.no);
    }
  }

  void AddLeaf(const ForestNode& node, int values) {
    for (int k = 0; k < values; ++k) {
      trees_.leaf.push_back(static_cast<Sum>(forest_.values[static_cast<size_t>(node.leaf + k)]));
    }
  }

  // Tests that the arrays cannot express: one row after the other.
  void AddRow(int row) {
    for (size_t tree = 0; tree < forest_.roots.size(); ++tree) {
      const ForestNode* node = &forest_.nodes[static_cast<size_t>(forest_.roots[tree])];
      while (node->test != ForestNode::Test::kLeaf) {
        const X x = block_[static_cast<size_t>(node->feature * kModelRows + row)];
        node = &forest_.nodes[static_cast<size_t>(GoesYes(*node, x) ? node->yes : node->no)];
      }
      const int32_t score = forest_.score_of[tree];
      for (int k = 0; k < (score < 0 ? forest_.scores : 1); ++k) {
        const int to = score < 0 ? k : score;
        sums_[static_cast<size_t>(to * kModelRows + row)] +=
            static_cast<Sum>(forest_.values[static_cast<size_t>(node->leaf + k)]);
      }
    }
  }

  static bool GoesYes(const ForestNode& node, X x) {
    if (std::isnan(x)) return node.missing_yes;
    if (node.zero_is_missing && std::abs(x) <= kZero) return node.missing_yes;
    if (node.test == ForestNode::Test::kEqual) return x == static_cast<X>(node.threshold);
    return node.test == ForestNode::Test::kLess ? x < node.threshold : x <= node.threshold;
  }

  const Forest forest_;
  bool is_plain_ = true;
  Trees<X, Sum> trees_;
  const AddFn<X, Sum> add_ = PickAdd<X, Sum, false>();
  const AddFn<X, Sum> add_missing_ = PickAdd<X, Sum, true>();
  std::vector<X> block_;  // [feature][kModelRows]
  std::vector<Sum> sums_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Scorer>> MakeForestScorer(const Forest& forest) {
  if (forest.scores < 1 || forest.base.size() != static_cast<size_t>(forest.scores) ||
      forest.roots.empty() || forest.roots.size() != forest.score_of.size()) {
    return NotATree("there are none");
  }
  if (int64_t{forest.features} * kModelRows * 2 > std::numeric_limits<int32_t>::max()) {
    return NotATree("too many features");
  }
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<int> depths, DepthsOf(forest));
  if (forest.double_features && forest.double_sums) {
    return std::make_unique<ForestScorer<double, double>>(forest, depths);
  }
  if (forest.double_sums) return std::make_unique<ForestScorer<float, double>>(forest, depths);
  if (forest.double_features) return std::make_unique<ForestScorer<double, float>>(forest, depths);
  return std::make_unique<ForestScorer<float, float>>(forest, depths);
}

}  // namespace millrace
