#include "operators/inference/remote/request_queue.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace millrace {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kBackOffMin = 100 * kMillisecond;
constexpr int64_t kRetryMax = 5'000 * kMillisecond;
constexpr int64_t kPauseMax = 2'000 * kMillisecond;  // A server that is back is not kept waiting.
constexpr int64_t kAttemptMin = 50 * kMillisecond;

FeatureRows Part(const FeatureRows& rows, int64_t begin, int64_t end) {
  std::vector<int32_t> part(static_cast<size_t>(end - begin));
  std::iota(part.begin(), part.end(), static_cast<int32_t>(begin));
  FeatureRows result{.batch = Take(rows.batch, part), .features = {}};
  for (const Column& column : rows.features) result.features.push_back(Take(column, part));
  return result;
}

// The server is well, and the rows or the model are not.
bool IsRefusal(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kDataLoss:  // Our own: the answer does not fit.
      return true;
    default:
      return false;
  }
}

}  // namespace

RequestQueue::RequestQueue(const v1::RemoteCalls& calls, Random& random)
    : in_flight_max_(static_cast<int>(calls.in_flight_max())),
      timeout_ns_(calls.timeout_ms() * kMillisecond),
      random_(random),
      breaker_(calls.breaker_calls_min(), calls.breaker_open_ms() * kMillisecond),
      window_(in_flight_max_) {}

bool RequestQueue::full() const { return requests_.size() >= static_cast<size_t>(in_flight_max_); }

std::shared_ptr<InferenceRequest> RequestQueue::NextToSend(int64_t now_ns,
                                                           absl::Duration& timeout) {
  if (in_flight_ >= window_ || now_ns < pause_until_ns_) return nullptr;
  const auto next = std::find_if(requests_.begin(), requests_.end(), [&](const auto& request) {
    return request->state == InferenceRequest::State::kWaiting && request->not_before_ns <= now_ns;
  });
  if (next == requests_.end() || !breaker_.TryBegin(now_ns)) return nullptr;
  InferenceRequest& request = **next;
  if (request.attempts == 0) request.left_ns = timeout_ns_;
  // Half of what is left, so that a server that hangs does not cost all of it.
  timeout =
      absl::Nanoseconds(std::max(request.left_ns / 2, std::min(request.left_ns, kAttemptMin)));
  request.state = InferenceRequest::State::kSent;
  request.sent_ns = now_ns;
  ++request.attempts;
  ++in_flight_;
  return *next;
}

Verdict RequestQueue::OnAnswer(InferenceRequest& request, const absl::Status& status,
                               int64_t now_ns) {
  --in_flight_;
  request.verdict = Judge(request, status, now_ns);
  const bool is_final = request.verdict == Verdict::kDone || request.verdict == Verdict::kRefused ||
                        request.verdict == Verdict::kTooLate;
  request.state = is_final ? InferenceRequest::State::kDone : InferenceRequest::State::kWaiting;
  return request.verdict;
}

Verdict RequestQueue::Judge(InferenceRequest& request, const absl::Status& status, int64_t now_ns) {
  using Outcome = CircuitBreaker::Outcome;
  if (status.ok()) {
    breaker_.End(Outcome::kSuccess, now_ns);
    slow_downs_ = 0;
    window_ = std::min(window_ + 1, in_flight_max_);
    return Verdict::kDone;
  }
  if (absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) {
    breaker_.End(absl::IsUnavailable(status) ? Outcome::kFailure : Outcome::kNeither, now_ns);
    SlowDown(now_ns);
    request.attempts = 0;
    return Verdict::kWait;
  }
  if (IsRefusal(status.code())) {
    breaker_.End(Outcome::kSuccess, now_ns);
    if (absl::IsInvalidArgument(status) && request.rows.batch.rows() > 1) {
      Split(request);
      return Verdict::kSplit;
    }
    return Verdict::kRefused;
  }
  breaker_.End(Outcome::kFailure, now_ns);
  const int64_t back_off_ns = BackOffNs(request.attempts, kRetryMax);
  request.left_ns -= now_ns - request.sent_ns + back_off_ns;
  if (request.left_ns <= 0) return Verdict::kTooLate;
  request.not_before_ns = now_ns + back_off_ns;
  return Verdict::kRetry;
}

int64_t RequestQueue::NextTimeNs(int64_t now_ns) const {
  int64_t next = std::numeric_limits<int64_t>::max();
  for (const auto& request : requests_) {
    if (request->state != InferenceRequest::State::kWaiting) continue;
    next = std::min(next, std::max(request->not_before_ns, pause_until_ns_));
  }
  if (next == std::numeric_limits<int64_t>::max() || in_flight_ >= window_) {
    return std::numeric_limits<int64_t>::max();
  }
  if (breaker_.state() == CircuitBreaker::State::kOpen) {
    next = std::max(next, breaker_.probe_at_ns());
  }
  if (breaker_.state() == CircuitBreaker::State::kHalfOpen && next <= now_ns) {
    return std::numeric_limits<int64_t>::max();  // The probes under way decide.
  }
  return next;
}

// The second half stands behind the first.
void RequestQueue::Split(InferenceRequest& request) {
  const auto at = std::find_if(requests_.begin(), requests_.end(),
                               [&](const auto& one) { return one.get() == &request; });
  const int64_t rows = request.rows.batch.rows();
  auto second = std::make_shared<InferenceRequest>();
  second->rows = Part(request.rows, rows / 2, rows);
  second->given = static_cast<uint64_t>(rows - rows / 2);
  request.rows = Part(request.rows, 0, rows / 2);
  request.given -= second->given;
  request.attempts = 0;
  requests_.insert(std::next(at), std::move(second));
}

void RequestQueue::SlowDown(int64_t now_ns) {
  window_ = std::max(1, window_ / 2);
  // Answers to what was sent before the pause do not make it longer.
  if (now_ns < pause_until_ns_) return;
  pause_until_ns_ = now_ns + BackOffNs(++slow_downs_, kPauseMax);
}

// Exponential, half of it by chance, so that tasks do not come back together.
int64_t RequestQueue::BackOffNs(int attempts, int64_t max_ns) {
  const int64_t whole = std::min(max_ns, kBackOffMin << std::min(attempts - 1, 20));
  return whole / 2 + static_cast<int64_t>(random_.Next() % static_cast<uint64_t>(whole / 2 + 1));
}

}  // namespace millrace
