// The models of models/ and what their own libraries predict (see models/make_models.py).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "millrace/v1/graph.pb.h"
#include "operators/inference/model.h"

namespace millrace {

inline std::string ReadModelFile(const std::string& name) {
  std::ifstream in(std::string(MILLRACE_MODELS) + "/" + name, std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline v1::LocalModel::Format FormatOfFile(const std::string& file) {
  if (file.ends_with(".onnx")) return v1::LocalModel::FORMAT_ONNX;
  if (file.ends_with(".txt")) return v1::LocalModel::FORMAT_LIGHTGBM_TEXT;
  if (file.starts_with("linear_softmax")) return v1::LocalModel::FORMAT_LINEAR_JSON;
  return v1::LocalModel::FORMAT_XGBOOST_JSON;
}

struct TestTensor {
  std::string name;
  v1::Tensor::Type type;
  uint32_t width;
};

inline v1::Model DeclareModel(const std::string& file, const std::vector<TestTensor>& inputs,
                              const std::vector<TestTensor>& outputs) {
  v1::Model model;
  model.set_name("m");
  model.mutable_local()->set_format(FormatOfFile(file));
  const auto add = [](const TestTensor& from, v1::Tensor& to) {
    to.set_name(from.name);
    to.set_type(from.type);
    to.set_width(from.width);
  };
  for (const TestTensor& one : inputs) add(one, *model.add_inputs());
  for (const TestTensor& one : outputs) add(one, *model.add_outputs());
  return model;
}

// Every value of every output, in order.
inline std::vector<WantedOutput> AllOutputs(const v1::Model& model) {
  std::vector<WantedOutput> wanted;
  for (int tensor = 0; tensor < model.outputs_size(); ++tensor) {
    for (uint32_t i = 0; i < model.outputs(tensor).width(); ++i) wanted.push_back({tensor, i});
  }
  return wanted;
}

struct Expected {
  std::vector<std::vector<std::string>> features, own, runtime;  // By row.
};

inline Expected ReadExpected(const std::string& name) {
  Expected expected;
  std::istringstream lines(ReadModelFile(name + ".csv"));
  const auto cells = [](const std::string& part) {
    return part.empty() ? std::vector<std::string>()
                        : std::vector<std::string>(absl::StrSplit(part, ','));
  };
  for (std::string line; std::getline(lines, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, ';');
    expected.features.push_back(cells(parts[0]));
    expected.own.push_back(cells(parts[1]));
    expected.runtime.push_back(cells(parts[2]));
  }
  EXPECT_EQ(expected.features.size(), 200u) << name;
  return expected;
}

// One column per feature; `nan` is NULL. Whole numbers and texts by the declared inputs.
inline std::vector<Column> FeatureColumns(const v1::Model& model,
                                          const std::vector<std::vector<std::string>>& rows) {
  std::vector<Column> columns;
  size_t at = 0;
  for (const v1::Tensor& input : model.inputs()) {
    for (uint32_t i = 0; i < input.width(); ++i, ++at) {
      const bool is_text = input.type() == v1::Tensor::TYPE_STRING;
      const bool is_whole = input.type() == v1::Tensor::TYPE_INT64;
      ColumnBuilder column(is_text    ? TypeKind::kString
                           : is_whole ? TypeKind::kInt64
                                      : TypeKind::kFloat64);
      for (const auto& row : rows) {
        if (row[at] == "nan") {
          column.AppendNull();
        } else if (is_text) {
          column.AppendString(row[at]);
        } else if (is_whole) {
          column.AppendInt64(std::stoll(row[at]));
        } else {
          // The text is that of a float32.
          column.AppendFloat64(std::strtof(row[at].c_str(), nullptr));
        }
      }
      columns.push_back(column.Finish());
    }
  }
  return columns;
}

}  // namespace millrace
