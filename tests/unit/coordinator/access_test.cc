#include "coordinator/access.h"

#include <gmock/gmock.h>

#include "millrace/v1/job_service.pb.h"
#include "millrace/v1/worker_service.pb.h"
#include "runtime/base/env.h"
#include "runtime/base/text.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSecond = 1'000'000'000;

class AccessTest : public ::testing::Test {
 protected:
  void Write(std::string_view text) {
    auto file = disk_.Create("/access");
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Append(text).ok());
    ASSERT_TRUE((*file)->Close().ok());
  }
  std::string Problem(std::string_view text) {
    Write(text);
    return std::string(AccessControl::Open("/access", disk_).status().message());
  }
  std::unique_ptr<AccessControl> Open(std::string_view text) {
    Write(text);
    auto access = AccessControl::Open("/access", disk_);
    EXPECT_TRUE(access.ok()) << access.status();
    return *std::move(access);
  }

  MemoryDisk disk_;
};

TEST_F(AccessTest, EveryMethodHasARuleAndEveryRuleAMethod) {
  int methods = 0;
  for (const auto* file :
       {v1::SubmitJobRequest::descriptor()->file(), v1::ConnectRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        const auto* method = file->service(s)->method(m);
        const std::string path = Concat("/", method->service()->full_name(), "/", method->name());
        EXPECT_TRUE(RoleNeeded(path)) << path << " has no rule: nobody could call it";
        ++methods;
      }
    }
  }
  EXPECT_EQ(methods, 18) << "a method went; its rule may go too";
  EXPECT_EQ(RoleNeeded("/millrace.v1.JobService/TailNode"), Role::kSubmitter) << "rows are data";
  EXPECT_FALSE(RoleNeeded("/millrace.v1.JobService/Other"));
  EXPECT_FALSE(RoleNeeded("/grpc.channelz.v1.Channelz/GetServers"));
  EXPECT_FALSE(RoleNeeded(""));
}

TEST_F(AccessTest, RolesBuildOnOneAnother) {
  const std::vector<Role> all = {Role::kViewer, Role::kOperator, Role::kSubmitter, Role::kAdmin,
                                 Role::kWorker};
  const auto allowed = [&](Role role) {
    std::string out;
    for (const Role needed : all) out += Allows(role, needed) ? 'y' : 'n';
    return out;
  };
  EXPECT_EQ(allowed(Role::kAnyone), "nnnnn");
  EXPECT_EQ(allowed(Role::kViewer), "ynnnn");
  EXPECT_EQ(allowed(Role::kOperator), "yynnn");
  EXPECT_EQ(allowed(Role::kSubmitter), "yyynn");
  EXPECT_EQ(allowed(Role::kAdmin), "yyyyy");
  EXPECT_EQ(allowed(Role::kWorker), "nnnny");
}

TEST_F(AccessTest, KnowsCallersByTokenAndByCertificate) {
  // sha256 of "secret".
  const auto access = Open(
      "# callers\n"
      "\n"
      "viewer  bob  sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b # his\n"
      "worker\tworkers cert:millrace-worker\n");
  const auto bob = access->Check("/millrace.v1.JobService/GetJob", {.token = "secret"}, 0);
  ASSERT_TRUE(bob.ok()) << bob.status();
  EXPECT_EQ(bob->name, "bob");
  const CallerProof worker = {.token = "", .certificate_names = {"other", "millrace-worker"}};
  EXPECT_TRUE(access->Check("/millrace.v1.WorkerService/Connect", worker, 0).ok());
  EXPECT_TRUE(access->Check("/grpc.health.v1.Health/Check", {}, 0).ok());

  const auto denied = access->Check("/millrace.v1.JobService/SubmitJob", {.token = "secret"}, 0);
  EXPECT_TRUE(absl::IsPermissionDenied(denied.status()));
  EXPECT_THAT(
      denied.status().message(),
      HasSubstr("'bob' has the role viewer; /millrace.v1.JobService/SubmitJob needs submitter"));
  EXPECT_TRUE(absl::IsPermissionDenied(
      access->Check("/millrace.v1.JobService/GetJob", worker, 0).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(
      access->Check("/millrace.v1.JobService/New", {.token = "secret"}, 0).status()));
  for (const CallerProof& stranger : {CallerProof{}, CallerProof{.token = "Secret"},
                                      CallerProof{.token = "", .certificate_names = {"bob"}}}) {
    EXPECT_TRUE(absl::IsUnauthenticated(
        access->Check("/millrace.v1.JobService/GetJob", stranger, 0).status()));
  }
}

TEST_F(AccessTest, ReadsTheListAgainWhenItHasChanged) {
  const std::string get = "/millrace.v1.JobService/GetJob";
  const CallerProof bob = {.token = "", .certificate_names = {"bob"}};
  const auto access = Open("viewer eve cert:eve\n");
  EXPECT_FALSE(access->Check(get, bob, 1 * kSecond).ok());
  Write("viewer bob cert:bob\n");
  EXPECT_FALSE(access->Check(get, bob, 1 * kSecond + 1).ok()) << "not yet";
  EXPECT_TRUE(access->Check(get, bob, 2 * kSecond).ok());
  Write("nonsense\n");
  EXPECT_TRUE(access->Check(get, bob, 4 * kSecond).ok()) << "the former list counts";
  ASSERT_TRUE(disk_.Remove("/access").ok());
  EXPECT_TRUE(access->Check(get, bob, 6 * kSecond).ok());
  Write("# nobody\n");
  EXPECT_FALSE(access->Check(get, bob, 8 * kSecond).ok());
}

TEST_F(AccessTest, ExplainsAListThatCannotBeUsed) {
  EXPECT_FALSE(AccessControl::Open("/nowhere", disk_).ok());
  EXPECT_THAT(Problem("# nobody\n"), HasSubstr("lets nobody in"));
  EXPECT_THAT(Problem("\nviewer bob"), HasSubstr("line 2 of the access file: expected a role"));
  EXPECT_THAT(Problem("root bob cert:b"), HasSubstr("'root' is no role; roles: viewer"));
  EXPECT_THAT(Problem("viewer bob secret"), HasSubstr("expected sha256:"));
  EXPECT_THAT(Problem("viewer bob sha256:ABC"), HasSubstr("64 digits"));
  EXPECT_THAT(Problem("viewer bob cert:"), HasSubstr("name of the certificate is missing"));
  EXPECT_THAT(Problem("viewer bob cert:b\nadmin al cert:b"), HasSubstr("given twice"));
  EXPECT_THAT(Problem(std::string(2 << 20, ' ')), HasSubstr("larger than 1 MiB"));
}

}  // namespace
}  // namespace millrace
