#include "runtime/task/task_thread.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

#include "absl/synchronization/notification.h"

namespace millrace {
namespace {

// A step so long keeps barriers, watermarks and the other tasks of the thread waiting.
constexpr int64_t kStallNs = 100'000'000;

}  // namespace

TaskThread::TaskThread(Clock& clock, int cpu_to_pin)
    : clock_(clock),
      waker_(std::make_shared<Waker>()),
      mailbox_(waker()),
      thread_([this, cpu_to_pin] {
        pthread_setname_np(pthread_self(), "millrace-task");
        if (cpu_to_pin >= 0) {
          cpu_set_t cpus;
          CPU_ZERO(&cpus);
          CPU_SET(cpu_to_pin, &cpus);
          // Best effort: in a container the core may not be ours.
          (void)pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
        }
        Run();
      }) {}

TaskThread::~TaskThread() {
  mailbox_.Post([this] { stopping_ = true; });
  thread_.join();
}

void TaskThread::Add(std::shared_ptr<Task> task) {
  task_count_.fetch_add(1, std::memory_order_relaxed);
  mailbox_.Post(
      [this, task = std::move(task)]() mutable { entries_.push_back({std::move(task)}); });
}

void TaskThread::RemoveIf(std::function<bool(const Task&)> matches) {
  absl::Notification removed;
  mailbox_.Post([this, &matches, &removed] {
    const size_t count = std::erase_if(entries_, [&](const Entry& entry) {
      if (!matches(*entry.task)) return false;
      entry.task->Stop();
      return true;
    });
    task_count_.fetch_sub(count, std::memory_order_relaxed);
    removed.Notify();
  });
  removed.WaitForNotification();
}

void TaskThread::Account(Entry& entry, int64_t spent_ns) {
  const auto spent = static_cast<uint64_t>(spent_ns);
  switch (entry.last) {
    case Task::Step::kProgress:
      return entry.task->busy_ns().Add(spent);
    case Task::Step::kIdle:
      return entry.task->idle_ns().Add(spent);
    case Task::Step::kBlocked:
      return entry.task->blocked_ns().Add(spent);
  }
}

void TaskThread::Run() {
  int64_t now = clock_.MonotonicNanos();
  while (!stopping_) {
    mailbox_.RunPosted();
    bool progress = false;
    absl::Duration sleep = absl::Milliseconds(100);
    for (Entry& entry : entries_) {
      entry.last = entry.task->RunOnce();
      const int64_t after = clock_.MonotonicNanos();
      Account(entry, after - now);
      if (after - now > kStallNs) entry.task->stalls().Add(1);
      now = after;
      progress |= entry.last == Task::Step::kProgress;
      sleep = std::min(sleep, entry.task->idle_poll_interval());
    }
    if (progress) continue;
    waker_->Wait(sleep);
    const int64_t woken = clock_.MonotonicNanos();
    for (Entry& entry : entries_) Account(entry, woken - now);  // Waited for what it last said.
    now = woken;
  }
  for (const Entry& entry : entries_) entry.task->Stop();
  entries_.clear();
}

}  // namespace millrace
