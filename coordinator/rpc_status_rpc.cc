#include "coordinator/rpc_status_rpc.h"

#include <string>
#include <vector>

#include "coordinator/job_api.h"
#include "google/rpc/status.pb.h"

namespace millrace {
namespace {

// Details and message travel in HTTP/2 headers, which peers limit (8 KiB by default).
constexpr size_t kDetailsBytesMax = 6000;
constexpr size_t kMessageBytesMax = 1000;

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(std::string(status.message().substr(0, kMessageBytesMax)));
  for (const v1::Diagnostic& diagnostic : GetDiagnostics(status)) {
    wire.add_details()->PackFrom(diagnostic);
    if (wire.ByteSizeLong() <= kDetailsBytesMax) continue;
    wire.mutable_details()->RemoveLast();  // ValidateJob tells them all.
    break;
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), wire.message(),
                      wire.details_size() > 0 ? wire.SerializeAsString() : "");
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  const absl::Status result(static_cast<absl::StatusCode>(status.error_code()),
                            status.error_message());
  google::rpc::Status wire;
  if (!wire.ParseFromString(status.error_details())) return result;
  std::vector<v1::Diagnostic> diagnostics;
  for (const google::protobuf::Any& detail : wire.details()) {
    v1::Diagnostic diagnostic;
    if (detail.UnpackTo(&diagnostic)) diagnostics.push_back(std::move(diagnostic));
  }
  return StatusWithDiagnostics(result, diagnostics);
}

}  // namespace millrace
