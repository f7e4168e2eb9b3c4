#include "coordinator/leader_election.h"

#include <utility>

#include "millrace/v1/metadata.pb.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr char kTermKey[] = "leader/term";
constexpr char kLeaseKey[] = "leader/lease";

// Version 0 when it is not there.
absl::StatusOr<MetadataEntry> GetOrNone(MetadataStore& store, const std::string& key) {
  absl::StatusOr<MetadataEntry> entry = store.Get(key);
  if (absl::IsNotFound(entry.status())) return MetadataEntry{.key = key};
  return entry;
}

// Writes `value` over `before`, or creates it.
absl::StatusOr<uint64_t> Put(MetadataStore& store, const MetadataEntry& before,
                             const std::string& value, const MetadataStore::Guards& guards) {
  if (before.version == 0) return CreateOrConfirm(store, before.key, value, guards);
  return SwapOrConfirm(store, before.key, before.version, value, guards);
}

// The one moment at which a coordinator becomes the leader.
absl::StatusOr<Leadership> RaiseTerm(MetadataStore& store, const MetadataEntry& before,
                                     const std::string& coordinator_id,
                                     const MetadataStore::Guards& guards) {
  v1::LeaderTerm term;
  if (!term.ParseFromString(before.value)) {
    return absl::DataLossError("metadata cannot be read: key=leader/term");
  }
  term.set_term(term.term() + 1);
  term.set_coordinator_id(coordinator_id);
  MILLRACE_FAILPOINT("leader.before_term");
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t version,
                            Put(store, before, term.SerializeAsString(), guards));
  MILLRACE_FAILPOINT("leader.after_term");
  return Leadership{.term = term.term(), .guard = {.key = kTermKey, .version = version}};
}

bool MayPass(const absl::Status& status) {
  return absl::IsUnknown(status) || absl::IsUnavailable(status);
}

}  // namespace

absl::StatusOr<Leadership> TakeExclusiveLeadership(MetadataStore& store,
                                                   const std::string& coordinator_id) {
  MILLRACE_ASSIGN_OR_RETURN(const MetadataEntry before, GetOrNone(store, kTermKey));
  return RaiseTerm(store, before, coordinator_id, {});
}

LeaderElection::LeaderElection(LeaderElectionOptions options, Loop& loop, MetadataStore& store,
                               Events events)
    : options_(std::move(options)), loop_(loop), store_(store), events_(std::move(events)) {}

bool LeaderElection::holds() const {
  return role_ == Role::kLeader &&
         absl::Nanoseconds(loop_.env().clock.MonotonicNanos() - renewed_ns_) < options_.lease;
}

void LeaderElection::Look() {
  if (role_ != Role::kStandby) return;
  loop_.RunBlocking(
      [&store = store_] {
        Seen seen;
        auto term = GetOrNone(store, kTermKey);
        auto lease = GetOrNone(store, kLeaseKey);
        seen.status.Update(term.status());
        seen.status.Update(lease.status());
        if (!seen.status.ok()) return seen;
        seen.term = *std::move(term);
        seen.lease = *std::move(lease);
        return seen;
      },
      [this](Seen seen) { OnSeen(std::move(seen)); });
}

void LeaderElection::OnSeen(Seen seen) {
  if (role_ != Role::kStandby) return;
  const int64_t now = loop_.env().clock.MonotonicNanos();
  v1::LeaderLease lease;
  if (seen.status.ok() && !lease.ParseFromString(seen.lease.value)) {
    seen.status = absl::DataLossError("metadata cannot be read: key=leader/lease");
  }
  if (!seen.status.ok()) {
    LogWarning("cannot see who leads; will look again", {{"error", seen.status.ToString()}});
    loop_.After(retry_interval(), [this] { Look(); });
    return;
  }
  if (lease.address() != leader_address_ && !lease.address().empty()) {
    LogInfo("another coordinator leads", {{"address", lease.address()}, {"term", lease.term()}});
  }
  leader_address_ = lease.address();
  // A version is never used twice: one that is seen again was not renewed in between.
  const std::pair versions(seen.term.version, seen.lease.version);
  if (watched_since_ns_ < 0 || versions != watched_) {
    watched_ = versions;
    watched_since_ns_ = now;
  }
  const bool resigned = seen.lease.version != 0 && lease.address().empty();
  const bool nobody_ever = seen.term.version == 0;
  const bool expired = absl::Nanoseconds(now - watched_since_ns_) >= options_.lease;
  if (resigned || nobody_ever || expired) return TakeOver(seen);
  loop_.After(retry_interval(), [this] { Look(); });
}

void LeaderElection::TakeOver(const Seen& seen) {
  MetadataStore::Guards guards;
  if (seen.lease.version != 0) {
    guards.push_back({.key = kLeaseKey, .version = seen.lease.version});
  }
  const int64_t begin_ns = loop_.env().clock.MonotonicNanos();
  loop_.RunBlocking(
      [&store = store_, term = seen.term, id = options_.coordinator_id,
       guards = std::move(guards)] { return RaiseTerm(store, term, id, guards); },
      [this, begin_ns, lease = seen.lease.version](absl::StatusOr<Leadership> raised) {
        if (role_ != Role::kStandby) return;
        if (!raised.ok()) {
          // Another one was faster, or the answer is lost: if the term was raised, that began
          // another lease, to be waited for like anybody's.
          LogInfo("did not take over", {{"reason", raised.status().ToString()}});
          loop_.After(retry_interval(), [this] { Look(); });
          return;
        }
        role_ = Role::kLeader;
        leadership_ = *std::move(raised);
        lease_version_ = lease;
        renewed_ns_ = begin_ns;
        leader_address_ = options_.address;
        LogInfo("leads now",
                {{"coordinator", options_.coordinator_id}, {"term", leadership_.term}});
        Renew();
        events_.on_elected(leadership_);
      });
}

std::string LeaderElection::NextLease(bool resigns) {
  v1::LeaderLease lease;
  lease.set_term(leadership_.term);
  lease.set_coordinator_id(options_.coordinator_id);
  if (!resigns) lease.set_address(options_.address);
  lease.set_renewal(++renewal_);
  return lease.SerializeAsString();
}

// One write is under way at a time; one of unknown outcome is looked up before the next.
void LeaderElection::Renew() {
  if (role_ != Role::kLeader || writing_) return;
  if (!holds() && !resigning_) {
    return Lose(absl::DeadlineExceededError("the lease ran out before it could be renewed"));
  }
  if (lease_value_.empty()) lease_value_ = NextLease(resigning_);
  writing_ = true;
  loop_.RunBlocking(
      [&store = store_, before = MetadataEntry{.key = kLeaseKey, .version = lease_version_},
       value = lease_value_, guard = leadership_.guard]() -> absl::StatusOr<uint64_t> {
        MILLRACE_FAILPOINT("leader.before_renewal");
        absl::StatusOr<uint64_t> version = Put(store, before, value, {guard});
        MILLRACE_FAILPOINT("leader.after_renewal");
        return version;
      },
      [this, begin_ns = loop_.env().clock.MonotonicNanos()](absl::StatusOr<uint64_t> version) {
        OnRenewed(std::move(version), begin_ns);
      });
}

void LeaderElection::OnRenewed(absl::StatusOr<uint64_t> version, int64_t begin_ns) {
  writing_ = false;
  if (role_ != Role::kLeader) return;
  if (!version.ok() && !MayPass(version.status())) return Lose(version.status());
  bool done = resigning_;  // A leader that ends does not wait for a store that is away.
  if (version.ok()) {
    renewed_ns_ = begin_ns;
    lease_version_ = *version;
    v1::LeaderLease written;
    done = written.ParseFromString(lease_value_) && written.address().empty();
    lease_value_.clear();
  } else {
    LogWarning("cannot renew the lease; will try again", {{"error", version.status().ToString()}});
  }
  if (done) {
    role_ = Role::kOver;
    return std::exchange(resigned_, nullptr)();
  }
  if (resigning_) return Renew();
  loop_.After(version.ok() ? options_.lease / 3 : retry_interval(), [this] { Renew(); });
}

void LeaderElection::Resign(std::function<void()> done) {
  if (role_ != Role::kLeader) {
    role_ = Role::kOver;
    return done();
  }
  resigning_ = true;
  resigned_ = std::move(done);
  Renew();
}

void LeaderElection::Lose(const absl::Status& status) {
  role_ = Role::kOver;
  LogError("leads no more", {{"reason", status.ToString()}});
  if (resigned_ != nullptr) return std::exchange(resigned_, nullptr)();
  events_.on_lost(status);
}

}  // namespace millrace
