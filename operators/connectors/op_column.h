// For sinks that write rows and do not apply changes: the kind of every change, "+I", "-U", "+U" or
// "-D", becomes a STRING column `op` behind the others.
#pragma once

#include <memory>

#include "runtime/task/sink.h"

namespace millrace {

// `sink` itself where its input has inserts only.
std::unique_ptr<Sink> WithOpColumn(const v1::Node& node, std::unique_ptr<Sink> sink);

}  // namespace millrace
