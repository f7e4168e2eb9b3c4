#include "tests/unit/sql/golden_cases.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace millrace {
namespace {

std::vector<GoldenCase> ReadCases(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  std::vector<GoldenCase> cases;
  bool expected = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("=== ")) {
      cases.push_back({line.substr(4), "", ""});
      expected = false;
    } else if (line == "---" && !expected && !cases.empty()) {
      expected = true;
    } else if (!cases.empty()) {
      (expected ? cases.back().expected : cases.back().input) += line + "\n";
    }
  }
  return cases;
}

}  // namespace

void CheckGoldenFile(const std::string& file,
                     const std::function<std::string(const GoldenCase&)>& actual,
                     size_t cases_min) {
  const std::string path = std::string(MILLRACE_SOURCE_DIR) + "/tests/unit/sql/testdata/" + file;
  const std::vector<GoldenCase> cases = ReadCases(path);
  EXPECT_GE(cases.size(), cases_min);
  std::ostringstream updated;
  for (const GoldenCase& one : cases) {
    SCOPED_TRACE(one.name);
    const std::string got = actual(one);
    updated << "=== " << one.name << "\n" << one.input << "---\n" << got;
    if (std::getenv("MILLRACE_UPDATE_GOLDEN") == nullptr) {
      EXPECT_EQ(got, one.expected);
    }
  }
  if (std::getenv("MILLRACE_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << updated.str();
}

}  // namespace millrace
