// The data plane of one worker: channels to and from tasks of other workers, over one connection
// per attempt and pair of workers, opened by the sending side; credits come back on the same
// connection.
//
// Frames: u8 type, then HELLO: u64 generation, u64 attempt, job id; DATA: u32 receiver slot, item;
// CREDIT: u32 sender slot, u64 bytes. A frame of an attempt that this worker does not host closes
// the connection: the sender then reports that its peer is gone, and the coordinator decides.
//
// Threading: every public method from any thread; the channel ends themselves as in channel.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "runtime/base/env.h"
#include "runtime/exchange/channel.h"

namespace millrace {

// Names an attempt on the wire.
struct AttemptKey {
  std::string job_id;
  uint64_t generation = 0;
  uint64_t attempt = 0;
  auto operator<=>(const AttemptKey&) const = default;
};

// Names a channel within an attempt: an edge of the graph and the two task indexes.
struct ChannelKey {
  uint32_t edge = 0;
  uint32_t from = 0;
  uint32_t to = 0;
  auto operator<=>(const ChannelKey&) const = default;
};

class DataPlane {
 public:
  // Listens on `address` (host:port, port 0 = any).
  static absl::StatusOr<std::unique_ptr<DataPlane>> Start(Network& network,
                                                          const std::string& address);
  ~DataPlane();

  std::string address() const;

  // The receiving end; must exist before the sender sends (tasks are READY before any starts).
  std::unique_ptr<ChannelReceiver> OpenReceiver(const AttemptKey& attempt, ChannelKey channel,
                                                SchemaPtr schema, ChannelLimits limits,
                                                std::function<void()> wake)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::unique_ptr<ChannelSender> OpenSender(const AttemptKey& attempt, ChannelKey channel,
                                            const std::string& address, ChannelLimits limits,
                                            std::function<void()> wake) ABSL_LOCKS_EXCLUDED(mutex_);
  // Closes all connections of the attempt and forgets it. Its channel ends must be gone or unused.
  void CloseAttempt(const AttemptKey& attempt) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Inbound;
  struct Outbound;
  struct Shared;

  explicit DataPlane(Network& network);

  Network& network_;
  const std::shared_ptr<Shared> shared_;  // Outlives the handlers of connections.
  std::unique_ptr<Listener> listener_;
  absl::Mutex mutex_;
  std::map<std::pair<AttemptKey, std::string>, std::shared_ptr<Outbound>> outbound_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace millrace
