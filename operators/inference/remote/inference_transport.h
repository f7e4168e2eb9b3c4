// The way to a model server: what the operator needs of the Open Inference Protocol, without gRPC.
// The real one is open_inference_rpc.h; tests have their own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "inference/open_inference.pb.h"

namespace millrace {

// Status codes are those of gRPC, with the server's own message.
class InferenceTransport {
 public:
  // Called once per call, on a foreign thread or before Infer returns; at the latest by the
  // transport's destructor.
  using Answer = absl::AnyInvocable<void(absl::StatusOr<inference::ModelInferResponse>) &&>;

  // Cancels the calls that are under way, and waits for their answers.
  virtual ~InferenceTransport() = default;

  // Waits for the server, at most until `timeout`, and asks whether it and the model are ready
  // (kUnavailable when not), then for the model's metadata. Blocks: for Open.
  virtual absl::StatusOr<inference::ModelMetadataResponse> Describe(const std::string& model,
                                                                    const std::string& version,
                                                                    absl::Duration timeout) = 0;
  // Never blocks. kDeadlineExceeded after `timeout`.
  virtual void Infer(inference::ModelInferRequest request, absl::Duration timeout,
                     Answer answer) = 0;
};

using MakeInferenceTransport =
    std::function<std::unique_ptr<InferenceTransport>(const std::string& endpoint)>;

}  // namespace millrace
