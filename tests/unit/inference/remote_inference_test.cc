#include "operators/inference/remote/remote_inference.h"

#include <gmock/gmock.h>

#include "tests/unit/inference/fake_model_server.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

OperatorHarness::Job RemoteJob(const std::string& calls = "", const std::string& node = "") {
  return {.columns = {"a DOUBLE", "b BIGINT", "name STRING"},
          .node = "inference: {model: m, features: [a, b], outputs: " +
                  (node.empty() ? "score" : node) + "}",
          .models =
              "  - {name: m, inputs: 'x FLOAT[2]', outputs: score DOUBLE,\n"
              "     remote: {endpoint: 'h:1', calls: {batch_rows_max: 4" +
              calls + "}}}\n"};
}

const std::vector<TextRow> kRows = {{"1", "1", "p"}, {"2", "1", "q"}, {"3", "1", "r"},
                                    {"4", "1", "s"}, {"5", "1", "t"}, {"6", "1", "u"}};
const std::vector<std::string> kScored = {"1 | 1 | p | 5",  "2 | 1 | q | 7",  "3 | 1 | r | 9",
                                          "4 | 1 | s | 11", "5 | 1 | t | 13", "6 | 1 | u | 15"};

auto Fails(absl::StatusCode code, const char* message = "no") {
  return [=](const inference::ModelInferRequest&) -> FakeModelServer::Response {
    return absl::Status(code, message);
  };
}

class RemoteInferenceTest : public testing::TestWithParam<HarnessMode> {
 protected:
  std::unique_ptr<OperatorHarness> Make(const OperatorHarness::Job& job) {
    return std::make_unique<OperatorHarness>(
        job, GetParam(), [this] { return MakeRemoteInference(server_.Transport()); });
  }
  FakeModelServer server_;
};

TEST_P(RemoteInferenceTest, AppendsThePredictionsOfTheServer) {
  for (const bool typed : {false, true}) {
    server_.typed = typed;
    const auto harness = Make(RemoteJob());
    harness->Push(kRows);
    harness->End();
    EXPECT_EQ(harness->TakeMain(), kScored);
    EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
  }
}

TEST_P(RemoteInferenceTest, WaitsWhileTheServerAsksForLessAndLosesNothing) {
  for (int i = 0; i < 40; ++i) {
    server_.script.push_back(
        Fails(i % 2 == 0 ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kUnavailable));
  }
  // Far more time than the timeout.
  const auto harness = Make(RemoteJob(", timeout: 100ms, breaker_open: 500ms"));
  harness->Push(kRows);
  harness->End();
  EXPECT_EQ(harness->TakeMain(), kScored);
  EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
}

TEST_P(RemoteInferenceTest, TriesOtherFailuresAgain) {
  for (int i = 0; i < 3; ++i) server_.script.push_back(Fails(absl::StatusCode::kInternal));
  const auto harness = Make(RemoteJob());
  harness->Push(kRows);
  harness->End();
  EXPECT_EQ(harness->TakeMain(), kScored);
}

TEST_P(RemoteInferenceTest, RowsThatAreNotAnsweredInTimeAreDeadLetters) {
  for (int i = 0; i < 1000; ++i) {
    server_.script.push_back(Fails(absl::StatusCode::kInternal, "broken"));
  }
  const auto harness = Make(RemoteJob(", timeout: 2s, breaker_open: 100ms"));
  harness->Push(kRows);
  harness->End();
  EXPECT_THAT(harness->TakeMain(), IsEmpty());
  const auto dead = harness->TakeDeadLetters();
  EXPECT_THAT(dead, SizeIs(6));
  EXPECT_THAT(dead, Each(HasSubstr("MR4107 | INTERNAL: broken")));
  EXPECT_EQ(harness->rows_dead_lettered(), 6u);
}

TEST_P(RemoteInferenceTest, FindsTheRowThatTheServerRefuses) {
  server_.poison = 3;
  const auto harness = Make(RemoteJob());
  harness->Push(kRows);
  harness->End();
  auto expected = kScored;
  expected.erase(expected.begin() + 2);
  EXPECT_EQ(harness->TakeMain(), expected);
  EXPECT_THAT(harness->TakeDeadLetters(),
              ElementsAre(HasSubstr("MR4106 | INVALID_ARGUMENT: cannot stand this value")));
}

TEST_P(RemoteInferenceTest, RowsOfAModelThatIsGoneAreDeadLetters) {
  for (int i = 0; i < 100; ++i) server_.script.push_back(Fails(absl::StatusCode::kNotFound));
  const auto harness = Make(RemoteJob());
  harness->Push(kRows);
  harness->End();
  EXPECT_THAT(harness->TakeMain(), IsEmpty());
  EXPECT_THAT(harness->TakeDeadLetters(), SizeIs(6));
}

TEST_P(RemoteInferenceTest, RowsThatFailGetTheFallbackWhenThereIsOne) {
  server_.poison = 3;
  const auto harness = Make(RemoteJob("", "[{tensor: score, fallback: -1}]"));
  harness->Push(kRows);
  harness->End();
  auto expected = kScored;
  expected[2] = "3 | 1 | r | -1";
  EXPECT_EQ(harness->TakeMain(), expected);
  EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
}

TEST_P(RemoteInferenceTest, AnAnswerWithTooFewRowsGivesNoRowTheValueOfAnother) {
  const auto short_by_one = [this](const inference::ModelInferRequest& request) {
    auto response = server_.Predict(request);
    auto& output = *response->mutable_outputs(0);
    output.set_shape(0, output.shape(0) - 1);
    response->mutable_raw_output_contents(0)->resize(response->raw_output_contents(0).size() -
                                                     sizeof(double));
    return response;
  };
  for (int i = 0; i < 100; ++i) server_.script.emplace_back(short_by_one);
  const auto harness = Make(RemoteJob());
  harness->Push(kRows);
  harness->End();
  EXPECT_THAT(harness->TakeMain(), IsEmpty());
  const auto dead = harness->TakeDeadLetters();
  EXPECT_THAT(dead, SizeIs(6));
  EXPECT_THAT(dead, Each(HasSubstr("MR4108")));
}

TEST_P(RemoteInferenceTest, RowsWithoutFeaturesAreDeadLettersAndAskNobody) {
  const auto harness = Make(RemoteJob());
  harness->Push({{"NULL", "1", "x"}, {"NULL", "2", "y"}});
  harness->Push({{"1", "1", "p"}, {"NULL", "2", "y"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 1 | p | 5"));
  EXPECT_EQ(harness->rows_dead_lettered(), 3u);
  EXPECT_THAT(server_.requests, SizeIs(1));
}

INSTANTIATE_TEST_SUITE_P(AllModes, RemoteInferenceTest, testing::ValuesIn(kAllModes),
                         [](const auto& info) { return ModeName(info.param); });

// ---- by hand: order, fullness, what Open refuses ----

class Rows : public Emitter {
 public:
  using Emitter::Emit;
  void Emit(OutputPort port, Batch batch) override {
    for (int64_t row = 0; row < batch.rows(); ++row) {
      if (port == OutputPort::kMain) values.push_back(batch.column(0).values<double>()[row]);
    }
  }
  bool full() const override { return false; }
  std::vector<double> values;
};

class RemoteOpenTest : public testing::Test {
 protected:
  absl::Status Open(const std::string& calls, const std::string& output = "score DOUBLE") {
    v1::Model& model = *graph_.add_models();
    model.set_name("m");
    auto& input = *model.add_inputs();
    input.set_name("x");
    input.set_type(v1::Tensor::TYPE_FLOAT32);
    input.set_width(2);
    auto& score = *model.add_outputs();
    score.set_name("score");
    score.set_type(output == "score DOUBLE" ? v1::Tensor::TYPE_FLOAT64 : v1::Tensor::TYPE_FLOAT32);
    score.set_width(1);
    v1::RemoteCalls& limits = *model.mutable_remote()->mutable_calls();
    limits.set_batch_rows_max(2);
    limits.set_batch_age_ms(10);
    limits.set_in_flight_max(3);
    limits.set_timeout_ms(1000);
    limits.set_breaker_calls_min(10);
    limits.set_breaker_open_ms(1000);
    limits.set_unordered(calls == "unordered");
    limits.set_fail_job(calls == "fail_job");
    node_.set_uid("op");
    v1::Inference& inference = *node_.mutable_inference();
    inference.set_model("m");
    for (int id = 1; id <= 2; ++id) {
      v1::Expr& feature = *inference.add_features()->mutable_expr();
      feature.mutable_type()->set_kind(v1::Type::KIND_FLOAT64);
      feature.set_field_id(static_cast<uint32_t>(id));
    }
    inference.add_outputs()->set_tensor("score");
    schema_ = Schema::Make({{.id = 1, .name = "a", .type = TypeKind::kFloat64},
                            {.id = 2, .name = "b", .type = TypeKind::kFloat64}});
    const SchemaPtr out = Schema::Make({{.id = 1, .name = "a", .type = TypeKind::kFloat64},
                                        {.id = 2, .name = "b", .type = TypeKind::kFloat64},
                                        {.id = 3, .name = "score", .type = TypeKind::kFloat64}});
    context_.reset(new OperatorContext{.node = node_,
                                       .input_schemas = {schema_},
                                       .output_schema = out,
                                       .key_groups = {0, 15},
                                       .counters = counters_,
                                       .clock = env_,
                                       .graph = &graph_,
                                       .disk = &env_.disk,
                                       .env = &env_.env,
                                       .wake = [this] { is_woken_ = true; }});
    op_ = MakeRemoteInference(server_.Transport());
    return op_->Open(*context_);
  }
  void Push(const std::vector<double>& values) {
    BatchBuilder builder(schema_);
    for (double value : values) {
      builder.column(0).AppendFloat64(value);
      builder.column(1).AppendFloat64(0);
    }
    ASSERT_TRUE(op_->Process(0, builder.Finish(), rows_).ok());
  }
  Settled Collect(bool all = false) {
    auto settled = op_->Collect(all, rows_);
    EXPECT_TRUE(settled.ok()) << settled.status();
    return settled.ok() ? *settled : Settled{};
  }
  void Answer(size_t i) {
    const auto answer = server_.held[i];
    server_.held.erase(server_.held.begin() + static_cast<std::ptrdiff_t>(i));
    answer();
  }
  double Number(const std::string& name, const std::string& state = "") {
    for (const auto& value : counters_.metrics.Read()) {
      if (value.name == name && (state.empty() || value.labels.back().second == state)) {
        return value.number;
      }
    }
    return -1;
  }

  FakeModelServer server_;
  bool is_woken_ = false;
  StateTestEnv env_;
  OperatorCounters counters_;
  v1::JobGraph graph_;
  v1::Node node_;
  SchemaPtr schema_;
  Rows rows_;
  std::unique_ptr<OperatorContext> context_;
  std::unique_ptr<Operator> op_;
};

TEST_F(RemoteOpenTest, KeepsTheOrderAndSaysHowFarItIs) {
  server_.hold = true;
  ASSERT_TRUE(Open("").ok());
  Push({1, 2, 3, 4, 5});
  EXPECT_EQ(server_.held.size(), 2u);  // The fifth row waits for a sixth.
  Answer(1);
  EXPECT_EQ(Collect().rows, 0u);
  EXPECT_THAT(rows_.values, IsEmpty());
  Answer(0);
  EXPECT_EQ(Collect().rows, 4u);
  EXPECT_THAT(rows_.values, ElementsAre(1, 2, 3, 4));
  ASSERT_TRUE(env_.RunTimer());  // The age of the fifth row.
  Collect();
  ASSERT_EQ(server_.held.size(), 1u);
  Answer(0);
  EXPECT_EQ(Collect().rows, 5u);
  EXPECT_EQ(Number("millrace_model_requests_total"), 3);
}

TEST_F(RemoteOpenTest, UnorderedRowsDoNotWaitForEarlierOnesButSettleInOrder) {
  server_.hold = true;
  ASSERT_TRUE(Open("unordered").ok());
  Push({1, 2, 3, 4});
  Answer(1);
  EXPECT_EQ(Collect().rows, 0u);
  EXPECT_THAT(rows_.values, ElementsAre(3, 4));
  Answer(0);
  EXPECT_EQ(Collect().rows, 4u);
  EXPECT_THAT(rows_.values, ElementsAre(3, 4, 1, 2));
}

TEST_F(RemoteOpenTest, IsFullWhenEnoughIsInFlight) {
  server_.hold = true;
  ASSERT_TRUE(Open("").ok());
  Push({1, 2, 3, 4});
  EXPECT_FALSE(Collect().full);
  Push({5, 6, 7, 8});
  EXPECT_TRUE(Collect().full);
  EXPECT_EQ(server_.held.size(), 3u);
  EXPECT_EQ(Number("millrace_model_requests_in_flight"), 3);
  Answer(0);
  Collect();
  EXPECT_EQ(server_.held.size(), 3u);
  Answer(0);
  EXPECT_FALSE(Collect().full);
}

TEST_F(RemoteOpenTest, ShowsTheBreakerAndComesBackThroughProbes) {
  ASSERT_TRUE(Open("").ok());
  for (int i = 0; i < 12; ++i) server_.script.push_back(Fails(absl::StatusCode::kUnavailable));
  Push({1, 2});
  bool was_open = false;
  for (int i = 0; i < 200 && Collect().rows < 2; ++i) {
    was_open |= Number("millrace_circuit_breaker_state", "open") == 1;
    if (!std::exchange(is_woken_, false)) {
      ASSERT_TRUE(env_.RunTimer());
    }
  }
  EXPECT_TRUE(was_open);
  EXPECT_THAT(rows_.values, ElementsAre(1, 2));
  for (double value = 3; value < 8; value += 2) {
    Push({value, value + 1});
    Collect();
  }
  EXPECT_EQ(Number("millrace_circuit_breaker_state", "closed"), 1);
  EXPECT_EQ(Number("millrace_model_slow_downs_total"), 12);
}

TEST_F(RemoteOpenTest, FailsTheJobWhenAskedTo) {
  server_.poison = 1;
  ASSERT_TRUE(Open("fail_job").ok());
  Push({1});
  absl::StatusOr<Settled> settled = op_->Collect(true, rows_);
  for (int i = 0; i < 5 && settled.ok(); ++i) settled = op_->Collect(true, rows_);
  EXPECT_EQ(settled.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(settled.status().message()), HasSubstr("cannot stand this value"));
}

TEST_F(RemoteOpenTest, RefusesAModelThatIsNotAsDeclared) {
  const absl::Status status = Open("", "score FLOAT");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("output score at the server: FP64; of the job: FP32"));
}

TEST_F(RemoteOpenTest, RefusesOtherShapesAndNames) {
  server_.metadata->mutable_inputs(0)->set_shape(1, 3);
  EXPECT_THAT(std::string(Open("").message()), HasSubstr("[-1, 3]"));
  server_.metadata = FakeModelServer::DefaultMetadata();
  server_.metadata->mutable_inputs(0)->set_name("y");
  EXPECT_THAT(std::string(Open("").message()), HasSubstr("inputs at the server: y"));
}

TEST_F(RemoteOpenTest, AnswersAfterItIsGoneReachNobody) {
  server_.hold = true;
  ASSERT_TRUE(Open("").ok());
  Push({1, 2, 3, 4});
  op_.reset();
  while (!server_.held.empty()) Answer(0);  // Address sanitizer looks on.
}

}  // namespace
}  // namespace millrace
