#include "operators/connectors/postgres/pg_position.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

PgPosition Streaming() {
  return {.phase = PgPosition::Phase::kStreaming,
          .server = "7318442133914124321/1",
          .table = "16384:1,2",
          .lsn = 0x16'B374D848,
          .transaction = 0x16'B374D900,
          .rows = 12};
}

TEST(PgPositionTest, EveryPhaseSurvivesEncoding) {
  for (const PgPosition& position :
       {PgPosition{}, PgPosition{.phase = PgPosition::Phase::kSnapshot}, Streaming()}) {
    const auto again = DecodePgPosition(EncodePgPosition(position));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, position);
  }
  EXPECT_EQ(EncodePgPosition(Streaming()),
            "stream 7318442133914124321/1 16/B374D848 16/B374D900 12 16384:1,2");
}

TEST(PgPositionTest, WhatASnapshotHasReadIsNotKept) {
  PgPosition position = Streaming();
  position.phase = PgPosition::Phase::kSnapshot;
  EXPECT_EQ(EncodePgPosition(position), "snapshot");
}

TEST(PgPositionTest, OtherBytesAreRefused) {
  const std::string good = EncodePgPosition(Streaming());
  for (const std::string& bad :
       {std::string(), std::string("Fresh"), std::string("stream"), good + " ", good + " x",
        std::string("stream s 0/1 0/0 -1 t:"), std::string("stream s 0/1 0/0 1x t:"),
        std::string("stream s 1 0/0 0 t:"), std::string("stream  0/1 0/0 0 t:"),
        std::string("stream s 0/1 0/0 0 ")}) {
    EXPECT_EQ(DecodePgPosition(bad).status().code(), absl::StatusCode::kDataLoss) << bad;
  }
}

}  // namespace
}  // namespace millrace
