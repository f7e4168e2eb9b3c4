// The worker's end of the control stream: dials the coordinators in turn, again and again with
// back-off, until one answers (only the leader does), and hands messages to the worker.
//
// Threading: Start once; the callbacks of gRPC's threads post to the worker. The destructor ends
// the
//            stream and waits for it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "runtime/base/env.h"
#include "runtime/security/client_security.h"

namespace millrace {

class Worker;

class CoordinatorLink {
 public:
  // `addresses`: HOST:PORT, several separated by commas. `worker` outlives the link. `security`
  // must hold usable files (Start says if not).
  CoordinatorLink(std::string addresses, ClientSecurity security, Worker& worker, Env env);
  ~CoordinatorLink();
  CoordinatorLink(const CoordinatorLink&) = delete;
  CoordinatorLink& operator=(const CoordinatorLink&) = delete;

  absl::Status Start();

 private:
  struct State;
  class Stream;
  static void Dial(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;
};

}  // namespace millrace
