#include "operators/inference/model.h"

#include <gmock/gmock.h>

#include <cmath>

#include "onnx/onnx.pb.h"
#include "operators/inference/onnx_runtime.h"
#include "tests/unit/inference/test_models.h"

namespace millrace {
namespace {

using testing::HasSubstr;
constexpr auto kFloat = v1::Tensor::TYPE_FLOAT32;
constexpr auto kDouble = v1::Tensor::TYPE_FLOAT64;
constexpr auto kInt64 = v1::Tensor::TYPE_INT64;

// How far from the library's own prediction.
struct Case {
  std::string file;
  std::vector<TestTensor> outputs;
  double relative = 0;        // 0: equal in every bit.
  bool like_runtime = false;  // The column of ONNX Runtime is compared, with its labels.
  bool needs_library = false;
};
std::ostream& operator<<(std::ostream& out, const Case& one) { return out << one.file; }

// expf and exp of other builds of libm differ in the last bits.
constexpr double kExpFloat = 4e-7, kExpDouble = 1e-14;
const TestTensor kScore = {"prediction", kFloat, 1}, kDoubleScore = {"prediction", kDouble, 1};
const TestTensor kVariable = {"variable", kFloat, 1}, kLabel = {"label", kInt64, 1};

const Case kCases[] = {
    {"xgboost_binary.json", {kScore}, kExpFloat},
    {"xgboost_margin.json", {kScore}},
    {"xgboost_regression.json", {kScore}},
    {"xgboost_forest.json", {kScore}},
    {"xgboost_poisson.json", {kScore}, kExpFloat},
    {"xgboost_multiclass.json", {{"p", kFloat, 3}}, kExpFloat},
    {"lightgbm_binary.txt", {kDoubleScore}, kExpDouble},
    {"lightgbm_regression.txt", {kDoubleScore}},
    {"lightgbm_zero.txt", {kDoubleScore}},
    {"lightgbm_forest.txt", {kDoubleScore}},
    {"lightgbm_poisson.txt", {kDoubleScore}, kExpDouble},
    {"lightgbm_multiclass.txt", {{"p", kDouble, 3}}, kExpDouble},
    {"linear_softmax.json", {{"p", kDouble, 3}}, 1e-12},
    {"forest_regressor.onnx", {kVariable}, 0, true},
    {"boosted_regressor.onnx", {kVariable}, 0, true},
    {"boosted_missing.onnx", {kVariable}, 0, true},
    {"forest_classifier.onnx", {kLabel, {"probabilities", kFloat, 3}}, 0, true},
    {"forest_binary.onnx", {kLabel, {"probabilities", kFloat, 2}}, 0, true},
    {"boosted_binary.onnx", {kLabel, {"probabilities", kFloat, 2}}, kExpFloat, true},
    {"boosted_multiclass.onnx", {kLabel, {"probabilities", kFloat, 3}}, kExpFloat, true},
    {"logistic_binary.onnx", {kLabel, {"probabilities", kFloat, 2}}, 2e-6, true},
    {"logistic_multiclass.onnx", {kLabel, {"probabilities", kFloat, 3}}, 2e-6, true},
    {"linear_regression.onnx", {kVariable}, 1e-5, true},
    // By ONNX Runtime itself.
    {"scaled_network.onnx", {kVariable}, 0, true, true},
    {"network_classifier.onnx", {kLabel, {"probabilities", kFloat, 3}}, 0, true, true},
    // Row by row here, all rows at once there.
    {"mixed_inputs.onnx", {kLabel, {"probabilities", kFloat, 2}}, 1e-5, true, true},
};

v1::Model Declare(const Case& one) {
  std::vector<TestTensor> inputs = {{"X", kFloat, 6}};
  if (one.file == "mixed_inputs.onnx") {
    inputs = {{"amount", kFloat, 1}, {"size", kInt64, 1}, {"color", v1::Tensor::TYPE_STRING, 1}};
  }
  return DeclareModel(one.file, inputs, one.outputs);
}

bool IsClose(double got, double expected, double relative) {
  if (relative == 0) return got == expected;
  return std::abs(got - expected) <= relative * std::max(std::abs(expected), 0.01);
}

class ModelTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().needs_library && !OnnxRuntimeApi().ok()) {
      GTEST_SKIP() << "ONNX Runtime is not here: " << OnnxRuntimeApi().status();
    }
  }
};

TEST_P(ModelTest, PredictsWhatItsOwnLibraryPredicts) {
  const Case& one = GetParam();
  const v1::Model declared = Declare(one);
  auto model = LoadModel(declared, AllOutputs(declared), ReadModelFile(one.file));
  ASSERT_TRUE(model.ok()) << model.status();
  const Expected expected = ReadExpected(one.file.substr(0, one.file.rfind('.')));
  const std::vector<Column> features = FeatureColumns(declared, expected.features);
  std::vector<Column> predictions;
  ASSERT_TRUE((*model)->Predict(features, 200, predictions).ok());
  const auto& reference = one.like_runtime ? expected.runtime : expected.own;
  ASSERT_EQ(predictions.size(), reference[0].size());
  double worst = 0;
  for (size_t row = 0; row < 200; ++row) {
    for (size_t i = 0; i < predictions.size(); ++i) {
      const auto at = static_cast<int64_t>(row);
      const std::string& text = reference[row][i];
      if (predictions[i].type() == TypeKind::kInt64) {
        ASSERT_EQ(std::to_string(predictions[i].values<int64_t>()[at]), text) << row;
        continue;
      }
      const double got = predictions[i].values<double>()[at];
      const bool is_float =
          declared.outputs(declared.outputs_size() - 1).type() == v1::Tensor::TYPE_FLOAT32;
      const double wanted = is_float ? double{std::strtof(text.c_str(), nullptr)}
                                     : std::strtod(text.c_str(), nullptr);
      worst = std::max(worst, std::abs(got - wanted) / std::max(std::abs(wanted), 1e-3));
      ASSERT_TRUE(IsClose(got, wanted, one.relative))
          << "row " << row << " value " << i << ": " << got << " and " << wanted;
    }
  }
  RecordProperty("worst", std::to_string(worst));
}

// The result for a row does not depend on the rows around it.
TEST_P(ModelTest, PredictsTheSameRowByRow) {
  const Case& one = GetParam();
  const v1::Model declared = Declare(one);
  auto model = LoadModel(declared, AllOutputs(declared), ReadModelFile(one.file));
  ASSERT_TRUE(model.ok()) << model.status();
  const Expected expected = ReadExpected(one.file.substr(0, one.file.rfind('.')));
  std::vector<std::vector<std::string>> rows;
  for (int i = 0; i < 4; ++i) {
    rows.insert(rows.end(), expected.features.begin(), expected.features.end());
  }
  std::vector<Column> together;
  ASSERT_TRUE((*model)->Predict(FeatureColumns(declared, rows), 800, together).ok());
  for (size_t row = 0; row < rows.size(); row += 37) {
    std::vector<Column> alone;
    ASSERT_TRUE((*model)->Predict(FeatureColumns(declared, {rows[row]}), 1, alone).ok());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(ValueText(alone[i], 0), ValueText(together[i], static_cast<int64_t>(row)));
    }
  }
}

// An output without one row per row of the input is noticed; then each row is a batch of its own.
TEST(OnnxRuntimeTest, RunsAModelOverTheWholeBatchRowByRow) {
  if (!OnnxRuntimeApi().ok()) GTEST_SKIP() << OnnxRuntimeApi().status();
  onnx::ModelProto mean;
  mean.set_ir_version(8);
  mean.add_opset_import()->set_version(17);
  onnx::GraphProto& graph = *mean.mutable_graph();
  onnx::NodeProto& node = *graph.add_node();
  node.set_op_type("ReduceMean");
  node.add_input("X");
  node.add_output("Y");
  onnx::AttributeProto& axes = *node.add_attribute();
  axes.set_name("axes");
  axes.set_type(7);  // INTS of onnx.proto.
  axes.add_ints(0);
  for (auto [value, name] : {std::pair(graph.add_input(), "X"), {graph.add_output(), "Y"}}) {
    value->set_name(name);
    auto& tensor = *value->mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(1);  // FLOAT.
    tensor.mutable_shape()->add_dim()->set_dim_param("N");
    tensor.mutable_shape()->add_dim()->set_dim_value(2);
  }
  const v1::Model declared = DeclareModel("mean.onnx", {{"X", kFloat, 2}}, {{"Y", kFloat, 2}});
  auto model = LoadModel(declared, AllOutputs(declared), mean.SerializeAsString());
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<Column> predictions;
  const std::vector<Column> features = FeatureColumns(declared, {{"1", "2"}, {"3", "4"}});
  ASSERT_TRUE((*model)->Predict(features, 2, predictions).ok());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(ValueText(predictions[i], 0), ValueText(features[i], 0));
    EXPECT_EQ(ValueText(predictions[i], 1), ValueText(features[i], 1));
  }
}

INSTANTIATE_TEST_SUITE_P(All, ModelTest, testing::ValuesIn(kCases), [](const auto& info) {
  return info.param.file.substr(0, info.param.file.rfind('.'));
});

}  // namespace
}  // namespace millrace
