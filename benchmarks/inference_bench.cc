// Rows per CPU-second of models at batch 256, one thread, 32 features, inputs rotated through 65536
// rows (fewer rows would teach the branch predictor the answers):
//   an operator's model by ONNX Runtime against ONNX Runtime called with ready tensors;
//   trees and a linear model run natively against ONNX Runtime.
// Each pair is measured in turns of some milliseconds; medians of the turns.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "onnx/onnx.pb.h"
#include "operators/inference/model_formats.h"
#include "operators/inference/onnx_runtime.h"
#include "operators/inference/onnx_runtime_api.h"
#include "runtime/base/check.h"

namespace millrace {
namespace {

constexpr int kFeatures = 32;
constexpr int64_t kBatch = 256;
constexpr int kBatches = 256;
constexpr int kHotBatches = 8;
constexpr int kTurns = 41;

using Random = std::mt19937;

// ---- models ----

// Types of attributes, as onnx.proto numbers them.
constexpr int kInt = 2, kFloats = 6, kInts = 7, kStrings = 8;

onnx::AttributeProto& Attribute(onnx::NodeProto& node, const char* name, int type) {
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name(name);
  attribute.set_type(type);
  return attribute;
}

onnx::ModelProto Empty(int64_t outputs) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  auto* plain = model.add_opset_import();
  plain->set_domain("");
  plain->set_version(17);
  auto* ml = model.add_opset_import();
  ml->set_domain("ai.onnx.ml");
  ml->set_version(1);
  const auto describe = [](onnx::ValueInfoProto& value, const char* name, int64_t width) {
    value.set_name(name);
    auto& tensor = *value.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(1);
    tensor.mutable_shape()->add_dim()->set_dim_param("N");
    tensor.mutable_shape()->add_dim()->set_dim_value(width);
  };
  describe(*model.mutable_graph()->add_input(), "X", kFeatures);
  describe(*model.mutable_graph()->add_output(), "Y", outputs);
  return model;
}

// Full trees with thresholds of the features' distribution.
std::string Trees(int trees, int depth, Random& random) {
  onnx::ModelProto model = Empty(1);
  onnx::NodeProto& node = *model.mutable_graph()->add_node();
  node.add_input("X");
  node.add_output("Y");
  node.set_op_type("TreeEnsembleRegressor");
  node.set_domain("ai.onnx.ml");
  std::map<std::string, onnx::AttributeProto*> lists;
  for (const char* name :
       {"nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids",
        "nodes_falsenodeids", "target_treeids", "target_nodeids", "target_ids"}) {
    lists[name] = &Attribute(node, name, kInts);
  }
  for (const char* name : {"nodes_values", "target_weights"}) {
    lists[name] = &Attribute(node, name, kFloats);
  }
  lists["nodes_modes"] = &Attribute(node, "nodes_modes", kStrings);
  onnx::AttributeProto& targets = Attribute(node, "n_targets", kInt);
  targets.set_i(1);
  std::normal_distribution<float> normal;
  const int nodes = (1 << (depth + 1)) - 1;
  for (int tree = 0; tree < trees; ++tree) {
    for (int i = 0; i < nodes; ++i) {
      const bool is_leaf = i >= nodes / 2;
      lists["nodes_treeids"]->add_ints(tree);
      lists["nodes_nodeids"]->add_ints(i);
      lists["nodes_featureids"]->add_ints(is_leaf ? 0 : static_cast<int64_t>(random() % kFeatures));
      lists["nodes_values"]->add_floats(is_leaf ? 0 : normal(random));
      lists["nodes_modes"]->add_strings(is_leaf ? "LEAF" : "BRANCH_LT");
      lists["nodes_truenodeids"]->add_ints(is_leaf ? 0 : 2 * i + 1);
      lists["nodes_falsenodeids"]->add_ints(is_leaf ? 0 : 2 * i + 2);
      if (!is_leaf) continue;
      lists["target_treeids"]->add_ints(tree);
      lists["target_nodeids"]->add_ints(i);
      lists["target_ids"]->add_ints(0);
      lists["target_weights"]->add_floats(normal(random));
    }
  }
  return model.SerializeAsString();
}

std::string Network(const std::vector<int64_t>& layers, Random& random) {
  onnx::ModelProto model = Empty(layers.back());
  std::normal_distribution<float> normal(0, 0.3F);
  std::string from = "X";
  for (size_t layer = 0; layer + 1 < layers.size(); ++layer) {
    const std::string index = std::to_string(layer);
    const auto weights = [&](const std::string& name, std::vector<int64_t> dims) {
      onnx::TensorProto& tensor = *model.mutable_graph()->add_initializer();
      tensor.set_name(name);
      tensor.set_data_type(1);
      int64_t count = 1;
      for (const int64_t dim : dims) {
        tensor.add_dims(dim);
        count *= dim;
      }
      for (int64_t i = 0; i < count; ++i) tensor.add_float_data(normal(random));
    };
    weights("w" + index, {layers[layer], layers[layer + 1]});
    weights("b" + index, {layers[layer + 1]});
    const bool is_last = layer + 2 == layers.size();
    onnx::NodeProto& gemm = *model.mutable_graph()->add_node();
    gemm.set_op_type("Gemm");
    gemm.add_input(from);
    gemm.add_input("w" + index);
    gemm.add_input("b" + index);
    gemm.add_output(is_last ? "Y" : "g" + index);
    if (is_last) break;
    onnx::NodeProto& relu = *model.mutable_graph()->add_node();
    relu.set_op_type("Relu");
    relu.add_input("g" + index);
    relu.add_output("r" + index);
    from = "r" + index;
  }
  return model.SerializeAsString();
}

std::string Linear(Random& random) {
  onnx::ModelProto model = Empty(1);
  onnx::NodeProto& node = *model.mutable_graph()->add_node();
  node.add_input("X");
  node.add_output("Y");
  node.set_op_type("LinearRegressor");
  node.set_domain("ai.onnx.ml");
  std::normal_distribution<float> normal;
  onnx::AttributeProto& coefficients = Attribute(node, "coefficients", kFloats);
  for (int i = 0; i < kFeatures; ++i) coefficients.add_floats(normal(random));
  onnx::AttributeProto& intercepts = Attribute(node, "intercepts", kFloats);
  intercepts.add_floats(1);
  return model.SerializeAsString();
}

// ---- callers ----

struct Inputs {
  std::vector<std::vector<Column>> columns;  // By batch.
  std::vector<std::vector<float>> rows;      // The same, row-major.
};

Inputs MakeInputs(Random& random) {
  Inputs inputs;
  std::normal_distribution<float> normal;
  for (int batch = 0; batch < kBatches; ++batch) {
    auto& rows = inputs.rows.emplace_back(static_cast<size_t>(kBatch * kFeatures));
    for (float& value : rows) value = normal(random);
    auto& columns = inputs.columns.emplace_back();
    for (int f = 0; f < kFeatures; ++f) {
      ColumnBuilder column(TypeKind::kFloat64, kBatch);
      for (int64_t i = 0; i < kBatch; ++i) {
        column.AppendFloat64(double{rows[static_cast<size_t>(i * kFeatures + f)]});
      }
      columns.push_back(column.Finish());
    }
  }
  return inputs;
}

v1::Model Declared() {
  v1::Model model;
  model.mutable_local()->set_format(v1::LocalModel::FORMAT_ONNX);
  v1::Tensor& input = *model.add_inputs();
  input.set_name("X");
  input.set_type(v1::Tensor::TYPE_FLOAT32);
  input.set_width(kFeatures);
  v1::Tensor& output = *model.add_outputs();
  output.set_name("Y");
  output.set_type(v1::Tensor::TYPE_FLOAT32);
  output.set_width(1);
  return model;
}

// ONNX Runtime as a program would call it that has its rows in a tensor already.
class RawSession {
 public:
  RawSession(const OrtApi& api, const std::string& bytes) : api_(api) {
    OrtEnv* env = nullptr;
    OrtSessionOptions* options = nullptr;
    Check(api.CreateEnv(ORT_LOGGING_LEVEL_ERROR, "bench", &env));
    Check(api.CreateSessionOptions(&options));
    Check(api.SetIntraOpNumThreads(options, 1));
    Check(api.SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL));
    Check(api.CreateSessionFromArray(env, bytes.data(), bytes.size(), options, &session_));
    Check(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_));
  }

  const float* Run(std::vector<float>& rows) {
    if (output_ != nullptr) api_.ReleaseValue(output_);
    output_ = nullptr;
    const int64_t shape[] = {kBatch, kFeatures};
    OrtValue* input = nullptr;
    Check(api_.CreateTensorWithDataAsOrtValue(memory_, rows.data(), rows.size() * sizeof(float),
                                              shape, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                                              &input));
    const char* const in[] = {"X"};
    const char* const out[] = {"Y"};
    Check(api_.Run(session_, nullptr, in, &input, 1, out, 1, &output_));
    api_.ReleaseValue(input);
    void* data = nullptr;
    Check(api_.GetTensorMutableData(output_, &data));
    return static_cast<const float*>(data);
  }

 private:
  void Check(OrtStatus* status) {
    if (status != nullptr) std::fprintf(stderr, "%s\n", api_.GetErrorMessage(status));
    MILLRACE_CHECK(status == nullptr);
  }
  const OrtApi& api_;
  OrtSession* session_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  OrtValue* output_ = nullptr;
};

// Of this thread alone, so that other programs on the machine count less.
double ThreadNanos() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

double NanosPerBatch(const std::function<void(int)>& run, int batches, int first, int rotated) {
  const double start = ThreadNanos();
  for (int i = 0; i < batches; ++i) run((first + i) % rotated);
  return (ThreadNanos() - start) / batches;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

void Compare(const char* name, const char* ours, const std::function<void(int)>& a,
             const char* theirs, const std::function<void(int)>& b, int rotated) {
  const double nanos = NanosPerBatch(b, 20, 0, rotated);
  const int batches = std::clamp(static_cast<int>(5e6 / nanos), 4, 4 * kBatches);
  std::vector<double> of_a, of_b, ratio;
  for (int turn = 0; turn < kTurns; ++turn) {
    of_a.push_back(NanosPerBatch(a, batches, turn * batches, rotated));
    of_b.push_back(NanosPerBatch(b, batches, turn * batches, rotated));
    ratio.push_back(of_b.back() / of_a.back());
  }
  const auto rate = [](double ns) { return static_cast<double>(kBatch) / ns * 1e3; };
  std::printf("%-22s %-16s %8.2f M rows/s   %-14s %8.2f M rows/s   ratio %.2f\n", name, ours,
              rate(Median(of_a)), theirs, rate(Median(of_b)), Median(ratio));
}

std::unique_ptr<Model> Loaded(absl::StatusOr<std::unique_ptr<Model>> model) {
  if (!model.ok()) std::fprintf(stderr, "%s\n", model.status().ToString().c_str());
  MILLRACE_CHECK(model.ok());
  return *std::move(model);
}

std::function<void(int)> Asking(Model& model, const Inputs& inputs) {
  return [&](int batch) {
    std::vector<Column> predictions;
    MILLRACE_CHECK(
        model.Predict(inputs.columns[static_cast<size_t>(batch)], kBatch, predictions).ok());
  };
}

int Main() {
  const auto api = OnnxRuntimeApi();
  if (!api.ok()) {
    std::fprintf(stderr, "%s\n", api.status().ToString().c_str());
    return 1;
  }
  Random random(3);
  Inputs inputs = MakeInputs(random);
  const v1::Model declared = Declared();
  const Wanted wanted = {{0, 0}};
  const auto against_raw = [&](const char* name, const std::string& bytes, int rotated) {
    const auto model = Loaded(LoadByOnnxRuntime(declared, wanted, bytes));
    RawSession raw(**api, bytes);
    Compare(
        name, "operator's model", Asking(*model, inputs), "raw",
        [&](int batch) { (void)raw.Run(inputs.rows[static_cast<size_t>(batch)]); }, rotated);
  };
  const auto native = [&](const char* name, const std::string& bytes) {
    const auto model = Loaded(LoadOnnx(declared, wanted, bytes));
    RawSession raw(**api, bytes);
    std::vector<Column> predictions;
    MILLRACE_CHECK(model->Predict(inputs.columns[0], kBatch, predictions).ok());
    const float* expected = raw.Run(inputs.rows[0]);
    int differ = 0;
    for (int64_t i = 0; i < kBatch; ++i) {
      differ += predictions[0].values<double>()[i] != double{expected[i]} ? 1 : 0;
    }
    Compare(
        name, "native", Asking(*model, inputs), "ONNX Runtime",
        [&](int batch) { (void)raw.Run(inputs.rows[static_cast<size_t>(batch)]); }, kBatches);
    if (differ > 0) std::printf("%-22s %d of %ld rows differ in bits\n", "", differ, kBatch);
  };
  against_raw("network 32-64-32-1", Network({32, 64, 32, 1}, random), kHotBatches);
  against_raw("network 32-256-128-1", Network({32, 256, 128, 1}, random), kHotBatches);
  against_raw("100 trees, depth 6", Trees(100, 6, random), kBatches);
  native("100 trees, depth 6", Trees(100, 6, random));
  native("500 trees, depth 8", Trees(500, 8, random));
  native("100 trees, depth 10", Trees(100, 10, random));
  native("linear", Linear(random));
  return 0;
}

}  // namespace
}  // namespace millrace

int main() { return millrace::Main(); }
