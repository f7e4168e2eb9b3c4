#include "operators/udf/python_call.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "absl/synchronization/mutex.h"
#include "runtime/base/log.h"
#include "tests/unit/operators/operator_harness.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::SizeIs;

PythonSettings Settings() {
  return {.folders = SplitFolders(MILLRACE_PYTHON_FOLDERS), .interpreter = MILLRACE_PYTHON};
}

// `function`: fields of the message behind the handler and the type of the result.
std::string Call(const std::string& handler, const std::string& result,
                 const std::string& arguments, const std::string& function = "",
                 const std::string& call = "") {
  return "{name: y, function: {handler: " + handler + ", result: '" + result + "'" + function +
         "}, arguments: [" + arguments + "]" + call + "}";
}

// For YAML, where it is one text of SQL.
std::string Quoted(const std::string& text) {
  return text.find('\'') == std::string::npos ? text : "\"" + text + "\"";
}

OperatorHarness::Job JobOf(const std::vector<std::string>& columns, const std::string& calls) {
  return {.columns = columns,
          .node = "python_call: {results: [" + calls + "]}",
          .before = "",
          .has_threads = true};
}

std::unique_ptr<OperatorHarness> Make(const OperatorHarness::Job& job,
                                      HarnessMode mode = HarnessMode::kStraight) {
  return std::make_unique<OperatorHarness>(job, mode, [] { return MakePythonCall(Settings()); });
}

// The value of `column` behind a function that returns what it gets.
std::vector<std::string> ThroughPython(const std::string& type, const std::string& handler,
                                       const std::string& mode,
                                       const std::vector<std::string>& values) {
  const auto harness =
      Make(JobOf({"a " + type}, Call("functions." + handler, type, "a", ", mode: " + mode)));
  std::vector<TextRow> rows;
  for (const std::string& value : values) rows.push_back({value});
  harness->Push(rows);
  harness->End();
  EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
  return harness->TakeMain();
}

class PythonCallTest : public testing::TestWithParam<HarnessMode> {};

INSTANTIATE_TEST_SUITE_P(Modes, PythonCallTest, testing::ValuesIn(kAllModes),
                         [](const auto& mode) { return ModeName(mode.param); });

TEST_P(PythonCallTest, GivesRowsTheResultsOfFunctions) {
  const auto harness =
      Make(JobOf({"a BIGINT", "b BIGINT"}, Call("functions.add", "BIGINT", "a, b")), GetParam());
  harness->Push({{"1", "2"}, {"3", "4"}});
  harness->Watermark(5);
  harness->Push({{"5", "6"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 2 | 3", "3 | 4 | 7", "5 | 6 | 11"));
  EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
}

TEST_P(PythonCallTest, ARowThatRaisesIsADeadLetter) {
  for (const std::string handler : {"fail_on", "v_fail_on"}) {
    SCOPED_TRACE(handler);
    const auto harness =
        Make(JobOf({"a BIGINT"}, Call("functions." + handler, "BIGINT", "a, CAST(2 AS BIGINT)",
                                      handler[0] == 'v' ? ", mode: vectorized" : "")),
             GetParam());
    harness->Push({{"1"}, {"2"}, {"3"}, {"2"}, {"4"}});
    harness->End();
    EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 1", "3 | 3", "4 | 4"));
    const auto letters = harness->TakeDeadLetters();
    EXPECT_THAT(letters, SizeIs(2));
    EXPECT_THAT(letters, Each(HasSubstr(handler + ": ValueError: no 2 please (functions.py:")));
    EXPECT_THAT(letters, Each(HasSubstr(" | MR4201 | ")));
    EXPECT_EQ(harness->rows_dead_lettered(), 2u);
    EXPECT_EQ(harness->metric("millrace_python_failed_rows_total"), 2);
    EXPECT_EQ(harness->metric("millrace_python_processes_ended_total"), 0);
  }
}

TEST_P(PythonCallTest, ARowThatEndsTheProcessIsFound) {
  struct Case {
    std::string handler, mode, message;
  };
  for (const Case& one : {Case{"crash_on", "scalar", "ended by signal 11 (Segmentation fault)"},
                          Case{"v_crash_on", "vectorized", "ended by signal 11"},
                          Case{"exit_on", "scalar", "ended with exit code 7"},
                          Case{"crash_with_child_on", "scalar", "ended with exit code 7"}}) {
    SCOPED_TRACE(one.handler);
    const auto harness =
        Make(JobOf({"a BIGINT"}, Call("functions." + one.handler, "BIGINT", "a, CAST(3 AS BIGINT)",
                                      ", attempts_max: 2, mode: " + one.mode)),
             GetParam());
    harness->Push({{"1"}, {"2"}, {"3"}, {"4"}});
    harness->Push({{"5"}});
    harness->End();
    EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 1", "2 | 2", "4 | 4", "5 | 5"));
    const auto letters = harness->TakeDeadLetters();
    EXPECT_THAT(letters, ElementsAre(AllOf(HasSubstr(" | MR4202 | the Python process "),
                                           HasSubstr(one.message), HasSubstr(", 2 times"))));
    EXPECT_EQ(harness->metric("millrace_python_processes_ended_total"), 3);
  }
}

TEST_P(PythonCallTest, TheKindsOfRowsAreKept) {
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("functions.same", "BIGINT", "a + 1")), GetParam());
  harness->Push({{"+I", "1"}, {"-U", "1"}, {"+U", "2"}, {"-D", "2"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(),
              ElementsAre("+I | 1 | 2", "+U | 2 | 3", "-D | 2 | 3", "-U | 1 | 2"));
}

TEST(PythonCallTest, ARowThatNeverReturnsIsFound) {
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("functions.hang_on", "BIGINT", "a, CAST(2 AS BIGINT)",
                                    ", timeout_ms: 700, attempts_max: 1")));
  harness->Push({{"1"}, {"2"}, {"3"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 1", "3 | 3"));
  EXPECT_THAT(harness->TakeDeadLetters(),
              ElementsAre(HasSubstr(" | MR4203 | no result within 700 ms, 1 time")));
}

TEST(PythonCallTest, RowsThatNeedTooLongTogetherAreAskedInSmallerBatches) {
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("functions.slow", "BIGINT", "a", ", timeout_ms: 500")));
  std::vector<TextRow> rows;
  for (int i = 0; i < 40; ++i) rows.push_back({std::to_string(i)});
  harness->Push(rows);
  harness->Push(rows);
  harness->End();
  EXPECT_THAT(harness->TakeMain(), SizeIs(80));
  EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
  EXPECT_EQ(harness->metric("millrace_python_processes_ended_total"), 1);
}

TEST(PythonCallTest, AProcessThatIsKilledLosesNoRow) {
  const std::string marker = testing::TempDir() + "/died";
  std::filesystem::remove(marker);
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("functions.die_once", "BIGINT", "a, \"'" + marker + "'\"")));
  harness->Push({{"1"}, {"2"}, {"3"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 1", "2 | 2", "3 | 3"));
  EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
  EXPECT_EQ(harness->metric("millrace_python_processes_ended_total"), 1);
}

TEST(PythonCallTest, TheProcessEndsWithTheOperator) {
  pid_t pid = 0;
  {
    const auto harness = Make(JobOf({"a BIGINT"}, Call("functions.pid", "BIGINT", "")));
    harness->Push({{"1"}});
    harness->End();
    const auto lines = harness->TakeMain();
    ASSERT_THAT(lines, SizeIs(1));
    pid = std::stoi(lines[0].substr(4));
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(PythonCallTest, EveryTypeComesBackAsItWent) {
  struct Case {
    std::string type;
    std::vector<std::string> values;
    std::string python;
  };
  for (const Case& one :
       {Case{"BOOLEAN", {"true", "false"}, "bool"},
        Case{"INT", {"1", "-2147483648", "2147483647"}, "int"},
        Case{"BIGINT", {"1", "-9223372036854775808", "9223372036854775807"}, "int"},
        Case{"DOUBLE", {"1.5", "-1e+300", "inf"}, "float"},
        Case{"STRING", {"a", "", "Zürich \xe6\x97\xa5"}, "str"},
        Case{"BYTES", {"a", "", "Zürich"}, "bytes"},
        Case{"DATE", {"0", "-719162", "2932896"}, "date"},
        Case{"TIMESTAMP(3)", {"0", "-62135596800000", "253402300799999"}, "datetime"},
        Case{"DECIMAL(38, 3)",
             {"0.000", "-99999999999999999999999999999999999.999", "1.230"},
             "Decimal"}}) {
    SCOPED_TRACE(one.type);
    std::vector<std::string> values = one.values;
    values.push_back("NULL");
    std::vector<std::string> expected;
    for (const std::string& value : values) expected.push_back(value + " | " + value);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(ThroughPython(one.type, "same", "scalar", values), expected);
    EXPECT_EQ(ThroughPython(one.type, "v_same", "vectorized", values), expected);
    const auto harness = Make(JobOf({"a " + one.type}, Call("functions.type_name", "STRING", "a")));
    harness->Push({{values[0]}, {"NULL"}});
    harness->End();
    EXPECT_THAT(harness->TakeMain(),
                testing::UnorderedElementsAre(values[0] + " | " + one.python, "NULL | NoneType"));
  }
}

TEST(PythonCallTest, AResultOfAnotherTypeIsADeadLetter) {
  struct Case {
    std::string result, handler, argument, message;
  };
  for (const Case& one :
       {Case{"BIGINT", "same", "'1'",
             "same: the result '1' is no BIGINT: 'str' object cannot "
             "be interpreted as an integer"},
        Case{"INT", "same", "3000000000", "is no INT: 3000000000 is out of range"},
        Case{"STRING", "same", "1", "the result 1 is no STRING: it is a int"},
        Case{"DOUBLE", "same", "'1'", "is no DOUBLE: it is a str"},
        Case{"BOOLEAN", "same", "1", "is no BOOLEAN"},
        Case{"TIMESTAMP(3)", "same", "1", "is no TIMESTAMP"},
        Case{"DATE", "instant", "2020", "is no DATE: it is a datetime"},
        Case{"DECIMAL(3, 1)", "decimal_of", "'100'", "is no DECIMAL(3, 1): 100 has more digits"},
        Case{"DECIMAL(3, 1)", "decimal_of", "'NaN'", "NaN is no number"},
        Case{"BIGINT", "v_short", "a", "v_short: ValueError: the result has 0 values, not 1"},
        Case{"INT", "v_add", "a, 3000000000", "Integer value 3000000001 not in range"}}) {
    SCOPED_TRACE(one.result + " " + one.argument);
    const auto harness =
        Make(JobOf({"a BIGINT"}, Call("functions." + one.handler, one.result, Quoted(one.argument),
                                      one.handler[0] == 'v' ? ", mode: vectorized" : "")));
    harness->Push({{"1"}});
    harness->End();
    EXPECT_THAT(harness->TakeMain(), IsEmpty());
    EXPECT_THAT(harness->TakeDeadLetters(),
                ElementsAre(AllOf(HasSubstr(" | MR4201 | "), HasSubstr(one.message))));
  }
}

TEST(PythonCallTest, ResultsAreMadeToFitTheirType) {
  struct Case {
    std::string result, handler, argument, value;
  };
  for (const Case& one :
       {Case{"DECIMAL(5, 2)", "decimal_of", "'-1.235'", "-1.24"},
        Case{"DECIMAL(5, 2)", "same", "7", "7.00"}, Case{"DOUBLE", "same", "7", "7"},
        Case{"TIMESTAMP(3)", "instant", "1970", "97445678"}, Case{"BIGINT", "v_list", "a", "2"}}) {
    SCOPED_TRACE(one.result + " " + one.argument);
    const auto harness =
        Make(JobOf({"a BIGINT"}, Call("functions." + one.handler, one.result, Quoted(one.argument),
                                      one.handler[0] == 'v' ? ", mode: vectorized" : "")));
    harness->Push({{"1"}});
    harness->End();
    EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | " + one.value));
    EXPECT_THAT(harness->TakeDeadLetters(), IsEmpty());
  }
}

TEST(PythonCallTest, ATimestampThatPythonDoesNotHaveIsADeadLetter) {
  const auto harness = Make(JobOf({"a TIMESTAMP(3)"}, Call("functions.same", "TIMESTAMP(3)", "a")));
  harness->Push({{"253402300800000"}, {"1"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 1"));
  EXPECT_THAT(harness->TakeDeadLetters(),
              ElementsAre(HasSubstr("same: TIMESTAMP is outside the years 1 to 9999")));
}

TEST(PythonCallTest, IsNotCalledForNullsAndForOtherRowsThanItsCondition) {
  for (const std::string mode : {"scalar", "vectorized"}) {
    SCOPED_TRACE(mode);
    const std::string handler = mode == "scalar" ? "fail_on" : "v_fail_on";
    const auto harness =
        Make(JobOf({"a BIGINT", "b BIGINT"},
                   Call("functions." + handler, "BIGINT", "a, b",
                        ", null_on_null_input: true, mode: " + mode, ", condition: a < 3")));
    harness->Push({{"1", "2"}, {"NULL", "1"}, {"2", "NULL"}, {"5", "5"}, {"2", "2"}});
    harness->End();
    EXPECT_THAT(harness->TakeMain(),
                ElementsAre("1 | 2 | 1", "2 | NULL | NULL", "5 | 5 | NULL", "NULL | 1 | NULL"));
    EXPECT_THAT(harness->TakeDeadLetters(), ElementsAre(HasSubstr("no 2 please")));
  }
}

TEST(PythonCallTest, AnArgumentThatCannotBeEvaluatedIsADeadLetterAndItsRowIsNotLost) {
  const auto harness = Make(JobOf({"a BIGINT"}, Call("functions.same", "BIGINT", "12 / a")));
  harness->Push({{"1"}, {"0"}, {"3"}});
  harness->Push({{"0"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 12", "3 | 4"));
  EXPECT_THAT(harness->TakeDeadLetters(), AllOf(SizeIs(2), Each(HasSubstr(" | MR4002 | "))));
}

TEST(PythonCallTest, SeveralFunctionsAreCalledInOneProcess) {
  const std::string other =
      "{name: z, function: {handler: inner.answer, result: INT, path: nested}, arguments: []}";
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("functions.same", "BIGINT", "a") + ", " + other));
  harness->Push({{"1"}, {"2"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("1 | 1 | 42", "2 | 2 | 42"));
  EXPECT_EQ(harness->metric("millrace_python_batches_total"), 1);
}

TEST(PythonCallTest, LargeBatchesAreCutAndSmallOnesJoined) {
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("functions.same", "BIGINT", "a", ", batch_rows_max: 10")));
  std::vector<TextRow> rows;
  for (int i = 0; i < 95; ++i) rows.push_back({std::to_string(i)});
  harness->Push(rows);
  for (int i = 0; i < 50; ++i) harness->Push({{"7"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), SizeIs(145));
  EXPECT_EQ(harness->metric("millrace_python_rows_total"), 145);
  EXPECT_LT(harness->metric("millrace_python_batches_total"), 40);
}

TEST(PythonCallTest, BatchesWithoutArgumentsAreJoined) {
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("inner.answer", "BIGINT", "", ", path: nested")));
  for (int i = 0; i < 10; ++i) harness->Push({{"1"}, {"2"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), AllOf(SizeIs(20), Each(HasSubstr(" | 42"))));
  EXPECT_LT(harness->metric("millrace_python_batches_total"), 10);
}

TEST(PythonCallTest, AResultThatIsTooLargeIsADeadLetterOfItsRow) {
  const auto harness =
      Make(JobOf({"a BIGINT"}, Call("functions.text_of", "STRING", "a", ", attempts_max: 1")));
  harness->Push({{"3"}, {"300000000"}});
  harness->End();
  EXPECT_THAT(harness->TakeMain(), ElementsAre("3 | xxx"));
  EXPECT_THAT(harness->TakeDeadLetters(), ElementsAre(HasSubstr("more than 256 MB of results")));
}

TEST(PythonCallTest, WhatFunctionsPrintGoesToTheLog) {
  absl::Mutex mutex;
  std::vector<std::string> lines;
  SetLogObserver([&](LogLevel, std::string_view message, const LogFields&) {
    const absl::MutexLock lock(&mutex);
    lines.emplace_back(message);
  });
  {
    const auto harness = Make(JobOf({"a STRING"}, Call("functions.shout", "STRING", "a")));
    harness->Push({{"hello"}});
    harness->End();
    EXPECT_THAT(harness->TakeMain(), ElementsAre("hello | HELLO"));
  }
  SetLogObserver(nullptr);
  EXPECT_THAT(lines, IsSupersetOf({"python: functions are loaded", "python: out: hello",
                                   "python: err: hello"}));
}

// What Open says, or the first call of Collect behind it.
class PythonCallOpenTest : public testing::Test {
 protected:
  absl::Status Open(const std::string& handler, const PythonSettings& settings,
                    const std::string& path = "") {
    v1::PythonResult& result = *node_.mutable_python_call()->add_results();
    result.set_name("y");
    v1::PythonFunction& function = *result.mutable_function();
    function.set_name("f");
    function.set_handler(handler);
    function.set_path(path);
    function.mutable_result()->set_kind(v1::Type::KIND_INT64);
    function.set_timeout_ms(10'000);
    function.set_batch_rows_max(10);
    function.set_attempts_max(1);
    const SchemaPtr schema = Schema::Make({});
    OperatorContext context{.node = node_,
                            .input_schemas = {schema},
                            .output_schema = schema,
                            .counters = counters_,
                            .clock = env_,
                            .env = &env_.env,
                            .wake = [this] { waker_.Wake(); }};
    const auto op = MakePythonCall(settings);
    if (absl::Status status = op->Open(context); !status.ok()) return status;
    waker_.Wait(absl::Seconds(60));
    return op->Collect(false, rows_).status();
  }

  class Nowhere : public Emitter {
   public:
    using Emitter::Emit;
    void Emit(OutputPort, Batch) override {}
    bool full() const override { return false; }
  };

  StateTestEnv env_;
  OperatorCounters counters_;
  v1::Node node_;
  Waker waker_;
  Nowhere rows_;
};

TEST_F(PythonCallOpenTest, IsRefusedWhereTheWorkerAllowsNoFolder) {
  const absl::Status status = Open("functions.same", {});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not run functions in Python"));
}

TEST_F(PythonCallOpenTest, SaysWhatIsMissing) {
  PythonSettings nowhere = Settings();
  nowhere.interpreter = "python-of-nowhere";
  struct Case {
    std::string handler;
    PythonSettings settings;
    std::string path, message;
  };
  for (const Case& one :
       {Case{"functions.same", nowhere, "", "there is no Python interpreter 'python-of-nowhere'"},
        Case{"absent.same", Settings(), "", "there is no module 'absent' in "},
        Case{"functions.absent", Settings(), "", "'functions' has no function 'absent'"},
        Case{"broken.f", Settings(), "",
             "cannot import broken: RuntimeError: the file of parameters is missing (broken.py:3"},
        Case{"os.system", Settings(), "", "there is no module 'os' in "},
        Case{"functions.same", Settings(), "absent", "is no folder within those that this worker"},
        Case{"functions.same", Settings(), "..", "is no folder within those that this worker"},
        Case{"functions.same", Settings(), "/usr", "is no folder within those that this worker"}}) {
    SCOPED_TRACE(one.handler + " " + one.path);
    node_.Clear();
    const absl::Status status = Open(one.handler, one.settings, one.path);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(one.message));
  }
}

}  // namespace
}  // namespace millrace
