// A model server without a network: score = 2 a + 3 b, answered at once, as the script says.
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "operators/inference/remote/inference_transport.h"

namespace millrace {

class FakeModelServer {
 public:
  using Response = absl::StatusOr<inference::ModelInferResponse>;
  // Taken one per request; afterwards the server is well.
  std::deque<std::function<Response(const inference::ModelInferRequest&)>> script;
  // Refuses requests that hold this value of `a`.
  double poison = -1;
  bool typed = false;
  bool hold = false;  // Answers wait in `held`.
  std::deque<std::function<void()>> held;
  std::vector<inference::ModelInferRequest> requests;
  absl::StatusOr<inference::ModelMetadataResponse> metadata = DefaultMetadata();

  static inference::ModelMetadataResponse DefaultMetadata() {
    inference::ModelMetadataResponse metadata;
    auto& input = *metadata.add_inputs();
    input.set_name("x");
    input.set_datatype("FP32");
    input.add_shape(-1);
    input.add_shape(2);
    auto& output = *metadata.add_outputs();
    output.set_name("score");
    output.set_datatype("FP64");
    output.add_shape(-1);
    return metadata;
  }

  MakeInferenceTransport Transport() {
    return [this](const std::string&) { return std::make_unique<FakeTransport>(*this); };
  }

  Response Predict(const inference::ModelInferRequest& request) const {
    const std::string& raw = request.raw_input_contents(0);
    std::vector<float> values(raw.size() / 4);
    std::memcpy(values.data(), raw.data(), raw.size());
    inference::ModelInferResponse response;
    auto& output = *response.add_outputs();
    output.set_name("score");
    output.set_datatype("FP64");
    output.add_shape(static_cast<int64_t>(values.size() / 2));
    std::string bytes;
    for (size_t i = 0; i < values.size(); i += 2) {
      if (values[i] == poison) return absl::InvalidArgumentError("cannot stand this value");
      const double score = 2.0 * values[i] + 3.0 * values[i + 1];
      bytes.append(reinterpret_cast<const char*>(&score), sizeof(score));
      if (typed) output.mutable_contents()->add_fp64_contents(score);
    }
    if (!typed) response.add_raw_output_contents(bytes);
    return response;
  }

 private:
  class FakeTransport : public InferenceTransport {
   public:
    explicit FakeTransport(FakeModelServer& server) : server_(server) {}
    absl::StatusOr<inference::ModelMetadataResponse> Describe(const std::string&,
                                                              const std::string&,
                                                              absl::Duration) override {
      return server_.metadata;
    }
    void Infer(inference::ModelInferRequest request, absl::Duration, Answer answer) override {
      server_.requests.push_back(request);
      Response response = absl::UnknownError("");
      if (server_.script.empty()) {
        response = server_.Predict(request);
      } else {
        response = server_.script.front()(request);
        server_.script.pop_front();
      }
      auto shared = std::make_shared<Answer>(std::move(answer));
      std::function<void()> deliver = [shared, response] { std::move (*shared)(response); };
      if (server_.hold) {
        server_.held.push_back(std::move(deliver));
      } else {
        deliver();
      }
    }

   private:
    FakeModelServer& server_;
  };
};

}  // namespace millrace
