#include "tests/simulation/sim_job.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "operators/all_operators.h"
#include "runtime/base/check.h"
#include "runtime/base/mailbox.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr int64_t kBaseUs = 1'767'225'600'000'000;
constexpr char kGraph[] = R"(
  format: 1 name: "sim" max_parallelism: 16 parallelism: 3
  settings { checkpoint_interval_ms: 200 checkpoint_timeout_ms: 5000 restart_attempts_max: 1000 }
  nodes { uid: "src" source { connector: "sim" }
    schema { fields { id: 1 name: "k" type { kind: KIND_INT64 } }
             fields { id: 2 name: "ts" type { kind: KIND_TIMESTAMP } } } }
  nodes { uid: "wm" watermark { time { ids: 2 } }
    schema { fields { id: 1 name: "k" type { kind: KIND_INT64 } }
             fields { id: 2 name: "ts" type { kind: KIND_TIMESTAMP } } } }
  nodes { uid: "win" window_aggregate {
      window { kind: KIND_TUMBLE time { ids: 2 } size_ms: 1000 } keys { ids: 1 }
      aggregates { name: "n" id: 5 function: "count" type { kind: KIND_INT64 } }
      window_start_id: 3 window_end_id: 4 }
    schema { fields { id: 3 name: "window_start" type { kind: KIND_TIMESTAMP } }
             fields { id: 4 name: "window_end" type { kind: KIND_TIMESTAMP } }
             fields { id: 1 name: "k" type { kind: KIND_INT64 } }
             fields { id: 5 name: "n" type { kind: KIND_INT64 } } } }
  nodes { uid: "sink" sink { connector: "sim" }
    schema { fields { id: 3 name: "window_start" type { kind: KIND_TIMESTAMP } }
             fields { id: 4 name: "window_end" type { kind: KIND_TIMESTAMP } }
             fields { id: 1 name: "k" type { kind: KIND_INT64 } }
             fields { id: 5 name: "n" type { kind: KIND_INT64 } } } }
  edges { from: "src" to: "wm" forward {} }
  edges { from: "wm" to: "win" hash { keys { ids: 1 } } }
  edges { from: "win" to: "sink" forward {} }
)";

std::string RowText(int64_t end_us, int64_t key, int64_t count) {
  return absl::StrCat(end_us, "|", key, "|", count);
}

class SimSource : public Source {
 public:
  SimSource(const SimJob& job, SimRandom& random) : job_(job), random_(random) {}

  absl::Status Open(SourceContext& context, std::vector<Split> splits) override {
    context_ = &context;
    return AddSplits(std::move(splits));
  }
  absl::Status AddSplits(std::vector<Split> splits) override {
    for (Split& split : splits) splits_.push_back(std::move(split));
    return absl::OkStatus();
  }
  absl::StatusOr<PollResult> Poll(Emitter& out) override {
    if (random_.OneIn(4)) return PollResult::kIdle;
    for (uint32_t i = 0; i < splits_.size(); ++i) {
      Split& split = splits_[i];
      if (split.finished) continue;
      int64_t row = 0;
      int number = 0;
      MILLRACE_CHECK(absl::SimpleAtoi(split.position, &row));
      MILLRACE_CHECK(absl::SimpleAtoi(split.id.substr(split.id.find('/') + 1), &number));
      const int64_t end =
          std::min<int64_t>(job_.rows_per_split, row + 1 + static_cast<int64_t>(random_.Below(8)));
      BatchBuilder builder(context_->schema);
      for (; row < end; ++row) {
        builder.column(0).AppendInt64(job_.KeyOf(number, row));
        builder.column(1).AppendInt64(job_.TimeUs(number, row));
      }
      split.position = std::to_string(row);
      split.finished = row == job_.rows_per_split;
      Batch batch = builder.Finish();
      batch.split = i;
      context_->counters.rows_in.Add(static_cast<uint64_t>(batch.rows()));
      out.Emit(std::move(batch));
      if (out.full()) return PollResult::kEmitted;
    }
    const bool end = std::all_of(splits_.begin(), splits_.end(),
                                 [](const Split& split) { return split.finished; });
    return end ? PollResult::kEnd : PollResult::kEmitted;
  }
  std::vector<Split> Positions() const override { return splits_; }

 private:
  const SimJob& job_;
  SimRandom& random_;
  SourceContext* context_ = nullptr;
  std::vector<Split> splits_;
};

class SimDiscovery : public SplitDiscovery {
 public:
  explicit SimDiscovery(const SimJob& job) : job_(job) {}
  absl::StatusOr<std::vector<Split>> Discover(bool) override {
    std::vector<Split> splits;
    for (int i = 0; i < job_.splits; ++i) {
      splits.push_back({.id = absl::StrCat("sim/", i), .position = "0"});
    }
    return splits;
  }

 private:
  const SimJob& job_;
};

class SimSink : public Sink {
 public:
  explicit SimSink(SimTarget& target) : target_(target) {}

  absl::Status Open(SinkContext& context) override {
    context_ = &context;
    return absl::OkStatus();
  }
  absl::Status Write(const Batch& batch) override {
    for (int64_t row = 0; row < batch.rows(); ++row) {
      MILLRACE_RETURN_IF_ERROR(context_->outbox.Append(
          RowText(batch.column(1).values<int64_t>()[row], batch.column(2).values<int64_t>()[row],
                  batch.column(3).values<int64_t>()[row])));
    }
    return absl::OkStatus();
  }
  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override {
    return context_->outbox.Seal(epoch);
  }
  absl::Status Commit(const v1::CommitToken& token) override {
    const uint64_t generation = context_->generation.number;
    MILLRACE_RETURN_IF_ERROR(target_.Fence(token.slot(), generation));
    const uint64_t marker = target_.marker(token.slot());
    if (marker > std::max(token.epoch(), context_->restored_epoch.number)) {
      return absl::FailedPreconditionError("the target holds later output than the checkpoint");
    }
    if (marker >= token.epoch()) return absl::OkStatus();
    std::vector<std::string> rows;
    MILLRACE_RETURN_IF_ERROR(context_->outbox.Read(token, [&](std::string_view record) {
      rows.emplace_back(record);
      return absl::OkStatus();
    }));
    return target_.Commit(token.slot(), generation, token.epoch(), rows);
  }

 private:
  SimTarget& target_;
  SinkContext* context_ = nullptr;
};

// Every row comes back as it was, from a server that lives as long as nothing crashes.
class SimAskingOperator : public Operator {
 public:
  explicit SimAskingOperator(SimRandom& random) : random_(random) {}

  absl::Status Open(OperatorContext& context) override {
    inbox_ = std::make_shared<Mailbox>(context.wake);
    executor_ = &context.env->executor;
    return absl::OkStatus();
  }
  absl::Status Process(int, const Batch& batch, Emitter&) override {
    waiting_.push_back(batch);
    if (random_.OneIn(3)) Send();
    return absl::OkStatus();
  }
  absl::StatusOr<Settled> Collect(bool all, Emitter& out) override {
    out_ = &out;
    inbox_->RunPosted();
    if (all || random_.OneIn(10)) Send();
    return Settled{.rows = settled_, .full = asked_.size() > 20};
  }

 private:
  struct Asked {
    uint64_t rows;
    bool answered = false;
  };
  void Send() {
    for (Batch& batch : std::exchange(waiting_, {})) {
      const uint64_t number = first_ + asked_.size();
      asked_.push_back({static_cast<uint64_t>(batch.rows())});
      Ask(*executor_, random_, inbox_, this, number, std::move(batch));
    }
  }
  static void Ask(Executor& executor, SimRandom& random, std::shared_ptr<Mailbox> inbox,
                  SimAskingOperator* asker, uint64_t number, Batch batch) {
    const auto delay = absl::Microseconds(static_cast<int64_t>(random.Below(30'000)));
    executor.RunAfter(delay, [&executor, &random, inbox = std::move(inbox), asker, number,
                              batch = std::move(batch)]() mutable {
      if (random.OneIn(10)) {
        Ask(executor, random, std::move(inbox), asker, number, std::move(batch));
        return;
      }
      inbox->Post([asker, number, batch = std::move(batch)] { asker->OnAnswer(number, batch); });
    });
  }
  void OnAnswer(uint64_t number, const Batch& batch) {
    out_->Emit(batch);
    asked_[static_cast<size_t>(number - first_)].answered = true;
    for (; !asked_.empty() && asked_.front().answered; asked_.pop_front(), ++first_) {
      settled_ += asked_.front().rows;
    }
  }

  SimRandom& random_;
  std::shared_ptr<Mailbox> inbox_;
  Executor* executor_ = nullptr;
  Emitter* out_ = nullptr;
  std::vector<Batch> waiting_;
  std::deque<Asked> asked_;  // Number `first_` and on.
  uint64_t first_ = 0;
  uint64_t settled_ = 0;
};

class SimNodes : public NodeFactory {
 public:
  SimNodes(const SimJob& job, SimTarget& target, SimWorld& world)
      : job_(job), target_(target), world_(world) {}

  absl::StatusOr<std::unique_ptr<Operator>> MakeOperator(const v1::Node& node) const override {
    if (node.uid() == "ask") return std::make_unique<SimAskingOperator>(world_.random);
    return AllNodes().MakeOperator(node);
  }
  absl::StatusOr<std::unique_ptr<Source>> MakeSource(const v1::Node&) const override {
    return std::make_unique<SimSource>(job_, world_.random);
  }
  absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDiscovery(const v1::Node&,
                                                                Env&) const override {
    return std::make_unique<SimDiscovery>(job_);
  }
  absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const v1::Node& node) const override {
    if (node.sink().connector() != "sim") return absl::InvalidArgumentError("no such target");
    return std::make_unique<SimSink>(target_);
  }
  bool IsStateful(const v1::Node& node) const override { return AllNodes().IsStateful(node); }
  bool IsBlocking(const v1::Node&) const override { return false; }

 private:
  const SimJob& job_;
  SimTarget& target_;
  SimWorld& world_;
};

}  // namespace

absl::Status SimTarget::Fence(uint32_t slot, uint64_t generation) {
  Slot& s = slots_[slot];
  if (generation < s.generation) return absl::AbortedError("fenced by a newer generation");
  s.generation = generation;
  return absl::OkStatus();
}

absl::Status SimTarget::Commit(uint32_t slot, uint64_t generation, uint64_t epoch,
                               const std::vector<std::string>& rows) {
  Slot& s = slots_[slot];
  if (generation != s.generation) return absl::AbortedError("fenced by a newer generation");
  if (random_.OneIn(20)) return absl::UnavailableError("the target did not answer");  // Not done.
  for (const std::string& row : rows) ++rows_[row];
  s.marker = epoch;
  ++commits_;
  if (random_.OneIn(20)) return absl::UnavailableError("the target did not answer");  // Done.
  return absl::OkStatus();
}

uint64_t SimTarget::marker(uint32_t slot) const {
  auto it = slots_.find(slot);
  return it == slots_.end() ? 0 : it->second.marker;
}

int64_t SimJob::TimeUs(int split, int64_t row) const {
  return kBaseUs + row * 20'000 + split * 3'000;
}

v1::JobGraph SimJob::Graph() const {
  v1::JobGraph graph;
  MILLRACE_CHECK(google::protobuf::TextFormat::ParseFromString(kGraph, &graph));
  graph.mutable_settings()->set_aligned_checkpoint_timeout_ms(alignment_timeout_ms);
  if (!asks) return graph;
  v1::Node ask = graph.nodes(1);
  ask.set_uid("ask");
  ask.mutable_filter();
  *graph.add_nodes() = ask;
  for (v1::Edge& edge : *graph.mutable_edges()) {
    if (edge.from() == "wm") edge.set_from("ask");
  }
  v1::Edge& edge = *graph.add_edges();
  edge.set_from("wm");
  edge.set_to("ask");
  edge.mutable_forward();
  return graph;
}

v1::JobGraph SimJob::NewVersion(bool renamed, bool broken) const {
  v1::JobGraph graph = Graph();
  const std::string now = renamed ? "counts" : "win";
  for (v1::Node& node : *graph.mutable_nodes()) {
    if (node.has_sink() && broken) node.mutable_sink()->set_connector("broken");
    if (!node.has_window_aggregate()) continue;
    node.set_uid(now);
    node.add_former_uids(renamed ? "win" : "counts");
  }
  for (v1::Edge& edge : *graph.mutable_edges()) {
    if (edge.to() == "win") edge.set_to(now);
    if (edge.from() == "win") edge.set_from(now);
  }
  return graph;
}

std::map<std::string, int> SimJob::Expected() const {
  std::map<std::pair<int64_t, int64_t>, int64_t> counts;
  for (int split = 0; split < splits; ++split) {
    for (int64_t row = 0; row < rows_per_split; ++row) {
      const int64_t end = TimeUs(split, row) / 1'000'000 * 1'000'000 + 1'000'000;
      ++counts[{end, KeyOf(split, row)}];
    }
  }
  std::map<std::string, int> expected;
  for (const auto& [window, count] : counts) {
    expected[RowText(window.first, window.second, count)] = 1;
  }
  return expected;
}

std::unique_ptr<NodeFactory> MakeSimNodes(const SimJob& job, SimTarget& target, SimWorld& world) {
  return std::make_unique<SimNodes>(job, target, world);
}

}  // namespace millrace
