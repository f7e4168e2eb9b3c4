// kill -9 of a process that commits, at chosen and at random moments.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "kafka_fixture.h"
#include "millrace/v1/checkpoint.pb.h"
#include "operators/connectors/kafka/wire_bytes.h"
#include "tests/integration/kafka/kafka_commit_loop.h"

namespace millrace {
namespace {

// By both producers.
class KafkaKillTest : public KafkaTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    KafkaTest::SetUp();
    if (IsSkipped()) return;
    topic_ = CreateTopic(2);
    job_ = Unique("job");
    state_ = (std::filesystem::temp_directory_path() / job_).string();
  }
  void TearDown() override {
    if (!state_.empty()) std::filesystem::remove(state_);
  }

  pid_t Start(uint64_t last_epoch, const std::string& failpoints = "") {
    const std::string epochs = std::to_string(last_epoch);
    std::vector<const char*> argv = {MILLRACE_COMMIT_LOOP, GetParam(),   brokers_.c_str(),
                                     topic_.c_str(),       job_.c_str(), state_.c_str(),
                                     epochs.c_str()};
    if (!failpoints.empty()) argv.push_back(failpoints.c_str());
    argv.push_back(nullptr);
    pid_t pid = 0;
    EXPECT_EQ(posix_spawn(&pid, MILLRACE_COMMIT_LOOP, nullptr, nullptr,
                          const_cast<char**>(argv.data()), environ),
              0);
    return pid;
  }
  uint64_t StoredEpoch() const {
    std::ifstream file(state_, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    const std::string bytes = content.str();
    ByteReader reader(bytes);
    reader.Fixed<uint64_t>();
    const std::string_view token_bytes = reader.Bytes();
    v1::CommitToken token;
    EXPECT_TRUE(token.ParseFromArray(token_bytes.data(), static_cast<int>(token_bytes.size())));
    return token.epoch();
  }
  static int Wait(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
  }

  void ExpectEveryRowOnce(uint64_t last_epoch) {
    std::map<std::string, int> expected;
    for (uint64_t epoch = 1; epoch <= last_epoch; ++epoch) {
      for (const std::string& row : RowsOfEpoch(epoch)) ++expected[row];
    }
    std::map<std::string, int> found;
    for (const std::string& row : ReadTopic(topic_)) ++found[row];
    size_t lost = 0;
    size_t duplicated = 0;
    for (const auto& [row, count] : expected) lost += found.count(row) == 0;
    for (const auto& [row, count] : found) duplicated += count > 1;
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(duplicated, 0u);
    EXPECT_EQ(found.size(), expected.size());
  }

  Env env_value_ = env_.env();
  std::string topic_, job_, state_;
};

TEST_P(KafkaKillTest, ACrashAtEveryStepLosesAndRepeatsNothing) {
  uint64_t last_epoch = 0;
  for (const std::string point :
       {"kafka.init.after_fence", "kafka.commit.before_begin", "kafka.commit.after_begin",
        "kafka.commit.after_produce", "kafka.commit.after_marker", "kafka.commit.before_commit",
        "kafka.commit.after_commit"}) {
    SCOPED_TRACE(point);
    last_epoch += 4;
    const int crashed = Wait(Start(last_epoch, point + "=crash@1"));
    ASSERT_TRUE(WIFSIGNALED(crashed) && WTERMSIG(crashed) == SIGKILL) << crashed;
    const int finished = Wait(Start(last_epoch));
    ASSERT_TRUE(WIFEXITED(finished) && WEXITSTATUS(finished) == 0) << finished;
  }
  ExpectEveryRowOnce(last_epoch);
}

TEST_P(KafkaKillTest, RandomKillsLoseAndRepeatNothing) {
  const char* seed_text = std::getenv("MILLRACE_TEST_SEED");
  const unsigned seed = seed_text ? static_cast<unsigned>(std::atoi(seed_text)) : time(nullptr);
  const char* kills_text = std::getenv("MILLRACE_TEST_KILLS");
  const int kills = kills_text ? std::atoi(kills_text) : 30;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr uint64_t kFar = 1'000'000;
  for (int i = 0; i < kills; ++i) {
    const pid_t pid = Start(kFar);
    // From within the start to well into the loop.
    const KafkaDeadline moment(env_value_.clock, absl::Milliseconds(30 + random() % 900));
    while (!moment.passed()) producer_->Poll(1);
    kill(pid, SIGKILL);
    ASSERT_TRUE(WIFSIGNALED(Wait(pid))) << "it ended by itself";
  }
  const uint64_t last_epoch = StoredEpoch();
  const int finished = Wait(Start(last_epoch + 1));
  ASSERT_TRUE(WIFEXITED(finished) && WEXITSTATUS(finished) == 0) << finished;
  RecordProperty("epochs", std::to_string(last_epoch + 1));
  EXPECT_GT(last_epoch, 10u) << "the kills came too early to test anything";
  ExpectEveryRowOnce(last_epoch + 1);
}

INSTANTIATE_TEST_SUITE_P(By, KafkaKillTest, testing::Values("native", "librdkafka"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace millrace
