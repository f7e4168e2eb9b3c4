#include "coordinator/conservation.h"

#include <string_view>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

struct Sums {
  int64_t in = 0, out = 0, late = 0, dead = 0, skipped = 0, truncates = 0, in_flight = 0;
};

std::map<std::string, Sums> SumsByNode(const v1::JobGraph& planned, const v1::Manifest& epoch) {
  std::map<std::string, std::string> names;  // Of nodes that had another one.
  for (const v1::Node& node : planned.nodes()) {
    for (const std::string& former : node.former_uids()) names[former] = node.uid();
  }
  std::map<std::string, Sums> sums;
  for (const v1::TaskSnapshot& task : epoch.tasks()) {
    for (const v1::NodeSnapshot& node : task.nodes()) {
      const auto renamed = names.find(node.uid());
      Sums& of = sums[renamed == names.end() ? node.uid() : renamed->second];
      of.in += static_cast<int64_t>(node.rows_in());
      of.out += static_cast<int64_t>(node.rows_out());
      of.late += static_cast<int64_t>(node.rows_late());
      of.dead += static_cast<int64_t>(node.rows_dead_lettered());
      of.skipped += static_cast<int64_t>(node.rows_skipped());
      of.truncates += static_cast<int64_t>(node.truncates_out());
      for (const v1::InFlightRows& rows : node.in_flight()) {
        of.in_flight += static_cast<int64_t>(rows.rows());
      }
    }
  }
  return sums;
}

bool GivesOneRowForEach(const v1::Node& node) {
  switch (node.body_case()) {
    case v1::Node::kSource:
    case v1::Node::kFilter:
    case v1::Node::kProject:
    case v1::Node::kWatermark:
    case v1::Node::kInference:
    case v1::Node::kPythonCall:
      return true;
    default:
      return false;
  }
}

// Rows that arrive at the end of `edge`, which has `tasks`, when none is lost.
int64_t SentOver(const v1::Edge& edge, int64_t tasks, const Sums& from) {
  const int64_t copies = edge.has_broadcast() ? tasks : 1;
  switch (edge.output()) {
    case v1::OUTPUT_PORT_LATE:
      return copies * from.late;
    case v1::OUTPUT_PORT_DEAD_LETTER:
      return copies * from.dead;
    default:
      // A truncate concerns the rows of every key.
      return copies * from.out + (edge.has_hash() ? (tasks - 1) * from.truncates : 0);
  }
}

}  // namespace

RowBalance BalanceRows(const v1::JobGraph& planned, const v1::Manifest& epoch) {
  std::map<std::string, Sums> sums = SumsByNode(planned, epoch);
  std::map<std::string, int64_t> parallelism;
  for (const v1::Node& node : planned.nodes()) parallelism[node.uid()] = node.parallelism();
  RowBalance balance;
  std::map<std::string, std::pair<std::string, int64_t>> sent;  // By receiver: from where, rows.
  for (const v1::Edge& edge : planned.edges()) {
    auto& [from, rows] = sent[edge.to()];
    absl::StrAppend(&from, from.empty() ? "" : " + ", edge.from());
    rows += SentOver(edge, parallelism[edge.to()], sums[edge.from()]);
  }
  for (const auto& [to, from] : sent) {
    balance[absl::StrCat(from.first, " -> ", to, ": sent = received")] =
        from.second - sums[to].in - sums[to].in_flight;
  }
  for (const v1::Node& node : planned.nodes()) {
    if (!GivesOneRowForEach(node)) continue;
    const Sums& of = sums[node.uid()];
    balance[absl::StrCat(node.uid(), ": in = out + dead letters + skipped")] =
        of.in - of.out - of.dead - of.skipped;
  }
  return balance;
}

absl::Status CheckConservation(const RowBalance& at_begin, const RowBalance& now) {
  for (const auto& [law, too_many] : now) {
    const auto before = at_begin.find(law);
    const int64_t changed = too_many - (before == at_begin.end() ? 0 : before->second);
    if (changed == 0) continue;
    return absl::AbortedError(absl::StrCat(
        "MR5301: rows are not conserved: ", law, " does not hold: ", changed > 0 ? "left" : "right",
        " side has ", changed > 0 ? changed : -changed, " rows more"));
  }
  return absl::OkStatus();
}

}  // namespace millrace
