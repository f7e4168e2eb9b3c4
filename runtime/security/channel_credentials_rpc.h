// ClientSecurity for gRPC.
//
// Threading: any thread.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/security/client_security.h"

namespace millrace {

// kInvalidArgument: files that cannot be used, or a token without TLS. Completes `arguments`.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientSecurity& security, grpc::ChannelArguments& arguments);

}  // namespace millrace
