// How a coordinator turns what a user wrote into a typed graph: sql/ behind one function.
#pragma once

#include <map>
#include <string>

#include "coordinator/coordinator.h"

namespace millrace {

// With the disk bound, a CompileFunction. Reads the files of models and nothing else; io threads.
CompiledJob CompileJob(const v1::JobSource& source, Disk& disk);

// A job's text as the source that it is, a SQL script or YAML, and what `${NAME}` in it stands for.
v1::JobSource MakeJobSource(const std::string& text,
                            const std::map<std::string, std::string>& variables);

}  // namespace millrace
