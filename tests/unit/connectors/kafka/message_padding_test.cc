#include "operators/connectors/kafka/message_padding.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace {
namespace {

TEST(MessagePaddingTest, ValuesInOneBlockStayWhereTheyAreAndTheLastIsCopied) {
  std::string block(1000, '.');
  std::vector<Message> messages;
  for (size_t i = 0; i < 9; ++i) messages.push_back({.value = {block.data() + i * 100, 95}});
  const std::vector<Message> before = messages;
  MessagePadding padding;
  padding.Pad(messages);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(messages[i].value, before[i].value);
  EXPECT_NE(messages[8].value.data(), before[8].value.data());
  if (MessagePadding::kCopiesAll) return;
  EXPECT_EQ(padding.copied(), 1u);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(messages[i].value.data(), before[i].value.data());
}

TEST(MessagePaddingTest, EveryValueIsFollowedByReadableBytes) {
  // Each value alone at the end of its allocation: a sanitizer sees every read behind it.
  std::vector<std::vector<char>> blocks;
  std::vector<Message> messages;
  for (size_t size : {0, 1, 63, 64, 1000}) {
    blocks.emplace_back(size, static_cast<char>('a' + blocks.size()));
    messages.push_back({.value = {blocks.back().data(), size}});
  }
  messages.push_back({.is_null = true});
  const std::vector<Message> before = messages;
  MessagePadding padding;
  for (int round = 0; round < 2; ++round) {
    std::vector<Message> padded = before;
    padding.Pad(padded);
    unsigned sum = 0;
    for (size_t i = 0; i < padded.size(); ++i) {
      EXPECT_EQ(padded[i].value, before[i].value);
      if (padded[i].is_null) continue;
      const char* end = padded[i].value.data() + padded[i].value.size();
      for (size_t k = 0; k < kMessagePadding; ++k) sum += static_cast<unsigned char>(end[k]);
    }
    EXPECT_GE(sum, 0u);
  }
  EXPECT_TRUE(messages.back().is_null);
}

TEST(MessagePaddingTest, AShortNextValueDoesNotCountAsPadding) {
  std::string block(200, '.');
  std::vector<Message> messages = {{.value = {block.data(), 10}},
                                   {.value = {block.data() + 12, 5}}};
  MessagePadding padding;
  padding.Pad(messages);
  EXPECT_EQ(padding.copied(), 2u);
}

}  // namespace
}  // namespace millrace
