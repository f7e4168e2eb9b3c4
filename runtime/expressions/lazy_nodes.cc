// AND, OR, CASE and COALESCE: an operand that can fail is evaluated only for the rows that need it;
// one that cannot is evaluated for all, unless few rows need it.
#include <algorithm>
#include <bit>
#include <numeric>

#include "runtime/expressions/node.h"

namespace millrace::expressions {
namespace {

bool AnyCanFail(const std::vector<NodePtr>& nodes) {
  for (const NodePtr& node : nodes) {
    if (node != nullptr && node->can_fail) return true;
  }
  return false;
}

// Below one row in eight, gathering the rows is cheaper than computing all.
bool WorthSelecting(const Node& node, size_t needed, int64_t rows) {
  const auto all = static_cast<size_t>(rows);
  return needed < all && (node.can_fail || needed * 8 < all);
}

// Errors of a selection, in rows of the frame it was selected from.
void AddErrors(RowErrors selected, std::span<const int32_t> rows, RowErrors& errors) {
  for (RowErrors::Entry& entry : selected.entries) {
    entry.row = rows[static_cast<size_t>(entry.row)];
    errors.entries.push_back(std::move(entry));
  }
}

// An operand's value, and whether it is for the selected rows only.
struct Part {
  Value value;
  bool selected = false;

  // Where the value stands of row `row`, which is the `index`-th that needed it.
  int32_t Position(int32_t row, size_t index) const {
    return value.scalar ? 0 : selected ? static_cast<int32_t>(index) : row;
  }
};

Part EvaluateFor(Node& node, const Frame& frame, std::span<const int32_t> rows, RowErrors& errors) {
  if (!WorthSelecting(node, rows.size(), frame.rows())) return {node.Evaluate(frame, errors)};
  const Frame selection(frame, rows);
  RowErrors selected;
  Part part{node.Evaluate(selection, selected), true};
  AddErrors(std::move(selected), rows, errors);
  return part;
}

void AppendBits(uint64_t bits, int64_t word, std::vector<int32_t>& rows) {
  for (; bits != 0; bits &= bits - 1) {
    rows.push_back(static_cast<int32_t>(word * 64 + __builtin_ctzll(bits)));
  }
}

// AND over the rows; OR is the same with true and false exchanged.
class LogicNode : public Node {
 public:
  LogicNode(bool is_and, std::vector<NodePtr> operands)
      : Node(TypeKind::kBool, AnyCanFail(operands)),
        flip_(is_and ? 0 : ~uint64_t{0}),
        operands_(std::move(operands)) {}

  Value Evaluate(const Frame& frame, RowErrors& errors) override {
    const int64_t rows = frame.rows();
    const auto words = static_cast<size_t>(WordCount(rows));
    // Seen as AND: every operand so far was true; one was false.
    all_true_.assign(words, ~uint64_t{0});
    any_false_.assign(words, 0);
    for (const NodePtr& operand : operands_) {
      const size_t undecided = CountUndecided(rows);
      if (undecided == 0) break;
      if (!WorthSelecting(*operand, undecided, rows)) {
        Merge(operand->Evaluate(frame, errors));
        continue;
      }
      undecided_.clear();
      for (int64_t w = 0; w < WordCount(rows); ++w) AppendBits(Undecided(rows, w), w, undecided_);
      MergeSelected(EvaluateFor(*operand, frame, undecided_, errors).value);
    }
    return MakeBool(
        rows, [&](int64_t w) { return all_true_[static_cast<size_t>(w)] ^ flip_; },
        [&](int64_t w) {
          return all_true_[static_cast<size_t>(w)] | any_false_[static_cast<size_t>(w)];
        });
  }

 private:
  uint64_t Undecided(int64_t rows, int64_t word) const {
    return ~any_false_[static_cast<size_t>(word)] & WordMask(rows, word);
  }
  size_t CountUndecided(int64_t rows) const {
    size_t count = 0;
    for (int64_t w = 0; w < WordCount(rows); ++w) {
      count += static_cast<size_t>(std::popcount(Undecided(rows, w)));
    }
    return count;
  }

  void Merge(const Value& value) {
    const BitWords values = BitWords::Values(value), valid = BitWords::Validity(value);
    for (size_t w = 0; w < all_true_.size(); ++w) {
      const auto word = static_cast<int64_t>(w);
      const uint64_t truth = values[word] ^ flip_;
      all_true_[w] &= truth & valid[word];
      any_false_[w] |= ~truth & valid[word];
    }
  }

  void MergeSelected(const Value& value) {
    const Argument argument(value);
    for (size_t i = 0; i < undecided_.size(); ++i) {
      const auto row = static_cast<size_t>(undecided_[i]);
      const uint64_t bit = uint64_t{1} << (row & 63);
      const bool null = argument.IsNull(static_cast<int64_t>(i));
      const bool truth = argument.Bool(static_cast<int64_t>(i)) != (flip_ != 0);
      if (null || !truth) all_true_[row >> 6] &= ~bit;
      if (!null && !truth) any_false_[row >> 6] |= bit;
    }
  }

  const uint64_t flip_;
  const std::vector<NodePtr> operands_;
  std::vector<uint64_t> all_true_, any_false_;
  std::vector<int32_t> undecided_;
};

// For each row, which part its value comes from and where it stands there.
class Assembly {
 public:
  void Reset(int64_t rows) {
    parts_.clear();
    part_of_.assign(static_cast<size_t>(rows), kNull);
    position_of_.resize(static_cast<size_t>(rows));
  }
  // Gives `rows` their values from `part`, which was evaluated for them.
  void Add(Part part, std::span<const int32_t> rows) {
    const auto index = static_cast<int32_t>(parts_.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      part_of_[static_cast<size_t>(rows[i])] = index;
      position_of_[static_cast<size_t>(rows[i])] = part.Position(rows[i], i);
    }
    parts_.push_back(std::move(part));
  }
  // The assembled column; the parts are let go.
  Value Finish(DataType type) {
    Value value = Assemble(type);
    parts_.clear();
    return value;
  }

 private:
  static constexpr int32_t kNull = -1;

  Value Assemble(DataType type) const {
    switch (type) {
      case TypeKind::kBool:
        return FinishBool();
      case TypeKind::kString:
      case TypeKind::kBytes:
      case TypeKind::kArray:
        return FinishText(type);
      case TypeKind::kInt32:
      case TypeKind::kDate:
        return FinishFixed<int32_t>(type);
      case TypeKind::kDecimal:
        return FinishFixed<Decimal>(type);
      default:  // Doubles are moved as bits.
        return FinishFixed<int64_t>(type);
    }
  }

  int64_t rows() const { return static_cast<int64_t>(part_of_.size()); }
  // The part of a row, or null when the row is NULL.
  const Column* Source(int64_t row, int32_t& position) const {
    const auto i = static_cast<size_t>(row);
    if (part_of_[i] == kNull) return nullptr;
    const Column& column = parts_[static_cast<size_t>(part_of_[i])].value.column;
    position = position_of_[i];
    return column.IsNull(position) ? nullptr : &column;
  }

  template <typename F>
  Validity Visit(F f) const {
    BitmapWriter valid(rows());
    for (int64_t word = 0; word < WordCount(rows()); ++word) {
      uint64_t bits = 0;
      const int64_t end = std::min<int64_t>(rows(), word * 64 + 64);
      for (int64_t row = word * 64; row < end; ++row) {
        int32_t position = 0;
        const Column* source = Source(row, position);
        f(row, source, position);
        bits |= uint64_t{source != nullptr} << (row & 63);
      }
      valid.Set(word, bits);
    }
    return FinishValidity(std::move(valid), rows());
  }

  template <typename T>
  Value FinishFixed(DataType type) const {
    FixedWriter<T> writer(rows());
    T* out = writer.values();
    Validity validity = Visit([&](int64_t row, const Column* source, int32_t position) {
      out[row] = source == nullptr ? T{} : source->values<T>()[position];
    });
    return writer.Finish(type, rows(), std::move(validity));
  }

  Value FinishBool() const {
    BitmapWriter values(rows());
    for (int64_t w = 0; w < WordCount(rows()); ++w) values.Set(w, 0);
    Validity validity = Visit([&](int64_t row, const Column* source, int32_t position) {
      const bool value = source != nullptr && source->BoolAt(position);
      values.Set(row >> 6, values.Get(row >> 6) | uint64_t{value} << (row & 63));
    });
    return MakeBool(rows(), std::move(values), std::move(validity));
  }

  // The parts fit into columns, but a column of them all may not: a builder takes up to 2 GiB.
  Value FinishText(DataType type) const {
    ColumnBuilder builder(type, rows());
    Visit([&](int64_t row, const Column* source, int32_t position) {
      if (source == nullptr) {
        builder.AppendNull();
      } else {
        builder.AppendString(source->StringAt(position));
      }
    });
    return {builder.Finish()};
  }

  std::vector<Part> parts_;
  std::vector<int32_t> part_of_, position_of_;
};

class CaseNode : public Node {
 public:
  CaseNode(DataType type, std::vector<NodePtr> when, std::vector<NodePtr> then, NodePtr otherwise)
      : Node(type,
             AnyCanFail(when) || AnyCanFail(then) || (otherwise != nullptr && otherwise->can_fail)),
        when_(std::move(when)),
        then_(std::move(then)),
        otherwise_(std::move(otherwise)) {}

  Value Evaluate(const Frame& frame, RowErrors& errors) override {
    assembly_.Reset(frame.rows());
    open_.resize(static_cast<size_t>(frame.rows()));
    std::iota(open_.begin(), open_.end(), 0);
    for (size_t i = 0; i < when_.size() && !open_.empty(); ++i) {
      const Part condition = EvaluateFor(*when_[i], frame, open_, errors);
      const Column& truth = condition.value.column;
      taken_.clear();
      rest_.clear();
      for (size_t k = 0; k < open_.size(); ++k) {
        const int32_t at = condition.Position(open_[k], k);
        (truth.BoolAt(at) && !truth.IsNull(at) ? taken_ : rest_).push_back(open_[k]);
      }
      if (!taken_.empty()) {
        assembly_.Add(EvaluateFor(*then_[i], frame, taken_, errors), taken_);
      }
      std::swap(open_, rest_);
    }
    if (otherwise_ != nullptr && !open_.empty()) {
      assembly_.Add(EvaluateFor(*otherwise_, frame, open_, errors), open_);
    }
    return assembly_.Finish(type);
  }

 private:
  const std::vector<NodePtr> when_, then_;
  const NodePtr otherwise_;
  Assembly assembly_;
  std::vector<int32_t> open_, taken_, rest_;
};

class CoalesceNode : public Node {
 public:
  CoalesceNode(DataType type, std::vector<NodePtr> operands)
      : Node(type, AnyCanFail(operands)), operands_(std::move(operands)) {}

  Value Evaluate(const Frame& frame, RowErrors& errors) override {
    Value first = operands_[0]->Evaluate(frame, errors);
    if (!first.column.has_nulls()) return first;
    assembly_.Reset(frame.rows());
    open_.resize(static_cast<size_t>(frame.rows()));
    std::iota(open_.begin(), open_.end(), 0);
    Part part{std::move(first)};
    for (size_t next = 1;; ++next) {
      rest_.clear();
      for (size_t k = 0; k < open_.size(); ++k) {
        if (part.value.column.IsNull(part.Position(open_[k], k))) rest_.push_back(open_[k]);
      }
      assembly_.Add(std::move(part), open_);
      std::swap(open_, rest_);
      if (open_.empty() || next == operands_.size()) return assembly_.Finish(type);
      part = EvaluateFor(*operands_[next], frame, open_, errors);
    }
  }

 private:
  const std::vector<NodePtr> operands_;
  Assembly assembly_;
  std::vector<int32_t> open_, rest_;
};

}  // namespace

NodePtr MakeLogicNode(bool is_and, std::vector<NodePtr> operands) {
  return std::make_unique<LogicNode>(is_and, std::move(operands));
}

NodePtr MakeCaseNode(DataType type, std::vector<NodePtr> when, std::vector<NodePtr> then,
                     NodePtr otherwise) {
  return std::make_unique<CaseNode>(type, std::move(when), std::move(then), std::move(otherwise));
}

NodePtr MakeCoalesceNode(DataType type, std::vector<NodePtr> operands) {
  return std::make_unique<CoalesceNode>(type, std::move(operands));
}

}  // namespace millrace::expressions
