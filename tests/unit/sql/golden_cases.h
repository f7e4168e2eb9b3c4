// Files of golden cases: sections "=== name", input, "---", expected text.
//
// With MILLRACE_UPDATE_GOLDEN=1 in the environment the tests write what they got into the files.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace millrace {

struct GoldenCase {
  std::string name;
  std::string input;
  std::string expected;
};

// Runs `actual` over every case of tests/unit/sql/testdata/`file` and compares.
void CheckGoldenFile(const std::string& file,
                     const std::function<std::string(const GoldenCase&)>& actual, size_t cases_min);

}  // namespace millrace
