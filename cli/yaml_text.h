// A message as YAML, by protobuf's JSON mapping.
//
// Threading: pure.
#pragma once

#include <string>

#include "google/protobuf/message.h"

namespace millrace {

// A block mapping, with a line feed at the end; nothing for a message without fields that are set.
void AppendYaml(const google::protobuf::Message& message, std::string& out);

}  // namespace millrace
