// absl::Status <-> grpc::Status. Problems of a graph travel as details of google.rpc.Status, one
// v1.Diagnostic each.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace millrace {

grpc::Status ToGrpcStatus(const absl::Status& status);
// The inverse, for clients; problems of a graph are attached again.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace millrace
