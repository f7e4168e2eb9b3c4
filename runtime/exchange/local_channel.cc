#include <array>
#include <atomic>
#include <deque>

#include "runtime/exchange/channel.h"

namespace millrace {
namespace {

// A single-producer, single-consumer ring of items. `head` is written by the consumer and `tail` by
// the producer; each releases what it wrote to the slots and acquires what the other wrote.
struct Ring {
  static constexpr size_t kSlots = 256;
  std::array<ChannelItem, kSlots> slots;
  alignas(64) std::atomic<uint64_t> head{0};
  alignas(64) std::atomic<uint64_t> tail{0};
  // Not yet credited; relaxed: a limit, publishes nothing.
  alignas(64) std::atomic<int64_t> bytes{0};
  std::function<void()> wake_sender;
  std::function<void()> wake_receiver;
  int64_t bytes_max;
};

class LocalSender : public ChannelSender {
 public:
  explicit LocalSender(std::shared_ptr<Ring> ring) : ring_(std::move(ring)) {}

  void Send(ChannelItem item) override {
    waiting_.push_back(std::move(item));
    MoveWaiting();
  }

  bool HasCredit() override {
    MoveWaiting();
    return waiting_.empty() && ring_->bytes.load(std::memory_order_relaxed) < ring_->bytes_max;
  }

  absl::Status status() const override { return absl::OkStatus(); }

  size_t queued_bytes() const override {
    return static_cast<size_t>(ring_->bytes.load(std::memory_order_relaxed));
  }

 private:
  void MoveWaiting() {
    bool moved = false;
    uint64_t tail = ring_->tail.load(std::memory_order_relaxed);
    while (!waiting_.empty() && tail - ring_->head.load(std::memory_order_acquire) < Ring::kSlots) {
      ring_->bytes.fetch_add(static_cast<int64_t>(waiting_.front().batch.byte_size()),
                             std::memory_order_relaxed);
      ring_->slots[tail % Ring::kSlots] = std::move(waiting_.front());
      waiting_.pop_front();
      ring_->tail.store(++tail, std::memory_order_release);
      moved = true;
    }
    if (moved) ring_->wake_receiver();
  }

  const std::shared_ptr<Ring> ring_;
  std::deque<ChannelItem> waiting_;  // Sent without room in the ring.
};

class LocalReceiver : public ChannelReceiver {
 public:
  explicit LocalReceiver(std::shared_ptr<Ring> ring) : ring_(std::move(ring)) {}

  bool Take(ChannelItem& item) override {
    const uint64_t head = ring_->head.load(std::memory_order_relaxed);
    const uint64_t tail = ring_->tail.load(std::memory_order_acquire);
    if (head == tail) return false;
    item = std::exchange(ring_->slots[head % Ring::kSlots], ChannelItem{});
    ring_->head.store(head + 1, std::memory_order_release);
    if (tail - head == Ring::kSlots) ring_->wake_sender();
    return true;
  }

  void GiveCredit(size_t bytes) override {
    if (bytes == 0) return;
    const int64_t before =
        ring_->bytes.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    if (before >= ring_->bytes_max) ring_->wake_sender();
  }

  absl::Status status() const override { return absl::OkStatus(); }

 private:
  const std::shared_ptr<Ring> ring_;
};

}  // namespace

LocalChannel MakeLocalChannel(ChannelLimits limits, std::function<void()> wake_sender,
                              std::function<void()> wake_receiver) {
  auto ring = std::make_shared<Ring>();
  ring->wake_sender = std::move(wake_sender);
  ring->wake_receiver = std::move(wake_receiver);
  ring->bytes_max = static_cast<int64_t>(limits.bytes_max);
  return {.sender = std::make_unique<LocalSender>(ring),
          .receiver = std::make_unique<LocalReceiver>(ring)};
}

}  // namespace millrace
