#include "operators/udf/python_settings.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/columns/json_text.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

// Without symbolic links and dots, as far as it exists.
fs::path Canonical(const fs::path& path) {
  std::error_code error;
  fs::path canonical = fs::weakly_canonical(path, error);
  return error ? fs::path() : canonical;
}

bool IsWithin(const fs::path& path, const fs::path& folder) {
  const fs::path inner = Canonical(path), outer = Canonical(folder);
  if (inner.empty() || outer.empty()) return false;
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

void AppendStrings(const std::vector<std::string>& texts, std::string& out) {
  out += '[';
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) out += ',';
    AppendJsonString(texts[i], out);
  }
  out += ']';
}

// [kind, precision, scale]
std::string TypeJson(const v1::Type& type) {
  return Concat("[", static_cast<int>(type.kind()), ",", type.precision(), ",", type.scale(), "]");
}

const char* BoolJson(bool value) { return value ? "true" : "false"; }

}  // namespace

std::vector<std::string> SplitFolders(const std::string& text) {
  std::vector<std::string> folders;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(':', begin), text.size());
    std::error_code error;
    const fs::path folder = fs::absolute(text.substr(begin, end - begin), error);
    if (end > begin && !error) folders.push_back(folder.lexically_normal().string());
    begin = end + 1;
  }
  return folders;
}

absl::StatusOr<std::vector<std::string>> FoldersOf(const v1::PythonFunction& function,
                                                   const PythonSettings& settings) {
  if (function.path().empty()) return settings.folders;
  std::vector<std::string> found;
  for (const std::string& folder : settings.folders) {
    const fs::path path = fs::path(folder) / function.path();  // An absolute one stays.
    std::error_code error;
    if (IsWithin(path, folder) && fs::is_directory(path, error)) found.push_back(path.string());
  }
  if (!found.empty()) return found;
  return absl::FailedPreconditionError(
      Concat("function '", function.name(), "': its python.path ", function.path(),
             " is no folder within those that this worker allows: ", Join(settings.folders, ", ")));
}

absl::StatusOr<std::string> RunnerSetup(const v1::PythonCall& node,
                                        const std::vector<v1::Type>& columns,
                                        const std::vector<PythonCallColumns>& calls,
                                        const PythonSettings& settings) {
  std::string json = "{\"folders\":";
  AppendStrings(settings.folders, json);
  json += ",\"columns\":[";
  for (size_t i = 0; i < columns.size(); ++i) {
    json += Concat(i > 0 ? "," : "", TypeJson(columns[i]));
  }
  json += "],\"calls\":[";
  for (size_t i = 0; i < calls.size(); ++i) {
    const v1::PythonFunction& function = node.results(static_cast<int>(i)).function();
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> folders,
                              FoldersOf(function, settings));
    json += i > 0 ? ",{\"name\":" : "{\"name\":";
    AppendJsonString(function.name(), json);
    json += ",\"handler\":";
    AppendJsonString(function.handler(), json);
    json += ",\"folders\":";
    AppendStrings(folders, json);
    json +=
        Concat(",\"arguments\":[", Join(calls[i].arguments, ","),
               "],\"condition\":", calls[i].condition, ",\"result\":", TypeJson(function.result()),
               ",\"vectorized\":", BoolJson(function.mode() == v1::PythonFunction::MODE_VECTORIZED),
               ",\"null_on_null_input\":", BoolJson(function.null_on_null_input()), "}");
  }
  return json + "]}";
}

}  // namespace millrace
