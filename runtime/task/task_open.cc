// How a task comes into being: nodes, their wiring within the chain, restored state and splits.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/check.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/layout_comparison.h"
#include "runtime/state/open_state_store.h"
#include "runtime/task/graph_view.h"
#include "runtime/task/restore.h"
#include "runtime/task/task.h"
#include "runtime/task/task_node.h"

namespace millrace {

std::shared_ptr<Task> Task::Make(TaskOptions options, std::vector<TaskInput> inputs) {
  return std::shared_ptr<Task>(new Task(std::move(options), std::move(inputs)));
}

Task::Task(TaskOptions options, std::vector<TaskInput> inputs)
    : options_(std::move(options)), env_(options_.env), mailbox_(options_.wake) {
  for (TaskInput& input : inputs) {
    Channel channel;
    channel.input = input.input;
    channel.from = input.from;
    channel.receiver = std::move(input.receiver);
    channel.key_columns = std::move(input.key_columns);
    channels_.push_back(std::move(channel));
  }
}

Task::~Task() = default;

absl::Status Task::Open(PreparedState prepared) {
  MILLRACE_FAILPOINT("restore.before_open");
  MILLRACE_RETURN_IF_ERROR(MakeNodes());
  FindKeyedInputs();
  for (auto& node : nodes_) {
    if (absl::Status status = OpenNode(*node, prepared); !status.ok()) {
      return Annotate(status, absl::StrCat("uid=", node->uid));
    }
  }
  MILLRACE_FAILPOINT("restore.after_open");
  return absl::OkStatus();
}

absl::Status Task::MakeNodes() {
  std::map<std::string, size_t, std::less<>> position_of;
  for (const std::string& uid : options_.chain.uids()) {
    auto node = std::make_unique<Node>();
    node->proto = FindNode(options_.graph, uid);
    if (node->proto == nullptr) {
      return absl::InternalError(absl::StrCat("the plan names a node that is not there: ", uid));
    }
    node->uid = uid;
    node->position = nodes_.size();
    node->schema = Schema::FromProto(node->proto->schema());
    node->emitter = std::make_unique<NodeEmitter>(*this, *node);
    node->watermark_us.Set(static_cast<uint64_t>(EventTime::Min().us));
    position_of[uid] = nodes_.size();
    nodes_.push_back(std::move(node));
  }
  for (const v1::Edge& edge : options_.graph.edges()) {
    auto from = position_of.find(edge.from());
    auto to = position_of.find(edge.to());
    if (from == position_of.end() || to == position_of.end()) continue;
    if (from->second >= to->second) {
      return absl::InternalError(absl::StrCat("chain is not in topological order at ", edge.to()));
    }
    nodes_[from->second]->children.push_back(
        {PortOf(edge), to->second, static_cast<int>(edge.to_input())});
  }
  for (size_t i = nodes_.size(); i-- > 0;) {
    nodes_[i]->reaches.assign(nodes_.size(), false);
    nodes_[i]->reaches[i] = true;
    for (const Node::Child& child : nodes_[i]->children) {
      for (size_t j = 0; j < nodes_.size(); ++j) {
        if (nodes_[child.node]->reaches[j]) nodes_[i]->reaches[j] = true;
      }
    }
  }
  has_source_ = nodes_[0]->proto->has_source();
  for (size_t i = 0; has_source_ && i < nodes_.size(); ++i) {
    if (nodes_[i]->proto->has_watermark()) watermark_node_ = static_cast<int>(i);
  }
  return absl::OkStatus();
}

// Unique per generation, attempt and task, so that no two writers ever share a name.
std::string Task::SegmentPrefix() const {
  return absl::StrCat("g", options_.generation.number, "-a", options_.attempt, "-c",
                      options_.id.chain, "-t", options_.id.index);
}

absl::Status Task::OpenNode(Node& node, PreparedState& prepared) {
  RestoredNode restored = RestoreNode(options_.restore, *node.proto, options_.key_groups,
                                      options_.id.index, options_.chain.parallelism());
  node.watermark = restored.watermark;
  node.watermark_us.Set(static_cast<uint64_t>(node.watermark.us));
  node.counters.rows_in.Set(restored.rows_in);
  node.rows_restored = restored.rows_in;
  node.counters.rows_out.Set(restored.rows_out);
  node.counters.rows_late.Set(restored.rows_late);
  node.counters.rows_dead_lettered.Set(restored.rows_dead_lettered);
  node.counters.rows_skipped.Set(restored.rows_skipped);
  node.counters.truncates_out.Set(restored.truncates_out);
  MILLRACE_RETURN_IF_ERROR(CompareLayout(node));
  MILLRACE_RETURN_IF_ERROR(OpenInFlight(node, restored.in_flight));
  if (node.proto->has_source()) {
    return OpenSource(node, std::move(restored.splits), /*fresh=*/!restored.found);
  }
  if (node.proto->has_sink()) return OpenSink(node, std::move(restored.tokens));

  if (options_.factory.IsStateful(*node.proto)) {
    MILLRACE_ASSIGN_OR_RETURN(
        node.state,
        OpenStateStore({.uid = node.uid,
                        .key_groups = options_.key_groups,
                        .max_parallelism = options_.graph.max_parallelism(),
                        .storage = options_.storage,
                        .env = env_,
                        .budget = options_.budget,
                        .cold_folder = options_.cold_folder.empty()
                                           ? ""
                                           : absl::StrCat(options_.cold_folder, "/", node.uid),
                        .name_prefix = SegmentPrefix(),
                        .restore = std::move(restored.state)},
                       std::move(prepared[node.uid])));
    node.state_metrics = std::make_unique<StateMetrics>(node.counters.metrics);
  }
  MILLRACE_ASSIGN_OR_RETURN(node.op, options_.factory.MakeOperator(*node.proto));
  node.operator_context = std::make_unique<OperatorContext>(
      OperatorContext{.node = *node.proto,
                      .input_schemas = InputSchemas(options_.graph, node.uid),
                      .output_schema = node.schema,
                      .key_groups = options_.key_groups,
                      .max_parallelism = options_.graph.max_parallelism(),
                      .restored_watermark = node.watermark,
                      .state = node.state.get(),
                      .layout = node.layout,
                      .former_layout = node.former_layout,
                      .counters = node.counters,
                      .clock = options_.env.clock,
                      .split_watermarks = has_source_ ? &split_watermarks_ : nullptr,
                      .graph = &options_.graph,
                      .disk = &env_.disk,
                      .env = &env_,
                      .wake = options_.wake,
                      .job_id = options_.job_id});
  return node.op->Open(*node.operator_context);
}

// The coordinator has compared them before it let the job start: this is for the state's sake.
absl::Status Task::CompareLayout(Node& node) const {
  for (const v1::StateLayout& layout : options_.layouts) {
    if (layout.uid() == node.uid) node.layout = &layout;
  }
  if (node.layout == nullptr) return absl::OkStatus();
  const v1::StateLayout* const former = FormerLayout(options_.restore, *node.proto);
  if (former == nullptr) return absl::OkStatus();
  const LayoutComparison comparison = CompareLayouts(*former, *node.layout);
  switch (comparison.result) {
    case LayoutComparison::Result::kSame:
      return absl::OkStatus();
    case LayoutComparison::Result::kConvertible:
      node.former_layout = former;
      return absl::OkStatus();
    case LayoutComparison::Result::kOther:
      return absl::FailedPreconditionError(
          absl::StrCat("the checkpoint has the state of another version of the node: ",
                       absl::StrJoin(comparison.differences, "; ")));
  }
  return absl::OkStatus();
}

absl::Status Task::OpenSource(Node& node, std::vector<Split> splits, bool fresh) {
  MILLRACE_ASSIGN_OR_RETURN(node.source, options_.factory.MakeSource(*node.proto));
  MILLRACE_ASSIGN_OR_RETURN(node.discovery, options_.factory.MakeDiscovery(*node.proto, env_));
  node.source_context =
      std::make_unique<SourceContext>(SourceContext{.node = *node.proto,
                                                    .schema = node.schema,
                                                    .counters = node.counters,
                                                    .env = env_,
                                                    .task_index = options_.id.index,
                                                    .parallelism = options_.chain.parallelism(),
                                                    .wake = options_.wake});
  if (fresh) {
    MILLRACE_ASSIGN_OR_RETURN(std::vector<Split> all, node.discovery->Discover(/*first=*/true));
    for (Split& split : all) {
      if (OwnerOfSplit(split.id, options_.chain.parallelism()) == options_.id.index) {
        splits.push_back(std::move(split));
      }
    }
  }
  const int64_t now = options_.env.clock.MonotonicNanos();
  for (uint32_t i = 0; i < splits.size(); ++i) {
    known_splits_.push_back(splits[i].id);
    split_watermarks_.AddSplit(i, splits[i].watermark, now);
    if (splits[i].finished) split_watermarks_.FinishSplit(i);
  }
  return node.source->Open(*node.source_context, std::move(splits));
}

void Task::ScheduleDiscovery() {
  const absl::Duration interval = nodes_[0]->discovery->interval();
  if (interval <= absl::ZeroDuration() || done_) return;
  options_.env.executor.RunAfter(interval, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (self == nullptr) return;
    Env& env = self->nodes_[0]->source_context->env;
    env.executor.RunBlocking([self] {
      absl::StatusOr<std::vector<Split>> found = self->nodes_[0]->discovery->Discover(false);
      self->Post([task = self.get(), found = std::move(found)]() mutable {
        if (task->done_) return;
        if (found.ok()) {
          task->AddDiscoveredSplits(*std::move(found));
        } else {
          LogWarning("cannot look for new splits; will try again",
                     {{"uid", task->nodes_[0]->uid}, {"error", found.status().ToString()}});
        }
        task->ScheduleDiscovery();
      });
    });
  });
}

void Task::AddDiscoveredSplits(std::vector<Split> discovered) {
  std::vector<Split> added;
  for (Split& split : discovered) {
    if (OwnerOfSplit(split.id, options_.chain.parallelism()) != options_.id.index) continue;
    if (std::find(known_splits_.begin(), known_splits_.end(), split.id) != known_splits_.end()) {
      continue;
    }
    LogInfo("found a new split", {{"uid", nodes_[0]->uid}, {"split", split.id}});
    split_watermarks_.AddSplit(static_cast<uint32_t>(known_splits_.size()), split.watermark,
                               options_.env.clock.MonotonicNanos());
    known_splits_.push_back(split.id);
    added.push_back(std::move(split));
  }
  if (added.empty()) return;
  if (absl::Status status = nodes_[0]->source->AddSplits(std::move(added)); !status.ok()) {
    Fail(nodes_[0]->uid, status);
  }
}

absl::Status Task::OpenSink(Node& node, std::vector<v1::CommitToken> pending) {
  // A sink has no columns of its own: it is given those of its input.
  const std::vector<SchemaPtr> inputs = InputSchemas(options_.graph, node.uid);
  if (inputs.empty() || inputs[0] == nullptr) {
    return absl::InternalError(absl::StrCat("the plan has no input for sink ", node.uid));
  }
  MILLRACE_ASSIGN_OR_RETURN(node.sink, options_.factory.MakeSink(*node.proto));
  node.outbox =
      std::make_unique<SegmentOutbox>(SegmentOutboxOptions{.storage = options_.storage,
                                                           .uid = node.uid,
                                                           .slot = options_.id.index,
                                                           .name_prefix = SegmentPrefix()});
  node.sink_context = std::make_unique<SinkContext>(
      SinkContext{.node = *node.proto,
                  .schema = inputs[0],
                  .counters = node.counters,
                  .env = env_,
                  .job_id = options_.job_id,
                  .job_name = options_.graph.name(),
                  .generation = options_.generation,
                  .restored_epoch = {options_.restore.epoch()},
                  .slot = options_.id.index,
                  .parallelism = options_.chain.parallelism(),
                  .outbox = *node.outbox,
                  .interactive = options_.interactive,
                  .s3 = options_.s3,
                  .deliver = [this, &node](v1::TailedRows rows) {
                    return options_.listener.DeliverRows(options_.id, node.uid, std::move(rows));
                  }});
  MILLRACE_RETURN_IF_ERROR(node.sink->Open(*node.sink_context));
  node.latency = &node.counters.metrics.MakeHistogram(
      "millrace_end_to_end_latency_seconds",
      "From reading a row at the source until it is visible in the target, sampled.", {},
      {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300});
  // The restored epoch becomes visible before any new input is processed, so that a moved key keeps
  // its order.
  MILLRACE_FAILPOINT("task.before_restored_commit");
  for (const v1::CommitToken& token : pending) {
    absl::Status status = node.sink->Commit(token);
    while (IsCommitLater(status)) status = node.sink->Commit(token);
    if (!status.ok()) {
      return Annotate(status, absl::StrCat("cannot commit the restored epoch ", token.epoch(),
                                           " of slot ", token.slot()));
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
