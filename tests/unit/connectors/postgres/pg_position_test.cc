#include "operators/connectors/postgres/pg_position.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(PgPositionTest, PositionsComeBack) {
  const PgPosition positions[] = {
      {},
      {.phase = PgPosition::Phase::kSnapshot},
      {.phase = PgPosition::Phase::kStreaming, .system_id = "7291", .lsn = 0x16B374D848},
      {.phase = PgPosition::Phase::kStreaming,
       .system_id = "7291",
       .lsn = 1,
       .transaction = 0x2A,
       .rows = 17}};
  for (const PgPosition& position : positions) {
    const auto again = DecodePgPosition(EncodePgPosition(position));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, position);
  }
}

TEST(PgPositionTest, OtherTextsAreRefused) {
  for (const char* text : {"", "fresher", "stream", "stream 1 0/1 0/0", "stream 1 0/1 0/0 x",
                           "stream  0/1 0/0 0", "stream 1 01 0/0 0", "stream 1 0/1 0/0 0 0"}) {
    EXPECT_EQ(DecodePgPosition(text).status().code(), absl::StatusCode::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace millrace
