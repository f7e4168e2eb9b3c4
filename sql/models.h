// The models of a graph: checks of what is declared, and of the files where they can be read.
//
// Threading: CompileModels is pure; PinModelFiles reads files, so it runs on an io thread.
// Errors:    diagnostics.
#pragma once

#include <string>
#include <string_view>

#include "millrace/v1/graph.pb.h"
#include "sql/diagnostics.h"

namespace millrace {

class Disk;

// Declared widths of all inputs of a model together, and of all its outputs.
inline constexpr uint32_t kModelValuesMax = 65'536;
inline constexpr uint64_t kModelBytesDefault = uint64_t{256} << 20;
inline constexpr uint64_t kModelBytesMax = uint64_t{2} << 30;

// Fills in defaults and reports what is wrong with each model by itself.
void CompileModels(google::protobuf::RepeatedPtrField<v1::Model>& models, Diagnostics& diagnostics);

// Null when there is none.
const v1::Model* FindModel(const v1::JobGraph& graph, std::string_view name);

// Reads the file of each local model: writes the digest that was left out, and refuses a file that
// is larger than allowed or has another digest. A file that is not on this machine is a warning
// when its digest is given (workers check it), else an error. Call it on a compiled graph.
void PinModelFiles(v1::JobGraph& graph, Disk& disk, Diagnostics& diagnostics);

// "FLOAT[20]".
std::string TensorText(const v1::Tensor& tensor);
// The type of the columns that go into, or come out of, a tensor.
v1::Type ColumnType(v1::Tensor::Type type);

}  // namespace millrace
