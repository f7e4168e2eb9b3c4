#include "runtime/base/tcp_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/base/check.h"
#include "runtime/base/socket_address.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr uint32_t kMagic = 0x4D524E31;  // "MRN1".
constexpr uint32_t kFrameBytesMax = 256u << 20;
constexpr size_t kHeadBytes = 8;
constexpr int kIovMax = 64;

class TcpNetwork;

// Threading: `mutex_` guards what Send shares with the network thread; the rest is the network's.
class TcpConnection : public Connection, public std::enable_shared_from_this<TcpConnection> {
 public:
  TcpConnection(TcpNetwork& network, int fd, bool connecting)
      : network_(network), fd_(fd), connecting_(connecting) {}
  ~TcpConnection() override {
    if (fd_ >= 0) close(fd_);
  }

  void Send(std::string head, std::vector<BufferPtr> body) override;
  void Close() override;

  // Network thread.
  void OnEvents(uint32_t events);
  void SetStream(std::unique_ptr<ByteStream> stream) { stream_ = std::move(stream); }
  void Shut(const absl::Status& reason);

  TcpNetwork& network_;
  int fd_;
  bool connecting_;
  bool shut_ = false;
  ConnectionHandlers handlers_;

 private:
  struct Outgoing {
    std::string head;
    std::vector<BufferPtr> body;
  };

  bool ReadSome(char* to, size_t size, size_t& have, absl::Status& status);
  absl::Status Read();
  absl::Status Write();

  absl::Mutex mutex_;
  std::deque<Outgoing> queue_ ABSL_GUARDED_BY(mutex_);
  bool dead_ ABSL_GUARDED_BY(mutex_) = false;

  // Network thread.
  std::unique_ptr<ByteStream> stream_;  // Of `fd_`.
  std::deque<Outgoing> writing_;
  size_t written_ = 0;  // Of the first of writing_.
  char head_[kHeadBytes];
  size_t head_have_ = 0;
  std::shared_ptr<Buffer> frame_;
  size_t frame_have_ = 0;
};

class TcpNetwork : public Network {
 public:
  explicit TcpNetwork(std::unique_ptr<TlsContext> tls)
      : tls_(std::move(tls)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    MILLRACE_CHECK(epoll_ >= 0 && event_ >= 0);
    Watch(event_, EPOLLIN);
    thread_ = std::thread([this] { Run(); });
  }
  ~TcpNetwork() override {
    Post([this] { stopping_ = true; });
    thread_.join();
    close(epoll_);
    close(event_);
  }

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address,
                                                   Accept accept) override;
  std::shared_ptr<Connection> Connect(const std::string& address,
                                      ConnectionHandlers handlers) override;

  // Runs `work` on the network thread.
  void Post(absl::AnyInvocable<void() &&> work) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      absl::MutexLock lock(&mutex_);
      posted_.push_back(std::move(work));
    }
    const uint64_t one = 1;
    (void)!write(event_, &one, sizeof(one));  // Full means that a wake-up is already on its way.
  }
  // Network thread.
  void Adopt(std::shared_ptr<TcpConnection> connection, TlsContext::Side side);
  void Forget(TcpConnection& connection);  // Network thread.
  void StopListening(int fd);

 private:
  void Run();
  void Watch(int fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    (void)epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);  // Fails only for a closed socket.
  }
  void AcceptAll(int fd);

  const std::unique_ptr<TlsContext> tls_;  // Null: plain.
  const int epoll_;
  const int event_;
  absl::Mutex mutex_;
  std::vector<absl::AnyInvocable<void() &&>> posted_ ABSL_GUARDED_BY(mutex_);
  // Network thread.
  bool stopping_ = false;
  std::map<int, std::shared_ptr<TcpConnection>> connections_;
  std::map<int, Accept> listeners_;
  std::thread thread_;
};

class TcpListener : public Listener {
 public:
  TcpListener(TcpNetwork& network, int fd, std::string address)
      : network_(network), fd_(fd), address_(std::move(address)) {}
  ~TcpListener() override { network_.StopListening(fd_); }
  std::string address() const override { return address_; }

 private:
  TcpNetwork& network_;
  const int fd_;
  const std::string address_;
};

void TcpConnection::Send(std::string head, std::vector<BufferPtr> body) {
  size_t length = head.size();
  for (const BufferPtr& part : body) length += part->size();
  MILLRACE_CHECK(length <= kFrameBytesMax);
  const uint32_t frame_head[2] = {kMagic, static_cast<uint32_t>(length)};
  head.insert(0, reinterpret_cast<const char*>(frame_head), kHeadBytes);
  bool first;
  {
    absl::MutexLock lock(&mutex_);
    if (dead_) return;
    first = queue_.empty();
    queue_.push_back({std::move(head), std::move(body)});
  }
  if (!first) return;  // The network thread has been told already.
  network_.Post([self = shared_from_this()] {
    if (self->shut_ || self->connecting_) return;
    if (absl::Status status = self->Write(); !status.ok()) self->Shut(status);
  });
}

void TcpConnection::Close() {
  {
    absl::MutexLock lock(&mutex_);
    dead_ = true;
  }
  network_.Post([self = shared_from_this()] { self->Shut(absl::CancelledError("closed here")); });
}

void TcpConnection::Shut(const absl::Status& reason) {
  if (std::exchange(shut_, true)) return;
  {
    absl::MutexLock lock(&mutex_);
    dead_ = true;
    queue_.clear();
  }
  writing_.clear();
  ConnectionHandlers handlers = std::exchange(handlers_, {});
  auto self = shared_from_this();  // Forget drops the network's reference.
  network_.Forget(*this);
  if (fd_ >= 0) close(std::exchange(fd_, -1));
  if (handlers.on_closed) handlers.on_closed(reason);
}

void TcpConnection::OnEvents(uint32_t events) {
  if (connecting_) {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Shut(StatusFromErrno(error, "cannot connect"));
    if ((events & EPOLLOUT) == 0) return;
    connecting_ = false;
  }
  // An encrypted stream may have to read before it can write, and the other way round.
  absl::Status status = Read();
  if (status.ok() && !shut_) status = Write();
  if (!status.ok()) Shut(status);
}

// More of `size` bytes at `to`, of which `have` are there. False: not now (`status` is OK) or
// never.
bool TcpConnection::ReadSome(char* to, size_t size, size_t& have, absl::Status& status) {
  ByteStream::Outcome outcome = stream_->Read(to + have, size - have);
  have += outcome.bytes;
  status = std::move(outcome.status);
  return outcome.result == ByteStream::Result::kSome;
}

absl::Status TcpConnection::Read() {
  absl::Status status;
  while (!shut_) {
    if (frame_ == nullptr) {
      if (!ReadSome(head_, kHeadBytes, head_have_, status)) return status;
      if (head_have_ < kHeadBytes) continue;
      uint32_t head[2];
      std::memcpy(head, head_, kHeadBytes);
      if (head[0] != kMagic) return absl::DataLossError("not a Millrace data connection");
      if (head[1] > kFrameBytesMax) return absl::DataLossError("frame is larger than allowed");
      head_have_ = 0;
      frame_have_ = 0;
      frame_ = Buffer::Allocate(head[1]);
    }
    if (frame_have_ < frame_->size()) {
      char* const to = reinterpret_cast<char*>(frame_->mutable_data());
      if (!ReadSome(to, frame_->size(), frame_have_, status)) return status;
    }
    if (frame_have_ == frame_->size()) handlers_.on_frame(std::exchange(frame_, nullptr));
  }
  return absl::OkStatus();
}

absl::Status TcpConnection::Write() {
  while (true) {
    if (writing_.empty()) {
      absl::MutexLock lock(&mutex_);
      writing_.swap(queue_);
    }
    if (writing_.empty()) return absl::OkStatus();
    iovec parts[kIovMax];
    int count = 0;
    size_t skip = written_;
    const auto add = [&](const void* data, size_t size) {
      if (skip >= size) {
        skip -= size;
      } else if (count < kIovMax) {
        parts[count++] = {const_cast<char*>(static_cast<const char*>(data)) + skip, size - skip};
        skip = 0;
      }
    };
    const Outgoing& out = writing_.front();
    add(out.head.data(), out.head.size());
    size_t total = out.head.size();
    for (const BufferPtr& part : out.body) {
      add(part->data(), part->size());
      total += part->size();
    }
    ByteStream::Outcome outcome = stream_->Write(parts, count);
    // EPOLLOUT comes (edge-triggered).
    if (outcome.result == ByteStream::Result::kWouldBlock) return absl::OkStatus();
    if (outcome.result == ByteStream::Result::kFailed) return outcome.status;
    written_ += outcome.bytes;
    if (written_ == total) {
      writing_.pop_front();
      written_ = 0;
    }
  }
}

absl::StatusOr<std::unique_ptr<Listener>> TcpNetwork::Listen(const std::string& address,
                                                             Accept accept) {
  MILLRACE_ASSIGN_OR_RETURN(const SocketAddress where, ResolveAddress(address));
  const int fd = socket(where.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return StatusFromErrno(errno, "cannot make a socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&where.storage), where.length) != 0 ||
      listen(fd, 128) != 0) {
    const int error_number = errno;
    close(fd);
    return StatusFromErrno(error_number, "cannot listen on " + address);
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  const uint16_t port =
      ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                        : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  const std::string real = address.substr(0, address.rfind(':') + 1) + std::to_string(port);
  Post([this, fd, accept = std::move(accept)]() mutable {
    listeners_[fd] = std::move(accept);
    Watch(fd, EPOLLIN);
  });
  return std::make_unique<TcpListener>(*this, fd, real);
}

void TcpNetwork::StopListening(int fd) {
  Post([this, fd] {
    if (listeners_.erase(fd) > 0) close(fd);
  });
}

std::shared_ptr<Connection> TcpNetwork::Connect(const std::string& address,
                                                ConnectionHandlers handlers) {
  auto connection = std::make_shared<TcpConnection>(*this, -1, /*connecting=*/true);
  connection->handlers_ = std::move(handlers);
  const absl::StatusOr<SocketAddress> where = ResolveAddress(address);
  Post([this, connection, where] {
    if (connection->shut_) return;
    if (!where.ok()) return connection->Shut(where.status());
    const absl::StatusOr<int> fd = BeginConnect(*where);
    if (!fd.ok()) return connection->Shut(fd.status());
    connection->fd_ = *fd;
    Adopt(connection, TlsContext::Side::kConnecting);
  });
  return connection;
}

void TcpNetwork::Adopt(std::shared_ptr<TcpConnection> connection, TlsContext::Side side) {
  const int on = 1;
  setsockopt(connection->fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  const int fd = connection->fd_;
  connection->SetStream(tls_ == nullptr ? MakePlainStream(fd) : tls_->MakeStream(fd, side));
  connections_[fd] = std::move(connection);
  Watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

void TcpNetwork::Forget(TcpConnection& connection) {
  if (connection.fd_ < 0) return;
  (void)epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.fd_, nullptr);  // Perhaps never added.
  connections_.erase(connection.fd_);
}

void TcpNetwork::AcceptAll(int fd) {
  while (true) {
    const int accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) return;  // None left, or out of descriptors: the peer will time out.
    auto connection = std::make_shared<TcpConnection>(*this, accepted, /*connecting=*/false);
    connection->handlers_ = listeners_[fd](connection);
    Adopt(std::move(connection), TlsContext::Side::kAccepting);
  }
}

void TcpNetwork::Run() {
  pthread_setname_np(pthread_self(), "millrace-net");
  epoll_event events[64];
  while (!stopping_) {
    const int count = epoll_wait(epoll_, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == event_) {
        uint64_t ignored;
        (void)!read(event_, &ignored, sizeof(ignored));  // Only resets the counter.
      } else if (listeners_.contains(fd)) {
        AcceptAll(fd);
      } else if (auto it = connections_.find(fd); it != connections_.end()) {
        it->second->OnEvents(events[i].events);
      }
    }
    std::vector<absl::AnyInvocable<void() &&>> posted;
    {
      absl::MutexLock lock(&mutex_);
      posted.swap(posted_);
    }
    for (auto& work : posted) std::move(work)();
  }
  while (!connections_.empty()) {
    connections_.begin()->second->Shut(absl::CancelledError("the network stops"));
  }
  for (const auto& [fd, accept] : listeners_) close(fd);
}

}  // namespace

std::unique_ptr<Network> MakeTcpNetwork(std::unique_ptr<TlsContext> tls) {
  return std::make_unique<TcpNetwork>(std::move(tls));
}

}  // namespace millrace
