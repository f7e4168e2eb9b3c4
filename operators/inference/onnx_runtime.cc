#include "operators/inference/onnx_runtime.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "operators/inference/onnx_runtime_api.h"
#include "operators/inference/pack_rows.h"
#include "operators/inference/tensor_types.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr uint32_t kApiLevel = 17;
constexpr int64_t kProbeRows = 64;

struct Library {
  const OrtApi* api = nullptr;
  OrtEnv* env = nullptr;
  absl::Status status;
};

std::string HowToInstall() {
  return Concat(
      "install libonnxruntime.so 1.17 or later (it is in the onnxruntime wheel of "
      "PyPI) and name it by ",
      kOnnxRuntimeVariable);
}

absl::Status OpenLibrary(Library& library) {
  const char* path = std::getenv(kOnnxRuntimeVariable);
  void* handle = nullptr;
  std::string problem;
  const std::vector<const char*> names =
      path != nullptr ? std::vector<const char*>{path}
                      : std::vector<const char*>{"libonnxruntime.so.1", "libonnxruntime.so"};
  for (const char* name : names) {
    handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) break;
    problem = dlerror();
  }
  if (handle == nullptr) {
    return absl::FailedPreconditionError(Concat(
        "MR5101: ONNX Runtime is needed and cannot be loaded: ", problem, "; ", HowToInstall()));
  }
  auto* base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
  library.api = base == nullptr ? nullptr : base()->GetApi(kApiLevel);
  if (library.api == nullptr) {
    return absl::FailedPreconditionError(
        Concat("MR5101: the library is not ONNX Runtime, or older than 1.17; ", HowToInstall()));
  }
  // Errors come back as a status; the library need not print them, too.
  OrtStatus* status = library.api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "millrace", &library.env);
  if (status == nullptr) return absl::OkStatus();
  library.api->ReleaseStatus(status);
  return absl::InternalError("cannot start ONNX Runtime");
}

// Never unloaded: sessions of any task may live until the end of the process.
const Library& TheLibrary() {
  static const Library* const library = [] {
    auto* made = new Library;
    made->status = OpenLibrary(*made);
    return made;
  }();
  return *library;
}

// What the C API gives, released when it is left.
template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

struct TensorInfo {
  std::string name;
  v1::Tensor::Type type = v1::Tensor::TYPE_UNSPECIFIED;
  int64_t width = 1;
  bool is_matrix = false;  // [rows, width], else [rows].
};

ONNXTensorElementDataType ElementOf(v1::Tensor::Type type) {
  switch (type) {
    case v1::Tensor::TYPE_FLOAT32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case v1::Tensor::TYPE_FLOAT64:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
    case v1::Tensor::TYPE_INT32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case v1::Tensor::TYPE_INT64:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    case v1::Tensor::TYPE_BOOL:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
    case v1::Tensor::TYPE_STRING:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING;
    default:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  }
}

// Row-major values of one column of a tensor.
template <typename T, typename From>
void Pack(const Column& column, int64_t begin, int64_t rows, int64_t width, T* out) {
  const From* values = column.values<From>() + begin;
  for (int64_t i = 0; i < rows; ++i) out[i * width] = static_cast<T>(values[i]);
  if (!column.has_nulls()) return;
  if constexpr (std::is_floating_point_v<T>) {
    for (int64_t i = 0; i < rows; ++i) {
      if (column.IsNull(begin + i)) out[i * width] = std::numeric_limits<T>::quiet_NaN();
    }
  }
}

template <typename To, typename From>
void AppendStrided(const From* values, int64_t rows, int64_t width, ColumnBuilder& out) {
  auto* to = reinterpret_cast<To*>(out.AppendUninitialized(rows));
  for (int64_t i = 0; i < rows; ++i) to[i] = static_cast<To>(values[i * width]);
}

class OnnxRuntimeModel : public Model {
 public:
  OnnxRuntimeModel(const Library& library, Wanted wanted)
      : api_(*library.api), env_(library.env), wanted_(std::move(wanted)) {}

  absl::Status Open(const v1::Model& model, const std::string& bytes) {
    MILLRACE_RETURN_IF_ERROR(MakeSession(bytes));
    MILLRACE_RETURN_IF_ERROR(CheckInputs(model));
    MILLRACE_RETURN_IF_ERROR(CheckOutputs(model));
    if (call_rows_ > 1 && DependsOnBatch()) call_rows_ = 1;
    return absl::OkStatus();
  }

  absl::Status Predict(std::span<const Column> features, int64_t rows,
                       std::vector<Column>& predictions) override {
    std::vector<ColumnBuilder> builders;
    builders.reserve(wanted_.size());
    for (const WantedOutput& one : wanted_) {
      builders.emplace_back(TensorColumnType(outputs_[static_cast<size_t>(one.tensor)].type), rows);
    }
    for (int64_t begin = 0; begin < rows; begin += call_rows_) {
      const int64_t count = std::min(call_rows_, rows - begin);
      MILLRACE_RETURN_IF_ERROR(Call(features, begin, count, builders));
    }
    predictions.clear();
    for (ColumnBuilder& builder : builders) predictions.push_back(builder.Finish());
    return absl::OkStatus();
  }

 private:
  absl::Status Check(OrtStatus* status, std::string_view what) const {
    if (status == nullptr) return absl::OkStatus();
    const std::string message = api_.GetErrorMessage(status);
    api_.ReleaseStatus(status);
    return absl::InvalidArgumentError(Concat("ONNX Runtime cannot ", what, ": ", message));
  }

  absl::Status MakeSession(const std::string& bytes) {
    OrtSessionOptions* raw_options = nullptr;
    MILLRACE_RETURN_IF_ERROR(Check(api_.CreateSessionOptions(&raw_options), "make options"));
    const Owned<OrtSessionOptions> options(raw_options, api_.ReleaseSessionOptions);
    MILLRACE_RETURN_IF_ERROR(Check(api_.SetIntraOpNumThreads(raw_options, 1), "set threads"));
    MILLRACE_RETURN_IF_ERROR(Check(api_.SetInterOpNumThreads(raw_options, 1), "set threads"));
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.SetSessionExecutionMode(raw_options, ORT_SEQUENTIAL), "set the mode"));
    MILLRACE_RETURN_IF_ERROR(Check(
        api_.SetSessionGraphOptimizationLevel(raw_options, ORT_ENABLE_ALL), "set optimizations"));
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.SetDeterministicCompute(raw_options, true), "be deterministic"));
    OrtSession* session = nullptr;
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.CreateSessionFromArray(env_, bytes.data(), bytes.size(), raw_options, &session),
              "load the model"));
    session_.reset(session);
    return Check(api_.GetAllocatorWithDefaultOptions(&allocator_), "allocate");
  }

  // Shape and type of one input or output. `rows` becomes the fixed size of its batch, 0 = any.
  absl::Status Describe(bool is_input, size_t index, TensorInfo& out, int64_t* rows) {
    char* name = nullptr;
    OrtTypeInfo* raw_type = nullptr;
    MILLRACE_RETURN_IF_ERROR(
        Check((is_input ? api_.SessionGetInputName : api_.SessionGetOutputName)(
                  session_.get(), index, allocator_, &name),
              "name a tensor"));
    out.name = name;
    MILLRACE_RETURN_IF_ERROR(Check(api_.AllocatorFree(allocator_, name), "free a name"));
    MILLRACE_RETURN_IF_ERROR(
        Check((is_input ? api_.SessionGetInputTypeInfo : api_.SessionGetOutputTypeInfo)(
                  session_.get(), index, &raw_type),
              "describe a tensor"));
    const Owned<OrtTypeInfo> type(raw_type, api_.ReleaseTypeInfo);
    ONNXType kind = ONNX_TYPE_UNKNOWN;
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.GetOnnxTypeFromTypeInfo(raw_type, &kind), "describe a tensor"));
    if (kind != ONNX_TYPE_TENSOR) {
      out.type = v1::Tensor::TYPE_UNSPECIFIED;  // A map or a sequence (convert without ZipMap).
      return absl::OkStatus();
    }
    const OrtTensorTypeAndShapeInfo* info = nullptr;
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.CastTypeInfoToTensorInfo(raw_type, &info), "describe a tensor"));
    ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    size_t rank = 0;
    MILLRACE_RETURN_IF_ERROR(Check(api_.GetTensorElementType(info, &element), "describe a tensor"));
    for (int t = v1::Tensor::Type_MIN; t <= v1::Tensor::Type_MAX; ++t) {
      const auto candidate = static_cast<v1::Tensor::Type>(t);
      if (t > 0 && ElementOf(candidate) == element) out.type = candidate;
    }
    MILLRACE_RETURN_IF_ERROR(Check(api_.GetDimensionsCount(info, &rank), "describe a tensor"));
    std::vector<int64_t> shape(rank);
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.GetDimensions(info, shape.data(), rank), "describe a tensor"));
    out.is_matrix = rank == 2;
    out.width = rank == 2 ? shape[1] : rank == 1 ? 1 : 0;
    *rows = rank > 0 ? std::max<int64_t>(shape[0], 0) : 0;
    return absl::OkStatus();
  }

  absl::Status CheckInputs(const v1::Model& model) {
    size_t count = 0;
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.SessionGetInputCount(session_.get(), &count), "count inputs"));
    if (static_cast<int>(count) != model.inputs_size()) {
      return DiffersFromJob("inputs", Concat(count), Concat(model.inputs_size()));
    }
    std::vector<TensorInfo> own(count);
    for (size_t i = 0; i < count; ++i) {
      int64_t rows = 0;
      MILLRACE_RETURN_IF_ERROR(Describe(true, i, own[i], &rows));
      if (rows > 1) {
        return absl::InvalidArgumentError(
            Concat("the model takes exactly ", rows, " rows at once"));
      }
      if (rows == 1) call_rows_ = 1;
    }
    // In the order of the job.
    for (const v1::Tensor& declared : model.inputs()) {
      MILLRACE_ASSIGN_OR_RETURN(TensorInfo info, Matching("input", declared, own));
      inputs_.push_back(std::move(info));
    }
    return absl::OkStatus();
  }

  absl::Status CheckOutputs(const v1::Model& model) {
    size_t count = 0;
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.SessionGetOutputCount(session_.get(), &count), "count outputs"));
    std::vector<TensorInfo> own(count);
    for (size_t i = 0; i < count; ++i) {
      int64_t rows = 0;
      MILLRACE_RETURN_IF_ERROR(Describe(false, i, own[i], &rows));
    }
    for (const v1::Tensor& declared : model.outputs()) {
      MILLRACE_ASSIGN_OR_RETURN(TensorInfo info, Matching("output", declared, own));
      outputs_.push_back(std::move(info));
    }
    for (const TensorInfo& input : inputs_) input_names_.push_back(input.name.c_str());
    for (const TensorInfo& output : outputs_) output_names_.push_back(output.name.c_str());
    return absl::OkStatus();
  }

  // A width that the model leaves open (negative) is what the job declares.
  static absl::StatusOr<TensorInfo> Matching(std::string_view what, const v1::Tensor& declared,
                                             const std::vector<TensorInfo>& own) {
    const std::string job =
        Concat(declared.name(), " ", TensorText(declared.type(), declared.width()));
    std::string names;
    for (const TensorInfo& one : own) {
      names += Concat(names.empty() ? "" : ", ", one.name, " ", TensorText(one.type, one.width));
      const bool fits = one.type == declared.type() &&
                        (one.width == declared.width() || (one.width < 0 && one.is_matrix));
      if (one.name != declared.name() || !fits) continue;
      TensorInfo found = one;
      found.width = declared.width();
      return found;
    }
    return DiffersFromJob(what, names, job);
  }

  // ---- calls ----

  // Tensors of a call, kept for the next one with as many rows. ONNX Runtime refuses to fill an
  // output that turns out to have another shape.
  absl::Status MakeTensors(int64_t rows) {
    if (rows == tensor_rows_) return absl::OkStatus();
    tensor_rows_ = 0;
    input_values_.clear();
    output_values_.clear();
    owned_.clear();
    for (const auto& [infos, values] :
         {std::pair(&inputs_, &input_values_), std::pair(&outputs_, &output_values_)}) {
      for (const TensorInfo& info : *infos) {
        const int64_t shape[] = {rows, info.width};
        OrtValue* value = nullptr;
        MILLRACE_RETURN_IF_ERROR(
            Check(api_.CreateTensorAsOrtValue(allocator_, shape, info.is_matrix ? 2 : 1,
                                              ElementOf(info.type), &value),
                  "make a tensor"));
        owned_.emplace_back(value, api_.ReleaseValue);
        values->push_back(value);
      }
    }
    tensor_rows_ = rows;
    return absl::OkStatus();
  }

  absl::Status FillInput(const TensorInfo& input, std::span<const Column> columns, int64_t begin,
                         int64_t rows, OrtValue* value) {
    if (input.type == v1::Tensor::TYPE_STRING) {
      return FillStrings(columns, begin, rows, value);
    }
    void* data = nullptr;
    MILLRACE_RETURN_IF_ERROR(Check(api_.GetTensorMutableData(value, &data), "fill a tensor"));
    if (input.type == v1::Tensor::TYPE_FLOAT32) {
      PackRows(columns, begin, rows, static_cast<float*>(data));
      return absl::OkStatus();
    }
    for (int64_t f = 0; f < input.width; ++f) {
      PackColumn(input, columns[static_cast<size_t>(f)], begin, rows, static_cast<char*>(data), f);
    }
    return absl::OkStatus();
  }

  static void PackColumn(const TensorInfo& input, const Column& column, int64_t begin, int64_t rows,
                         char* buffer, int64_t f) {
    switch (input.type) {
      case v1::Tensor::TYPE_FLOAT64:
        return Pack<double, double>(column, begin, rows, input.width,
                                    reinterpret_cast<double*>(buffer) + f);
      case v1::Tensor::TYPE_INT32:
        return Pack<int32_t, int32_t>(column, begin, rows, input.width,
                                      reinterpret_cast<int32_t*>(buffer) + f);
      case v1::Tensor::TYPE_INT64:
        return Pack<int64_t, int64_t>(column, begin, rows, input.width,
                                      reinterpret_cast<int64_t*>(buffer) + f);
      default:
        for (int64_t i = 0; i < rows; ++i) {
          buffer[i * input.width + f] = column.BoolAt(begin + i) ? 1 : 0;
        }
    }
  }

  absl::Status FillStrings(std::span<const Column> columns, int64_t begin, int64_t rows,
                           OrtValue* value) {
    std::vector<std::string> texts;
    std::vector<const char*> pointers;
    texts.reserve(static_cast<size_t>(rows) * columns.size());
    for (int64_t i = 0; i < rows; ++i) {
      for (const Column& column : columns) {
        texts.emplace_back(column.StringAt(begin + i));
        pointers.push_back(texts.back().c_str());
      }
    }
    return Check(api_.FillStringTensor(value, pointers.data(), pointers.size()), "fill a tensor");
  }

  absl::Status Call(std::span<const Column> features, int64_t begin, int64_t rows,
                    std::vector<ColumnBuilder>& builders) {
    MILLRACE_RETURN_IF_ERROR(MakeTensors(rows));
    size_t first = 0;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const auto width = static_cast<size_t>(inputs_[i].width);
      MILLRACE_RETURN_IF_ERROR(
          FillInput(inputs_[i], features.subspan(first, width), begin, rows, input_values_[i]));
      first += width;
    }
    MILLRACE_RETURN_IF_ERROR(
        Check(api_.Run(session_.get(), nullptr, input_names_.data(), input_values_.data(),
                       input_values_.size(), output_names_.data(), output_names_.size(),
                       output_values_.data()),
              "run the model"));
    for (size_t i = 0; i < wanted_.size(); ++i) {
      const auto tensor = static_cast<size_t>(wanted_[i].tensor);
      MILLRACE_RETURN_IF_ERROR(
          Take(outputs_[tensor], output_values_[tensor], wanted_[i].index, rows, builders[i]));
    }
    return absl::OkStatus();
  }

  // One value of each row of an output.
  absl::Status Take(const TensorInfo& output, OrtValue* value, int64_t index, int64_t rows,
                    ColumnBuilder& out) {
    if (output.type == v1::Tensor::TYPE_STRING) return TakeStrings(output, value, index, rows, out);
    void* data = nullptr;
    MILLRACE_RETURN_IF_ERROR(Check(api_.GetTensorMutableData(value, &data), "read a tensor"));
    const int64_t width = output.width;
    switch (output.type) {
      case v1::Tensor::TYPE_FLOAT32:
        AppendStrided<double>(static_cast<const float*>(data) + index, rows, width, out);
        break;
      case v1::Tensor::TYPE_FLOAT64:
        AppendStrided<double>(static_cast<const double*>(data) + index, rows, width, out);
        break;
      case v1::Tensor::TYPE_INT32:
        AppendStrided<int32_t>(static_cast<const int32_t*>(data) + index, rows, width, out);
        break;
      case v1::Tensor::TYPE_INT64:
        AppendStrided<int64_t>(static_cast<const int64_t*>(data) + index, rows, width, out);
        break;
      default:
        for (int64_t i = 0; i < rows; ++i) {
          out.AppendBool(static_cast<const char*>(data)[i * width + index] != 0);
        }
    }
    return absl::OkStatus();
  }

  absl::Status TakeStrings(const TensorInfo& output, OrtValue* value, int64_t index, int64_t rows,
                           ColumnBuilder& out) {
    size_t bytes = 0;
    MILLRACE_RETURN_IF_ERROR(Check(api_.GetStringTensorDataLength(value, &bytes), "read texts"));
    std::string text(bytes, '\0');
    std::vector<size_t> offsets(static_cast<size_t>(rows * output.width));
    MILLRACE_RETURN_IF_ERROR(Check(
        api_.GetStringTensorContent(value, text.data(), bytes, offsets.data(), offsets.size()),
        "read texts"));
    offsets.push_back(bytes);
    for (int64_t i = 0; i < rows; ++i) {
      const auto at = static_cast<size_t>(i * output.width + index);
      out.AppendString(std::string_view(text).substr(offsets[at], offsets[at + 1] - offsets[at]));
    }
    return absl::OkStatus();
  }

  // Compares rows that are predicted together with the same rows one by one.
  bool DependsOnBatch() {
    std::vector<Column> features;
    uint64_t seed = 1;
    const auto next = [&seed] {  // Knuth's; any spread of values will do.
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      return static_cast<double>(seed >> 40) / static_cast<double>(1 << 22) - 2;
    };
    for (const TensorInfo& input : inputs_) {
      for (int64_t f = 0; f < input.width; ++f) {
        ColumnBuilder column(TensorColumnType(input.type), kProbeRows);
        for (int64_t i = 0; i < kProbeRows; ++i) AppendProbe(input.type, next(), column);
        features.push_back(column.Finish());
      }
    }
    std::vector<Column> together, alone;
    const bool ran = Predict(features, kProbeRows, together).ok();
    call_rows_ = 1;
    const bool ran_alone = Predict(features, kProbeRows, alone).ok();
    call_rows_ = kModelRows;
    // Made-up texts may be refused; then nothing was found out, and caution costs only time.
    if (!ran || !ran_alone) return true;
    for (size_t i = 0; i < together.size(); ++i) {
      for (int64_t row = 0; row < kProbeRows; ++row) {
        if (!SameValue(together[i], alone[i], row)) return true;
      }
    }
    return false;
  }

  static void AppendProbe(v1::Tensor::Type type, double value, ColumnBuilder& column) {
    switch (TensorColumnType(type)) {
      case TypeKind::kInt32:
        return column.AppendInt32(static_cast<int32_t>(value + 2));
      case TypeKind::kInt64:
        return column.AppendInt64(static_cast<int64_t>(value + 2));
      case TypeKind::kBool:
        return column.AppendBool(value > 0);
      case TypeKind::kString:
        return column.AppendString("");
      default:
        return column.AppendFloat64(value);
    }
  }

  static bool SameValue(const Column& a, const Column& b, int64_t row) {
    switch (a.type()) {
      case TypeKind::kFloat64:
        return std::memcmp(a.values<double>() + row, b.values<double>() + row, 8) == 0;
      case TypeKind::kString:
        return a.StringAt(row) == b.StringAt(row);
      case TypeKind::kBool:
        return a.BoolAt(row) == b.BoolAt(row);
      case TypeKind::kInt32:
        return a.values<int32_t>()[row] == b.values<int32_t>()[row];
      default:
        return a.values<int64_t>()[row] == b.values<int64_t>()[row];
    }
  }

  const OrtApi& api_;
  OrtEnv* const env_;
  const Wanted wanted_;
  Owned<OrtSession> session_{nullptr, api_.ReleaseSession};
  OrtAllocator* allocator_ = nullptr;  // The library's own.
  std::vector<TensorInfo> inputs_, outputs_;
  std::vector<const char*> input_names_, output_names_;
  int64_t tensor_rows_ = 0;  // Rows that the tensors of the last call have; 0: there are none.
  std::vector<OrtValue*> input_values_, output_values_;
  std::vector<Owned<OrtValue>> owned_;
  int64_t call_rows_ = kModelRows;
};

}  // namespace

absl::StatusOr<const OrtApi*> OnnxRuntimeApi() {
  MILLRACE_RETURN_IF_ERROR(TheLibrary().status);
  return TheLibrary().api;
}

absl::StatusOr<std::unique_ptr<Model>> LoadByOnnxRuntime(const v1::Model& model,
                                                         const Wanted& wanted,
                                                         const std::string& bytes) {
  MILLRACE_RETURN_IF_ERROR(TheLibrary().status);
  auto loaded = std::make_unique<OnnxRuntimeModel>(TheLibrary(), wanted);
  MILLRACE_RETURN_IF_ERROR(loaded->Open(model, bytes));
  return loaded;
}

}  // namespace millrace
