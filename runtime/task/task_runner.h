// Where tasks run: a task thread in production, one step at a time in the simulator.
#pragma once

#include <functional>
#include <memory>

#include "runtime/task/task.h"

namespace millrace {

// Threading: every method, from any thread that is not the runner's own.
class TaskRunner {
 public:
  virtual ~TaskRunner() = default;
  // For TaskOptions::wake; callable from any thread as long as the runner lives.
  virtual std::function<void()> waker() = 0;
  virtual void Add(std::shared_ptr<Task> task) = 0;
  // Stops and drops the tasks of which `matches` is true; on return none of them runs any more.
  virtual void RemoveIf(std::function<bool(const Task&)> matches) = 0;
  virtual size_t task_count() const = 0;
};

}  // namespace millrace
