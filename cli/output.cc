#include "cli/output.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "cli/yaml_text.h"
#include "coordinator/job_api.h"

namespace millrace {
namespace {

constexpr size_t kExcerptCharactersMax = 200;

// The line of the file where the problem is, and a caret below it; empty: it cannot be shown. What
// --set has replaced would move the caret.
std::string Excerpt(const std::string& file, uint32_t line, uint32_t column) {
  std::ifstream in(file, std::ios::binary);
  std::string text;
  for (uint32_t i = 0; i < line; ++i) {
    if (!std::getline(in, text)) return "";
  }
  if (text.ends_with('\r')) text.pop_back();
  if (line == 0 || text.size() > kExcerptCharactersMax || text.find("${") != text.npos) return "";
  std::string caret;
  uint32_t characters = 1;
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (begins && characters++ == column) break;
    if (begins) caret += c == '\t' ? '\t' : ' ';
  }
  return absl::StrCat("  |  ", text, "\n  |  ", caret, "^\n");
}

void PrintDiagnostic(const v1::Diagnostic& diagnostic, const std::string& file) {
  std::string where = file;
  if (diagnostic.line() > 0)
    absl::StrAppend(&where, ":", diagnostic.line(), ":", diagnostic.column());
  const bool warning = diagnostic.severity() == v1::Diagnostic::SEVERITY_WARNING;
  std::fprintf(stderr, "%s: %s %s: %s\n", where.c_str(), warning ? "warning" : "error",
               diagnostic.code().c_str(), diagnostic.message().c_str());
  std::fputs(Excerpt(file, diagnostic.line(), diagnostic.column()).c_str(), stderr);
  std::string place;
  if (!diagnostic.uid().empty()) place = "node " + diagnostic.uid();
  if (!diagnostic.path().empty()) {
    absl::StrAppend(&place, place.empty() ? "" : ", ", diagnostic.path());
  }
  if (!place.empty()) std::fprintf(stderr, "  at   %s\n", place.c_str());
  if (!diagnostic.hint().empty()) std::fprintf(stderr, "  hint %s\n", diagnostic.hint().c_str());
}

}  // namespace

std::string JobStateText(v1::JobState state) {
  return v1::JobState_Name(state).substr(sizeof("JOB_STATE_") - 1);
}

std::string TimeText(int64_t unix_us) {
  if (unix_us == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", absl::FromUnixMicros(unix_us), absl::UTCTimeZone());
}

std::string BytesText(uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat(unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void PrintTable(const std::vector<std::string>& head,
                const std::vector<std::vector<std::string>>& rows, std::FILE* out) {
  std::vector<size_t> widths;
  for (const std::string& name : head) widths.push_back(name.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto print = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    std::fprintf(out, "%s\n", line.c_str());
  };
  print(head);
  for (const auto& row : rows) print(row);
}

std::string MessageAsJson(const google::protobuf::Message& message, bool indented) {
  std::string text;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = indented;
  options.preserve_proto_field_names = true;
  (void)google::protobuf::util::MessageToJsonString(message, &text,
                                                    options);  // Cannot fail for ours.
  return text;
}

void PrintDocument(const google::protobuf::Message& message, OutputFormat format) {
  if (format == OutputFormat::kYaml) {
    std::string text;
    AppendYaml(message, text);
    std::printf("%s", text.empty() ? "{}\n" : text.c_str());
    return;
  }
  std::printf("%s\n", MessageAsJson(message, true).c_str());
}

void PrintDiagnostics(const google::protobuf::RepeatedPtrField<v1::Diagnostic>& diagnostics,
                      const std::string& file) {
  for (const v1::Diagnostic& diagnostic : diagnostics) PrintDiagnostic(diagnostic, file);
}

void PrintChanges(const v1::UpgradeJobResponse& response, std::FILE* out) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::NodeChange& node : response.nodes()) {
    constexpr size_t kPrefix = sizeof("VERDICT_") - 1;
    rows.push_back(
        {node.uid(),
         absl::AsciiStrToLower(v1::NodeChange::Verdict_Name(node.verdict()).substr(kPrefix)),
         node.state_bytes() == 0 ? "-" : BytesText(node.state_bytes()), node.reason()});
  }
  PrintTable({"NODE", "STATE", "SIZE", "WHY"}, rows, out);
  for (const v1::NodeChange& node : response.nodes()) {
    if (node.hint().empty()) continue;
    std::fprintf(out, "%s: %s\n", node.uid().c_str(), node.hint().c_str());
  }
}

void PrintError(const absl::Status& status, const std::string& file) {
  const std::vector<v1::Diagnostic> diagnostics = GetDiagnostics(status);
  for (const v1::Diagnostic& diagnostic : diagnostics) PrintDiagnostic(diagnostic, file);
  if (diagnostics.empty()) {
    std::fprintf(stderr, "error: %s\n", std::string(status.message()).c_str());
  }
}

}  // namespace millrace
