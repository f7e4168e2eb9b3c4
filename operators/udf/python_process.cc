#include "operators/udf/python_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "operators/udf/python_runner.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Of python_runner.py. Little endian.
struct FrameHead {
  uint32_t magic;
  uint32_t kind;
  uint64_t bytes;
};
constexpr uint32_t kMagic = 0x3152504D;  // "MPR1".
enum FrameKind : uint32_t { kSetup = 1, kReady = 2, kFailed = 3, kRows = 4, kResults = 5 };

constexpr size_t kLineBytesMax = 1000;
// How long a process that has closed its socket may take to end.
constexpr int kEndMs = 2000;
// What the kernel keeps of one frame on its way; larger ones go in pieces.
constexpr int kSocketBytes = 1 << 20;

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(Concat("cannot ", what, ": ", std::strerror(errno)));
}

// For poll(2).
int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 0, 1'000'000));
}

// The program that `name` runs; empty: there is none.
std::string FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string program = Concat(rest.substr(0, end), "/", name);
    if (access(program.c_str(), X_OK) == 0) return program;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

// The program of the runner as a file without a name.
int OpenRunner() {
  const int file = memfd_create("python_runner.py", MFD_CLOEXEC);
  if (file < 0) return -1;
  std::string_view rest = kPythonRunner;
  while (!rest.empty()) {
    const ssize_t wrote = write(file, rest.data(), rest.size());
    if (wrote <= 0) {
      close(file);
      return -1;
    }
    rest.remove_prefix(static_cast<size_t>(wrote));
  }
  lseek(file, 0, SEEK_SET);
  return file;
}

struct Descriptors {
  int runner, socket, output;
};

// In the child, between fork and exec: calls that are safe there, and nothing else.
[[noreturn]] void Become(const char* program, char* const* arguments, char* const* environment,
                         const Descriptors& from, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Where memory is short, it goes before the worker.
  if (const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
    (void)!write(score, "500", 3);  // It is a wish.
  }
  const bool is_orphan = getppid() != parent;  // It ended before it was asked for.
  // First out of the way of 0 to 3.
  const int runner = fcntl(from.runner, F_DUPFD, 10);
  const int socket = fcntl(from.socket, F_DUPFD, 10);
  const int output = fcntl(from.output, F_DUPFD, 10);
  const bool is_moved = runner >= 0 && socket >= 0 && output >= 0 && dup2(runner, 0) == 0 &&
                        dup2(output, 1) == 1 && dup2(output, 2) == 2 && dup2(socket, 3) == 3;
  if (!is_orphan && is_moved) {
    close_range(4, ~0U, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    execve(program, arguments, environment);
  }
  _exit(127);
}

absl::Status NotAnAnswer(const char* what) {
  return absl::AbortedError(Concat("the Python process sent ", what));
}

}  // namespace

PollWaker::PollWaker() : descriptor_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  MILLRACE_CHECK(descriptor_ >= 0);
}

PollWaker::~PollWaker() { close(descriptor_); }

void PollWaker::Wake() {
  const uint64_t one = 1;
  (void)!write(descriptor_, &one, sizeof(one));  // Full: it is awake.
}

void PollWaker::Clear() {
  uint64_t count;
  (void)!read(descriptor_, &count, sizeof(count));  // Empty: nobody woke it.
}

void PollWaker::Wait(absl::Duration timeout) {
  pollfd wanted{.fd = descriptor_, .events = POLLIN, .revents = 0};
  if (poll(&wanted, 1, Milliseconds(timeout)) > 0) Clear();
}

absl::StatusOr<std::unique_ptr<PythonProcess>> PythonProcess::Start(Options options,
                                                                    PollWaker& waker,
                                                                    Clock& clock) {
  std::unique_ptr<PythonProcess> process(new PythonProcess(std::move(options), waker, clock));
  MILLRACE_RETURN_IF_ERROR(process->Spawn());
  auto answer = process->Exchange(kSetup, process->options_.setup, process->options_.start_timeout);
  if (absl::IsCancelled(answer.status())) return answer.status();
  if (!answer.ok()) {
    return absl::UnavailableError(
        Concat("the Python process did not start: ", MessageOf(answer.status())));
  }
  if (answer->kind == kFailed) {
    return absl::FailedPreconditionError(std::string(answer->body->view()));
  }
  if (answer->kind != kReady) return NotAnAnswer("no word of being ready");
  return process;
}

PythonProcess::~PythonProcess() { Kill(); }

absl::Status PythonProcess::Spawn() {
  const std::string program = FindProgram(options_.interpreter);
  if (program.empty()) {
    return absl::FailedPreconditionError(
        Concat("there is no Python interpreter '", options_.interpreter,
               "' on this worker: install it, or name another by --python-interpreter"));
  }
  const int runner = OpenRunner();
  if (runner < 0) return SystemError("write the program of the Python process");
  int sockets[2], output[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    close(runner);
    return SystemError("make a pair of sockets");
  }
  if (pipe2(output, O_CLOEXEC) != 0) {
    close(runner);
    close(sockets[0]);
    close(sockets[1]);
    return SystemError("make a pipe");
  }
  for (const int socket : sockets) {
    setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof(kSocketBytes));
  }
  // -I: neither the environment nor the working folder says what is imported. -u: what is printed
  // comes at once. faulthandler: a crash prints where it was.
  const std::array<const char*, 7> arguments = {program.c_str(), "-I", "-u",   "-X",
                                                "faulthandler",  "-",  nullptr};
  const Descriptors descriptors{.runner = runner, .socket = sockets[1], .output = output[1]};
  const pid_t parent = getpid();
  const pid_t pid = _Fork();  // Without the handlers of libraries, which may wait for threads.
  if (pid == 0) {
    Become(program.c_str(), const_cast<char* const*>(arguments.data()), environ, descriptors,
           parent);
  }
  const int error = errno;
  close(runner);
  close(sockets[1]);
  close(output[1]);
  socket_ = sockets[0];
  output_ = output[0];
  fcntl(socket_, F_SETFL, O_NONBLOCK);
  fcntl(output_, F_SETFL, O_NONBLOCK);
  if (pid < 0) {
    errno = error;
    return SystemError("start a Python process");
  }
  pid_ = pid;
  exit_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (exit_ < 0) return SystemError("watch a Python process");
  return absl::OkStatus();
}

absl::StatusOr<BufferPtr> PythonProcess::Ask(const Batch& rows, absl::Duration timeout) {
  const EncodedBatch encoded = EncodeBatch(rows);
  size_t bytes = encoded.head.size();
  for (const BufferPtr& buffer : encoded.body) bytes += buffer->size();
  std::string body;
  body.reserve(bytes);
  body += encoded.head;
  for (const BufferPtr& buffer : encoded.body) body += buffer->view();
  MILLRACE_ASSIGN_OR_RETURN(Frame answer, Exchange(kRows, body, timeout));
  if (answer.kind != kResults) return NotAnAnswer("something else than results");
  return std::move(answer.body);
}

absl::StatusOr<PythonProcess::Frame> PythonProcess::Exchange(uint32_t kind, std::string_view body,
                                                             absl::Duration timeout) {
  const int64_t deadline_ns = clock_.MonotonicNanos() + absl::ToInt64Nanoseconds(timeout);
  FrameHead head{.magic = kMagic, .kind = kind, .bytes = body.size()};
  MILLRACE_RETURN_IF_ERROR(Send({reinterpret_cast<const char*>(&head), sizeof(head)}, deadline_ns));
  MILLRACE_RETURN_IF_ERROR(Send(body, deadline_ns));
  MILLRACE_RETURN_IF_ERROR(Receive(reinterpret_cast<uint8_t*>(&head), sizeof(head), deadline_ns));
  if (head.magic != kMagic) return NotAnAnswer("bytes that are no frame");
  if (head.bytes > kFrameBytesMax) {
    return NotAnAnswer("more than 256 MB of results for one batch");
  }
  const std::shared_ptr<Buffer> buffer = Buffer::Allocate(head.bytes);
  MILLRACE_RETURN_IF_ERROR(Receive(buffer->mutable_data(), head.bytes, deadline_ns));
  ReadLines();
  return Frame{.kind = head.kind, .body = buffer};
}

absl::Status PythonProcess::Send(std::string_view bytes, int64_t deadline_ns) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN || errno == EINTR) {
      MILLRACE_RETURN_IF_ERROR(Poll(POLLOUT, deadline_ns));
    } else {
      return Ended();
    }
  }
  return absl::OkStatus();
}

absl::Status PythonProcess::Receive(uint8_t* to, size_t size, int64_t deadline_ns) {
  while (size > 0) {
    const ssize_t got = recv(socket_, to, size, 0);
    if (got > 0) {
      to += got;
      size -= static_cast<size_t>(got);
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      MILLRACE_RETURN_IF_ERROR(Poll(POLLIN, deadline_ns));
    } else {
      return Ended();
    }
  }
  return absl::OkStatus();
}

absl::Status PythonProcess::Poll(int16_t events, int64_t deadline_ns) {
  while (true) {
    if (options_.is_stopped()) return absl::CancelledError("the task stops");
    pollfd wanted[] = {{.fd = socket_, .events = events, .revents = 0},
                       {.fd = output_, .events = POLLIN, .revents = 0},
                       {.fd = waker_.descriptor(), .events = POLLIN, .revents = 0},
                       {.fd = exit_, .events = POLLIN, .revents = 0}};
    const int64_t left_ns = std::max<int64_t>(0, deadline_ns - clock_.MonotonicNanos());
    const int64_t left_ms = std::min<int64_t>(left_ns / 1'000'000 + 1, 1'000'000);
    const int ready = poll(wanted, std::size(wanted), static_cast<int>(left_ms));
    if (ready < 0 && errno != EINTR) return SystemError("wait for the Python process");
    if (wanted[1].revents != 0) ReadLines();
    if (wanted[2].revents != 0) waker_.Clear();
    if (ready > 0 && wanted[0].revents != 0) return absl::OkStatus();
    // What it has started may still hold the socket.
    if (ready > 0 && wanted[3].revents != 0) return Ended();
    if (ready == 0 || clock_.MonotonicNanos() >= deadline_ns) {
      return absl::DeadlineExceededError("no answer in time");
    }
  }
}

void PythonProcess::Wait(absl::Duration timeout) {
  pollfd wanted[] = {{.fd = output_, .events = POLLIN, .revents = 0},
                     {.fd = waker_.descriptor(), .events = POLLIN, .revents = 0}};
  if (poll(wanted, std::size(wanted), Milliseconds(timeout)) <= 0) return;
  if (wanted[0].revents != 0) ReadLines();
  if (wanted[1].revents != 0) waker_.Clear();
}

absl::Status PythonProcess::Ended() {
  // Its socket is closed; it may still be on its way out.
  pollfd wanted{.fd = exit_, .events = POLLIN, .revents = 0};
  (void)poll(&wanted, 1, kEndMs);  // Whatever comes of it, it is asked below.
  int status = 0;
  const pid_t waited = waitpid(pid_, &status, WNOHANG);
  if (waited != pid_) return absl::AbortedError("the Python process closed its socket");
  kill(-pid_, SIGKILL);  // What it has started.
  pid_ = -1;
  ReadLines();
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return absl::AbortedError(
        Concat("the Python process ended by signal ", signal, " (", strsignal(signal), ")"));
  }
  return absl::AbortedError(
      Concat("the Python process ended with exit code ", WEXITSTATUS(status)));
}

void PythonProcess::ReadLines() {
  char bytes[4096];
  // Bounded: whoever prints without end must not keep this from its deadline.
  for (int reads = 0; output_ >= 0 && reads < 64; ++reads) {
    const ssize_t got = read(output_, bytes, sizeof(bytes));
    if (got == 0) {  // Nobody has the other end.
      close(output_);
      output_ = -1;
    }
    if (got <= 0) break;
    lines_.append(bytes, static_cast<size_t>(got));
    PassLines(/*all=*/false);
  }
}

void PythonProcess::PassLines(bool all) {
  std::string_view rest = lines_;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const bool is_whole = end != std::string_view::npos;
    if (!is_whole && !all && rest.size() < kLineBytesMax) break;
    const std::string_view line = rest.substr(0, std::min({end, kLineBytesMax, rest.size()}));
    if (!line.empty()) options_.on_line(line);
    const bool is_cut = is_whole && end > kLineBytesMax;
    rest.remove_prefix(is_whole && !is_cut ? end + 1 : line.size());
  }
  lines_ = std::string(rest);
}

void PythonProcess::Kill() {
  if (pid_ > 0) {
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);  // Before it had a group of its own.
    int status;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  ReadLines();
  PassLines(/*all=*/true);
  if (socket_ >= 0) close(socket_);
  if (output_ >= 0) close(output_);
  if (exit_ >= 0) close(exit_);
  socket_ = output_ = exit_ = -1;
}

}  // namespace millrace
