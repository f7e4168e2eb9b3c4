#include "runtime/base/mailbox.h"

#include <utility>

namespace millrace {

void Mailbox::Post(Letter letter) {
  {
    absl::MutexLock lock(&mutex_);
    letters_.push_back(std::move(letter));
  }
  wake_();
}

size_t Mailbox::RunPosted() {
  std::deque<Letter> letters;
  {
    absl::MutexLock lock(&mutex_);
    letters.swap(letters_);
  }
  for (Letter& letter : letters) std::move(letter)();
  return letters.size();
}

size_t Mailbox::size() const {
  absl::MutexLock lock(&mutex_);
  return letters_.size();
}

void Waker::Wake() {
  absl::MutexLock lock(&mutex_);
  awake_ = true;
}

bool Waker::Wait(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&awake_), timeout);
  return std::exchange(awake_, false);
}

}  // namespace millrace
