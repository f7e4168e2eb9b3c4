#include "operators/connectors/kafka/native/sasl.h"

#include <gtest/gtest.h>

#include <vector>

namespace millrace {
namespace {

class NoRandom : public Random {
 public:
  uint64_t Next() override { return 0; }
  bool OneIn(uint32_t) override { return false; }
};

struct Case {
  const char* mechanism;
  const char* proof;
  const char* signature;
};

class KafkaSaslTest : public testing::Test {
 protected:
  std::unique_ptr<SaslClient> Make(const std::string& mechanism) {
    return *MakeSaslClient(mechanism, "us=,er", Secret("secret"), random_);
  }
  const std::string nonce_ = std::string(32, 'A');  // 24 zero bytes.
  const std::string challenge_ = "r=" + nonce_ + "server,s=c2FsdC1zYWx0,i=4096";
  NoRandom random_;
};

// By Python's hashlib and hmac.
constexpr Case kCases[] = {
    {"SCRAM-SHA-256", "ikG3tAqyoLjsOEO6tn7N1jQGyvmg4V6C8Shazzi1neI=",
     "JAEIE8aendWI0shkOzf8Bl5TYgdXhij5OLhq5rrVsHg="},
    {"SCRAM-SHA-512",
     "GUJFljrU9/JbXBI0za9RHwXHd/roZGd7Sl+pthL4Bi9od+ry0MfiRKqdCnoESPbe/hAl8W+1P8rFyatFlDhP5Q==",
     "Y3N0OjBnW/zR2fQ7tfrWlfIg/R0wWSPmEigHZ4DTOf3UtD0Eg3y4BxyqzsSytud2e9REbvj4kBCWjJK0Q3WPjg=="},
};

TEST_F(KafkaSaslTest, ScramProvesThatItKnowsThePassword) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.mechanism);
    const auto client = Make(c.mechanism);
    EXPECT_EQ(*client->Next(""), "n,,n=us=3D=2Cer,r=" + nonce_);
    EXPECT_EQ(*client->Next(challenge_), "c=biws,r=" + nonce_ + "server,p=" + c.proof);
    EXPECT_FALSE(client->done());
    EXPECT_TRUE(client->Next(std::string("v=") + c.signature).ok());
    EXPECT_TRUE(client->done());
  }
}

TEST_F(KafkaSaslTest, ScramRefusesAServerThatCannotProveItself) {
  for (const std::string answer : {"", "v=", "v=AAAA", "e=other-error"}) {
    const auto client = Make("SCRAM-SHA-256");
    ASSERT_TRUE(client->Next("").ok());
    ASSERT_TRUE(client->Next(challenge_).ok());
    EXPECT_EQ(client->Next(answer).status().code(), absl::StatusCode::kPermissionDenied);
  }
  const std::vector<std::string> challenges = {"",
                                               "r=other,s=c2FsdA==,i=4096",
                                               "r=" + nonce_ + ",s=c2FsdA==,i=4096",
                                               "r=" + nonce_ + "x,s=c2FsdA==,i=0",
                                               "r=" + nonce_ + "x,s=c2FsdA==,i=999999999",
                                               "r=" + nonce_ + "x,s=?,i=4096"};
  for (const std::string& challenge : challenges) {
    const auto client = Make("SCRAM-SHA-256");
    ASSERT_TRUE(client->Next("").ok());
    EXPECT_EQ(client->Next(challenge).status().code(), absl::StatusCode::kPermissionDenied)
        << challenge;
  }
}

TEST_F(KafkaSaslTest, PlainSendsBoth) {
  const auto client = Make("PLAIN");
  EXPECT_EQ(*client->Next(""), std::string("\0us=,er\0secret", 14));
  EXPECT_TRUE(client->Next("").ok());
  EXPECT_TRUE(client->done());
}

TEST_F(KafkaSaslTest, OtherMechanismsNeedTheOtherFetch) {
  const auto client = MakeSaslClient("GSSAPI", "", Secret(), random_);
  EXPECT_EQ(client.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(client.status().message()).find("librdkafka"), std::string::npos);
}

}  // namespace
}  // namespace millrace
