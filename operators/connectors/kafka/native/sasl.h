// The client's side of SASL: PLAIN and SCRAM.
//
// Threading: one thread. Errors: kPermissionDenied where the server cannot prove that it knows the
// password; kInvalidArgument for a mechanism that is not spoken here.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/base/env.h"
#include "runtime/base/secret.h"

namespace millrace {

class SaslClient {
 public:
  virtual ~SaslClient() = default;
  // The next message, given the server's answer to the last one (empty at first). Asked until
  // done(); the server's last answer is given, too, and what is returned for it is not sent.
  virtual absl::StatusOr<std::string> Next(std::string_view answer) = 0;
  virtual bool done() const = 0;
};

// kInvalidArgument: not spoken here.
absl::Status CheckSaslMechanism(std::string_view mechanism);

// `mechanism`: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512. `random` gives the nonce.
absl::StatusOr<std::unique_ptr<SaslClient>> MakeSaslClient(std::string_view mechanism,
                                                           std::string user, Secret password,
                                                           Random& random);

}  // namespace millrace
