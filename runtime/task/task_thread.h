// A task thread runs tasks in turn, and sleeps when none has anything to do. One per core; tasks
// with blocking connectors get one of their own.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/base/env.h"
#include "runtime/base/mailbox.h"
#include "runtime/task/task_runner.h"

namespace millrace {

class TaskThread : public TaskRunner {
 public:
  TaskThread(Clock& clock, int cpu_to_pin);  // -1 = not pinned.
  ~TaskThread() override;                    // Stops the thread and its tasks.

  std::function<void()> waker() override {
    return [waker = waker_] { waker->Wake(); };
  }
  void Add(std::shared_ptr<Task> task) override;
  void RemoveIf(std::function<bool(const Task&)> matches) override;
  size_t task_count() const override { return task_count_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    std::shared_ptr<Task> task;
    Task::Step last = Task::Step::kIdle;
  };

  void Run();
  static void Account(Entry& entry, int64_t spent_ns);

  Clock& clock_;
  const std::shared_ptr<Waker> waker_;  // Io work of a stopped task may still wake it.
  Mailbox mailbox_;
  std::vector<Entry> entries_;         // The thread itself.
  bool stopping_ = false;              // The thread itself.
  std::atomic<size_t> task_count_{0};  // Relaxed: for placement only.
  std::thread thread_;                 // Last: runs with all of the above.
};

}  // namespace millrace
