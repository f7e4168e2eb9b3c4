// An outbox in memory, which can be stored and loaded as bytes: what checkpoint storage would keep.
//
// Threading: one thread. Ownership: plain value.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/checkpoint/outbox.h"

namespace millrace {

class StoredOutbox : public Outbox {
 public:
  StoredOutbox(std::string uid, uint32_t slot) : uid_(std::move(uid)), slot_(slot) {}

  absl::Status Append(std::string_view record) override {
    open_.emplace_back(record);
    return absl::OkStatus();
  }

  absl::StatusOr<v1::CommitToken> Seal(Epoch epoch) override {
    v1::CommitToken token;
    token.set_uid(uid_);
    token.set_slot(slot_);
    token.set_epoch(epoch.number);
    for (const std::string& name : abandoned_) token.add_outbox()->set_name(name);
    if (!open_.empty()) {
      const std::string name =
          uid_ + "-" + std::to_string(slot_) + "-" + std::to_string(epoch.number);
      token.add_outbox()->set_name(name);
      segments_[name] = std::move(open_);
      open_.clear();
    }
    return token;
  }

  absl::Status Read(const v1::CommitToken& token,
                    const std::function<absl::Status(std::string_view)>& record) override {
    ++reads_;
    for (const v1::Segment& segment : token.outbox()) {
      const auto found = segments_.find(segment.name());
      if (found == segments_.end())
        return absl::DataLossError("segment is gone: " + segment.name());
      for (const std::string& bytes : found->second) {
        absl::Status status = record(bytes);
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

  // The epoch of `token` did not complete: its output belongs to the next one.
  void Abandon(const v1::CommitToken& token) {
    abandoned_.clear();
    for (const v1::Segment& segment : token.outbox()) abandoned_.push_back(segment.name());
  }
  void Completed() { abandoned_.clear(); }

  int reads() const { return reads_; }
  std::map<std::string, std::vector<std::string>>& segments() { return segments_; }

 private:
  const std::string uid_;
  const uint32_t slot_;
  std::vector<std::string> open_;
  std::vector<std::string> abandoned_;
  std::map<std::string, std::vector<std::string>> segments_;
  int reads_ = 0;
};

}  // namespace millrace
