// The program that a Python process runs: the text of python_runner.py.
//
// Threading: a constant.
#pragma once

#include <string_view>

namespace millrace {

extern const std::string_view kPythonRunner;

}  // namespace millrace
