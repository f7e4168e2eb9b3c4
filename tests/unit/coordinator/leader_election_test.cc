#include "coordinator/leader_election.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "coordinator/metadata/memory_metadata_store.h"
#include "tests/unit/coordinator/fake_env.h"

namespace millrace {
namespace {

using Fault = MemoryMetadataStore::Fault;
constexpr absl::Duration kLease = absl::Seconds(3);

class LeaderElectionTest : public ::testing::Test {
 protected:
  // A coordinator that only wants to lead.
  struct Candidate {
    Candidate(LeaderElectionTest& test, const std::string& id)
        : loop(test.env_.env(), [] {}),
          election({.coordinator_id = id, .address = id + ":1", .lease = kLease}, loop, test.store_,
                   {.on_elected = [this](const Leadership& won) { elected = won; },
                    .on_lost = [this](const absl::Status& status) { lost = status; }}) {}
    Loop loop;
    std::optional<Leadership> elected;
    std::optional<absl::Status> lost;
    LeaderElection election;
  };

  Candidate& Start(const std::string& id) {
    candidates_.push_back(std::make_unique<Candidate>(*this, id));
    candidates_.back()->election.Start();
    return *candidates_.back();
  }
  // The process is stopped: nothing of it runs.
  void Freeze(Candidate& candidate) { frozen_ = &candidate; }
  void Thaw() { frozen_ = nullptr; }

  void RunFor(absl::Duration duration) {
    const absl::Duration end = env_.clock.elapsed + duration;
    do {
      bool ran = true;
      while (ran) {
        ran = env_.executor.RunOne();
        for (auto& candidate : candidates_) {
          if (candidate.get() != frozen_) ran |= candidate->loop.RunPosted() > 0;
        }
      }
    } while (env_.executor.NextTimer(end));
    env_.clock.elapsed = end;
  }

  FakeEnv env_;
  MemoryMetadataStore store_;
  std::vector<std::unique_ptr<Candidate>> candidates_;
  Candidate* frozen_ = nullptr;
};

TEST_F(LeaderElectionTest, TheFirstLeadsAndGoesOnToWhileItRenews) {
  Candidate& a = Start("a");
  RunFor(absl::Milliseconds(1));
  ASSERT_TRUE(a.elected.has_value());
  EXPECT_EQ(a.elected->term, 1u);
  Candidate& b = Start("b");
  RunFor(20 * kLease);
  EXPECT_TRUE(a.election.holds());
  EXPECT_FALSE(a.lost.has_value());
  EXPECT_FALSE(b.elected.has_value());
  EXPECT_EQ(b.election.leader_address(), "a:1");
}

TEST_F(LeaderElectionTest, ASilentLeaderIsReplacedAfterItsLeaseAndNotBefore) {
  Candidate& a = Start("a");
  RunFor(absl::Milliseconds(1));
  Candidate& b = Start("b");
  Candidate& c = Start("c");
  RunFor(kLease);
  Freeze(a);
  RunFor(kLease * 0.6);
  EXPECT_FALSE(b.elected.has_value() || c.elected.has_value());
  RunFor(kLease * 0.8);
  ASSERT_NE(b.elected.has_value(), c.elected.has_value()) << "exactly one takes over";
  const Leadership won = b.elected.has_value() ? *b.elected : *c.elected;
  EXPECT_EQ(won.term, 2u);

  // The old leader wakes up: it knows at once that its time is over, and its writes are refused.
  EXPECT_FALSE(a.election.holds());
  LeaderMetadataStore old_store(store_, a.elected->guard);
  EXPECT_TRUE(absl::IsAborted(old_store.CreateIfAbsent("x", "1", {}).status()));
  EXPECT_TRUE(absl::IsAborted(old_store.Delete("x", {})));
  LeaderMetadataStore new_store(store_, won.guard);
  const uint64_t version = new_store.CreateIfAbsent("x", "1", {}).value();
  EXPECT_TRUE(absl::IsAborted(old_store.CompareAndSwap("x", version, "2", {}).status()));
  EXPECT_TRUE(new_store.CompareAndSwap("x", version, "2", {}).ok());
  Thaw();
  RunFor(kLease);
  EXPECT_TRUE(a.lost.has_value());
}

TEST_F(LeaderElectionTest, ALeaderThatResignsIsReplacedAtOnce) {
  Candidate& a = Start("a");
  RunFor(absl::Milliseconds(1));
  Candidate& b = Start("b");
  RunFor(kLease);
  bool resigned = false;
  a.election.Resign([&] { resigned = true; });
  RunFor(kLease / 5);
  EXPECT_TRUE(resigned);
  EXPECT_FALSE(a.lost.has_value());
  EXPECT_FALSE(a.election.holds());
  EXPECT_TRUE(b.elected.has_value());
}

TEST_F(LeaderElectionTest, AnOutageLongerThanTheLeaseEndsTheLeaderAndOneComesAfterIt) {
  Candidate& a = Start("a");
  RunFor(absl::Milliseconds(1));
  Candidate& b = Start("b");
  RunFor(kLease);
  store_.SetFaults([](auto, const auto&) { return Fault::kUnavailable; });
  RunFor(kLease / 2);
  EXPECT_TRUE(a.election.holds()) << "a short outage ends nothing";
  store_.SetFaults(nullptr);
  RunFor(kLease);
  EXPECT_TRUE(a.election.holds());
  store_.SetFaults([](auto, const auto&) { return Fault::kUnavailable; });
  RunFor(2 * kLease);
  EXPECT_TRUE(a.lost.has_value());
  EXPECT_FALSE(b.elected.has_value());
  store_.SetFaults(nullptr);
  RunFor(kLease * 1.4);
  EXPECT_TRUE(b.elected.has_value());
}

TEST_F(LeaderElectionTest, LostAnswersEndNeitherTheLeaderNorTheElection) {
  store_.SetFaults([&](auto, const auto&) {
    const Fault kinds[] = {Fault::kNone, Fault::kUnknownApplied, Fault::kNone,
                           Fault::kUnknownDropped, Fault::kNone};
    return kinds[env_.random.Next() % 5];
  });
  Candidate& a = Start("a");
  Candidate& b = Start("b");
  RunFor(10 * kLease);
  ASSERT_NE(a.elected.has_value(), b.elected.has_value());
  EXPECT_FALSE(a.lost.has_value() || b.lost.has_value());
}

TEST_F(LeaderElectionTest, ATermThatIsRaisedLateInNobodysNameOnlyEndsTheOldLeader) {
  Candidate& a = Start("a");
  RunFor(absl::Milliseconds(1));
  Candidate& b = Start("b");
  RunFor(kLease);
  Freeze(a);
  store_.SetFaults([](auto call, const auto& key) {
    return call == MemoryMetadataStore::Call::kSwap && key == "leader/term" ? Fault::kUnknownDelayed
                                                                            : Fault::kNone;
  });
  RunFor(kLease * 1.4);
  EXPECT_FALSE(b.elected.has_value());
  store_.SetFaults(nullptr);
  store_.ApplyDelayed();
  RunFor(kLease * 1.4);
  ASSERT_TRUE(b.elected.has_value());
  EXPECT_EQ(b.elected->term, 3u);
}

TEST(TakeExclusiveLeadership, RaisesTheTermEachTime) {
  MemoryMetadataStore store;
  const Leadership first = TakeExclusiveLeadership(store, "a").value();
  const Leadership second = TakeExclusiveLeadership(store, "b").value();
  EXPECT_EQ(first.term, 1u);
  EXPECT_EQ(second.term, 2u);
  LeaderMetadataStore old_store(store, first.guard);
  EXPECT_TRUE(absl::IsAborted(old_store.CreateIfAbsent("x", "1", {}).status()));
}

}  // namespace
}  // namespace millrace
