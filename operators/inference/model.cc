#include "operators/inference/model.h"

#include <iterator>
#include <utility>

#include "operators/inference/model_formats.h"
#include "runtime/base/digests.h"
#include "runtime/base/env.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

struct FormatEntry {
  v1::LocalModel::Format format;
  absl::StatusOr<std::unique_ptr<Model>> (*load)(const v1::Model& model, const Wanted& wanted,
                                                 const std::string& bytes);
};
constexpr FormatEntry kFormats[] = {
    {v1::LocalModel::FORMAT_ONNX, &LoadOnnx},
    {v1::LocalModel::FORMAT_XGBOOST_JSON, &LoadXgboostJson},
    {v1::LocalModel::FORMAT_LIGHTGBM_TEXT, &LoadLightGbmText},
    {v1::LocalModel::FORMAT_LINEAR_JSON, &LoadLinearJson},
};

std::string NameOf(const v1::Model& model) {
  return Concat("model=", model.name(), " version=", model.version(),
                " path=", model.local().path());
}

}  // namespace

std::vector<WantedOutput> WantedOutputs(const v1::Model& model, const v1::Inference& node) {
  std::vector<WantedOutput> wanted;
  for (const v1::Prediction& output : node.outputs()) {
    WantedOutput& one = wanted.emplace_back();
    one.index = output.index();
    while (one.tensor < model.outputs_size() &&
           model.outputs(one.tensor).name() != output.tensor()) {
      ++one.tensor;
    }
  }
  return wanted;
}

absl::StatusOr<std::unique_ptr<Model>> LoadModelFile(const v1::Model& model, const Wanted& wanted,
                                                     Disk& disk) {
  const v1::LocalModel& local = model.local();
  absl::StatusOr<std::string> bytes = disk.ReadAll(local.path(), local.size_bytes_max());
  if (!bytes.ok()) {
    // The job names a file that this machine has not: starting again does not help.
    return absl::InvalidArgumentError(
        Concat("cannot read the file of a model: ", MessageOf(bytes.status()), " ", NameOf(model)));
  }
  std::string digest;
  Sha256Hex(*bytes, digest);
  if (digest != local.sha256()) {
    return absl::InvalidArgumentError(
        Concat("the file of a model is not the one that the job names: ", NameOf(model),
               " sha256=", digest, " sha256_of_job=", local.sha256()));
  }
  auto loaded = LoadModel(model, wanted, *std::move(bytes));
  if (!loaded.ok()) return Annotate(loaded.status(), NameOf(model));
  return loaded;
}

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const v1::Model& model, const Wanted& wanted,
                                                 std::string bytes) {
  for (const WantedOutput& one : wanted) {
    if (one.tensor < 0 || one.tensor >= model.outputs_size() || one.index < 0 ||
        one.index >= model.outputs(one.tensor).width()) {
      return absl::InvalidArgumentError("the job asks for an output that it does not declare");
    }
  }
  for (const FormatEntry& entry : kFormats) {
    if (entry.format == model.local().format()) return entry.load(model, wanted, bytes);
  }
  return absl::InvalidArgumentError("this worker does not know the format of the model");
}

std::string TensorText(v1::Tensor::Type type, int64_t width) {
  static constexpr const char* kNames[] = {"?",      "FLOAT",   "DOUBLE", "INT",
                                           "BIGINT", "BOOLEAN", "STRING"};
  const auto name = static_cast<size_t>(type);
  return Concat(name < std::size(kNames) ? kNames[name] : "?", "[", width, "]");
}

absl::Status DiffersFromJob(std::string_view what, std::string_view model, std::string_view job) {
  return absl::InvalidArgumentError(Concat("the model is not as the job declares it: ", what,
                                           " of the model: ", model, "; of the job: ", job));
}

absl::Status CheckSignature(const v1::Model& model, const PlainSignature& signature) {
  if (model.inputs_size() != 1) return DiffersFromJob("inputs", "1", Concat(model.inputs_size()));
  if (model.outputs_size() != 1) {
    return DiffersFromJob("outputs", "1", Concat(model.outputs_size()));
  }
  const v1::Tensor& input = model.inputs(0);
  const bool fits = input.type() == v1::Tensor::TYPE_FLOAT32 ||
                    (signature.double_features && input.type() == v1::Tensor::TYPE_FLOAT64);
  if (!fits || input.width() != signature.features) {
    return DiffersFromJob("input", TensorText(v1::Tensor::TYPE_FLOAT32, signature.features),
                          TensorText(input.type(), input.width()));
  }
  const v1::Tensor& output = model.outputs(0);
  if (output.type() != signature.output || output.width() != signature.outputs) {
    return DiffersFromJob("output", TensorText(signature.output, signature.outputs),
                          TensorText(output.type(), output.width()));
  }
  return absl::OkStatus();
}

}  // namespace millrace
