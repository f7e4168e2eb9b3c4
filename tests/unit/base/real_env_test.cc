// The real executor, without a look at the clock.
#include "runtime/base/real_env.h"

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(RealEnvTest, TimersGoOnWhileEveryIoThreadIsBlocked) {
  RealEnv real({.io_threads = 2});
  Executor& executor = real.env().executor;
  absl::Notification release;
  absl::BlockingCounter blocked(2);
  for (int i = 0; i < 2; ++i) {
    executor.RunBlocking([&] {
      blocked.DecrementCount();
      release.WaitForNotification();
    });
  }
  blocked.Wait();
  absl::Notification fired;
  executor.RunAfter(absl::Milliseconds(1), [&] { fired.Notify(); });
  const bool in_time = fired.WaitForNotificationWithTimeout(absl::Seconds(20));
  release.Notify();
  EXPECT_TRUE(in_time);
}

TEST(RealEnvTest, ATimerMaySetAnother) {
  RealEnv real({.io_threads = 1});
  Executor& executor = real.env().executor;
  absl::Notification second;
  executor.RunAfter(absl::ZeroDuration(),
                    [&] { executor.RunAfter(absl::ZeroDuration(), [&] { second.Notify(); }); });
  EXPECT_TRUE(second.WaitForNotificationWithTimeout(absl::Seconds(20)));
}

}  // namespace
}  // namespace millrace
