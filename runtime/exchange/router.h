// A Router sends the rows of one output of a task over one edge of the graph: to the task of the
// same index, to the owner of the row's key group, to all, to one after the other.
//
// Threading: the sending task's thread. Ownership: the task owns the router, the router its
// senders.
#pragma once

#include <memory>
#include <vector>

#include "runtime/columns/keys.h"
#include "runtime/exchange/channel.h"

namespace millrace {

enum class Routing { kForward, kHash, kBroadcast, kRebalance, kSingle };

struct RouterOptions {
  Routing routing = Routing::kForward;
  std::vector<int> key_columns;  // kHash.
  uint32_t max_parallelism = 256;
  uint32_t sender_index = 0;
};

class Router {
 public:
  // `senders[i]` leads to task i of the receiving chain. kForward and kSingle have exactly one.
  Router(RouterOptions options, std::vector<std::unique_ptr<ChannelSender>> senders);

  void SendBatch(const Batch& batch);
  void SendToAll(const ChannelItem& item);   // Watermarks, idleness, barriers.
  void SendToNext(const ChannelItem& item);  // Latency marks: to one after the other.
  bool HasCredit();
  // The first sender without credit, as HasCredit found it.
  size_t full_sender() const { return full_sender_; }
  absl::Status status() const;
  size_t queued_bytes() const;

 private:
  void SendByKey(const Batch& batch);

  const RouterOptions options_;
  const std::vector<std::unique_ptr<ChannelSender>> senders_;
  size_t next_ = 0;  // kRebalance.
  size_t next_mark_ = 0;
  size_t full_sender_ = 0;
  std::vector<uint16_t> target_of_group_;  // kHash: the sender of each key group.
  // Scratch of SendByKey.
  EncodedKeys keys_;
  struct Selection {
    std::vector<int32_t> rows;  // The first `count` are valid.
    size_t count = 0;
  };
  std::vector<Selection> selections_;  // By sender.
};

}  // namespace millrace
