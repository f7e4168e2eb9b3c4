#include "runtime/exchange/router.h"

#include <utility>

#include "runtime/base/check.h"

namespace millrace {

Router::Router(RouterOptions options, std::vector<std::unique_ptr<ChannelSender>> senders)
    : options_(std::move(options)),
      senders_(std::move(senders)),
      next_(options_.sender_index),
      rows_of_(senders_.size()) {
  MILLRACE_CHECK(!senders_.empty());
}

void Router::SendBatch(const Batch& batch) {
  if (options_.routing == Routing::kBroadcast) {
    SendToAll({.kind = ChannelItem::Kind::kBatch, .batch = batch});
  } else if (senders_.size() == 1) {
    senders_[0]->Send({.kind = ChannelItem::Kind::kBatch, .batch = batch});
  } else if (options_.routing == Routing::kRebalance) {
    senders_[next_++ % senders_.size()]->Send({.kind = ChannelItem::Kind::kBatch, .batch = batch});
  } else {
    MILLRACE_CHECK(options_.routing == Routing::kHash);
    SendByKey(batch);
  }
}

void Router::SendByKey(const Batch& batch) {
  EncodeKeys(batch, options_.key_columns, keys_);
  const auto parallelism = static_cast<uint32_t>(senders_.size());
  for (auto& rows : rows_of_) rows.clear();
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const uint32_t group =
        KeyGroupOf(keys_.hashes[static_cast<size_t>(row)], options_.max_parallelism);
    rows_of_[TaskForKeyGroup(group, parallelism, options_.max_parallelism)].push_back(
        static_cast<int32_t>(row));
  }
  for (size_t target = 0; target < senders_.size(); ++target) {
    const auto& rows = rows_of_[target];
    if (rows.empty()) continue;
    const bool all = static_cast<int64_t>(rows.size()) == batch.rows();
    senders_[target]->Send(
        {.kind = ChannelItem::Kind::kBatch, .batch = all ? batch : Take(batch, rows)});
  }
}

void Router::SendToAll(const ChannelItem& item) {
  for (const auto& sender : senders_) sender->Send(item);
}

bool Router::HasCredit() {
  bool credit = true;
  for (const auto& sender : senders_) credit &= sender->HasCredit();
  return credit;
}

absl::Status Router::status() const {
  for (const auto& sender : senders_) {
    if (absl::Status status = sender->status(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

size_t Router::queued_bytes() const {
  size_t bytes = 0;
  for (const auto& sender : senders_) bytes += sender->queued_bytes();
  return bytes;
}

}  // namespace millrace
