// Which of several coordinators leads. The lease says who may try, conditional writes say who did:
// a coordinator takes over by raising the term, on condition that the lease is the one that it has
// watched for a whole lease duration; every write of a leader is conditional on its term.
//
// Clocks are compared with nobody: a standby measures how long *it* has seen no renewal, a leader
// how long *it* has not renewed. Protocol: exactly-once rules 2 and 3; like the leases of
// Kubernetes' client-go, but fenced.
//
// Threading: the loop; the store is called on io threads.
// Ownership: loop and store are borrowed; letters reach into this object, which goes after the last
//            RunPosted of the loop.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/loop.h"
#include "coordinator/metadata/metadata_store.h"

namespace millrace {

// A leader's right to write.
struct Leadership {
  uint64_t term = 0;
  MetadataGuard guard;  // Holds as long as nobody has taken over.
};

// For a store that no other process can use: raises the term at once. Blocks.
absl::StatusOr<Leadership> TakeExclusiveLeadership(MetadataStore& store,
                                                   const std::string& coordinator_id);

// The store as a leader may use it: every write fails (kAborted) once another one has taken over.
class LeaderMetadataStore final : public MetadataStore {
 public:
  // `store` outlives this.
  LeaderMetadataStore(MetadataStore& store, MetadataGuard leader)
      : store_(store), leader_(std::move(leader)) {}

  absl::StatusOr<uint64_t> CreateIfAbsent(const std::string& key, const std::string& value,
                                          const Guards& guards) override {
    return store_.CreateIfAbsent(key, value, With(guards));
  }
  absl::StatusOr<uint64_t> CompareAndSwap(const std::string& key, uint64_t version,
                                          const std::string& value, const Guards& guards) override {
    return store_.CompareAndSwap(key, version, value, With(guards));
  }
  absl::StatusOr<MetadataEntry> Get(const std::string& key) override { return store_.Get(key); }
  absl::StatusOr<std::vector<MetadataEntry>> List(const std::string& prefix) override {
    return store_.List(prefix);
  }
  absl::Status Delete(const std::string& key, const Guards& guards) override {
    return store_.Delete(key, With(guards));
  }
  bool exclusive() const override { return store_.exclusive(); }

 private:
  Guards With(Guards guards) const {
    guards.push_back(leader_);
    return guards;
  }

  MetadataStore& store_;
  const MetadataGuard leader_;
};

struct LeaderElectionOptions {
  std::string coordinator_id;  // Names this incarnation.
  std::string address;         // Where it will answer as the leader: host:port.
  absl::Duration lease = absl::Seconds(5);
};

class LeaderElection {
 public:
  // Each is called once at most, on the loop.
  struct Events {
    std::function<void(const Leadership&)> on_elected;
    // The lease ran out or another coordinator has taken over: the process must end.
    std::function<void(const absl::Status&)> on_lost;
  };

  LeaderElection(LeaderElectionOptions options, Loop& loop, MetadataStore& store, Events events);
  LeaderElection(const LeaderElection&) = delete;
  LeaderElection& operator=(const LeaderElection&) = delete;

  // Begins to watch; leads when nobody does.
  void Start() { Look(); }
  // Gives the lease back, so that another one takes over at once. `done` runs when it is written or
  // cannot be; no other event follows.
  void Resign(std::function<void()> done);

  // False once the lease may have run out, also before on_lost; true only of a leader.
  bool holds() const;
  // Where the leader answers, as last seen; empty = unknown.
  const std::string& leader_address() const { return leader_address_; }

 private:
  enum class Role { kStandby, kLeader, kOver };
  struct Seen {
    absl::Status status;
    MetadataEntry term, lease;  // Version 0: not there.
  };

  void Look();
  void OnSeen(Seen seen);
  void TakeOver(const Seen& seen);
  void Renew();
  void OnRenewed(absl::StatusOr<uint64_t> version, int64_t begin_ns);
  void Lose(const absl::Status& status);
  absl::Duration retry_interval() const { return options_.lease / 6; }
  std::string NextLease(bool resigns);

  const LeaderElectionOptions options_;
  Loop& loop_;
  MetadataStore& store_;
  const Events events_;
  Role role_ = Role::kStandby;
  std::string leader_address_;
  // Of a standby: the versions of term and lease that it watches, and since when.
  std::pair<uint64_t, uint64_t> watched_;
  int64_t watched_since_ns_ = -1;
  // Of a leader.
  Leadership leadership_;
  uint64_t lease_version_ = 0;  // 0 = not written yet.
  uint64_t renewal_ = 0;
  std::string lease_value_;  // Written, or to be repeated until the outcome is known.
  bool writing_ = false;
  bool resigning_ = false;
  std::function<void()> resigned_;
  int64_t renewed_ns_ = 0;  // When the last renewal that succeeded was begun.
};

}  // namespace millrace
