#include "operators/inference/native_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace millrace {
namespace {

// The functions of the libraries, in their order of operations.
template <typename T>
void Softmax(T* s, int count, bool zero_stays) {
  T max = -std::numeric_limits<T>::infinity();
  for (int k = 0; k < count; ++k) max = std::max(max, s[k * kModelRows]);
  double sum = 0;
  for (int k = 0; k < count; ++k) {
    T& value = s[k * kModelRows];
    if (zero_stays && std::abs(value) <= T(1e-7)) {
      value = 0;
      continue;
    }
    value = std::exp(value - max);
    sum += value;
  }
  for (int k = 0; k < count; ++k) s[k * kModelRows] /= static_cast<T>(sum);
}

template <typename T>
T Apply(Link link, T x, T scale) {
  switch (link) {
    case Link::kExp:
      return std::exp(x);
    case Link::kSignedSquare:
      return std::copysign(x * x, x);
    case Link::kLogistic:
      return T(1) / (T(1) + std::exp(-scale * x));
    case Link::kLogisticOnnx: {
      const T v = T(1) / (T(1) + std::exp(-std::abs(x)));
      return x < 0 ? T(1) - v : v;
    }
    case Link::kLogisticXgboost:
      return T(1) / (std::exp(std::min(-x, T(88.7))) + T(1) + T(1e-16));
    default:
      return x;
  }
}

class NativeModel : public Model {
 public:
  NativeModel(std::unique_ptr<Scorer> scorer, Head head, std::vector<OutputRole> roles,
              std::vector<WantedOutput> wanted)
      : scorer_(std::move(scorer)),
        head_(std::move(head)),
        roles_(std::move(roles)),
        wanted_(std::move(wanted)),
        outputs_(head_.is_pair ? 2 : scorer_->scores()),
        scores_(static_cast<size_t>(outputs_ * kModelRows)),
        labels_(static_cast<size_t>(kModelRows)) {}

  absl::Status Predict(std::span<const Column> features, int64_t rows,
                       std::vector<Column>& predictions) override {
    std::vector<ColumnBuilder> builders;
    builders.reserve(wanted_.size());
    for (const WantedOutput& wanted : wanted_) builders.emplace_back(TypeOf(wanted), rows);
    for (int64_t begin = 0; begin < rows; begin += kModelRows) {
      const int count = static_cast<int>(std::min(kModelRows, rows - begin));
      scorer_->Score(features, begin, count, scores_.data());
      if (has_labels()) FindLabels(count);
      if (head_.is_float) {
        Finish<float>(count);
      } else {
        Finish<double>(count);
      }
      for (size_t i = 0; i < wanted_.size(); ++i) Append(wanted_[i], count, builders[i]);
    }
    predictions.clear();
    for (ColumnBuilder& builder : builders) predictions.push_back(builder.Finish());
    return absl::OkStatus();
  }

 private:
  bool has_labels() const { return !head_.int_labels.empty() || !head_.string_labels.empty(); }
  bool IsLabel(const WantedOutput& wanted) const {
    return roles_[static_cast<size_t>(wanted.tensor)] == OutputRole::kLabel;
  }
  TypeKind TypeOf(const WantedOutput& wanted) const {
    if (!IsLabel(wanted)) return TypeKind::kFloat64;
    return head_.string_labels.empty() ? TypeKind::kInt64 : TypeKind::kString;
  }

  // By the raw scores: the first of the greatest ones.
  void FindLabels(int rows) {
    for (int row = 0; row < rows; ++row) {
      const double* s = scores_.data() + row;
      int best = 0;
      if (head_.is_pair) {
        best = s[0] > head_.pair_threshold ? 1 : 0;
      } else {
        for (int k = 1; k < outputs_; ++k) {
          if (s[k * kModelRows] > s[best * kModelRows]) best = k;
        }
      }
      labels_[static_cast<size_t>(row)] = best;
    }
  }

  template <typename T>
  void Finish(int rows) {
    const int scores = head_.is_pair ? 1 : outputs_;
    if (head_.link == Link::kSoftmax || head_.link == Link::kSoftmaxZero) {
      std::vector<T>& row_scores = Scratch<T>();
      for (int row = 0; row < rows; ++row) {
        for (int k = 0; k < scores; ++k) {
          row_scores[static_cast<size_t>(k * kModelRows)] =
              static_cast<T>(scores_[static_cast<size_t>(k * kModelRows + row)]);
        }
        Softmax<T>(row_scores.data(), scores, head_.link == Link::kSoftmaxZero);
        for (int k = 0; k < scores; ++k) {
          scores_[static_cast<size_t>(k * kModelRows + row)] =
              row_scores[static_cast<size_t>(k * kModelRows)];
        }
      }
    } else if (head_.link != Link::kIdentity) {
      for (int k = 0; k < scores; ++k) {
        double* s = scores_.data() + k * kModelRows;
        for (int row = 0; row < rows; ++row) {
          s[row] = Apply<T>(head_.link, static_cast<T>(s[row]), static_cast<T>(head_.scale));
        }
      }
    }
    if (head_.is_pair) {
      for (int row = 0; row < rows; ++row) {
        const T s = static_cast<T>(scores_[static_cast<size_t>(row)]);
        scores_[static_cast<size_t>(row)] = T(1) - s;
        scores_[static_cast<size_t>(kModelRows + row)] = s;
      }
    }
    if (head_.normalize) Normalize<T>(rows);
  }

  template <typename T>
  void Normalize(int rows) {
    for (int row = 0; row < rows; ++row) {
      T sum = 0;
      for (int k = 0; k < outputs_; ++k) {
        sum += std::abs(static_cast<T>(scores_[static_cast<size_t>(k * kModelRows + row)]));
      }
      if (sum == 0) continue;
      for (int k = 0; k < outputs_; ++k) {
        double& s = scores_[static_cast<size_t>(k * kModelRows + row)];
        s = static_cast<T>(s) / sum;
      }
    }
  }

  template <typename T>
  std::vector<T>& Scratch() {
    if constexpr (std::is_same_v<T, float>) {
      float_scratch_.resize(scores_.size());
      return float_scratch_;
    } else {
      double_scratch_.resize(scores_.size());
      return double_scratch_;
    }
  }

  void Append(const WantedOutput& wanted, int rows, ColumnBuilder& out) const {
    if (!IsLabel(wanted)) {
      const double* s = scores_.data() + wanted.index * kModelRows;
      auto* to = reinterpret_cast<double*>(out.AppendUninitialized(rows));
      std::copy(s, s + rows, to);
      return;
    }
    for (int row = 0; row < rows; ++row) {
      const auto label = static_cast<size_t>(labels_[static_cast<size_t>(row)]);
      if (head_.string_labels.empty()) {
        out.AppendInt64(head_.int_labels[label]);
      } else {
        out.AppendString(head_.string_labels[label]);
      }
    }
  }

  const std::unique_ptr<Scorer> scorer_;
  const Head head_;
  const std::vector<OutputRole> roles_;
  const std::vector<WantedOutput> wanted_;
  const int outputs_;
  std::vector<double> scores_;  // [output][kModelRows]
  std::vector<int> labels_;
  std::vector<float> float_scratch_;
  std::vector<double> double_scratch_;
};

}  // namespace

std::unique_ptr<Model> MakeNativeModel(std::unique_ptr<Scorer> scorer, Head head,
                                       std::vector<OutputRole> roles,
                                       std::vector<WantedOutput> wanted) {
  return std::make_unique<NativeModel>(std::move(scorer), std::move(head), std::move(roles),
                                       std::move(wanted));
}

template <typename T>
bool FillFeatures(std::span<const Column> features, int64_t begin, int rows, T* out) {
  bool has_nan = false;
  for (const Column& column : features) {
    const double* values = column.values<double>() + begin;
    for (int i = 0; i < rows; ++i) {
      out[i] = static_cast<T>(values[i]);
    }
    if (column.has_nulls()) {
      for (int i = 0; i < rows; ++i) {
        if (column.IsNull(begin + i)) out[i] = std::numeric_limits<T>::quiet_NaN();
      }
    }
    bool nan = false;
    for (int i = 0; i < rows; ++i) nan |= out[i] != out[i];
    has_nan |= nan;
    std::fill(out + rows, out + kModelRows, T(0));
    out += kModelRows;
  }
  return has_nan;
}

template bool FillFeatures(std::span<const Column>, int64_t, int, float*);
template bool FillFeatures(std::span<const Column>, int64_t, int, double*);

}  // namespace millrace
