// The real Env: system clock, POSIX files, TCP by epoll, a pool of io threads. The only place that
// starts threads other than the task and coordinator loops themselves.
#pragma once

#include <memory>

#include "runtime/base/env.h"
#include "runtime/base/tls.h"

namespace millrace {

struct RealEnvOptions {
  int io_threads = 4;
  std::unique_ptr<TlsContext> tls = nullptr;  // Of connections of the network; null: plain.
};

// Owns the pool and the network thread. Destruction waits for running work and drops what waits.
class RealEnv {
 public:
  explicit RealEnv(RealEnvOptions options);
  ~RealEnv();
  RealEnv(const RealEnv&) = delete;
  RealEnv& operator=(const RealEnv&) = delete;

  Env env();

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
