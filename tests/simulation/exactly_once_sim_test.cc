// The real coordinators, workers and tasks under faults, from a seed (see README.md).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "tests/simulation/simulation.h"

namespace millrace {
namespace {

std::vector<uint64_t> SeedsToRun(uint64_t count) {
  if (const char* one = std::getenv("MILLRACE_SIM_SEED")) {
    return {std::strtoull(one, nullptr, 10)};
  }
  if (const char* many = std::getenv("MILLRACE_SIM_SEEDS")) {
    count = std::strtoull(many, nullptr, 10);
  }
  const char* from = std::getenv("MILLRACE_SIM_FIRST");
  std::vector<uint64_t> seeds(count);
  std::iota(seeds.begin(), seeds.end(), from == nullptr ? 1 : std::strtoull(from, nullptr, 10));
  return seeds;
}

// A whole life: faults for so many events, then none until the job has ended. Returns what is
// wrong.
std::string Live(Simulation& sim, uint64_t faulty_events) {
  if (sim.state() == v1::JOB_STATE_UNSPECIFIED) sim.Submit();
  if (std::string violation = sim.RunFaulty(faulty_events); !violation.empty()) return violation;
  if (!sim.RunHealthy(4'000'000)) {
    return absl::StrCat("does not end: ", v1::JobState_Name(sim.state()), " ", sim.last_error());
  }
  return sim.target().rows() == sim.job().Expected() ? "" : "rows are missing";
}

class ExactlyOnceSim : public ::testing::Test {
 protected:
  void SetUp() override {
    const bool verbose = std::getenv("MILLRACE_SIM_VERBOSE") != nullptr;
    InitLogging(verbose ? LogLevel::kInfo : LogLevel::kError, false);
  }
};

TEST_F(ExactlyOnceSim, FinishesWithTheRightResultWithoutFaults) {
  Simulation sim(7, {});
  sim.Submit();
  ASSERT_TRUE(sim.RunHealthy(2'000'000))
      << v1::JobState_Name(sim.state()) << " " << sim.last_error();
  EXPECT_EQ(sim.target().rows(), sim.job().Expected());
}

TEST_F(ExactlyOnceSim, HasTheSameTraceForTheSameSeed) {
  const SimulationOptions options{.worker_crashes = 0.3, .leader_crashes = 0.1, .cuts = 0.1};
  uint64_t hashes[2];
  for (uint64_t& hash : hashes) {
    Simulation sim(11, options);
    sim.Submit();
    EXPECT_EQ(sim.RunFaulty(30'000), "");
    hash = sim.trace_hash();
  }
  EXPECT_EQ(hashes[0], hashes[1]);
  Simulation other(12, options);
  other.Submit();
  EXPECT_EQ(other.RunFaulty(30'000), "");
  EXPECT_NE(other.trace_hash(), hashes[0]);
}

TEST_F(ExactlyOnceSim, CommitsEveryRowOnceThoughProcessesCrash) {
  int faults = 0;
  for (const uint64_t seed : SeedsToRun(30)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.3, .leader_crashes = 0.1, .cuts = 0.2});
    EXPECT_EQ(Live(sim, 40'000), "");
    faults += sim.faults();
  }
  std::printf("%d faults, no violation\n", faults);
  EXPECT_GT(faults, 0);
}

TEST_F(ExactlyOnceSim, SpoiltLocalCopiesNeverLeadToAWrongStart) {
  Simulation::CopyReads reads;
  for (const uint64_t seed : SeedsToRun(30)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.5, .spoilt_copies = 5});
    EXPECT_EQ(Live(sim, 40'000), "");
    reads.used += sim.copy_reads().used;
    reads.refused += sim.copy_reads().refused;
  }
  std::printf("%llu copies read, %llu refused\n", static_cast<unsigned long long>(reads.used),
              static_cast<unsigned long long>(reads.refused));
  EXPECT_GT(reads.used, 0u);
  EXPECT_GT(reads.refused, 0u);
}

TEST_F(ExactlyOnceSim, WorkersLeaveWithoutALossOrAFailure) {
  int left = 0;
  for (const uint64_t seed : SeedsToRun(15)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_leaves = 0.5});
    EXPECT_EQ(Live(sim, 40'000), "");
    // The target loses answers of its own accord.
    EXPECT_THAT(sim.last_error(), testing::AnyOf("", testing::HasSubstr("did not answer")));
    left += sim.workers_left();
  }
  EXPECT_GT(left, 15);
}

TEST_F(ExactlyOnceSim, WorkersLeaveWhileOthersCrash) {
  for (const uint64_t seed : SeedsToRun(15)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(
        seed, {.worker_crashes = 0.2, .leader_crashes = 0.1, .cuts = 0.1, .worker_leaves = 0.3});
    EXPECT_EQ(Live(sim, 40'000), "");
  }
}

TEST_F(ExactlyOnceSim, TheParallelismChangesWithoutALossOrAFailure) {
  int rescales = 0;
  for (const uint64_t seed : SeedsToRun(15)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.rescales = 0.5});
    EXPECT_EQ(Live(sim, 40'000), "");
    EXPECT_THAT(sim.last_error(), testing::AnyOf("", testing::HasSubstr("did not answer")));
    rescales += sim.rescales();
  }
  EXPECT_GT(rescales, 15);
}

TEST_F(ExactlyOnceSim, TheParallelismChangesWhileProcessesCrash) {
  for (const uint64_t seed : SeedsToRun(30)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.2,
                          .leader_crashes = 0.1,
                          .cuts = 0.1,
                          .worker_leaves = 0.1,
                          .rescales = 0.4});
    EXPECT_EQ(Live(sim, 40'000), "");
  }
}

TEST_F(ExactlyOnceSim, NewVersionsGoOnOrAreTakenBack) {
  int upgrades = 0, rollbacks = 0;
  for (const uint64_t seed : SeedsToRun(30)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.upgrades = 0.5});
    EXPECT_EQ(Live(sim, 40'000), "");
    upgrades += sim.upgrades();
    rollbacks += sim.rollbacks();
  }
  EXPECT_GT(upgrades, 30);
  EXPECT_GT(rollbacks, 10);
}

TEST_F(ExactlyOnceSim, NewVersionsComeWhileProcessesCrash) {
  for (const uint64_t seed : SeedsToRun(40)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.2,
                          .leader_crashes = 0.15,
                          .cuts = 0.1,
                          .failpoints = 2,
                          .worker_leaves = 0.1,
                          .rescales = 0.2,
                          .upgrades = 0.4});
    EXPECT_EQ(Live(sim, 40'000), "");
  }
}

TEST_F(ExactlyOnceSim, TasksGoOnUntouchedWhenTheLeaderChanges) {
  size_t elections = 0;
  const std::vector<uint64_t> seeds = SeedsToRun(20);
  for (const uint64_t seed : seeds) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.leader_crashes = 0.3});
    sim.Submit();
    ASSERT_TRUE(sim.RunUntilRunning(100'000));
    EXPECT_EQ(Live(sim, 40'000), "");
    // The target loses answers of its own accord; nothing else may restart the job.
    EXPECT_THAT(sim.last_error(), testing::AnyOf("", testing::HasSubstr("did not answer")));
    elections += static_cast<size_t>(sim.elections());
  }
  EXPECT_GT(elections, seeds.size());
}

TEST_F(ExactlyOnceSim, ALeaderThatWakesUpLateDoesNoHarm) {
  size_t elections = 0;
  const std::vector<uint64_t> seeds = SeedsToRun(20);
  for (const uint64_t seed : seeds) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.05, .leader_pauses = 0.3, .silences = 0.1});
    EXPECT_EQ(Live(sim, 60'000), "");
    elections += static_cast<size_t>(sim.elections());
  }
  EXPECT_GT(elections, seeds.size());
}

TEST_F(ExactlyOnceSim, TheMetadataStoreIsAwayOrGivesNoAnswers) {
  for (const uint64_t seed : SeedsToRun(30)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.1,
                          .leader_crashes = 0.05,
                          .leader_pauses = 0.05,
                          .cuts = 0.1,
                          .store_outages = 0.1,
                          .store_unknowns = 50});
    EXPECT_EQ(Live(sim, 60'000), "");
  }
}

// Leases, timers and event times of machines whose clocks disagree; leaders that believe to be one.
TEST_F(ExactlyOnceSim, ClocksAreWrong) {
  size_t elections = 0;
  const std::vector<uint64_t> seeds = SeedsToRun(30);
  for (const uint64_t seed : seeds) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.coordinators = 3,
                          .worker_crashes = 0.05,
                          .leader_crashes = 0.05,
                          .leader_pauses = 0.1,
                          .wrong_clocks = 0.5});
    EXPECT_EQ(Live(sim, 60'000), "");
    elections += static_cast<size_t>(sim.elections());
  }
  EXPECT_GT(elections, seeds.size());
}

// Rows are under way at a server when processes crash, barriers come and watermarks move.
TEST_F(ExactlyOnceSim, CommitsEveryRowOnceThoughAnOperatorAsksAServer) {
  for (const uint64_t seed : SeedsToRun(15)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.2,
                          .leader_crashes = 0.05,
                          .cuts = 0.1,
                          .worker_leaves = 0.1,
                          .asks = true});
    EXPECT_EQ(Live(sim, 40'000), "");
  }
}

// Rows wait everywhere, barriers overtake them, and other tasks, of another number, restore them.
TEST_F(ExactlyOnceSim, BarriersOvertakeTheRowsOfSlowTasks) {
  int written = 0, read = 0, failed_writes = 0, failed_reads = 0;
  for (const uint64_t seed : SeedsToRun(60)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.3,
                          .leader_crashes = 0.05,
                          .cuts = 0.1,
                          .failpoints = 5,
                          .worker_leaves = 0.1,
                          .asks = seed % 4 == 0,
                          .rescales = 0.3,
                          .alignment_timeout_ms = 5,
                          .slow_receivers = 6});
    EXPECT_EQ(Live(sim, 40'000), "");
    for (const auto& [name, times] : sim.failpoints()) {
      if (name == "in_flight.before_write") {
        written += times.first;
        failed_writes += times.second;
      } else if (name == "in_flight.before_read") {
        read += times.first;
        failed_reads += times.second;
      }
    }
  }
  std::printf("%d segments of rows in flight were written, %d read\n", written, read);
  EXPECT_GT(written, 100);
  EXPECT_GT(read, 20);
  EXPECT_GT(failed_writes, 3);
  EXPECT_GT(failed_reads, 3);
}

TEST_F(ExactlyOnceSim, OvertakesTheSameRowsForTheSameSeed) {
  uint64_t hashes[2];
  for (uint64_t& hash : hashes) {
    Simulation sim(
        17,
        {.worker_crashes = 0.3, .rescales = 0.3, .alignment_timeout_ms = 5, .slow_receivers = 6});
    sim.Submit();
    EXPECT_EQ(sim.RunFaulty(30'000), "");
    hash = sim.trace_hash();
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

// Every seed has faults of its own kinds and rates. `dev/bench simulate` runs many more of them.
TEST_F(ExactlyOnceSim, AnyMixOfFaults) {
  int faults = 0;
  std::map<std::string, int> failed_at;  // By failpoint.
  const std::vector<uint64_t> seeds = SeedsToRun(1000);
  for (const uint64_t seed : seeds) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, MixOfFaults(seed));
    EXPECT_EQ(Live(sim, 40'000), "");
    faults += sim.faults();
    for (const auto& [name, times] : sim.failpoints()) failed_at[name] += times.second;
  }
  std::printf("%d faults, no violation\n", faults);
  EXPECT_GT(faults, 0);
  if (seeds.size() < 1000) return;
  for (const std::string_view name : Failpoints::Names()) {
    // Other servers, and what a submit or a savepoint does, are not simulated; their own tests are
    // in connectors and in coordinator_test. Rows in flight have a test of their own above.
    const bool elsewhere = name.starts_with("kafka.") || name.starts_with("postgres.") ||
                           name.starts_with("job.") || name.starts_with("file.") ||
                           name.starts_with("in_flight.") || name.starts_with("s3.") ||
                           name.starts_with("savepoint.");
    EXPECT_TRUE(elsewhere || failed_at[std::string(name)] > 10)
        << name << ": " << failed_at[std::string(name)];
  }
}

}  // namespace
}  // namespace millrace
