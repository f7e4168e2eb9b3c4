// The coordinator's event loop as its parts see it: timers and blocking work that end in letters.
//
// Threading: every method, on the loop's own thread, but for Post (any thread). Letters run on the
//            loop only, inside RunPosted; those that are still under way when the loop is gone are
//            dropped, so that they may hold raw pointers to what the loop's owner owns.
#pragma once

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "runtime/base/env.h"
#include "runtime/base/mailbox.h"

namespace millrace {

class Loop {
 public:
  // `wake`: see Mailbox; what it captures must stay valid as long as the environment runs work.
  Loop(Env env, std::function<void()> wake)
      : env_(env), mailbox_(std::make_shared<Mailbox>(std::move(wake))) {}

  void Post(Mailbox::Letter letter) { mailbox_->Post(std::move(letter)); }
  // Posts from anywhere, also when the loop is gone: then the letter is dropped.
  std::function<void(Mailbox::Letter)> poster() const {
    return [mailbox = mailbox_](Mailbox::Letter letter) { mailbox->Post(std::move(letter)); };
  }
  size_t RunPosted() { return mailbox_->RunPosted(); }

  void After(absl::Duration delay, Mailbox::Letter letter) {
    env_.executor.RunAfter(delay, [mailbox = mailbox_, letter = std::move(letter)]() mutable {
      mailbox->Post(std::move(letter));
    });
  }

  // Runs `work` on an io thread, then `then(result of work)` on the loop.
  template <typename Work, typename Then>
  void RunBlocking(Work work, Then then) {
    env_.executor.RunBlocking(
        [mailbox = mailbox_, work = std::move(work), then = std::move(then)]() mutable {
          auto result = std::move(work)();
          mailbox->Post([result = std::move(result), then = std::move(then)]() mutable {
            std::move(then)(std::move(result));
          });
        });
  }

  Env& env() { return env_; }
  int64_t UnixMicros() { return absl::ToUnixMicros(env_.clock.Now()); }

 private:
  Env env_;
  const std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace millrace
