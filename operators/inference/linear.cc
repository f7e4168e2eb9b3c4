#include "operators/inference/linear.h"

#include <simdjson.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "operators/inference/json_reader.h"
#include "operators/inference/model_formats.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Sums in double, features in their order: the result for a row depends on nothing else.
class LinearScorer : public Scorer {
 public:
  explicit LinearScorer(LinearScores linear) : linear_(std::move(linear)) {}

  int scores() const override { return static_cast<int>(linear_.intercepts.size()); }
  int features() const override { return static_cast<int>(linear_.coefficients[0].size()); }

  void Score(std::span<const Column> features, int64_t begin, int rows, double* out) override {
    for (size_t k = 0; k < linear_.intercepts.size(); ++k) {
      double* sums = out + k * static_cast<size_t>(kModelRows);
      std::fill_n(sums, rows, linear_.intercepts[k]);
      for (size_t f = 0; f < features.size(); ++f) {
        Add(features[f], begin, rows, linear_.coefficients[k][f], sums);
      }
      if (!linear_.rounds_to_float) continue;
      for (int row = 0; row < rows; ++row) sums[row] = static_cast<float>(sums[row]);
    }
  }

 private:
  // sums += coefficient * x, straight from the column.
  void Add(const Column& column, int64_t begin, int rows, double coefficient,
           double* __restrict sums) const {
    const double* x = column.values<double>() + begin;
    if (linear_.rounds_to_float) {
      for (int row = 0; row < rows; ++row) {
        sums[row] += coefficient * static_cast<double>(static_cast<float>(x[row]));
      }
    } else {
      for (int row = 0; row < rows; ++row) sums[row] += coefficient * x[row];
    }
    if (!column.has_nulls()) return;
    for (int row = 0; row < rows; ++row) {
      if (column.IsNull(begin + row)) sums[row] = std::numeric_limits<double>::quiet_NaN();
    }
  }

  const LinearScores linear_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Scorer>> MakeLinearScorer(LinearScores linear) {
  const size_t scores = linear.coefficients.size();
  if (scores == 0 || linear.intercepts.size() != scores || linear.coefficients[0].empty()) {
    return absl::InvalidArgumentError("coefficients and intercepts of the model do not fit");
  }
  for (const auto& row : linear.coefficients) {
    if (row.size() != linear.coefficients[0].size() || row.size() > 65'536) {
      return absl::InvalidArgumentError("the coefficients of the model do not fit");
    }
  }
  return std::make_unique<LinearScorer>(std::move(linear));
}

absl::StatusOr<std::unique_ptr<Model>> LoadLinearJson(const v1::Model& model, const Wanted& wanted,
                                                      const std::string& bytes) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(bytes).get(root); error != simdjson::SUCCESS) {
    return absl::InvalidArgumentError(
        Concat("the file is not JSON: ", simdjson::error_message(error)));
  }
  JsonReader json;
  LinearScores linear;
  simdjson::dom::array rows;
  if (root["coefficients"].get(rows) != simdjson::SUCCESS) json.Fail("coefficients");
  if (!json.ok()) return absl::InvalidArgumentError("the linear model has no coefficients");
  for (const simdjson::dom::element row : rows) {
    linear.coefficients.push_back(json.Numbers(row, "coefficients"));
  }
  if (json.ok()) linear.intercepts = json.Numbers(json.Member(root, "intercepts"), "intercepts");
  const std::string_view link = json.ok() ? json.Text(json.Member(root, "link"), "link") : "";
  Head head;
  if (link == "logistic") {
    head.link = Link::kLogistic;
  } else if (link == "softmax") {
    head.link = Link::kSoftmax;
  } else if (link != "identity") {
    json.Fail("link");
  }
  if (!json.ok()) {
    return absl::InvalidArgumentError(
        Concat("the linear model is malformed: member '", json.problem(), "'"));
  }
  MILLRACE_ASSIGN_OR_RETURN(auto scorer, MakeLinearScorer(std::move(linear)));
  MILLRACE_RETURN_IF_ERROR(CheckSignature(model, {.features = scorer->features(),
                                                  .double_features = true,
                                                  .output = v1::Tensor::TYPE_FLOAT64,
                                                  .outputs = scorer->scores()}));
  return MakeNativeModel(std::move(scorer), std::move(head), {OutputRole::kScores}, wanted);
}

}  // namespace millrace
