// Secrets in the options of sources and sinks: `${secret:NAME}` stands in the job, the text comes
// in only where the connector is made.
//
// Threading: pure, but for the store.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "millrace/v1/graph.pb.h"
#include "runtime/base/secret.h"

namespace millrace {

// A node whose options may be read. It must not outlive `node`.
class NodeWithSecrets {
 public:
  // kFailedPrecondition: a secret is not there.
  static absl::StatusOr<NodeWithSecrets> Make(const v1::Node& node, const SecretStore& secrets);

  const v1::Node& node() const { return secrets_.empty() ? *original_ : revealed_; }
  // A failure to read these options, without what is secret in them.
  absl::Status Redact(const absl::Status& status) const;

 private:
  explicit NodeWithSecrets(const v1::Node& node) : original_(&node) {}

  const v1::Node* original_;
  v1::Node revealed_;
  std::vector<Secret> secrets_;
};

}  // namespace millrace
