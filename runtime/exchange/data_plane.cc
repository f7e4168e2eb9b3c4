#include "runtime/exchange/data_plane.h"

#include <atomic>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/columns/batch_codec.h"

namespace millrace {
namespace {

enum class FrameType : uint8_t { kHello = 1, kData = 2, kCredit = 3 };

// Head of DATA and CREDIT frames; a batch follows at an 8-byte boundary. Little endian.
struct FrameHead {
  FrameType type;
  ChannelItem::Kind kind;
  uint16_t reserved = 0;
  uint32_t edge;
  uint32_t from;
  uint32_t to;
  uint64_t value;  // Watermark, epoch, time of a latency mark, or bytes of credit.
};
static_assert(sizeof(FrameHead) == 24);

struct HelloHead {
  FrameType type;
  uint8_t reserved[7] = {};
  uint64_t generation;
  uint64_t attempt;  // The job id follows.
};
static_assert(sizeof(HelloHead) == 24);

template <typename T>
std::string BytesOf(const T& head) {
  return std::string(reinterpret_cast<const char*>(&head), sizeof(head));
}

template <typename T>
bool ReadHead(const BufferPtr& frame, T& head) {
  if (frame->size() < sizeof(T)) return false;
  std::memcpy(&head, frame->data(), sizeof(T));
  return true;
}

// The receiving end of one channel: filled by the network thread, emptied by the task thread.
class ReceiverCore {
 public:
  ReceiverCore(ChannelKey key, SchemaPtr schema, ChannelLimits limits, std::function<void()> wake)
      : key_(key), schema_(std::move(schema)), limits_(limits), wake_(std::move(wake)) {}

  // Network thread.
  absl::Status OnData(const std::shared_ptr<Connection>& connection, const FrameHead& head,
                      const BufferPtr& frame) ABSL_LOCKS_EXCLUDED(mutex_) {
    ChannelItem item{.kind = head.kind};
    switch (head.kind) {
      case ChannelItem::Kind::kBatch: {
        absl::StatusOr<Batch> batch = DecodeBatch(schema_, frame, sizeof(FrameHead));
        if (!batch.ok()) return batch.status();
        item.batch = *std::move(batch);
        break;
      }
      case ChannelItem::Kind::kWatermark:
        item.watermark = EventTime{static_cast<int64_t>(head.value)};
        break;
      case ChannelItem::Kind::kBarrier:
        item.epoch = Epoch{head.value};
        break;
      case ChannelItem::Kind::kLatencyMark:
        item.read_us = static_cast<int64_t>(head.value);
        break;
      case ChannelItem::Kind::kIdle:
        break;
      default:
        return absl::DataLossError("unknown kind of channel item");
    }
    {
      absl::MutexLock lock(&mutex_);
      connection_ = connection;
      items_.push_back(std::move(item));
    }
    wake_();
    return absl::OkStatus();
  }

  void OnClosed(const absl::Status& reason) ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      absl::MutexLock lock(&mutex_);
      status_ = absl::UnavailableError(
          absl::StrCat("lost the connection from an upstream worker: ", reason.message()));
    }
    wake_();
  }

  // Task thread.
  bool Take(ChannelItem& item) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (items_.empty()) return false;
    item = std::move(items_.front());
    items_.pop_front();
    return true;
  }

  // Task thread.
  void GiveCredit(size_t bytes) ABSL_LOCKS_EXCLUDED(mutex_) {
    taken_bytes_ += bytes;
    if (taken_bytes_ == 0) return;
    std::shared_ptr<Connection> connection;
    {
      absl::MutexLock lock(&mutex_);
      if (taken_bytes_ < limits_.bytes_max / 4 && !items_.empty()) return;
      connection = connection_;
    }
    // Credits go back in lumps, and at the latest when everything was taken.
    connection->Send(BytesOf(FrameHead{.type = FrameType::kCredit,
                                       .kind = ChannelItem::Kind::kBatch,
                                       .edge = key_.edge,
                                       .from = key_.from,
                                       .to = key_.to,
                                       .value = std::exchange(taken_bytes_, 0)}),
                     {});
  }

  absl::Status status() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return items_.empty() ? status_ : absl::OkStatus();
  }

 private:
  const ChannelKey key_;
  const SchemaPtr schema_;
  const ChannelLimits limits_;
  const std::function<void()> wake_;
  size_t taken_bytes_ = 0;  // Task thread: to be credited.
  mutable absl::Mutex mutex_;
  std::deque<ChannelItem> items_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Connection> connection_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

class RemoteReceiver : public ChannelReceiver {
 public:
  explicit RemoteReceiver(std::shared_ptr<ReceiverCore> core) : core_(std::move(core)) {}
  bool Take(ChannelItem& item) override { return core_->Take(item); }
  void GiveCredit(size_t bytes) override { core_->GiveCredit(bytes); }
  absl::Status status() const override { return core_->status(); }

 private:
  const std::shared_ptr<ReceiverCore> core_;
};

// What the network thread and the sending task share of one channel.
struct SenderCore {
  SenderCore(size_t limit, std::function<void()> wake_sender)
      : bytes_max(static_cast<int64_t>(limit)), wake(std::move(wake_sender)) {}

  const int64_t bytes_max;
  const std::function<void()> wake;
  // Sent and not yet credited. Relaxed: a limit, publishes nothing.
  std::atomic<int64_t> in_flight{0};
  // Released after `reason` was written, which is written once.
  std::atomic<bool> closed{false};
  absl::Status reason;
};

class RemoteSender : public ChannelSender {
 public:
  RemoteSender(ChannelKey key, std::shared_ptr<SenderCore> core,
               std::shared_ptr<Connection> connection)
      : key_(key), core_(std::move(core)), connection_(std::move(connection)) {}

  void Send(ChannelItem item) override {
    FrameHead head{.type = FrameType::kData,
                   .kind = item.kind,
                   .edge = key_.edge,
                   .from = key_.from,
                   .to = key_.to,
                   .value = 0};
    if (item.kind == ChannelItem::Kind::kWatermark) {
      head.value = static_cast<uint64_t>(item.watermark.us);
    } else if (item.kind == ChannelItem::Kind::kBarrier) {
      head.value = item.epoch.number;
    } else if (item.kind == ChannelItem::Kind::kLatencyMark) {
      head.value = static_cast<uint64_t>(item.read_us);
    }
    if (item.kind != ChannelItem::Kind::kBatch) {
      connection_->Send(BytesOf(head), {});
      return;
    }
    core_->in_flight.fetch_add(static_cast<int64_t>(item.batch.byte_size()),
                               std::memory_order_relaxed);
    EncodedBatch encoded = EncodeBatch(item.batch);
    connection_->Send(absl::StrCat(BytesOf(head), encoded.head), std::move(encoded.body));
  }

  bool HasCredit() override {
    return core_->in_flight.load(std::memory_order_relaxed) < core_->bytes_max;
  }

  absl::Status status() const override {
    return core_->closed.load(std::memory_order_acquire) ? core_->reason : absl::OkStatus();
  }

  size_t queued_bytes() const override {
    return static_cast<size_t>(core_->in_flight.load(std::memory_order_relaxed));
  }

 private:
  const ChannelKey key_;
  const std::shared_ptr<SenderCore> core_;
  const std::shared_ptr<Connection> connection_;
};

}  // namespace

// What incoming connections look up.
struct DataPlane::Shared {
  absl::Mutex mutex;
  std::map<AttemptKey, std::map<ChannelKey, std::shared_ptr<ReceiverCore>>> receivers
      ABSL_GUARDED_BY(mutex);
  std::map<AttemptKey, std::vector<std::weak_ptr<Connection>>> inbound ABSL_GUARDED_BY(mutex);
};

// One incoming connection. Touched by the network thread only.
struct DataPlane::Inbound {
  std::shared_ptr<Shared> shared;
  std::weak_ptr<Connection> connection;  // The network owns it while it is open.
  AttemptKey attempt;
  bool greeted = false;
  std::map<ChannelKey, std::shared_ptr<ReceiverCore>> seen;

  absl::Status OnFrame(const BufferPtr& frame) {
    const auto type = frame->size() == 0 ? FrameType{} : static_cast<FrameType>(frame->data()[0]);
    if (type == FrameType::kHello) return OnHello(frame);
    FrameHead head;
    if (type != FrameType::kData || !greeted || !ReadHead(frame, head)) {
      return absl::DataLossError("malformed frame on the data plane");
    }
    const ChannelKey key{.edge = head.edge, .from = head.from, .to = head.to};
    auto it = seen.find(key);
    if (it == seen.end()) {
      absl::MutexLock lock(&shared->mutex);
      auto receivers = shared->receivers.find(attempt);
      if (receivers == shared->receivers.end() || !receivers->second.contains(key)) {
        return absl::NotFoundError("no such channel here");
      }
      it = seen.emplace(key, receivers->second.at(key)).first;
    }
    auto open = connection.lock();
    if (open == nullptr) return absl::UnavailableError("the connection is closing");
    return it->second->OnData(open, head, frame);
  }

  absl::Status OnHello(const BufferPtr& frame) {
    HelloHead head;
    if (greeted || !ReadHead(frame, head)) return absl::DataLossError("malformed greeting");
    attempt = {.job_id = std::string(frame->view().substr(sizeof(HelloHead))),
               .generation = head.generation,
               .attempt = head.attempt};
    absl::MutexLock lock(&shared->mutex);
    if (!shared->receivers.contains(attempt)) {
      return absl::NotFoundError("this worker does not host that attempt");
    }
    shared->inbound[attempt].push_back(connection);
    greeted = true;
    return absl::OkStatus();
  }
};

// One outgoing connection.
struct DataPlane::Outbound {
  std::string address;
  std::shared_ptr<Connection> connection;
  absl::Mutex mutex;
  std::map<ChannelKey, std::shared_ptr<SenderCore>> senders ABSL_GUARDED_BY(mutex);
  absl::Status closed ABSL_GUARDED_BY(mutex);

  // Network thread.
  void OnFrame(const BufferPtr& frame) {
    FrameHead head;
    if (!ReadHead(frame, head) || head.type != FrameType::kCredit) return;
    std::shared_ptr<SenderCore> core;
    {
      absl::MutexLock lock(&mutex);
      auto it = senders.find({.edge = head.edge, .from = head.from, .to = head.to});
      if (it == senders.end()) return;
      core = it->second;
    }
    // What is credited was counted before it was sent: more is not from a peer of ours.
    const int64_t in_flight = core->in_flight.load(std::memory_order_relaxed);
    if (in_flight < 0 || head.value > static_cast<uint64_t>(in_flight)) {
      LogWarning("refused a credit on the data plane",
                 {{"peer", address}, {"bytes", head.value}, {"in_flight", in_flight}});
      return;
    }
    const auto bytes = static_cast<int64_t>(head.value);
    const int64_t before = core->in_flight.fetch_sub(bytes, std::memory_order_relaxed);
    if (before >= core->bytes_max && before - bytes < core->bytes_max) core->wake();
  }

  void OnClosed(const absl::Status& reason) {
    const absl::Status status = absl::UnavailableError(absl::StrCat(
        "lost the connection to a downstream worker: address=", address, ": ", reason.message()));
    absl::MutexLock lock(&mutex);
    closed = status;
    for (const auto& [key, core] : senders) {
      core->reason = status;
      core->closed.store(true, std::memory_order_release);
      core->wake();
    }
  }
};

DataPlane::DataPlane(Network& network) : network_(network), shared_(std::make_shared<Shared>()) {}

DataPlane::~DataPlane() {
  listener_.reset();
  absl::MutexLock lock(&mutex_);
  for (auto& [key, outbound] : outbound_) outbound->connection->Close();
}

absl::StatusOr<std::unique_ptr<DataPlane>> DataPlane::Start(Network& network,
                                                            const std::string& address) {
  auto plane = std::unique_ptr<DataPlane>(new DataPlane(network));
  auto accept = [shared = plane->shared_](std::shared_ptr<Connection> connection) {
    auto inbound = std::make_shared<Inbound>();
    inbound->shared = shared;
    inbound->connection = connection;
    return ConnectionHandlers{
        .on_frame =
            [inbound](BufferPtr frame) {
              const absl::Status status = inbound->OnFrame(frame);
              if (status.ok()) return;
              // Ordinary when an attempt ends: its peers still send.
              const auto level = absl::IsDataLoss(status) ? LogLevel::kWarning : LogLevel::kDebug;
              Log(level, "closes a connection of the data plane",
                  {{"job", inbound->attempt.job_id}, {"reason", status.ToString()}});
              if (auto open = inbound->connection.lock()) open->Close();
            },
        .on_closed =
            [inbound](absl::Status reason) {
              for (auto& [key, core] : inbound->seen) core->OnClosed(reason);
              inbound->seen.clear();
            }};
  };
  absl::StatusOr<std::unique_ptr<Listener>> listener = network.Listen(address, std::move(accept));
  if (!listener.ok()) return listener.status();
  plane->listener_ = *std::move(listener);
  return plane;
}

std::string DataPlane::address() const { return listener_->address(); }

std::unique_ptr<ChannelReceiver> DataPlane::OpenReceiver(const AttemptKey& attempt,
                                                         ChannelKey channel, SchemaPtr schema,
                                                         ChannelLimits limits,
                                                         std::function<void()> wake) {
  auto core = std::make_shared<ReceiverCore>(channel, std::move(schema), limits, std::move(wake));
  absl::MutexLock lock(&shared_->mutex);
  shared_->receivers[attempt][channel] = core;
  return std::make_unique<RemoteReceiver>(std::move(core));
}

std::unique_ptr<ChannelSender> DataPlane::OpenSender(const AttemptKey& attempt, ChannelKey channel,
                                                     const std::string& address,
                                                     ChannelLimits limits,
                                                     std::function<void()> wake) {
  std::shared_ptr<Outbound> outbound;
  {
    absl::MutexLock lock(&mutex_);
    std::shared_ptr<Outbound>& slot = outbound_[{attempt, address}];
    if (slot == nullptr) {
      slot = std::make_shared<Outbound>();
      slot->address = address;
      slot->connection = network_.Connect(
          address, {.on_frame = [o = slot](BufferPtr frame) { o->OnFrame(frame); },
                    .on_closed = [o = slot](absl::Status reason) { o->OnClosed(reason); }});
      const HelloHead hello{
          .type = FrameType::kHello, .generation = attempt.generation, .attempt = attempt.attempt};
      slot->connection->Send(absl::StrCat(BytesOf(hello), attempt.job_id), {});
    }
    outbound = slot;
  }
  auto core = std::make_shared<SenderCore>(limits.bytes_max, std::move(wake));
  {
    absl::MutexLock lock(&outbound->mutex);
    if (!outbound->closed.ok()) {
      core->reason = outbound->closed;
      core->closed.store(true, std::memory_order_release);
    }
    outbound->senders[channel] = core;
  }
  return std::make_unique<RemoteSender>(channel, std::move(core), outbound->connection);
}

void DataPlane::CloseAttempt(const AttemptKey& attempt) {
  std::vector<std::shared_ptr<Connection>> closing;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = outbound_.begin(); it != outbound_.end();) {
      if (it->first.first == attempt) {
        closing.push_back(it->second->connection);
        it = outbound_.erase(it);
      } else {
        ++it;
      }
    }
  }
  {
    absl::MutexLock lock(&shared_->mutex);
    shared_->receivers.erase(attempt);
    for (auto& weak : shared_->inbound[attempt]) {
      if (auto connection = weak.lock()) closing.push_back(std::move(connection));
    }
    shared_->inbound.erase(attempt);
  }
  for (const auto& connection : closing) connection->Close();
}

}  // namespace millrace
