#include "tests/simulation/sim_env.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/base/status_macros.h"

namespace millrace {

uint64_t SimRandom::Next() {
  uint64_t z = (state_ += 0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

void SimEvents::At(absl::Duration delay, absl::Duration jitter,
                   absl::AnyInvocable<void() &&> work) {
  const auto jitter_ns = static_cast<uint64_t>(absl::ToInt64Nanoseconds(jitter));
  const int64_t at_ns = clock_.MonotonicNanos() + absl::ToInt64Nanoseconds(delay) +
                        (jitter_ns == 0 ? 0 : static_cast<int64_t>(random_.Below(jitter_ns)));
  queue_.emplace(Key{at_ns, sequence_++}, std::move(work));
}

void SimEvents::RunBlocking(absl::AnyInvocable<void() &&> work) {
  At(absl::Microseconds(20), absl::Milliseconds(2), std::move(work));
}

void SimEvents::RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> work) {
  At(delay, absl::Microseconds(100), std::move(work));
}

bool SimEvents::RunOne() {
  if (queue_.empty()) return false;
  auto event = queue_.extract(queue_.begin());
  clock_.AdvanceTo(event.key().at_ns);
  ++count_;
  Trace(static_cast<uint64_t>(event.key().at_ns));
  Trace(event.key().sequence);
  std::move(event.mapped())();
  return true;
}

void SimEvents::Trace(uint64_t value) {
  trace_hash_ = (trace_hash_ ^ value) * 0x100000001B3;
  trace_hash_ ^= trace_hash_ >> 29;
}

class SimWritableFile : public WritableFile {
 public:
  SimWritableFile(SimDisk& disk, std::shared_ptr<SimDisk::Content> content)
      : disk_(disk), content_(std::move(content)) {}
  absl::Status Append(std::string_view bytes) override {
    absl::Status fault = disk_.NextFault();
    // A part of it may have been written.
    content_->bytes += fault.ok() ? bytes : bytes.substr(0, disk_.random_.Below(bytes.size() + 1));
    return fault;
  }
  absl::Status Sync() override {
    MILLRACE_RETURN_IF_ERROR(disk_.NextFault());
    content_->synced = content_->bytes.size();
    return absl::OkStatus();
  }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  SimDisk& disk_;
  const std::shared_ptr<SimDisk::Content> content_;
};

namespace {

class SimReadableFile : public ReadableFile {
 public:
  explicit SimReadableFile(std::string bytes) : bytes_(std::move(bytes)) {}
  uint64_t size() const override { return bytes_.size(); }
  absl::Status Read(uint64_t offset, size_t length, char* out) const override {
    if (offset > bytes_.size() || bytes_.size() - offset < length) {
      return absl::OutOfRangeError("file ends before the requested range");
    }
    std::memcpy(out, bytes_.data() + offset, length);
    return absl::OkStatus();
  }

 private:
  const std::string bytes_;
};

absl::Status NoFile(const std::string& path) { return absl::NotFoundError("no file " + path); }

bool Below(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() && path.compare(0, folder.size(), folder) == 0 &&
         path[folder.size()] == '/';
}

}  // namespace

absl::AnyInvocable<void() &&> SimMachine::Guarded(absl::AnyInvocable<void() &&> work) {
  return [life = life_, &disk = disk_, number = number_, work = std::move(work)]() mutable {
    if (!life->alive) return;
    if (life->paused) return life->held.push_back(std::move(work));
    disk.SetMachine(number);
    std::move(work)();
  };
}

absl::Duration SimMachineClock::Ahead() const {
  return ahead_then_ + absl::Nanoseconds(world_.MonotonicNanos() - since_ns_) * (rate_ - 1);
}

void SimMachineClock::SetRate(double rate) {
  ahead_then_ = Ahead();
  since_ns_ = world_.MonotonicNanos();
  rate_ = rate;
}

void SimMachine::Crash() {
  life_->alive = false;
  life_->held.clear();
  disk_.Crash(number_);
}

void SimMachine::Pause(absl::Duration duration) {
  if (std::exchange(life_->paused, true)) return;
  events_.At(duration, absl::ZeroDuration(), [this, life = life_] {
    if (!life->alive) return;
    life->paused = false;
    for (auto& work : std::exchange(life->held, {})) {
      events_.At(absl::ZeroDuration(), absl::ZeroDuration(), Guarded(std::move(work)));
    }
  });
}

void SimDisk::Crash(int machine) {
  for (auto& [path, content] : files_) {
    if (content->machine != machine) continue;
    const size_t unsynced = content->bytes.size() - content->synced;
    if (unsynced > 0) content->bytes.resize(content->synced + random_.Below(unsynced + 1));
  }
}

bool SimDisk::SpoilOne(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& [path, content] : files_) {
    if (path.starts_with(folder + "/") && !content->bytes.empty()) paths.push_back(path);
  }
  if (paths.empty()) return false;
  const std::string& path = paths[random_.Below(paths.size())];
  std::string& bytes = files_[path]->bytes;
  const std::string& other = files_[paths[random_.Below(paths.size())]]->bytes;
  switch (random_.Below(4)) {
    case 0:
      files_.erase(path);
      break;
    case 1:
      bytes.resize(random_.Below(bytes.size()));
      break;
    case 2:
      bytes[random_.Below(bytes.size())] ^= 1;
      break;
    default:
      bytes = std::string(other);
  }
  return true;
}

absl::StatusOr<std::unique_ptr<WritableFile>> SimDisk::Create(const std::string& path) {
  MILLRACE_RETURN_IF_ERROR(NextFault());
  auto content = std::make_shared<Content>();
  content->machine = machine_;
  files_[path] = content;
  return std::make_unique<SimWritableFile>(*this, std::move(content));
}

absl::StatusOr<std::unique_ptr<ReadableFile>> SimDisk::Open(const std::string& path) {
  auto it = files_.find(path);
  if (it == files_.end()) return NoFile(path);
  return std::make_unique<SimReadableFile>(it->second->bytes);
}

absl::Status SimDisk::MakeFolders(const std::string& path) {
  folders_.insert(path);
  return absl::OkStatus();
}

absl::Status SimDisk::Rename(const std::string& from, const std::string& to) {
  auto it = files_.find(from);
  if (it == files_.end()) return NoFile(from);
  files_[to] = it->second;
  files_.erase(from);
  return absl::OkStatus();
}

absl::Status SimDisk::HardLink(const std::string& from, const std::string& to) {
  auto it = files_.find(from);
  if (it == files_.end()) return NoFile(from);
  if (files_.contains(to)) return absl::AlreadyExistsError("there is a file " + to);
  files_[to] = it->second;
  return absl::OkStatus();
}

absl::Status SimDisk::Remove(const std::string& path) {
  files_.erase(path);
  return absl::OkStatus();
}

absl::Status SimDisk::RemoveFolder(const std::string& path) {
  std::erase_if(files_, [&](const auto& file) { return Below(file.first, path); });
  std::erase_if(folders_, [&](const auto& f) { return f == path || Below(f, path); });
  return absl::OkStatus();
}

absl::Status SimDisk::SyncFolder(const std::string&) { return absl::OkStatus(); }

absl::StatusOr<std::vector<std::string>> SimDisk::List(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& [file, content] : files_) {
    if (!Below(file, path)) continue;
    const std::string rest = file.substr(path.size() + 1);
    if (rest.find('/') == std::string::npos) names.push_back(rest);
  }
  return names;
}

bool SimDisk::Exists(const std::string& path) {
  if (files_.contains(path) || folders_.contains(path)) return true;
  for (const auto& [file, content] : files_) {
    if (Below(file, path)) return true;
  }
  return false;
}

// One end of a connection. The network holds the pair while it is open.
class SimNetwork::End : public Connection, public std::enable_shared_from_this<End> {
 public:
  explicit End(SimNetwork& network) : network_(network) {}

  void Send(std::string head, std::vector<BufferPtr> body) override {
    if (closed_) return;
    for (const BufferPtr& part : body) head.append(part->view());
    BufferPtr frame = Buffer::CopyOf(head);
    // Order is kept: no frame overtakes the one before.
    const int64_t now = network_.clock_ns();
    const int64_t arrival =
        std::max(last_arrival_ns_, now + static_cast<int64_t>(network_.random_.Below(1'000'000)));
    last_arrival_ns_ = arrival;
    network_.events_.At(absl::Nanoseconds(arrival - now), absl::ZeroDuration(),
                        [self = shared_from_this(), frame] {
                          auto peer = self->peer_.lock();
                          if (peer == nullptr || peer->closed_ || self->closed_) return;
                          if (peer->handlers_.on_frame) peer->handlers_.on_frame(frame);
                        });
  }

  void Close() override {
    network_.events_.At(absl::ZeroDuration(), absl::Microseconds(50), [self = shared_from_this()] {
      self->Shut("closed here");
      if (auto peer = self->peer_.lock()) peer->Shut("closed by the other side");
    });
  }

  void Shut(const char* reason) {
    if (std::exchange(closed_, true)) return;
    self_.reset();
    ConnectionHandlers handlers = std::exchange(handlers_, {});
    if (handlers.on_closed) handlers.on_closed(absl::UnavailableError(reason));
  }

  SimNetwork& network_;
  ConnectionHandlers handlers_;
  std::weak_ptr<End> peer_;
  std::shared_ptr<End> self_;  // Held while open.
  bool closed_ = false;
  int64_t last_arrival_ns_ = 0;
};

class SimNetwork::SimListener : public Listener {
 public:
  SimListener(SimNetwork& network, std::string address)
      : network_(network), address_(std::move(address)) {}
  ~SimListener() override { network_.listeners_.erase(address_); }
  std::string address() const override { return address_; }

 private:
  SimNetwork& network_;
  const std::string address_;
};

SimNetwork::~SimNetwork() {
  for (auto& weak : ends_) {
    if (auto end = weak.lock()) {
      end->handlers_ = {};
      end->self_.reset();
    }
  }
}

absl::StatusOr<std::unique_ptr<Listener>> SimNetwork::Listen(const std::string&, Accept accept) {
  const std::string address = "sim:" + std::to_string(next_port_++);
  listeners_[address] = std::move(accept);
  return std::make_unique<SimListener>(*this, address);
}

std::shared_ptr<Connection> SimNetwork::Connect(const std::string& address,
                                                ConnectionHandlers handlers) {
  auto near = std::make_shared<End>(*this);
  near->handlers_ = std::move(handlers);
  near->self_ = near;
  ends_.push_back(near);
  auto listener = listeners_.find(address);
  if (listener == listeners_.end()) {
    events_.At(absl::Milliseconds(1), absl::Milliseconds(5),
               [near] { near->Shut("connection refused"); });
    return near;
  }
  auto far = std::make_shared<End>(*this);
  far->self_ = far;
  near->peer_ = far;
  far->peer_ = near;
  far->handlers_ = listener->second(far);
  ends_.push_back(far);
  return near;
}

void SimNetwork::CutOne() {
  std::erase_if(ends_, [](const auto& weak) {
    auto end = weak.lock();
    return end == nullptr || end->closed_;
  });
  if (ends_.empty()) return;
  auto end = ends_[random_.Below(ends_.size())].lock();
  auto peer = end->peer_.lock();
  end->Shut("cut");
  if (peer != nullptr) peer->Shut("cut");
}

int64_t SimNetwork::clock_ns() const { return clock_.MonotonicNanos(); }

}  // namespace millrace
