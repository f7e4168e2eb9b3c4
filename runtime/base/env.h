// Everything in which two runs may differ enters here: time, disk, network, threads, chance. The
// real one is runtime/base/real_env.h; the simulator implements the same interfaces in one thread
// from one seed. No other file of ours may read a clock, start a thread or draw a random number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/base/buffer.h"

namespace millrace {

// Threading: every method, from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;          // Wall clock; may jump.
  virtual int64_t MonotonicNanos() = 0;  // Never goes back; for intervals.
};

// A file being written, sequentially. Not thread-safe. Bytes are durable only after Sync().
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual absl::Status Append(std::string_view bytes) = 0;
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;  // Without Sync; the destructor closes too, ignoring errors.
};

class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual uint64_t size() const = 0;
  // Reads exactly `length` bytes at `offset` into `out`; kOutOfRange when the file is shorter.
  virtual absl::Status Read(uint64_t offset, size_t length, char* out) const = 0;
};

// Threading: every method, from any thread; calls block. Paths are absolute or relative to the
// process's folder.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) = 0;
  virtual absl::Status MakeFolders(const std::string& path) = 0;  // Like mkdir -p, durable.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;  // Syncs folder.
  virtual absl::Status HardLink(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;        // OK when it is not there.
  virtual absl::Status RemoveFolder(const std::string& path) = 0;  // With all it contains.
  virtual absl::Status SyncFolder(const std::string& path) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) = 0;  // Sorted names.
  virtual bool Exists(const std::string& path) = 0;

  // Convenience over the above. WriteAtomically: temporary file, Sync, Rename, SyncFolder.
  absl::Status WriteAtomically(const std::string& path, std::string_view bytes);
  absl::StatusOr<std::string> ReadAll(const std::string& path, uint64_t bytes_max);
};

// Runs work away from the caller. Threading: every method, from any thread.
class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` on the io pool; it may block.
  virtual void RunBlocking(absl::AnyInvocable<void() &&> work) = 0;
  // Runs `work` after `delay`; it must not block: all timers share one thread, not the io pool's.
  virtual void RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) = 0;
};

// One duplex stream of frames. Frames arrive whole and in order, or the connection closes. The
// network itself holds a reference while the connection is open, and drops the handlers (and what
// they own) once it is closed.
// Threading: Send and Close from any thread.
class Connection {
 public:
  virtual ~Connection() = default;  // Closes; no handler runs after the destructor has returned.
  // Queues `head` and `body` as one frame of head.size() + sum of body bytes. Never blocks; what is
  // queued is bounded by the exchange's credits, not here.
  virtual void Send(std::string head, std::vector<BufferPtr> body) = 0;
  virtual void Close() = 0;
};

// Called on the network's own thread; must not block. `on_frame` owns the frame's bytes.
struct ConnectionHandlers {
  std::function<void(BufferPtr frame)> on_frame;
  std::function<void(absl::Status reason)> on_closed;  // At most once.
};

class Listener {
 public:
  virtual ~Listener() = default;            // Stops listening.
  virtual std::string address() const = 0;  // host:port that it really listens on.
};

// The data plane's transport. Threading: every method, from any thread.
class Network {
 public:
  virtual ~Network() = default;
  // `accept` is called per incoming connection, gets the connection and returns its handlers.
  using Accept = std::function<ConnectionHandlers(std::shared_ptr<Connection>)>;
  virtual absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address,
                                                           Accept accept) = 0;
  // Connects in the background; frames sent before it is established wait. A failure to connect is
  // reported by `on_closed`.
  virtual std::shared_ptr<Connection> Connect(const std::string& address,
                                              ConnectionHandlers handlers) = 0;
};

// Threading: every method, from any thread.
class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next() = 0;
  // For rare branches that should be common in simulation: always false in the real one.
  virtual bool OneIn(uint32_t n) = 0;
};

// Borrowed by everything; outlives everything.
struct Env {
  Clock& clock;
  Disk& disk;
  Network& network;
  Executor& executor;
  Random& random;
};

}  // namespace millrace
