// How a coordinator turns what a user wrote into a typed graph: sql/ behind one function.
#pragma once

#include "coordinator/coordinator.h"

namespace millrace {

// With the disk bound, a CompileFunction. Reads the files of models and nothing else; io threads.
CompiledJob CompileJob(const v1::JobSource& source, Disk& disk);

// A job's text as the source that it is: a SQL script, or YAML.
void SetJobText(const std::string& text, v1::JobSource& source);

}  // namespace millrace
