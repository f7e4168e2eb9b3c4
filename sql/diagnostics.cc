#include "sql/diagnostics.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "runtime/base/text.h"

namespace millrace {

v1::Diagnostic& Diagnostics::Add(v1::Diagnostic::Severity severity, std::string code,
                                 std::string_view uid, std::string path, std::string message,
                                 std::string hint) {
  v1::Diagnostic& one = list_.emplace_back();
  one.set_severity(severity);
  one.set_code(std::move(code));
  one.set_uid(std::string(uid));
  one.set_message(std::move(message));
  one.set_hint(std::move(hint));
  if (positions_ != nullptr) {
    const TextPosition at = positions_->Find(path);
    one.set_line(at.line);
    one.set_column(at.column);
  }
  one.set_path(std::move(path));
  has_errors_ |= severity == v1::Diagnostic::SEVERITY_ERROR;
  return one;
}

void Diagnostics::Error(std::string code, std::string_view uid, std::string path,
                        std::string message, std::string hint) {
  Add(v1::Diagnostic::SEVERITY_ERROR, std::move(code), uid, std::move(path), std::move(message),
      std::move(hint));
}

void Diagnostics::Warning(std::string code, std::string_view uid, std::string path,
                          std::string message, std::string hint) {
  Add(v1::Diagnostic::SEVERITY_WARNING, std::move(code), uid, std::move(path), std::move(message),
      std::move(hint));
}

void Diagnostics::Error(const SqlProblem& problem, std::string_view uid, std::string path,
                        std::string_view text) {
  const std::string place = path;
  v1::Diagnostic& one = Add(v1::Diagnostic::SEVERITY_ERROR, problem.code, uid, std::move(path),
                            problem.message, problem.hint);
  if (text.empty()) return;
  const TextPosition at = positions_ != nullptr && !positions_->empty()
                              ? positions_->Find(place, text, problem.offset)
                              : PositionInText(text, problem.offset);
  one.set_line(at.line);
  one.set_column(at.column);
}

std::vector<v1::Diagnostic> Diagnostics::Take() {
  if (positions_ != nullptr && !positions_->empty()) {
    std::stable_sort(list_.begin(), list_.end(),
                     [](const v1::Diagnostic& a, const v1::Diagnostic& b) {
                       return std::pair(a.line(), a.column()) < std::pair(b.line(), b.column());
                     });
  }
  return std::move(list_);
}

bool HasErrors(const std::vector<v1::Diagnostic>& diagnostics) {
  return std::any_of(diagnostics.begin(), diagnostics.end(), [](const v1::Diagnostic& one) {
    return one.severity() == v1::Diagnostic::SEVERITY_ERROR;
  });
}

std::string DiagnosticText(const v1::Diagnostic& one, std::string_view file) {
  std::string text(file);
  if (one.line() > 0) {
    text += Concat(file.empty() ? "" : ":", one.line(), ":", one.column());
  }
  if (!text.empty()) text += ": ";
  text += Concat(one.severity() == v1::Diagnostic::SEVERITY_WARNING ? "warning " : "error ",
                 one.code(), ": ", one.message(), "\n");
  if (!one.uid().empty() || !one.path().empty()) {
    text += Concat("    ", one.uid().empty() ? "" : Concat("node ", one.uid()),
                   one.uid().empty() || one.path().empty() ? "" : ", ", one.path(), "\n");
  }
  if (!one.hint().empty()) text += Concat("    hint: ", one.hint(), "\n");
  return text;
}

}  // namespace millrace
