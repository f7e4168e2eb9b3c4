// A channel is the path of batches from one task to another: in one process a lock-free ring,
// between workers a TCP connection. Either way it is credit-based: the sender may overfill by what
// one call of an operator emits, then it must wait until the receiver has taken enough.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "runtime/base/ids.h"
#include "runtime/columns/batch.h"

namespace millrace {

// What travels in a channel, in order.
struct ChannelItem {
  enum class Kind : uint8_t {
    kBatch = 1,
    kWatermark = 2,  // `watermark`: no row with a smaller event time follows.
    kIdle = 3,     // No longer counts in the receiver's minimum until the next batch or watermark.
    kBarrier = 4,  // Ends `epoch`.
    // A source took the rows before it at `read_us`, by the wall clock. One per second and source
    // task, to one of the receivers; measures how long rows take.
    kLatencyMark = 5,
  };
  Kind kind = Kind::kBatch;
  Batch batch;
  EventTime watermark;
  Epoch epoch;
  int64_t read_us = 0;
};

// The sender's end. Threading: the sending task's thread.
class ChannelSender {
 public:
  virtual ~ChannelSender() = default;
  // Takes the item, also without credit.
  virtual void Send(ChannelItem item) = 0;
  // False: wait; the sending task is woken when that changes. Also tries to move what is waiting.
  virtual bool HasCredit() = 0;
  // Not OK when the other end is gone for good.
  virtual absl::Status status() const = 0;
  virtual size_t queued_bytes() const = 0;
};

// The receiver's end. Threading: the receiving task's thread.
class ChannelReceiver {
 public:
  virtual ~ChannelReceiver() = default;
  // False: nothing there now; the receiving task is woken when something comes. The sender gets no
  // credit for the item yet, so that whoever looks ahead holds no more than the channel may.
  virtual bool Take(ChannelItem& item) = 0;
  // The credit for items taken, of so many batch bytes.
  virtual void GiveCredit(size_t bytes) = 0;
  // Both at once.
  bool Receive(ChannelItem& item) {
    if (!Take(item)) return false;
    GiveCredit(item.batch.byte_size());
    return true;
  }
  virtual absl::Status status() const = 0;
};

struct ChannelLimits {
  // Batch bytes on the way before the sender must wait.
  size_t bytes_max = 1 << 20;
};

struct LocalChannel {
  std::unique_ptr<ChannelSender> sender;
  std::unique_ptr<ChannelReceiver> receiver;
};

// Both ends in one process. `wake_*` must be callable from any thread and outlive both ends.
LocalChannel MakeLocalChannel(ChannelLimits limits, std::function<void()> wake_sender,
                              std::function<void()> wake_receiver);

}  // namespace millrace
