// The requests of one remote model: which may be sent, which wait for what, how fast. It decides;
// the operator sends and emits.
//
// Threading: one task. Times are those of Clock::MonotonicNanos.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "millrace/v1/graph.pb.h"
#include "operators/inference/features.h"
#include "operators/inference/remote/circuit_breaker.h"
#include "runtime/base/env.h"

namespace millrace {

// What an answer means for its request.
enum class Verdict { kDone, kWait, kRetry, kSplit, kRefused, kTooLate };

// Rows that are asked together, from the moment when they are enough until their result is out.
struct InferenceRequest {
  FeatureRows rows;
  uint64_t given = 0;  // Rows of the operator's input that it stands for; not all can be asked.
  enum class State { kWaiting, kSent, kDone } state = State::kWaiting;
  // Since the server last asked for less: attempts, and what they and the pauses between them have
  // left of the timeout. Waiting for others does not count.
  int attempts = 0;
  int64_t left_ns = 0;
  int64_t not_before_ns = 0;  // Of the next attempt.
  int64_t sent_ns = 0;        // The latest attempt.
  // kDone: the predictions, or why there are none.
  std::vector<Column> predictions;
  absl::Status failure;
  Verdict verdict = Verdict::kDone;
};
using InferenceRequests = std::list<std::shared_ptr<InferenceRequest>>;

class RequestQueue {
 public:
  RequestQueue(const v1::RemoteCalls& calls, Random& random);

  void Add(std::shared_ptr<InferenceRequest> request) { requests_.push_back(std::move(request)); }
  bool full() const;
  // The next one that may be sent now, or null; it counts as sent. `timeout` is that of its
  // attempt.
  std::shared_ptr<InferenceRequest> NextToSend(int64_t now_ns, absl::Duration& timeout);
  // An answer with `status` has come for `request`. Retries and waiting are arranged; kSplit: it
  // has become two. The others are for the operator to complete.
  Verdict OnAnswer(InferenceRequest& request, const absl::Status& status, int64_t now_ns);
  // When something may be sent that may not now; INT64_MAX: when an answer comes.
  int64_t NextTimeNs(int64_t now_ns) const;

  InferenceRequests& requests() { return requests_; }  // In the order of their rows.
  int in_flight() const { return in_flight_; }
  CircuitBreaker::State breaker() const { return breaker_.state(); }

 private:
  Verdict Judge(InferenceRequest& request, const absl::Status& status, int64_t now_ns);
  void Split(InferenceRequest& request);
  void SlowDown(int64_t now_ns);
  int64_t BackOffNs(int attempts, int64_t max_ns);

  const int in_flight_max_;
  const int64_t timeout_ns_;
  Random& random_;
  CircuitBreaker breaker_;
  InferenceRequests requests_;
  int in_flight_ = 0;
  int window_;          // How many may be in flight: halves when the server asks for less.
  int slow_downs_ = 0;  // In a row.
  int64_t pause_until_ns_ = 0;
};

}  // namespace millrace
