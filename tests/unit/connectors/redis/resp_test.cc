#include "operators/connectors/redis/resp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

TEST(RespTest, CommandsAreArraysOfTexts) {
  std::string out;
  AppendRespCommand(std::array<std::string_view, 2>{"GET", "a\r\nb"}, out);
  EXPECT_EQ(out, "*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n");
}

TEST(RespTest, ReadsEveryKindOfReply) {
  struct Case {
    std::string_view bytes;
    RespReply::Kind kind;
    std::string_view text;
  };
  for (const Case& one :
       {Case{"+OK\r\n", RespReply::Kind::kText, "OK"},
        Case{"-WRONGTYPE no\r\n", RespReply::Kind::kError, "WRONGTYPE no"},
        Case{":-12\r\n", RespReply::Kind::kInteger, "-12"},
        Case{"$-1\r\n", RespReply::Kind::kNull, ""}, Case{"*-1\r\n", RespReply::Kind::kNull, ""},
        Case{"$0\r\n\r\n", RespReply::Kind::kText, ""},
        Case{"$4\r\na\r\nb\r\n", RespReply::Kind::kText, "a\r\nb"}}) {
    SCOPED_TRACE(one.bytes);
    RespReply reply;
    const auto taken = ReadRespReply(std::string(one.bytes) + "+next\r\n", reply);
    ASSERT_TRUE(taken.ok()) << taken.status();
    EXPECT_EQ(*taken, one.bytes.size());
    const std::string whole = std::string(one.bytes);
    ASSERT_EQ(*ReadRespReply(whole, reply), whole.size());
    EXPECT_EQ(reply.kind, one.kind);
    EXPECT_EQ(reply.text, one.text);
  }
}

TEST(RespTest, AReplyThatIsNotCompleteTakesNothing) {
  const std::string whole = "*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n";
  RespReply reply;
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto taken = ReadRespReply(whole.substr(0, length), reply);
    ASSERT_TRUE(taken.ok()) << taken.status();
    EXPECT_EQ(*taken, 0u);
  }
  ASSERT_EQ(*ReadRespReply(whole, reply), whole.size());
  EXPECT_THAT(reply.elements, ElementsAre(Optional(std::string_view("a")), std::nullopt,
                                          Optional(std::string_view(""))));
}

TEST(RespTest, RefusesWhatIsNoReplyOrTooLong) {
  RespReply reply;
  const auto message = [&](const std::string& bytes) {
    return std::string(ReadRespReply(bytes, reply).status().message());
  };
  EXPECT_THAT(message("HTTP/1.1 400\r\n"), HasSubstr("is this its port"));
  EXPECT_THAT(message("\r\n"), HasSubstr("an empty line"));
  EXPECT_THAT(message("$x\r\n"), HasSubstr("a length is no number"));
  EXPECT_THAT(message("$-2\r\n"), HasSubstr("a length is no number"));
  EXPECT_THAT(message("$1\r\nabc"), HasSubstr("another length"));
  EXPECT_THAT(message("*1\r\n:1\r\n"), HasSubstr("an array of other things"));
  EXPECT_THAT(message("$16777217\r\n"), HasSubstr("at most 16777216"));
  EXPECT_THAT(message("*4097\r\n"), HasSubstr("at most 4096"));
  EXPECT_THAT(message("+" + std::string(1 << 20, 'x')), HasSubstr("a line has no end"));
  std::string large = "*3\r\n";
  for (int i = 0; i < 3; ++i) large += "$16000000\r\n" + std::string(16'000'000, 'x') + "\r\n";
  EXPECT_THAT(message(large), HasSubstr("more than 33554432 bytes"));
}

}  // namespace
}  // namespace millrace
