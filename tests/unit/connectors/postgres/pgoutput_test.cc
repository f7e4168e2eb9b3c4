// Messages of logical replication, put together byte by byte as the manual describes them.
#include "operators/connectors/postgres/pgoutput.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

template <typename T>
std::string Big(T value) {
  std::string bytes;
  for (int shift = (static_cast<int>(sizeof(T)) - 1) * 8; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(static_cast<uint64_t>(value) >> shift));
  }
  return bytes;
}

std::string Text(const std::string& text) {
  return "t" + Big<uint32_t>(static_cast<uint32_t>(text.size())) + text;
}

std::string Name(const std::string& name) { return name + std::string(1, '\0'); }

template <typename Message>
Message Read(const std::string& bytes) {
  const auto message = ReadPgMessage(bytes);
  EXPECT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(std::holds_alternative<Message>(*message));
  return std::get<Message>(*message);
}

// Every beginning of a message is malformed, and nothing may lie behind its end.
void ExpectExact(const std::string& bytes) {
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ReadPgMessage(std::string_view(bytes).substr(0, size)).ok()) << "cut to " << size;
  }
  EXPECT_FALSE(ReadPgMessage(bytes + "x").ok());
}

TEST(PgoutputTest, PositionsOfTheLogAreReadAsTheyAreWritten) {
  for (const PgLsn lsn : {PgLsn{0}, PgLsn{1}, PgLsn{0x16B374D848}, ~PgLsn{0}}) {
    EXPECT_EQ(*ParsePgLsn(PgLsnText(lsn)), lsn);
  }
  EXPECT_EQ(PgLsnText(0x16B374D848), "16/B374D848");
  for (const char* text : {"", "/", "1/", "/1", "1", "1/2/3", "x/1", "1/100000000"}) {
    EXPECT_FALSE(ParsePgLsn(text).ok()) << text;
  }
}

TEST(PgoutputTest, TransactionsTellTheirPlaceInTheLog) {
  const auto begin =
      Read<PgBegin>("B" + Big<uint64_t>(0x2A) + Big<uint64_t>(7) + Big<uint32_t>(99));
  EXPECT_EQ(begin.final_lsn, 0x2Au);
  const auto commit = Read<PgCommit>("C" + Big<uint8_t>(0) + Big<uint64_t>(0x2A) +
                                     Big<uint64_t>(0x40) + Big<uint64_t>(7));
  EXPECT_EQ(commit.commit_lsn, 0x2Au);
  EXPECT_EQ(commit.end_lsn, 0x40u);
}

TEST(PgoutputTest, ARelationHasItsColumnsAndItsIdentity) {
  const std::string bytes = "R" + Big<uint32_t>(16385) + Name("public") + Name("orders") + "d" +
                            Big<uint16_t>(2) + Big<uint8_t>(1) + Name("id") + Big<uint32_t>(20) +
                            Big<uint32_t>(~0u) + Big<uint8_t>(0) + Name("note") +
                            Big<uint32_t>(25) + Big<uint32_t>(~0u);
  const auto relation = Read<PgRelation>(bytes);
  EXPECT_EQ(relation.oid, 16385u);
  EXPECT_EQ(relation.schema, "public");
  EXPECT_EQ(relation.name, "orders");
  EXPECT_EQ(relation.replica_identity, 'd');
  ASSERT_EQ(relation.columns.size(), 2u);
  EXPECT_TRUE(relation.columns[0].in_key);
  EXPECT_EQ(relation.columns[1].name, "note");
  EXPECT_EQ(relation.columns[1].type_oid, 25u);
  ExpectExact(bytes);
}

TEST(PgoutputTest, ValuesAreTextNullOrUnchanged) {
  const std::string bytes =
      "I" + Big<uint32_t>(5) + "N" + Big<uint16_t>(3) + Text("42") + "n" + "u";
  const auto insert = Read<PgInsert>(bytes);
  EXPECT_EQ(insert.relation, 5u);
  ASSERT_EQ(insert.row.size(), 3u);
  EXPECT_EQ(insert.row[0].text, "42");
  EXPECT_EQ(insert.row[1].kind, PgColumnValue::Kind::kNull);
  EXPECT_EQ(insert.row[2].kind, PgColumnValue::Kind::kUnchanged);
  ExpectExact(bytes);
}

TEST(PgoutputTest, AnUpdateMayHaveTheOldKeyOrTheOldRow) {
  const std::string row = "N" + Big<uint16_t>(1) + Text("2");
  const auto plain = Read<PgUpdate>("U" + Big<uint32_t>(5) + row);
  EXPECT_EQ(plain.old_kind, 0);
  for (const char kind : {'K', 'O'}) {
    const std::string bytes = "U" + Big<uint32_t>(5) + kind + Big<uint16_t>(1) + Text("1") + row;
    const auto update = Read<PgUpdate>(bytes);
    EXPECT_EQ(update.old_kind, kind);
    EXPECT_EQ(update.old_row[0].text, "1");
    EXPECT_EQ(update.row[0].text, "2");
    ExpectExact(bytes);
  }
}

TEST(PgoutputTest, DeletesAndTruncates) {
  const std::string bytes = "D" + Big<uint32_t>(5) + "K" + Big<uint16_t>(1) + Text("1");
  EXPECT_EQ(Read<PgDelete>(bytes).old_row[0].text, "1");
  ExpectExact(bytes);
  const auto truncate = Read<PgTruncate>("T" + Big<uint32_t>(2) + Big<uint8_t>(0) +
                                         Big<uint32_t>(5) + Big<uint32_t>(6));
  EXPECT_EQ(truncate.relations, (std::vector<uint32_t>{5, 6}));
}

TEST(PgoutputTest, CountsThatCannotBeAreRefused) {
  EXPECT_FALSE(ReadPgMessage("T" + Big<uint32_t>(~0u) + Big<uint8_t>(0)).ok());
  EXPECT_FALSE(ReadPgMessage("I" + Big<uint32_t>(5) + "N" + Big<uint16_t>(0xFFFF)).ok());
  EXPECT_FALSE(ReadPgMessage("I" + Big<uint32_t>(5) + "N" + Big<uint16_t>(1) + "t" +
                             Big<uint32_t>(~0u) + "x")
                   .ok());
  EXPECT_FALSE(ReadPgMessage("?").ok());
}

TEST(PgoutputTest, FramesAreDataOrKeepalives) {
  const auto data =
      ReadPgFrame("w" + Big<uint64_t>(1) + Big<uint64_t>(2) + Big<uint64_t>(3) + "B…");
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(std::get<PgWalData>(*data).payload, "B…");
  const auto keepalive = ReadPgFrame("k" + Big<uint64_t>(9) + Big<uint64_t>(3) + Big<uint8_t>(1));
  ASSERT_TRUE(keepalive.ok());
  EXPECT_EQ(std::get<PgKeepalive>(*keepalive).end, 9u);
  EXPECT_TRUE(std::get<PgKeepalive>(*keepalive).reply_requested);
  EXPECT_FALSE(ReadPgFrame("").ok());
  EXPECT_FALSE(ReadPgFrame("k" + Big<uint64_t>(9)).ok());
}

TEST(PgoutputTest, AStatusUpdateHas34Bytes) {
  const std::string update = PgStatusUpdate(0x10, 0x08, 946'684'800'000'001);
  ASSERT_EQ(update.size(), 34u);
  EXPECT_EQ(update[0], 'r');
  EXPECT_EQ(update.substr(1, 8), Big<uint64_t>(0x10));
  EXPECT_EQ(update.substr(9, 8), Big<uint64_t>(0x08));
  EXPECT_EQ(update.substr(25, 8), Big<uint64_t>(1)) << "microseconds since 2000";
}

}  // namespace
}  // namespace millrace
