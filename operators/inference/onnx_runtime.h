// Models that ONNX Runtime runs. The library is found at run time, by dlopen: the build needs
// nothing of it, and a worker without it runs everything else.
//
// Determinism: one thread, sequential execution, and rows in calls of at most kModelRows; a model
// whose result for a row depends on its batch (dynamic quantization) is run row by row.
//
// Threading: LoadByOnnxRuntime from any thread; a model belongs to one task.
// Errors:    kFailedPrecondition: the library is missing or too old; the message says what to do.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "operators/inference/model_formats.h"

struct OrtApi;

namespace millrace {

// The environment variable that names the library; without it, the loader looks for the names
// below.
inline constexpr char kOnnxRuntimeVariable[] = "MILLRACE_ONNXRUNTIME";

absl::StatusOr<std::unique_ptr<Model>> LoadByOnnxRuntime(const v1::Model& model,
                                                         const Wanted& wanted,
                                                         const std::string& bytes);

// The library's functions, for benchmarks; loaded once per process.
absl::StatusOr<const OrtApi*> OnnxRuntimeApi();

}  // namespace millrace
