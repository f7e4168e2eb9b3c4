#include "coordinator/job_api.h"

#include <optional>

#include "absl/strings/cord.h"

namespace millrace {
namespace {

// A list of v1.Diagnostic, as the message that has just that.
constexpr char kDiagnosticsType[] = "type.googleapis.com/millrace.v1.ValidateJobResponse";

}  // namespace

absl::Status StatusWithDiagnostics(absl::Status status,
                                   const std::vector<v1::Diagnostic>& diagnostics) {
  v1::ValidateJobResponse list;
  for (const v1::Diagnostic& diagnostic : diagnostics) *list.add_diagnostics() = diagnostic;
  status.SetPayload(kDiagnosticsType, absl::Cord(list.SerializeAsString()));
  return status;
}

std::vector<v1::Diagnostic> GetDiagnostics(const absl::Status& status) {
  const auto payload = status.GetPayload(kDiagnosticsType);
  v1::ValidateJobResponse list;
  if (!payload.has_value() || !list.ParseFromString(std::string(*payload))) return {};
  return {list.diagnostics().begin(), list.diagnostics().end()};
}

}  // namespace millrace
