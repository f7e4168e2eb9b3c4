#include "operators/connectors/postgres/pgoutput.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "tests/unit/connectors/postgres/pgoutput_messages.h"

namespace millrace {
namespace {

using Kind = PgColumnValue::Kind;

// The payload lives on: rows point into it.
template <typename T>
T MustRead(const std::string& payload) {
  static std::deque<std::string> payloads;
  auto message = ReadPgMessage(payloads.emplace_back(payload));
  EXPECT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(message.ok() && std::holds_alternative<T>(*message));
  return message.ok() ? std::get<T>(*std::move(message)) : T{};
}

TEST(PgOutputTest, LsnsAreTextAsTheServerWritesThem) {
  EXPECT_EQ(PgLsnText(0x16'B374D848), "16/B374D848");
  EXPECT_EQ(PgLsnText(0), "0/0");
  EXPECT_EQ(*ParsePgLsn("16/B374D848"), 0x16'B374D848u);
  EXPECT_EQ(*ParsePgLsn("FFFFFFFF/FFFFFFFF"), ~uint64_t{0});
  for (const char* bad :
       {"", "/", "1", "1/", "/1", "1/2/3", "g/1", "1/123456789", "-1/1", " 1/1"}) {
    EXPECT_FALSE(ParsePgLsn(bad).ok()) << bad;
  }
}

TEST(PgOutputTest, FramesAreDataOrKeepalives) {
  const std::string data =
      "w" + BigEndian(5, 8) + BigEndian(9, 8) + BigEndian(1, 8) + std::string("payload");
  const auto frame = ReadPgFrame(data);
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(std::get<PgWalData>(*frame).start, 5u);
  EXPECT_EQ(std::get<PgWalData>(*frame).end, 9u);
  EXPECT_EQ(std::get<PgWalData>(*frame).payload, "payload");
  const auto alive = ReadPgFrame("k" + BigEndian(77, 8) + BigEndian(1, 8) + BigEndian(1, 1));
  ASSERT_TRUE(alive.ok());
  EXPECT_EQ(std::get<PgKeepalive>(*alive).end, 77u);
  EXPECT_TRUE(std::get<PgKeepalive>(*alive).reply_requested);
  EXPECT_FALSE(ReadPgFrame("").ok());
  EXPECT_FALSE(ReadPgFrame("x").ok());
  EXPECT_FALSE(ReadPgFrame(data.substr(0, 24)).ok());
}

TEST(PgOutputTest, StatusUpdatesHaveTheLengthThatTheServerReads) {
  const std::string update = PgStatusUpdate(3, 2, 946'684'800'000'001);
  ASSERT_EQ(update.size(), 34u);
  EXPECT_EQ(update, "r" + BigEndian(3, 8) + BigEndian(2, 8) + BigEndian(2, 8) + BigEndian(1, 8) +
                        BigEndian(0, 1));
}

TEST(PgOutputTest, TransactionsHaveTheirPlacesInTheLog) {
  EXPECT_EQ(MustRead<PgBegin>(BeginMessage(42)).final_lsn, 42u);
  const auto commit = MustRead<PgCommit>(CommitMessage(42, 50));
  EXPECT_EQ(commit.commit_lsn, 42u);
  EXPECT_EQ(commit.end_lsn, 50u);
}

TEST(PgOutputTest, RelationsNameColumnsTypesAndKey) {
  const auto relation = MustRead<PgRelation>(RelationMessage());
  EXPECT_EQ(relation.oid, 16384u);
  EXPECT_EQ(relation.schema, "public");
  EXPECT_EQ(relation.name, "orders");
  EXPECT_EQ(relation.replica_identity, 'd');
  ASSERT_EQ(relation.columns.size(), 2u);
  EXPECT_TRUE(relation.columns[0].in_key);
  EXPECT_EQ(relation.columns[0].type_modifier, -1);
  EXPECT_FALSE(relation.columns[1].in_key);
  EXPECT_EQ(relation.columns[1].name, "price");
  EXPECT_EQ(relation.columns[1].type_oid, 1700u);
  EXPECT_EQ(relation.columns[1].type_modifier, 655366);
}

TEST(PgOutputTest, RowsTellNullFromUnchangedFromEmpty) {
  const auto insert =
      MustRead<PgInsert>("I" + BigEndian(9, 4) + "N" + TupleMessage({"7", std::nullopt, "u", ""}));
  EXPECT_EQ(insert.relation, 9u);
  ASSERT_EQ(insert.row.size(), 4u);
  EXPECT_EQ(insert.row[0].text, "7");
  EXPECT_EQ(insert.row[1].kind, Kind::kNull);
  EXPECT_EQ(insert.row[2].kind, Kind::kUnchanged);
  EXPECT_EQ(insert.row[3].kind, Kind::kText);
  EXPECT_EQ(insert.row[3].text, "");
}

TEST(PgOutputTest, UpdatesAndDeletesHaveTheOldKeyOrTheOldRow) {
  const std::string table = BigEndian(9, 4);
  const std::string row = TupleMessage({"7", "x"});
  EXPECT_EQ(MustRead<PgUpdate>("U" + table + "N" + row).old_kind, 0);
  const auto moved = MustRead<PgUpdate>("U" + table + "K" + TupleMessage({"6"}) + "N" + row);
  EXPECT_EQ(moved.old_kind, 'K');
  EXPECT_EQ(moved.old_row[0].text, "6");
  EXPECT_EQ(moved.row[1].text, "x");
  EXPECT_EQ(MustRead<PgDelete>("D" + table + "O" + row).old_kind, 'O');
  EXPECT_FALSE(ReadPgMessage("D" + table + "N" + row).ok());
  EXPECT_FALSE(ReadPgMessage("U" + table + "X" + row).ok());
}

TEST(PgOutputTest, TruncatesNameTheirTables) {
  const auto truncate = MustRead<PgTruncate>("T" + BigEndian(2, 4) + BigEndian(0, 1) +
                                             BigEndian(9, 4) + BigEndian(11, 4));
  EXPECT_THAT(truncate.relations, testing::ElementsAre(9u, 11u));
  EXPECT_FALSE(ReadPgMessage("T" + BigEndian(1u << 20, 4) + BigEndian(0, 1)).ok());
}

TEST(PgOutputTest, NoMessageThatWasCutOffIsRead) {
  for (const std::string& message : AllMessages()) {
    ASSERT_TRUE(ReadPgMessage(message).ok()) << message[0];
    if (std::string("OYM").find(message[0]) != std::string::npos) continue;  // Not looked into.
    for (size_t size = 0; size < message.size(); ++size) {
      EXPECT_FALSE(ReadPgMessage(message.substr(0, size)).ok()) << message[0] << " " << size;
    }
  }
  EXPECT_FALSE(ReadPgMessage("?").ok());
}

TEST(PgOutputTest, MoreColumnsThanATableCanHaveAreRefused) {
  std::string row = "I" + BigEndian(9, 4) + "N" + BigEndian(1601, 2) + std::string(1601, 'n');
  EXPECT_FALSE(ReadPgMessage(row).ok());
}

}  // namespace
}  // namespace millrace
