// How the command shows things: tables, JSON, errors.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "millrace/v1/job_service.pb.h"

namespace millrace {

enum class OutputFormat { kTable, kWide, kJson, kYaml, kName };
// For programs: the whole answer, as a message.
inline bool IsDocument(OutputFormat format) {
  return format == OutputFormat::kJson || format == OutputFormat::kYaml;
}

// "RUNNING".
std::string JobStateText(v1::JobState state);
// "2026-01-31 12:00:00Z"; "-" for 0.
std::string TimeText(int64_t unix_us);
std::string BytesText(uint64_t bytes);

// Columns aligned, two spaces apart.
void PrintTable(const std::vector<std::string>& head,
                const std::vector<std::vector<std::string>>& rows, std::FILE* out = stdout);
// Protobuf's JSON mapping, with the names of the fields as they are; on one line unless `indented`.
std::string MessageAsJson(const google::protobuf::Message& message, bool indented);
// The same to stdout, as JSON or YAML, indented; whole numbers of YAML are numbers.
void PrintDocument(const google::protobuf::Message& message, OutputFormat format);

// One block per problem, to stderr: where, what, the line with a caret, what to do.
void PrintDiagnostics(const google::protobuf::RepeatedPtrField<v1::Diagnostic>& diagnostics,
                      const std::string& file);
// What becomes of the state of each node.
void PrintChanges(const v1::UpgradeJobResponse& response, std::FILE* out);
// A status with the problems that it carries.
void PrintError(const absl::Status& status, const std::string& file);

}  // namespace millrace
