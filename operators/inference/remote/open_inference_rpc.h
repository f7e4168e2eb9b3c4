// The Open Inference Protocol over gRPC, without transport security.
#pragma once

#include <memory>
#include <string>

#include "operators/inference/remote/inference_transport.h"

namespace millrace {

// One connection of its own to `endpoint` (host:port), made when it is needed and again when lost.
std::unique_ptr<InferenceTransport> MakeOpenInferenceTransport(const std::string& endpoint);

}  // namespace millrace
