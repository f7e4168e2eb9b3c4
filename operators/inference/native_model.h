// Models that Millrace calculates by itself: a Scorer makes raw scores from columns, a Head makes
// outputs from scores.
//
// Threading: one task.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "operators/inference/model.h"

namespace millrace {

// Raw scores of up to kModelRows rows.
class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual int scores() const = 0;
  virtual int features() const = 0;
  // Rows [begin, begin + rows) of DOUBLE columns, NULL = NaN, to out[score * kModelRows + i].
  virtual void Score(std::span<const Column> features, int64_t begin, int rows, double* out) = 0;
};

enum class Link {
  kIdentity,
  kExp,
  kSignedSquare,     // sign(x) * x * x
  kLogistic,         // 1 / (1 + exp(-scale * x))
  kLogisticOnnx,     // The same, mirrored at 0 as ONNX Runtime does.
  kLogisticXgboost,  // With the epsilon that XGBoost adds.
  kSoftmax,
  kSoftmaxZero,  // Softmax over the scores that are not 0.
};

// From scores to what the model's outputs hold.
struct Head {
  Link link = Link::kIdentity;
  double scale = 1;
  bool is_float = false;   // The library calculates in FLOAT.
  bool normalize = false;  // Divides by the sum of absolute values.
  // One score s becomes two: (1 - s, s) after the link.
  bool is_pair = false;
  double pair_threshold = 0;  // The raw score above which the label is the second one.
  // Classifiers: the label of each score; one of the two is used.
  std::vector<int64_t> int_labels;
  std::vector<std::string> string_labels;
};

// What one declared output holds.
enum class OutputRole { kScores, kLabel };

// `roles`: one per declared output.
std::unique_ptr<Model> MakeNativeModel(std::unique_ptr<Scorer> scorer, Head head,
                                       std::vector<OutputRole> roles,
                                       std::vector<WantedOutput> wanted);

// Copies columns into rows of T by feature, NaN for NULL: out[feature * kModelRows + i]. Rows up to
// kModelRows are zero. Returns whether there is a NaN.
template <typename T>
bool FillFeatures(std::span<const Column> features, int64_t begin, int rows, T* out);

extern template bool FillFeatures(std::span<const Column>, int64_t, int, float*);
extern template bool FillFeatures(std::span<const Column>, int64_t, int, double*);

}  // namespace millrace
