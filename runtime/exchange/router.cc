#include "runtime/exchange/router.h"

#include <bit>
#include <utility>

#include "runtime/base/check.h"

namespace millrace {

Router::Router(RouterOptions options, std::vector<std::unique_ptr<ChannelSender>> senders)
    : options_(std::move(options)),
      senders_(std::move(senders)),
      next_(options_.sender_index),
      selections_(senders_.size()) {
  MILLRACE_CHECK(!senders_.empty());
  if (options_.routing != Routing::kHash) return;
  MILLRACE_CHECK(std::has_single_bit(options_.max_parallelism));
  const auto parallelism = static_cast<uint32_t>(senders_.size());
  for (uint32_t group = 0; group < options_.max_parallelism; ++group) {
    target_of_group_.push_back(
        static_cast<uint16_t>(TaskForKeyGroup(group, parallelism, options_.max_parallelism)));
  }
}

void Router::SendBatch(const Batch& batch) {
  if (batch.has_origins()) return SendBatch(batch.WithoutOrigins());  // They are of this task.
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
  const auto rows = static_cast<size_t>(batch.rows());
  const uint8_t* const kinds = batch.kinds();
  for (Selection& selection : selections_) {
    if (selection.rows.size() < rows) selection.rows.resize(rows);
    selection.count = 0;
  }
  for (size_t row = 0; row < rows; ++row) {
    if (kinds != nullptr && kinds[row] == static_cast<uint8_t>(RowKind::kTruncate)) {
      // Concerns the rows of every key.
      for (Selection& selection : selections_) {
        selection.rows[selection.count++] = static_cast<int32_t>(row);
      }
      continue;
    }
    const uint32_t group = KeyGroupOf(keys_.hashes[row], options_.max_parallelism);
    Selection& selection = selections_[target_of_group_[group]];
    selection.rows[selection.count++] = static_cast<int32_t>(row);
  }
  for (size_t target = 0; target < senders_.size(); ++target) {
    const Selection& selection = selections_[target];
    if (selection.count == 0) continue;
    const std::span<const int32_t> chosen(selection.rows.data(), selection.count);
    senders_[target]->Send({.kind = ChannelItem::Kind::kBatch,
                            .batch = selection.count == rows ? batch : Take(batch, chosen)});
  }
}

void Router::SendToAll(const ChannelItem& item) {
  for (const auto& sender : senders_) sender->Send(item);
}

void Router::SendToNext(const ChannelItem& item) {
  senders_[next_mark_++ % senders_.size()]->Send(item);
}

bool Router::HasCredit() {
  bool credit = true;
  for (size_t i = 0; i < senders_.size(); ++i) {
    if (senders_[i]->HasCredit()) continue;
    if (std::exchange(credit, false)) full_sender_ = i;
  }
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
