// The real coordinator, workers and tasks under faults, from a seed. MILLRACE_SIM_SEEDS=N runs N
// seeds, MILLRACE_SIM_SEED=S repeats one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "runtime/base/log.h"
#include "tests/simulation/simulation.h"

namespace millrace {
namespace {

std::vector<uint64_t> SeedsToRun(uint64_t count) {
  if (const char* one = std::getenv("MILLRACE_SIM_SEED")) {
    return {std::strtoull(one, nullptr, 10)};
  }
  if (const char* many = std::getenv("MILLRACE_SIM_SEEDS"))
    count = std::strtoull(many, nullptr, 10);
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= count; ++seed) seeds.push_back(seed);
  return seeds;
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
  const SimulationOptions options{.worker_crashes = 0.3, .coordinator_crashes = 0.1, .cuts = 0.1};
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
    Simulation sim(seed, {.worker_crashes = 0.3, .coordinator_crashes = 0.1, .cuts = 0.2});
    sim.Submit();
    ASSERT_EQ(sim.RunFaulty(40'000), "");   // Safety.
    ASSERT_TRUE(sim.RunHealthy(4'000'000))  // Liveness.
        << v1::JobState_Name(sim.state()) << " " << sim.last_error();
    ASSERT_EQ(sim.target().rows(), sim.job().Expected());
    faults += sim.faults();
  }
  std::printf("%d faults, no violation\n", faults);
  EXPECT_GT(faults, 0);
}

TEST_F(ExactlyOnceSim, WorkersLeaveWithoutALossOrAFailure) {
  int left = 0;
  for (const uint64_t seed : SeedsToRun(15)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_leaves = 0.5});
    sim.Submit();
    ASSERT_EQ(sim.RunFaulty(40'000), "");
    ASSERT_TRUE(sim.RunHealthy(4'000'000)) << v1::JobState_Name(sim.state());
    ASSERT_EQ(sim.target().rows(), sim.job().Expected());
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
        seed,
        {.worker_crashes = 0.2, .coordinator_crashes = 0.1, .cuts = 0.1, .worker_leaves = 0.3});
    sim.Submit();
    ASSERT_EQ(sim.RunFaulty(40'000), "");
    ASSERT_TRUE(sim.RunHealthy(4'000'000))
        << v1::JobState_Name(sim.state()) << " " << sim.last_error();
    ASSERT_EQ(sim.target().rows(), sim.job().Expected());
  }
}

// Rows are under way at a server when processes crash, barriers come and watermarks move.
TEST_F(ExactlyOnceSim, CommitsEveryRowOnceThoughAnOperatorAsksAServer) {
  for (const uint64_t seed : SeedsToRun(15)) {
    SCOPED_TRACE(testing::Message() << "repeat with MILLRACE_SIM_SEED=" << seed);
    Simulation sim(seed, {.worker_crashes = 0.2,
                          .coordinator_crashes = 0.05,
                          .cuts = 0.1,
                          .worker_leaves = 0.1,
                          .asks = true});
    sim.Submit();
    ASSERT_EQ(sim.RunFaulty(40'000), "");
    ASSERT_TRUE(sim.RunHealthy(4'000'000))
        << v1::JobState_Name(sim.state()) << " " << sim.last_error();
    ASSERT_EQ(sim.target().rows(), sim.job().Expected());
  }
}

}  // namespace
}  // namespace millrace
