// A Mailbox is the one way into an event loop (a task thread, the coordinator) from another thread.
//
// Threading: Post from any thread; RunPosted only on the owner's.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace millrace {

class Mailbox {
 public:
  using Letter = absl::AnyInvocable<void() &&>;

  // `wake` is called after each Post, on the posting thread; it must not block or post.
  explicit Mailbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Post(Letter letter) ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs the letters that were present on entry, in order; returns how many.
  size_t RunPosted() ABSL_LOCKS_EXCLUDED(mutex_);
  size_t size() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::function<void()> wake_;
  mutable absl::Mutex mutex_;
  std::deque<Letter> letters_ ABSL_GUARDED_BY(mutex_);
};

// A thread's sleep: Wait returns when Wake was called since the last Wait, or, false, at the
// timeout.
// Threading: Wake from any thread, Wait from one.
class Waker {
 public:
  void Wake() ABSL_LOCKS_EXCLUDED(mutex_);
  bool Wait(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Mutex mutex_;
  bool awake_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace millrace
