// The conditional writes of one job, one after the other. Every write carries the job's generation
// as its guard; a write of unknown outcome is looked up and repeated until it is known, so that
// nothing later can overtake it.
//
// Threading: the loop; the store is called on io threads.
// Ownership: the job owns it; loop and store are borrowed.
// Errors: a write that another coordinator has fenced off ends this object: `on_lost` is called
// once,
//         nothing is written any more, and the callbacks of what waits are dropped.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "coordinator/loop.h"
#include "coordinator/metadata/metadata_store.h"
#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/metadata.pb.h"

namespace millrace {

std::string JobKey(const std::string& job_id, const std::string& part);
// Epochs sort by number.
std::string EpochKey(const std::string& job_id, uint64_t epoch);

class JobMetadata {
 public:
  using Done = absl::AnyInvocable<void() &&>;

  struct Versions {
    uint64_t generation = 0;  // Of the generation's entry, not the generation itself.
    uint64_t status = 0;
  };

  JobMetadata(Loop& loop, MetadataStore& store, std::string job_id, std::string writer,
              Versions versions, std::function<void(absl::Status)> on_lost);

  // `done` runs on the loop once the write is certain.
  void PutStatus(v1::JobStatus status, Done done);
  void RaiseGeneration(uint64_t generation, Done done);
  void CreateEpoch(const v1::EpochRecord& record, Done done);
  void DeleteEpoch(uint64_t epoch, Done done);

  bool lost() const { return lost_; }

 private:
  enum class Kind { kStatus, kGeneration, kCreateEpoch, kDeleteEpoch };
  struct Write {
    Kind kind;
    std::string key;
    std::string value;
    Done done;
  };

  void Enqueue(Write write);
  void RunFirst();
  void OnResult(absl::StatusOr<uint64_t> version);

  Loop& loop_;
  MetadataStore& store_;
  const std::string job_id_;
  const std::string writer_;
  Versions versions_;
  const std::function<void(absl::Status)> on_lost_;
  std::deque<Write> writes_;  // The first one is under way.
  uint64_t revision_ = 0;
  uint32_t failures_ = 0;  // In a row, of the first write.
  bool lost_ = false;
};

}  // namespace millrace
