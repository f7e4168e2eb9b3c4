#include "operators/inference/remote/tensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "operators/formats/utf8.h"
#include "operators/inference/tensor_types.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

using Contents = inference::InferTensorContents;
using Response = inference::ModelInferResponse;
using Metadata = inference::ModelMetadataResponse;

std::string_view DatatypeOf(v1::Tensor::Type type) {
  static constexpr std::string_view kNames[] = {"",      "FP32", "FP64", "INT32",
                                                "INT64", "BOOL", "BYTES"};
  return kNames[type];
}

std::string ShapeText(const google::protobuf::RepeatedField<int64_t>& shape) {
  return Concat("[", Join(shape, ", "), "]");
}

absl::Status NotAsDeclared(std::string_view what, std::string_view server, std::string_view job) {
  return absl::InvalidArgumentError(Concat("the model is not as the job declares it: ", what,
                                           " at the server: ", server, "; of the job: ", job));
}

// `is_flat` and `batch` (its first dimension) are set.
absl::Status CheckTensor(std::string_view kind, const v1::Tensor& tensor,
                         const google::protobuf::RepeatedPtrField<Metadata::TensorMetadata>& all,
                         bool& is_flat, int64_t& batch) {
  const std::string what = Concat(kind, " ", tensor.name());
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const auto& one) { return one.name() == tensor.name(); });
  if (found == all.end()) {
    std::vector<std::string> names;
    for (const auto& one : all) names.push_back(one.name());
    return NotAsDeclared(Concat(kind, "s"), Join(names, ", "), tensor.name());
  }
  if (found->datatype() != DatatypeOf(tensor.type())) {
    return NotAsDeclared(what, found->datatype(), DatatypeOf(tensor.type()));
  }
  const auto& shape = found->shape();
  const auto width = static_cast<int64_t>(tensor.width());
  is_flat = shape.size() == 1 && width == 1;
  const bool is_table = shape.size() == 2 && (shape[1] == width || shape[1] == -1);
  if ((!is_flat && !is_table) || (shape[0] != -1 && shape[0] != 1)) {
    return NotAsDeclared(what, ShapeText(shape), Concat("[-1, ", width, "]"));
  }
  batch = shape[0];
  return absl::OkStatus();
}

template <typename T, typename Source>
void AppendValues(const std::vector<const Column*>& columns, int64_t rows, std::string& out) {
  const size_t begin = out.size();
  out.resize(begin + static_cast<size_t>(rows) * columns.size() * sizeof(T));
  for (size_t c = 0; c < columns.size(); ++c) {
    const Source* values = columns[c]->values<Source>();
    char* to = out.data() + begin + c * sizeof(T);
    for (int64_t row = 0; row < rows; ++row, to += columns.size() * sizeof(T)) {
      T value = static_cast<T>(values[row]);
      if constexpr (std::is_floating_point_v<T>) {
        if (columns[c]->IsNull(row)) value = std::numeric_limits<T>::quiet_NaN();
      }
      std::memcpy(to, &value, sizeof(T));
    }
  }
}

std::string RawOf(v1::Tensor::Type type, const std::vector<const Column*>& columns, int64_t rows) {
  std::string out;
  switch (type) {
    case v1::Tensor::TYPE_FLOAT32:
      AppendValues<float, double>(columns, rows, out);
      break;
    case v1::Tensor::TYPE_FLOAT64:
      AppendValues<double, double>(columns, rows, out);
      break;
    case v1::Tensor::TYPE_INT32:
      AppendValues<int32_t, int32_t>(columns, rows, out);
      break;
    case v1::Tensor::TYPE_INT64:
      AppendValues<int64_t, int64_t>(columns, rows, out);
      break;
    default:
      for (int64_t row = 0; row < rows; ++row) {
        for (const Column* column : columns) {
          if (type == v1::Tensor::TYPE_BOOL) {
            out.push_back(column->BoolAt(row) ? 1 : 0);
            continue;
          }
          const std::string_view text = column->StringAt(row);
          const auto length = static_cast<uint32_t>(text.size());
          out.append(reinterpret_cast<const char*>(&length), sizeof(length));
          out.append(text);
        }
      }
  }
  return out;
}

absl::Status Malformed(std::string_view name, std::string_view what) {
  return absl::DataLossError(
      Concat("the server's answer does not fit the question: output ", name, " ", what));
}

// The elements of one output, raw or typed; every index is checked before it is used.
class Elements {
 public:
  static absl::StatusOr<Elements> Of(const Response& response, int output, v1::Tensor::Type type,
                                     int64_t count) {
    const Response::InferOutputTensor& tensor = response.outputs(output);
    Elements elements;
    elements.type_ = type;
    elements.typed_ = &tensor.contents();
    int64_t have = 0;
    if (response.raw_output_contents_size() > 0) {
      if (response.raw_output_contents_size() != response.outputs_size()) {
        return Malformed(tensor.name(), "has no raw contents");
      }
      elements.raw_ = response.raw_output_contents(output);
      elements.is_raw_ = true;
      MILLRACE_ASSIGN_OR_RETURN(have, elements.CountRaw(tensor.name()));
    } else {
      have = elements.CountTyped();
    }
    if (have != count) {
      return Malformed(tensor.name(), Concat("has ", have, " values, not ", count));
    }
    return elements;
  }

  void AppendTo(int64_t at, ColumnBuilder& column) const {
    const auto i = static_cast<int>(at);
    switch (type_) {
      case v1::Tensor::TYPE_FLOAT32:
        return column.AppendFloat64(is_raw_ ? At<float>(at) : typed_->fp32_contents(i));
      case v1::Tensor::TYPE_FLOAT64:
        return column.AppendFloat64(is_raw_ ? At<double>(at) : typed_->fp64_contents(i));
      case v1::Tensor::TYPE_INT32:
        return column.AppendInt32(is_raw_ ? At<int32_t>(at) : typed_->int_contents(i));
      case v1::Tensor::TYPE_INT64:
        return column.AppendInt64(is_raw_ ? At<int64_t>(at) : typed_->int64_contents(i));
      case v1::Tensor::TYPE_BOOL:
        return column.AppendBool(is_raw_ ? At<char>(at) != 0 : typed_->bool_contents(i));
      default:
        return column.AppendString(StringAt(at));
    }
  }
  std::string_view StringAt(int64_t at) const {
    return is_raw_ ? strings_[static_cast<size_t>(at)]
                   : std::string_view(typed_->bytes_contents(static_cast<int>(at)));
  }

 private:
  template <typename T>
  T At(int64_t at) const {
    T value;
    std::memcpy(&value, raw_.data() + static_cast<size_t>(at) * sizeof(T), sizeof(T));
    return value;
  }
  absl::StatusOr<int64_t> CountRaw(std::string_view name) {
    if (type_ != v1::Tensor::TYPE_STRING) {
      const size_t width = TensorElementBytes(type_);
      if (raw_.size() % width != 0) return Malformed(name, "has half a value at its end");
      return static_cast<int64_t>(raw_.size() / width);
    }
    for (std::string_view rest = raw_; !rest.empty();) {
      uint32_t length = 0;
      if (rest.size() < sizeof(length)) return Malformed(name, "has half a value at its end");
      std::memcpy(&length, rest.data(), sizeof(length));
      rest.remove_prefix(sizeof(length));
      if (length > rest.size()) return Malformed(name, "has half a value at its end");
      strings_.push_back(rest.substr(0, length));
      rest.remove_prefix(length);
    }
    return static_cast<int64_t>(strings_.size());
  }
  int64_t CountTyped() const {
    switch (type_) {
      case v1::Tensor::TYPE_FLOAT32:
        return typed_->fp32_contents_size();
      case v1::Tensor::TYPE_FLOAT64:
        return typed_->fp64_contents_size();
      case v1::Tensor::TYPE_INT32:
        return typed_->int_contents_size();
      case v1::Tensor::TYPE_INT64:
        return typed_->int64_contents_size();
      case v1::Tensor::TYPE_BOOL:
        return typed_->bool_contents_size();
      default:
        return typed_->bytes_contents_size();
    }
  }

  v1::Tensor::Type type_ = v1::Tensor::TYPE_UNSPECIFIED;
  bool is_raw_ = false;
  std::string_view raw_;
  std::vector<std::string_view> strings_;  // Raw BYTES.
  const Contents* typed_ = nullptr;
};

// The output of the response that is `tensor`, with the right type and shape.
absl::StatusOr<int> FindOutput(const Response& response, const v1::Tensor& tensor, int64_t rows) {
  for (int i = 0; i < response.outputs_size(); ++i) {
    const auto& output = response.outputs(i);
    if (output.name() != tensor.name()) continue;
    if (output.datatype() != DatatypeOf(tensor.type())) {
      return Malformed(tensor.name(),
                       Concat("is ", output.datatype(), ", not ", DatatypeOf(tensor.type())));
    }
    const auto& shape = output.shape();
    const auto width = static_cast<int64_t>(tensor.width());
    const bool fits = (shape.size() == 2 && shape[0] == rows && shape[1] == width) ||
                      (shape.size() == 1 && shape[0] == rows && width == 1);
    if (!fits) {
      return Malformed(tensor.name(), Concat("has the shape ", ShapeText(shape), ", not [", rows,
                                             ", ", width, "]"));
    }
    return i;
  }
  return Malformed(tensor.name(), "is missing");
}

}  // namespace

absl::StatusOr<TensorCodec> TensorCodec::Make(const v1::Model& model,
                                              std::vector<WantedOutput> wanted,
                                              const Metadata& metadata) {
  TensorCodec codec;
  codec.model_ = &model;
  codec.wanted_ = std::move(wanted);
  for (const WantedOutput& one : codec.wanted_) {
    if (one.tensor < 0 || one.tensor >= model.outputs_size() || one.index < 0 ||
        one.index >= model.outputs(one.tensor).width()) {
      return absl::InvalidArgumentError("the job asks for an output that it does not declare");
    }
  }
  int64_t batch = -1;
  for (const v1::Tensor& tensor : model.inputs()) {
    Input& input = codec.inputs_.emplace_back(Input{tensor, false});
    if (metadata.inputs().empty()) continue;  // Not every server describes its models.
    MILLRACE_RETURN_IF_ERROR(CheckTensor("input", tensor, metadata.inputs(), input.is_flat, batch));
    if (batch == 1) codec.rows_max_ = 1;
  }
  if (!metadata.inputs().empty() && metadata.inputs_size() != model.inputs_size()) {
    return NotAsDeclared("number of inputs", Concat(metadata.inputs_size()),
                         Concat(model.inputs_size()));
  }
  for (const v1::Tensor& tensor : model.outputs()) {
    bool is_flat = false;
    if (metadata.outputs().empty()) break;
    MILLRACE_RETURN_IF_ERROR(CheckTensor("output", tensor, metadata.outputs(), is_flat, batch));
  }
  return codec;
}

inference::ModelInferRequest TensorCodec::Encode(const std::vector<Column>& features, int64_t rows,
                                                 std::string id) const {
  inference::ModelInferRequest request;
  request.set_model_name(model_->remote().server_model());
  request.set_model_version(model_->remote().server_version());
  request.set_id(std::move(id));
  size_t next = 0;
  for (const Input& input : inputs_) {
    auto& tensor = *request.add_inputs();
    tensor.set_name(input.tensor.name());
    tensor.set_datatype(std::string(DatatypeOf(input.tensor.type())));
    tensor.add_shape(rows);
    if (!input.is_flat) tensor.add_shape(static_cast<int64_t>(input.tensor.width()));
    std::vector<const Column*> columns;
    for (uint32_t i = 0; i < input.tensor.width(); ++i) columns.push_back(&features[next++]);
    request.add_raw_input_contents(RawOf(input.tensor.type(), columns, rows));
  }
  for (const v1::Tensor& output : model_->outputs()) {
    request.add_outputs()->set_name(output.name());
  }
  return request;
}

absl::StatusOr<std::vector<Column>> TensorCodec::Decode(const Response& response,
                                                        int64_t rows) const {
  std::vector<Column> columns;
  for (const WantedOutput& wanted : wanted_) {
    const v1::Tensor& tensor = model_->outputs(wanted.tensor);
    const auto width = static_cast<int64_t>(tensor.width());
    MILLRACE_ASSIGN_OR_RETURN(const int output, FindOutput(response, tensor, rows));
    MILLRACE_ASSIGN_OR_RETURN(const Elements elements,
                              Elements::Of(response, output, tensor.type(), rows * width));
    ColumnBuilder column(TensorColumnType(tensor.type()), rows);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = row * width + wanted.index;
      if (tensor.type() == v1::Tensor::TYPE_STRING && !IsUtf8(elements.StringAt(at))) {
        return Malformed(tensor.name(), "has text that is not UTF-8");
      }
      elements.AppendTo(at, column);
    }
    columns.push_back(column.Finish());
  }
  return columns;
}

}  // namespace millrace
