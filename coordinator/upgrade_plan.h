// What becomes of the state in a checkpoint when another graph goes on from it.
//
// Pure functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "millrace/v1/job_service.pb.h"

namespace millrace {

struct UpgradePlan {
  // In the order of the graph; then nodes that it does not have any more.
  std::vector<v1::NodeChange> nodes;
  // Uids of the checkpoint whose state is given up.
  std::vector<std::string> dropped;

  bool possible() const;
  // kFailedPrecondition with every node that is refused, as an error MR1910 with the hint that
  // helps.
  absl::Status status() const;
};

// `next` is compiled.
UpgradePlan PlanUpgrade(const v1::Manifest& checkpoint, const v1::JobGraph& next,
                        const v1::StateConsent& consent);

// The checkpoint as the new version restores it: without what is given up, and without commits that
// are pending, which the old version has made.
void ApplyPlan(const UpgradePlan& plan, v1::Manifest& checkpoint);

}  // namespace millrace
