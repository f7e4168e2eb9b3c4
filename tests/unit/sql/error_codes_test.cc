#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace millrace {
namespace {

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Every MR1… in the text.
void AddCodes(const std::string& text, std::set<std::string>& codes) {
  for (size_t at = text.find("MR1"); at != std::string::npos; at = text.find("MR1", at + 1)) {
    const std::string code = text.substr(at, 6);
    if (code.find_first_not_of("0123456789", 2) == std::string::npos) codes.insert(code);
  }
}

TEST(ErrorCodesTest, DocumentedCodesAreThoseOfTheSources) {
  const std::filesystem::path root(MILLRACE_SOURCE_DIR);
  std::set<std::string> used, documented;
  for (const auto& file : std::filesystem::recursive_directory_iterator(root / "sql")) {
    if (file.path().extension() == ".cc") AddCodes(ReadFile(file.path()), used);
  }
  std::istringstream lines(ReadFile(root / "docs" / "errors.md"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("| MR10") || line.starts_with("| MR11") || line.starts_with("| MR12") ||
        line.starts_with("| MR13") || line.starts_with("| MR14") || line.starts_with("| MR15") ||
        line.starts_with("| MR16")) {
      AddCodes(line, documented);
    }
  }
  EXPECT_GT(used.size(), 40u);
  EXPECT_EQ(used, documented);
}

}  // namespace
}  // namespace millrace
