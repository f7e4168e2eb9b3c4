// An outbox in memory: segments of one process, kept until the test ends.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/checkpoint/outbox.h"

namespace millrace {

// The stored segments; shared by all the outboxes of a test, as checkpoint storage is by all slots.
using FakeSegments = std::map<std::string, std::vector<std::string>>;

// Threading: one thread.
class FakeOutbox : public Outbox {
 public:
  FakeOutbox(FakeSegments& segments, std::string uid, uint32_t slot)
      : segments_(segments), uid_(std::move(uid)), slot_(slot) {}

  absl::Status Append(std::string_view record) override {
    open_.emplace_back(record);
    return absl::OkStatus();
  }

  absl::StatusOr<v1::CommitToken> Seal(Epoch epoch) override {
    v1::CommitToken token;
    token.set_uid(uid_);
    token.set_slot(slot_);
    token.set_epoch(epoch.number);
    if (!open_.empty()) {
      v1::Segment& segment = *token.add_outbox();
      segment.set_name(uid_ + "-" + std::to_string(slot_) + "-" + std::to_string(epoch.number) +
                       "-" + std::to_string(attempts_++));
      segment.set_kind(v1::Segment::KIND_OUTBOX);
      segment.set_uid(uid_);
      segment.set_epoch(epoch.number);
      segment.set_rows(open_.size());
      segments_[segment.name()] = std::exchange(open_, {});
    }
    return token;
  }

  absl::Status Read(const v1::CommitToken& token,
                    const std::function<absl::Status(std::string_view)>& record) override {
    for (const v1::Segment& segment : token.outbox()) {
      const auto found = segments_.find(segment.name());
      if (found == segments_.end()) return absl::DataLossError("no segment " + segment.name());
      for (const std::string& one : found->second) {
        if (absl::Status status = record(one); !status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

 private:
  FakeSegments& segments_;
  const std::string uid_;
  const uint32_t slot_;
  int attempts_ = 0;
  std::vector<std::string> open_;
};

}  // namespace millrace
