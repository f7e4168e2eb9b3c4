// Files of models: readers return an error or a model whose predictions can be asked for.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/inference/model.h"
#include "runtime/base/check.h"

namespace millrace {
namespace {

void Declare(v1::Tensor& tensor, const char* name, v1::Tensor::Type type, uint32_t width) {
  tensor.set_name(name);
  tensor.set_type(type);
  tensor.set_width(width);
}

// The declarations of the corpus; `kind` 0 has labels.
v1::Model Declared(v1::LocalModel::Format format, int kind) {
  v1::Model model;
  Declare(*model.add_inputs(), "X", v1::Tensor::TYPE_FLOAT32, 6);
  model.mutable_local()->set_format(format);
  if (format == v1::LocalModel::FORMAT_ONNX) {
    Declare(*model.add_outputs(), "label", v1::Tensor::TYPE_INT64, 1);
    Declare(*model.add_outputs(), "probabilities", v1::Tensor::TYPE_FLOAT32, kind == 0 ? 2 : 3);
  } else if (format == v1::LocalModel::FORMAT_XGBOOST_JSON) {
    Declare(*model.add_outputs(), "p", v1::Tensor::TYPE_FLOAT32, 3);
  } else {
    Declare(*model.add_outputs(), "p", v1::Tensor::TYPE_FLOAT64, kind == 0 ? 1 : 3);
  }
  return model;
}

std::vector<Column> Features() {
  std::vector<Column> columns;
  for (int f = 0; f < 6; ++f) {
    ColumnBuilder column(TypeKind::kFloat64);
    for (int row = 0; row < 20; ++row) {
      if (row % 7 == f) {
        column.AppendNull();
      } else {
        column.AppendFloat64((row - 10) * 0.3 + f);
      }
    }
    columns.push_back(column.Finish());
  }
  return columns;
}

void Try(const v1::Model& model, const std::string& bytes) {
  std::vector<WantedOutput> wanted;
  for (int i = 0; i < model.outputs_size(); ++i) {
    wanted.push_back({i, model.outputs(i).width() - 1});
  }
  auto loaded = LoadModel(model, wanted, bytes);
  if (!loaded.ok()) return;
  static const std::vector<Column>* const features = new std::vector<Column>(Features());
  std::vector<Column> predictions;
  if (!(*loaded)->Predict(*features, 20, predictions).ok()) return;
  MILLRACE_CHECK(predictions.size() == wanted.size());
  for (const Column& column : predictions) MILLRACE_CHECK(column.length() == 20);
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using Local = millrace::v1::LocalModel;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with('{')) {
    millrace::Try(millrace::Declared(Local::FORMAT_XGBOOST_JSON, 0), bytes);
    millrace::Try(millrace::Declared(Local::FORMAT_LINEAR_JSON, 1), bytes);
  } else if (bytes.starts_with('t')) {
    millrace::Try(millrace::Declared(Local::FORMAT_LIGHTGBM_TEXT, 0), bytes);
  } else {
    millrace::Try(millrace::Declared(Local::FORMAT_ONNX, 0), bytes);
    millrace::Try(millrace::Declared(Local::FORMAT_ONNX, 1), bytes);
  }
  return 0;
}
