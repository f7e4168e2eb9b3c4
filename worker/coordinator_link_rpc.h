// The worker's end of the control stream: dials the coordinator, again and again with back-off, and
// hands messages to the worker.
//
// Threading: Start once; the callbacks of gRPC's threads post to the worker. The destructor ends
// the
//            stream and waits for it.
#pragma once

#include <memory>
#include <string>

#include "runtime/base/env.h"

namespace millrace {

class Worker;

class CoordinatorLink {
 public:
  // `worker` outlives the link.
  CoordinatorLink(std::string coordinator_address, Worker& worker, Env env);
  ~CoordinatorLink();
  CoordinatorLink(const CoordinatorLink&) = delete;
  CoordinatorLink& operator=(const CoordinatorLink&) = delete;

  void Start();

 private:
  struct State;
  class Stream;
  static void Dial(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;
};

}  // namespace millrace
