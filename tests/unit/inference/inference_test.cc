#include "operators/inference/inference.h"

#include <gmock/gmock.h>

#include <cmath>

#include "operators/all_operators.h"
#include "operators/inference/features.h"
#include "runtime/state/open_state_store.h"
#include "sql/graph_compiler.h"
#include "sql/models.h"
#include "tests/unit/inference/test_models.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// score = 1 + 2 a - b.
constexpr char kLinear[] = R"({"coefficients": [[2, -1]], "intercepts": [1], "link": "identity"})";

OperatorHarness::Job LinearJob(const std::string& node = "") {
  return {.columns = {"a DOUBLE", "b BIGINT", "name STRING"},
          .node = "inference: {model: m, features: [a, b], outputs: score" + node + "}",
          .models =
              "  - {name: m, version: v7, inputs: 'x FLOAT[2]', outputs: score DOUBLE,\n"
              "     local: {format: linear-json, path: /m.json}}\n",
          .files = {{"/m.json", kLinear}}};
}

class InferenceTest : public testing::TestWithParam<HarnessMode> {};

TEST_P(InferenceTest, AppendsPredictionsAndSaysWhichModelMadeThem) {
  OperatorHarness harness(LinearJob(", version_name: v, sha256_name: digest"), GetParam());
  harness.Push({{"1", "1", "x"}, {"0.5", "4", "y"}});
  const std::vector<std::string> rows = harness.TakeMain();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0], testing::StartsWith("0.5 | 4 | y | -2 | v7 | "));
  EXPECT_THAT(rows[1], testing::StartsWith("1 | 1 | x | 2 | v7 | "));
  EXPECT_EQ(rows[0].size(), std::string("0.5 | 4 | y | -2 | v7 | ").size() + 64);
  EXPECT_THAT(harness.TakeDeadLetters(), IsEmpty());
}

TEST_P(InferenceTest, SendsRowsWithoutFeaturesToTheDeadLetters) {
  OperatorHarness harness(LinearJob(), GetParam());
  harness.Push({{"NULL", "1", "x"},
                {"1", "NULL", "y"},
                {"1", "1", "z"},
                {"1e300", "1", "w"},
                {"nan", "1", "v"}});
  EXPECT_THAT(harness.TakeMain(), ElementsAre("1 | 1 | z | 2"));
  const std::vector<std::string> dead = harness.TakeDeadLetters();
  ASSERT_EQ(dead.size(), 4u);
  const std::string all = testing::PrintToString(dead);
  EXPECT_THAT(all, HasSubstr("MR4102 | a is NULL"));
  EXPECT_THAT(all, HasSubstr("MR4102 | b is NULL"));
  EXPECT_THAT(all, HasSubstr("MR4102 | a is NaN"));
  EXPECT_THAT(all, HasSubstr("MR4103 | a is too large for a FLOAT"));
  EXPECT_EQ(harness.rows_dead_lettered(), 4u);
}

TEST_P(InferenceTest, SendsPredictionsThatAreNotFiniteToTheDeadLetters) {
  OperatorHarness harness(LinearJob(", missing: nan"), GetParam());
  harness.Push({{"NULL", "1", "x"}, {"1", "1", "z"}});
  EXPECT_THAT(harness.TakeMain(), ElementsAre("1 | 1 | z | 2"));
  EXPECT_THAT(testing::PrintToString(harness.TakeDeadLetters()),
              HasSubstr("MR4104 | prediction score is NaN"));
}

TEST_P(InferenceTest, SendsRowsWhoseFeaturesFailToTheDeadLetters) {
  OperatorHarness::Job job = LinearJob();
  job.node = "inference: {model: m, features: [a, 6 / b AS c], outputs: score}";
  OperatorHarness harness(job, GetParam());
  harness.Push({{"1", "0", "x"}, {"NULL", "0", "y"}, {"1", "3", "z"}, {"NULL", "3", "w"}});
  EXPECT_THAT(harness.TakeMain(), ElementsAre("1 | 3 | z | 1"));
  const std::string all = testing::PrintToString(harness.TakeDeadLetters());
  EXPECT_THAT(all, HasSubstr("MR4101"));
  EXPECT_THAT(all, HasSubstr("MR4102 | a is NULL"));
  EXPECT_EQ(harness.rows_dead_lettered(), 3u);
}

INSTANTIATE_TEST_SUITE_P(AllModes, InferenceTest, testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

// ---- opened by hand: what the harness takes for granted ----

class OpenTest : public testing::Test {
 protected:
  v1::JobGraph Compile(const std::string& version) {
    EXPECT_TRUE(env_.disk.WriteAtomically("/m.json", kLinear).ok());
    const std::string yaml =
        "models:\n  - {name: m, version: " + version +
        ", inputs: 'x FLOAT[2]', outputs: score DOUBLE,\n"
        "     drift_rows: 100, drift_rows_min: 50,\n"
        "     baselines: [{column: a, edges: [0, 1], fractions: [0.25, 0.5, 0.25]},\n"
        "                 {column: score, edges: [0], fractions: [0.5, 0.5]}],\n"
        "     local: {format: linear-json, path: /m.json}}\n"
        "nodes:\n  - uid: in\n    source: {connector: kafka, format: csv, options: {topic: t, "
        "properties.bootstrap.servers: \"h:1\"}}\n    schema: [a DOUBLE, b DOUBLE]\n"
        "  - {uid: op, inputs: [in], inference: {model: m, features: [a, b], outputs: score}}\n"
        "  - {uid: out, inputs: [op], sink: {connector: blackhole}}\n";
    const CompiledGraph compiled = CompileYaml(yaml, {}, &env_.disk);
    for (const auto& d : compiled.diagnostics) ADD_FAILURE() << d.ShortDebugString();
    return compiled.graph;
  }

  // Opens the operator on the segments of `restore`; its state is frozen into `segments`.
  absl::Status Open(const v1::JobGraph& graph, const std::vector<v1::Segment>& restore) {
    graph_ = graph;
    const v1::Node& node = graph_.nodes(1);
    auto state = OpenStateStore({.uid = "op",
                                 .key_groups = {0, 255},
                                 .max_parallelism = 256,
                                 .storage = *storage_,
                                 .env = env_.env,
                                 .budget = budget_,
                                 .name_prefix = "g" + std::to_string(++generation_),
                                 .restore = restore});
    if (!state.ok()) return state.status();
    state_ = *std::move(state);
    schema_ = Schema::FromProto(graph_.nodes(0).schema());
    context_.reset(new OperatorContext{.node = node,
                                       .input_schemas = {schema_},
                                       .output_schema = Schema::FromProto(node.schema()),
                                       .key_groups = {0, 255},
                                       .state = state_.get(),
                                       .counters = counters_,
                                       .clock = env_,
                                       .graph = &graph_,
                                       .disk = &env_.disk});
    op_ = MakeInference();
    return op_->Open(*context_);
  }

  std::vector<v1::Segment> Checkpoint() {
    EXPECT_TRUE(op_->FlushState(Epoch{1}).ok());
    auto work = state_->FreezeEpoch(Epoch{1});
    EXPECT_TRUE(work.ok());
    auto segments = std::move(*work)();
    EXPECT_TRUE(segments.ok()) << segments.status();
    return *segments;
  }

  double Number(const std::string& name) {
    for (const auto& value : counters_.metrics.Read()) {
      if (value.name == name) return value.number;
    }
    return -1;
  }

  class Sink : public Emitter {
   public:
    using Emitter::Emit;
    void Emit(OutputPort port, Batch batch) override {
      (port == OutputPort::kMain ? rows : dead) += batch.rows();
    }
    bool full() const override { return false; }
    int64_t rows = 0, dead = 0;
  };

  StateTestEnv env_;
  std::unique_ptr<CheckpointStorage> storage_ = OpenTestStorage(env_.disk);
  MemoryBudget budget_{uint64_t{64} << 20};
  OperatorCounters counters_;
  v1::JobGraph graph_;
  SchemaPtr schema_;
  std::unique_ptr<StateStore> state_;
  std::unique_ptr<OperatorContext> context_;
  std::unique_ptr<Operator> op_;
  int generation_ = 0;
};

TEST_F(OpenTest, RefusesAFileThatIsNotTheOneOfTheJob) {
  const v1::JobGraph graph = Compile("1");
  ASSERT_TRUE(env_.disk.WriteAtomically("/m.json", std::string(kLinear) + " ").ok());
  const absl::Status status = Open(graph, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("is not the one that the job names"));
}

TEST_F(OpenTest, RefusesAFileThatIsGoneOrTooLarge) {
  v1::JobGraph graph = Compile("1");
  graph.mutable_models(0)->mutable_local()->set_size_bytes_max(10);
  EXPECT_THAT(Open(graph, {}).message(), HasSubstr("larger than allowed"));
  graph.mutable_models(0)->mutable_local()->set_path("/elsewhere.json");
  EXPECT_EQ(Open(graph, {}).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(OpenTest, RefusesAModelThatIsNotAsDeclared) {
  v1::JobGraph graph = Compile("1");
  graph.mutable_models(0)->mutable_outputs(0)->set_type(v1::Tensor::TYPE_FLOAT32);
  EXPECT_THAT(Open(graph, {}).message(),
              HasSubstr("output of the model: DOUBLE[1]; of the job: FLOAT[1]"));
}

TEST_F(OpenTest, RefusesOtherBytesUnderTheVersionOfTheCheckpoint) {
  const v1::JobGraph graph = Compile("1");
  ASSERT_TRUE(Open(graph, {}).ok());
  const std::vector<v1::Segment> checkpoint = Checkpoint();
  ASSERT_TRUE(Open(graph, checkpoint).ok());

  const std::string other = std::string(kLinear) + "\n";
  ASSERT_TRUE(env_.disk.WriteAtomically("/m.json", other).ok());
  v1::JobGraph changed = graph;
  changed.mutable_models(0)->mutable_local()->clear_sha256();
  Diagnostics diagnostics(nullptr);
  PinModelFiles(changed, env_.disk, diagnostics);
  const absl::Status status = Open(changed, checkpoint);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("MR5102"));

  // A new version is a choice.
  changed.mutable_models(0)->set_version("2");
  ASSERT_TRUE(Open(changed, checkpoint).ok());
  const std::vector<v1::Segment> second = Checkpoint();
  EXPECT_TRUE(Open(changed, second).ok());
}

TEST_F(OpenTest, MeasuresCallsAndDrift) {
  ASSERT_TRUE(Open(Compile("1"), {}).ok());
  Sink sink;
  const auto push = [&](int rows, double a) {
    BatchBuilder batch(schema_);
    for (int i = 0; i < rows; ++i) {
      batch.column(0).AppendFloat64(a);
      batch.column(1).AppendFloat64(1);
    }
    ASSERT_TRUE(op_->Process(0, batch.Finish(), sink).ok());
  };
  push(40, 0.5);
  EXPECT_EQ(Number("millrace_feature_drift_psi"), -1);  // Too few rows to say anything.
  push(20, 0.5);
  // All of 60 rows in the second bin: (1 - 0.5) ln 2 + 2 (0.0001 - 0.25) ln(0.0001 / 0.25).
  const double expected = 0.5 * std::log(2) + 2 * (1e-4 - 0.25) * std::log(1e-4 / 0.25);
  EXPECT_NEAR(Number("millrace_feature_drift_psi"), expected, 1e-12);
  EXPECT_NEAR(Number("millrace_feature_value"), 30, 1e-12);
  EXPECT_GT(Number("millrace_prediction_drift_psi"), 0);
  EXPECT_EQ(Number("millrace_model_batch_rows"), 60);
  EXPECT_EQ(Number("millrace_model_info"), 1);
  // The next turn knows nothing of this one.
  push(40, 0.5);
  push(50, 2);
  const double next = 2 * (1e-4 - 0.25) * std::log(1e-4 / 0.25);
  EXPECT_GT(Number("millrace_feature_drift_psi"), next);
  EXPECT_EQ(sink.rows, 150);
}

// score = 5 for every row.
constexpr char kFive[] = R"({"coefficients": [[0, 0]], "intercepts": [5], "link": "identity"})";

class SwitchTest : public OpenTest {
 protected:
  v1::Model NewVersion(const std::string& version) {
    EXPECT_TRUE(env_.disk.WriteAtomically("/five.json", kFive).ok());
    v1::JobGraph graph = graph_;
    v1::Model& model = *graph.mutable_models(0);
    model.set_version(version);
    model.mutable_local()->set_path("/five.json");
    model.mutable_local()->clear_sha256();
    Diagnostics diagnostics(nullptr);
    PinModelFiles(graph, env_.disk, diagnostics);
    EXPECT_FALSE(diagnostics.has_errors());
    return model;
  }

  double Score() {
    class Last : public Emitter {
     public:
      using Emitter::Emit;
      void Emit(OutputPort, Batch batch) override { score = batch.column(2).values<double>()[0]; }
      bool full() const override { return false; }
      double score = -1;
    };
    BatchBuilder batch(schema_);
    batch.column(0).AppendFloat64(1);
    batch.column(1).AppendFloat64(1);
    Last out;
    EXPECT_TRUE(op_->Process(0, batch.Finish(), out).ok());
    return out.score;
  }
};

TEST_F(SwitchTest, TheCutOfItsEpochIsWhereTheNewVersionBegins) {
  ASSERT_TRUE(Open(Compile("1"), {}).ok());
  ModelHolder& holder = *op_->model_holder();
  auto loaded = holder.Load(NewVersion("2"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  holder.UseFrom(Epoch{3}, *std::move(loaded));
  EXPECT_EQ(Score(), 2);
  ASSERT_TRUE(op_->FlushState(Epoch{2}).ok());
  EXPECT_EQ(Score(), 2);
  EXPECT_EQ(holder.model().version(), "1");
  ASSERT_TRUE(op_->FlushState(Epoch{3}).ok());
  EXPECT_EQ(Score(), 5);
  EXPECT_EQ(holder.model().version(), "2");
  EXPECT_EQ(Number("millrace_model_info"), 1);
  ASSERT_TRUE(op_->FlushState(Epoch{4}).ok());
  EXPECT_EQ(Score(), 5);
}

TEST_F(SwitchTest, AnEpochThatIsSkippedSwitchesNothing) {
  ASSERT_TRUE(Open(Compile("1"), {}).ok());
  auto loaded = op_->model_holder()->Load(NewVersion("2"));
  ASSERT_TRUE(loaded.ok());
  op_->model_holder()->UseFrom(Epoch{3}, *std::move(loaded));
  ASSERT_TRUE(op_->FlushState(Epoch{4}).ok());
  ASSERT_TRUE(op_->FlushState(Epoch{5}).ok());
  EXPECT_EQ(Score(), 2);
}

TEST_F(SwitchTest, ANewVersionMustFit) {
  ASSERT_TRUE(Open(Compile("1"), {}).ok());
  v1::Model other = NewVersion("2");
  other.mutable_inputs(0)->set_width(3);
  EXPECT_FALSE(op_->model_holder()->Load(other).ok());
  other = NewVersion("2");
  other.mutable_local()->set_sha256(std::string(64, '0'));
  EXPECT_FALSE(op_->model_holder()->Load(other).ok());
  EXPECT_EQ(Score(), 2);
}

// Recipes of SciPy and Evidently: fractions 0.1 0.2 0.3 0.4 against counts 20 20 30 30.
TEST(PopulationStabilityTest, FollowsTheFormula) {
  const double fractions[] = {0.1, 0.2, 0.3, 0.4};
  const uint64_t counts[] = {20, 20, 30, 30};
  EXPECT_NEAR(PopulationStability(fractions, counts), 0.1 * std::log(2) + 0.1 * std::log(4.0 / 3),
              1e-12);
  const uint64_t same[] = {10, 20, 30, 40};
  EXPECT_NEAR(PopulationStability(fractions, same), 0, 1e-12);
}

}  // namespace
}  // namespace millrace
