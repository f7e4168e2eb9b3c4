// Messages of the graph that a job file may write as one line of text.
//
// Threading: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "sql/sql_problem.h"

namespace google::protobuf {
class Message;
}

namespace millrace {

// True when messages of this type may be written as text; `form` says how, for messages.
bool HasTextForm(const google::protobuf::Message& message, std::string_view* form);
// The path within the message that takes up the text from its beginning: ".expr"; empty: the
// message itself, or none.
std::string_view TextFormPath(const google::protobuf::Message& message);

// Fills `message` (of a type that HasTextForm) from the text.
bool ReadTextForm(std::string_view text, google::protobuf::Message& message, SqlProblem* problem);

}  // namespace millrace
