// A MetadataStore in etcd (3.4 or later, API v3): every write is one transaction that compares
// revisions. Several coordinators may share it.
//
// Threading: every method, from any thread.
// Errors: as MetadataStore says. A write without an answer is kUnknown, also when no endpoint could
//         be reached: gRPC does not tell whether anything was sent. etcd refuses values over its
//         --max-request-bytes (1.5 MiB if not set): kInvalidArgument.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/metadata/metadata_store.h"
#include "runtime/security/client_security.h"

namespace millrace {

// `uri`: etcd://HOST:PORT[,HOST:PORT...]/PREFIX; keys live under PREFIX, which names the Millrace
// cluster. Does not connect yet. kInvalidArgument: not such a URI, or files that cannot be used.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenEtcdMetadataStore(
    const std::string& uri, const ClientSecurity& security);

}  // namespace millrace
