#include "operators/inference/onnx_model.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "onnx/onnx.pb.h"
#include "operators/inference/onnx_runtime.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kNestingMax = 32;

bool IsKnownDomain(const std::string& domain) {
  return domain.empty() || domain == "ai.onnx" || domain == "ai.onnx.ml" ||
         domain == "com.microsoft";  // Built into ONNX Runtime.
}

absl::Status Refuse(std::string_view what) {
  return absl::InvalidArgumentError(Concat("the ONNX model is refused: ", what));
}

absl::Status CheckMessage(const Message& message) {
  if (message.GetDescriptor() == onnx::TensorProto::descriptor()) {
    const auto& tensor = static_cast<const onnx::TensorProto&>(message);
    if (tensor.data_location() == onnx::TensorProto::EXTERNAL || tensor.external_data_size() > 0) {
      return Refuse("it has external data; save it as one file");
    }
    return absl::OkStatus();
  }
  if (message.GetDescriptor() == onnx::NodeProto::descriptor()) {
    const auto& node = static_cast<const onnx::NodeProto&>(message);
    if (!IsKnownDomain(node.domain())) {
      return Refuse(
          Concat("operator ", node.op_type(), " of domain ", node.domain(), " is a custom one"));
    }
  }
  std::vector<const FieldDescriptor*> fields;
  const auto* reflection = message.GetReflection();
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->message_type() == nullptr) continue;
    if (!field->is_repeated()) {
      MILLRACE_RETURN_IF_ERROR(CheckMessage(reflection->GetMessage(message, field)));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      MILLRACE_RETURN_IF_ERROR(CheckMessage(reflection->GetRepeatedMessage(message, field, i)));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseOnnx(const std::string& bytes, onnx::ModelProto& model) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedInputStream coded(&stream);
  // A graph in an attribute of a node of a graph: three messages per level.
  coded.SetRecursionLimit(3 * kNestingMax);
  if (bytes.size() > INT32_MAX || !model.ParseFromCodedStream(&coded) ||
      !coded.ConsumedEntireMessage() || model.graph().node_size() == 0) {
    return absl::InvalidArgumentError("the file is not an ONNX model");
  }
  return absl::OkStatus();
}

// The declared outputs by what the graph's outputs hold.
absl::StatusOr<std::vector<OutputRole>> RolesOf(const v1::Model& model, const NativeOnnx& native) {
  std::vector<OutputRole> roles;
  for (const v1::Tensor& output : model.outputs()) {
    const NativeOnnx::Output* found = nullptr;
    for (const NativeOnnx::Output& one : native.names) {
      if (one.name == output.name()) found = &one;
    }
    if (found == nullptr) return DiffersFromJob("output", "(none)", output.name());
    const bool is_label = found->role == OutputRole::kLabel;
    const auto type = !is_label                           ? v1::Tensor::TYPE_FLOAT32
                      : native.head.string_labels.empty() ? v1::Tensor::TYPE_INT64
                                                          : v1::Tensor::TYPE_STRING;
    const int64_t width = is_label ? 1 : native.outputs;
    if (output.type() != type || output.width() != static_cast<uint32_t>(width)) {
      return DiffersFromJob(Concat("output ", output.name()), TensorText(type, width),
                            TensorText(output.type(), output.width()));
    }
    roles.push_back(found->role);
  }
  return roles;
}

}  // namespace

absl::Status CheckOnnx(const onnx::ModelProto& model) {
  if (model.training_info_size() > 0) return Refuse("it has training information");
  for (const onnx::OperatorSetIdProto& set : model.opset_import()) {
    if (!IsKnownDomain(set.domain())) {
      return Refuse(Concat("it needs the custom operators of domain ", set.domain()));
    }
  }
  return CheckMessage(model);
}

absl::StatusOr<std::unique_ptr<Model>> LoadOnnx(const v1::Model& model, const Wanted& wanted,
                                                const std::string& bytes) {
  onnx::ModelProto proto;
  MILLRACE_RETURN_IF_ERROR(ParseOnnx(bytes, proto));
  MILLRACE_RETURN_IF_ERROR(CheckOnnx(proto));
  MILLRACE_ASSIGN_OR_RETURN(std::optional<NativeOnnx> native, MakeNativeOnnx(proto));
  if (!native) return LoadByOnnxRuntime(model, wanted, bytes);
  if (model.inputs_size() != 1 || model.inputs(0).name() != native->input ||
      model.inputs(0).type() != v1::Tensor::TYPE_FLOAT32 ||
      static_cast<int>(model.inputs(0).width()) != native->scorer->features()) {
    return DiffersFromJob("input",
                          Concat(native->input, " ",
                                 TensorText(v1::Tensor::TYPE_FLOAT32, native->scorer->features())),
                          model.inputs_size() == 1
                              ? Concat(model.inputs(0).name(), " ",
                                       TensorText(model.inputs(0).type(), model.inputs(0).width()))
                              : Concat(model.inputs_size(), " inputs"));
  }
  MILLRACE_ASSIGN_OR_RETURN(auto roles, RolesOf(model, *native));
  return MakeNativeModel(std::move(native->scorer), std::move(native->head), std::move(roles),
                         wanted);
}

}  // namespace millrace
