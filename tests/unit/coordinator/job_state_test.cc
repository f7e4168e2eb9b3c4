#include "coordinator/job_state.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace millrace {
namespace {

std::vector<v1::JobState> AllStates() {
  std::vector<v1::JobState> states;
  for (int i = v1::JOB_STATE_CREATED; i <= v1::JobState_MAX; ++i) {
    states.push_back(static_cast<v1::JobState>(i));
  }
  return states;
}

TEST(JobStateTest, NothingLeavesATerminalState) {
  for (const JobTransition& transition : kJobTransitions) {
    EXPECT_FALSE(IsTerminal(transition.from)) << JobStateName(transition.from);
  }
}

TEST(JobStateTest, EveryStateCanBeReachedAndEveryLiveOneCanEnd) {
  std::set<v1::JobState> reached = {v1::JOB_STATE_CREATED};
  for (size_t round = 0; round < std::size(kJobTransitions); ++round) {
    for (const JobTransition& t : kJobTransitions) {
      if (reached.contains(t.from)) reached.insert(t.to);
    }
  }
  for (v1::JobState state : AllStates()) {
    EXPECT_TRUE(reached.contains(state)) << JobStateName(state);
    bool leaves = false;
    for (const JobTransition& t : kJobTransitions) leaves |= t.from == state;
    EXPECT_EQ(leaves, !IsTerminal(state)) << JobStateName(state);
  }
}

TEST(JobStateTest, EveryLiveStateCanBeCancelled) {
  for (v1::JobState state : AllStates()) {
    if (IsTerminal(state) || state == v1::JOB_STATE_CANCELLING) continue;
    EXPECT_TRUE(IsLegalTransition(state, v1::JOB_STATE_CANCELLING)) << JobStateName(state);
  }
}

TEST(JobStateTest, OnlyARunningJobCanFinish) {
  EXPECT_TRUE(IsLegalTransition(v1::JOB_STATE_RUNNING, v1::JOB_STATE_FINISHED));
  EXPECT_FALSE(IsLegalTransition(v1::JOB_STATE_RESTARTING, v1::JOB_STATE_FINISHED));
  EXPECT_FALSE(IsLegalTransition(v1::JOB_STATE_CREATED, v1::JOB_STATE_RUNNING));
  EXPECT_EQ(JobStateName(v1::JOB_STATE_RUNNING), "RUNNING");
}

}  // namespace
}  // namespace millrace
