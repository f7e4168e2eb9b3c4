#include "coordinator/upgrade_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/job_api.h"
#include "runtime/checkpoint/layout_comparison.h"
#include "sql/state_layout.h"

namespace millrace {
namespace {

// What the checkpoint has of one uid.
struct Kept {
  const v1::StateLayout* layout = nullptr;
  bool has_state = false;
  uint64_t rows_in = 0;
  uint64_t bytes = 0;
};

std::map<std::string, Kept> KeptOf(const v1::Manifest& checkpoint) {
  std::map<std::string, Kept> kept;
  for (const v1::TaskSnapshot& task : checkpoint.tasks()) {
    for (const v1::NodeSnapshot& node : task.nodes()) {
      Kept& one = kept[node.uid()];
      one.has_state |= node.state_size() > 0 || node.splits_size() > 0;
      one.rows_in += node.rows_in();
      for (const v1::Segment& segment : node.state()) one.bytes += segment.bytes();
    }
  }
  for (const v1::StateLayout& layout : checkpoint.layouts()) kept[layout.uid()].layout = &layout;
  return kept;
}

bool Names(const google::protobuf::RepeatedPtrField<std::string>& uids, const std::string& uid) {
  return std::find(uids.begin(), uids.end(), uid) != uids.end();
}

class Planner {
 public:
  Planner(const v1::Manifest& checkpoint, const v1::JobGraph& next, const v1::StateConsent& consent)
      : checkpoint_(checkpoint), next_(next), consent_(consent), kept_(KeptOf(checkpoint)) {}

  UpgradePlan Run() && {
    CheckFrozen();
    const std::vector<v1::StateLayout> layouts = StateLayoutsOf(next_);
    for (const v1::Node& node : next_.nodes()) {
      const auto layout =
          std::find_if(layouts.begin(), layouts.end(),
                       [&](const v1::StateLayout& one) { return one.uid() == node.uid(); });
      // A node without state takes over its counters only.
      if (layout != layouts.end()) PlanNode(node, *layout);
    }
    for (const auto& [uid, kept] : kept_) {
      if (kept.has_state && !claimed_.contains(uid)) PlanGone(uid, kept);
    }
    CheckConsent();
    return std::move(plan_);
  }

 private:
  v1::NodeChange& Add(const std::string& uid, v1::NodeChange::Verdict verdict,
                      std::string reason = "", std::string hint = "") {
    v1::NodeChange& change = plan_.nodes.emplace_back();
    change.set_uid(uid);
    change.set_verdict(verdict);
    change.set_reason(std::move(reason));
    change.set_hint(std::move(hint));
    return change;
  }

  // Frozen at the first start: where every key is depends on it.
  void CheckFrozen() {
    if (next_.max_parallelism() != 0 && next_.max_parallelism() != checkpoint_.max_parallelism()) {
      Add("", v1::NodeChange::VERDICT_REFUSED,
          absl::StrCat("max_parallelism is frozen: the checkpoint has ",
                       checkpoint_.max_parallelism(), ", the new version wants ",
                       next_.max_parallelism()),
          "leave it out");
    }
  }

  // The uid under which the checkpoint has the node; empty: it has not.
  std::string FindKept(const v1::Node& node) const {
    const auto is_there = [this](const std::string& uid) {
      const auto found = kept_.find(uid);
      return found != kept_.end() && (found->second.has_state || found->second.layout != nullptr);
    };
    if (is_there(node.uid())) return node.uid();
    for (const std::string& uid : node.former_uids()) {
      if (is_there(uid)) return uid;
    }
    return "";
  }

  void PlanNode(const v1::Node& node, const v1::StateLayout& layout) {
    const std::string former = FindKept(node);
    if (former.empty() && node.has_sink()) return;  // There is nothing to begin empty.
    if (former.empty()) {
      Add(node.uid(), v1::NodeChange::VERDICT_NEW, "the checkpoint has no such node");
      return;
    }
    const Kept& kept = kept_.at(former);
    if (!claimed_.insert(former).second) {
      Add(node.uid(), v1::NodeChange::VERDICT_REFUSED,
          absl::StrCat("two nodes want the state of '", former, "'"),
          absl::StrCat("leave '", former, "' out of former_uids"));
      return;
    }
    if (Names(consent_.drop_state(), node.uid()) || Names(consent_.drop_state(), former)) {
      plan_.dropped.push_back(former);
      Add(node.uid(), v1::NodeChange::VERDICT_REBUILT, "its state is given up")
          .set_state_bytes(kept.bytes);
      return;
    }
    Compare(node, kept, layout).set_state_bytes(kept.bytes);
  }

  v1::NodeChange& Compare(const v1::Node& node, const Kept& kept, const v1::StateLayout& layout) {
    const std::string begin_anew = absl::StrCat(
        "--drop-state ", node.uid(),
        node.has_source() ? " gives its positions up and reads where its options say"
        : node.has_sink() ? " leaves what was written before as it is, never to be taken back"
                          : " gives its state up and begins anew");
    if (kept.layout == nullptr) {
      return Add(node.uid(), v1::NodeChange::VERDICT_REFUSED,
                 "the checkpoint does not say what the node has kept", begin_anew);
    }
    const LayoutComparison comparison = CompareLayouts(*kept.layout, layout);
    const bool is_empty = !kept.has_state && !(node.has_sink() && kept.rows_in > 0);
    if (comparison.result != LayoutComparison::Result::kSame && is_empty) {
      plan_.dropped.push_back(kept.layout->uid());
      return Add(node.uid(), v1::NodeChange::VERDICT_REBUILT, "it has kept nothing so far");
    }
    const std::string differences = absl::StrJoin(comparison.differences, "; ");
    switch (comparison.result) {
      case LayoutComparison::Result::kSame:
        return Add(node.uid(), v1::NodeChange::VERDICT_KEPT);
      case LayoutComparison::Result::kConvertible:
        if (comparison.new_columns.empty() || Names(consent_.fill_null(), node.uid())) {
          return Add(node.uid(), v1::NodeChange::VERDICT_MIGRATED, differences);
        }
        return Add(
            node.uid(), v1::NodeChange::VERDICT_REFUSED,
            absl::StrCat(differences, "; rows from before the upgrade would have NULL there"),
            absl::StrCat("--fill-null ", node.uid(), " allows it; ", begin_anew));
      case LayoutComparison::Result::kOther:
        break;
    }
    return Add(node.uid(), v1::NodeChange::VERDICT_REFUSED, differences, begin_anew);
  }

  void PlanGone(const std::string& uid, const Kept& kept) {
    if (Names(consent_.drop_state(), uid)) {
      plan_.dropped.push_back(uid);
      Add(uid, v1::NodeChange::VERDICT_DROPPED, "the new version has no such node")
          .set_state_bytes(kept.bytes);
      return;
    }
    Add(uid, v1::NodeChange::VERDICT_REFUSED, "it has state, and the new version has no such node",
        absl::StrCat("name it in former_uids of the node that goes on with it, or give its state "
                     "up: --drop-state ",
                     uid))
        .set_state_bytes(kept.bytes);
  }

  // A name that is written wrong must not pass for consent.
  void CheckConsent() {
    for (const auto* uids : {&consent_.drop_state(), &consent_.fill_null()}) {
      for (const std::string& uid : *uids) {
        const bool known =
            kept_.contains(uid) ||
            std::any_of(next_.nodes().begin(), next_.nodes().end(),
                        [&, &name = uid](const v1::Node& node) { return node.uid() == name; });
        if (known) continue;
        Add(uid, v1::NodeChange::VERDICT_REFUSED, "neither version has such a node",
            "the plan names the nodes");
      }
    }
  }

  const v1::Manifest& checkpoint_;
  const v1::JobGraph& next_;
  const v1::StateConsent& consent_;
  const std::map<std::string, Kept> kept_;
  std::set<std::string> claimed_;
  UpgradePlan plan_;
};

}  // namespace

bool UpgradePlan::possible() const {
  return std::none_of(nodes.begin(), nodes.end(), [](const v1::NodeChange& node) {
    return node.verdict() == v1::NodeChange::VERDICT_REFUSED;
  });
}

absl::Status UpgradePlan::status() const {
  std::vector<v1::Diagnostic> diagnostics;
  for (const v1::NodeChange& node : nodes) {
    if (node.verdict() != v1::NodeChange::VERDICT_REFUSED) continue;
    v1::Diagnostic& diagnostic = diagnostics.emplace_back();
    diagnostic.set_severity(v1::Diagnostic::SEVERITY_ERROR);
    diagnostic.set_code("MR1910");
    diagnostic.set_uid(node.uid());
    diagnostic.set_message(node.reason());
    diagnostic.set_hint(node.hint());
  }
  if (diagnostics.empty()) return absl::OkStatus();
  const v1::Diagnostic& first = diagnostics.front();
  return StatusWithDiagnostics(absl::FailedPreconditionError(absl::StrCat(
                                   "the new version cannot go on with the state of the job: ",
                                   first.uid(), first.uid().empty() ? "" : ": ", first.message())),
                               diagnostics);
}

UpgradePlan PlanUpgrade(const v1::Manifest& checkpoint, const v1::JobGraph& next,
                        const v1::StateConsent& consent) {
  return Planner(checkpoint, next, consent).Run();
}

void ApplyPlan(const UpgradePlan& plan, v1::Manifest& checkpoint) {
  const auto is_dropped = [&plan](const std::string& uid) {
    return std::find(plan.dropped.begin(), plan.dropped.end(), uid) != plan.dropped.end();
  };
  for (v1::TaskSnapshot& task : *checkpoint.mutable_tasks()) {
    auto& nodes = *task.mutable_nodes();
    nodes.erase(
        std::remove_if(nodes.begin(), nodes.end(),
                       [&](const v1::NodeSnapshot& node) { return is_dropped(node.uid()); }),
        nodes.end());
    for (v1::NodeSnapshot& node : nodes) node.clear_tokens();
  }
  auto& layouts = *checkpoint.mutable_layouts();
  layouts.erase(
      std::remove_if(layouts.begin(), layouts.end(),
                     [&](const v1::StateLayout& layout) { return is_dropped(layout.uid()); }),
      layouts.end());
}

}  // namespace millrace
