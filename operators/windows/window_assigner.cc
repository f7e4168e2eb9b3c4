#include "operators/windows/window_assigner.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "millrace/v1/graph.pb.h"

namespace millrace {
namespace {

// Largest multiple of `step` (shifted by `offset`) that is <= `value`; right for negative values
// too.
int64_t FloorTo(int64_t value, int64_t step, int64_t offset) {
  const int64_t rest = (value - offset) % step;
  return value - (rest < 0 ? rest + step : rest);
}

int64_t CeilTo(int64_t value, int64_t step, int64_t offset) {
  const int64_t floor = FloorTo(value, step, offset);
  return floor == value ? value : floor + step;
}

}  // namespace

absl::StatusOr<WindowAssigner> WindowAssigner::Make(const v1::Window& window) {
  WindowAssigner assigner;
  assigner.size_us_ = static_cast<int64_t>(window.size_ms()) * 1000;
  assigner.step_us_ = window.kind() == v1::Window::KIND_TUMBLE
                          ? assigner.size_us_
                          : static_cast<int64_t>(window.slide_ms()) * 1000;
  assigner.offset_us_ = window.offset_ms() * 1000;
  assigner.cumulate_ = window.kind() == v1::Window::KIND_CUMULATE;
  if (window.kind() == v1::Window::KIND_SESSION || window.kind() == v1::Window::KIND_UNSPECIFIED) {
    return absl::InvalidArgumentError("windows of this kind have no panes");
  }
  if (window.kind() == v1::Window::KIND_ATTACHED) {
    assigner = {};
    assigner.attached_ = true;
    assigner.pane_us_ = 1;
    return assigner;
  }
  if (assigner.size_us_ <= 0 || assigner.step_us_ <= 0 || assigner.step_us_ > assigner.size_us_ ||
      (assigner.cumulate_ && assigner.size_us_ % assigner.step_us_ != 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad window: size_ms=", window.size_ms(), " slide_ms=", window.slide_ms()));
  }
  assigner.pane_us_ = std::gcd(assigner.size_us_, assigner.step_us_);
  return assigner;
}

int64_t WindowAssigner::PaneOf(int64_t time_us) const {
  return attached_ ? time_us : FloorTo(time_us, pane_us_, offset_us_) + pane_us_;
}

int64_t WindowAssigner::FirstWindowEnd(int64_t pane) const {
  if (attached_) return pane;
  // Ends are spaced by the step; for HOP they are shifted by size (start = multiple of step).
  return CeilTo(pane, step_us_, cumulate_ ? offset_us_ : offset_us_ + size_us_);
}

int64_t WindowAssigner::LastWindowEnd(int64_t pane) const {
  if (attached_) return pane;
  return FloorTo(pane - pane_us_, cumulate_ ? size_us_ : step_us_, offset_us_) + size_us_;
}

int64_t WindowAssigner::NextWindowEnd(int64_t pane, int64_t after_us) const {
  const int64_t first = FirstWindowEnd(pane);
  if (first > after_us) return first;
  if (attached_) return std::max(first, after_us) + 1;  // The pane has no further window.
  return FloorTo(after_us, step_us_, cumulate_ ? offset_us_ : offset_us_ + size_us_) + step_us_;
}

WindowBounds WindowAssigner::WindowEndingAt(int64_t end_us) const {
  if (attached_) return {end_us - 1, end_us};
  if (!cumulate_) return {end_us - size_us_, end_us};
  return {FloorTo(end_us - 1, size_us_, offset_us_), end_us};
}

}  // namespace millrace
