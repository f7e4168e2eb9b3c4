// A process of Python that runs the functions of one node for one task: starting it, asking it,
// ending it. The program is python_runner.py, which is part of this one; the two talk in frames
// over a pair of Unix sockets.
//
// It never outlives its owner: the kernel kills it when the thread that started it ends, however
// that happens, and it ends itself when the socket is closed. It has a process group of its own,
// which is killed as a whole.
//
// Threading: one thread, which must start it, too; every method blocks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/base/buffer.h"
#include "runtime/base/env.h"
#include "runtime/columns/batch_codec.h"

namespace millrace {

// Wakes a thread that waits in poll(2). Threading: Wake from any thread.
class PollWaker {
 public:
  PollWaker();
  ~PollWaker();
  PollWaker(const PollWaker&) = delete;
  PollWaker& operator=(const PollWaker&) = delete;
  void Wake();
  void Clear();
  // Until somebody wakes it, or for `timeout`.
  void Wait(absl::Duration timeout);
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
};

class PythonProcess {
 public:
  struct Options {
    std::string interpreter;  // A name that is sought in PATH, or a path.
    std::string setup;        // JSON, see python_settings.h.
    absl::Duration start_timeout = absl::Seconds(60);
    // What user code prints, line by line, cut to a length, without the line break.
    std::function<void(std::string_view line)> on_line;
    // True: whatever waits returns kCancelled. Asked whenever `waker` wakes.
    std::function<bool()> is_stopped;
  };
  // Of a frame in either direction: the answer to rows may be larger than they are.
  static constexpr uint64_t kFrameBytesMax = uint64_t{256} << 20;

  // kFailedPrecondition: there is no such interpreter, or the functions cannot be loaded; the
  // message is for the user. kUnavailable: the process ended, or did not get ready in time.
  static absl::StatusOr<std::unique_ptr<PythonProcess>> Start(Options options, PollWaker& waker,
                                                              Clock& clock);
  ~PythonProcess();  // Kills it.

  // The results of a batch of arguments. kDeadlineExceeded: not within `timeout`; kAborted: the
  // process ended, or sent what is no answer. After any error it is good for nothing.
  absl::StatusOr<BufferPtr> Ask(const Batch& rows, absl::Duration timeout);

  // Waits until `waker` wakes, or for `timeout`; meanwhile what is printed is passed on.
  void Wait(absl::Duration timeout);
  pid_t pid() const { return pid_; }

 private:
  PythonProcess(Options options, PollWaker& waker, Clock& clock)
      : options_(std::move(options)), waker_(waker), clock_(clock) {}

  struct Frame {
    uint32_t kind = 0;
    BufferPtr body;
  };
  absl::Status Spawn();
  absl::StatusOr<Frame> Exchange(uint32_t kind, std::string_view body, absl::Duration timeout);
  absl::Status Send(std::string_view bytes, int64_t deadline_ns);
  absl::Status Receive(uint8_t* to, size_t size, int64_t deadline_ns);
  // Waits until the socket is ready for `events`, or the deadline.
  absl::Status Poll(int16_t events, int64_t deadline_ns);
  // How the process has ended, or that it must be killed.
  absl::Status Ended();
  void ReadLines();
  void PassLines(bool all);
  void Kill();

  const Options options_;
  PollWaker& waker_;
  Clock& clock_;
  pid_t pid_ = -1;
  int socket_ = -1;
  int output_ = -1;    // What it prints.
  int exit_ = -1;      // Readable once it has ended.
  std::string lines_;  // Printed and not passed on.
};

}  // namespace millrace
