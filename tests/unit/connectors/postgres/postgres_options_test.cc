#include "operators/connectors/postgres/postgres_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "millrace/v1/graph.pb.h"

namespace millrace {
namespace {

using testing::HasSubstr;

const std::map<std::string, std::string> kTable = {
    {"hostname", "db"}, {"username", "me"}, {"database-name", "shop"}, {"table-name", "or\"ders"}};

v1::Node SourceNode(std::map<std::string, std::string> options) {
  v1::Node node;
  node.mutable_source()->set_connector("postgres-cdc");
  options.insert(kTable.begin(), kTable.end());
  for (const auto& [name, value] : options)
    (*node.mutable_source()->mutable_options())[name] = value;
  return node;
}

v1::Node SinkNode(std::map<std::string, std::string> options) {
  v1::Node node;
  node.mutable_sink()->set_connector("postgres");
  options.insert(kTable.begin(), kTable.end());
  for (const auto& [name, value] : options) (*node.mutable_sink()->mutable_options())[name] = value;
  return node;
}

TEST(PostgresOptionsTest, ASourceHasDefaults) {
  const auto options = ReadPostgresSourceOptions(SourceNode({{"slot.name", "s"}}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->table.port, "5432");
  EXPECT_EQ(options->table.Quoted(), "\"public\".\"or\"\"ders\"");
  EXPECT_EQ(options->slot, "s");
  EXPECT_EQ(options->publication, "s_publication");
  EXPECT_TRUE(options->snapshot);
  EXPECT_EQ(options->snapshot_connections, 2);
}

TEST(PostgresOptionsTest, ASourceTakesItsOptions) {
  const auto options = ReadPostgresSourceOptions(SourceNode({{"slot.name", "s"},
                                                             {"port", "5433"},
                                                             {"schema-name", "x"},
                                                             {"publication.name", "p"},
                                                             {"scan.startup.mode", "latest"},
                                                             {"scan.snapshot.connections", "4"},
                                                             {"scan.snapshot.chunk-pages", "7"}}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->table.port, "5433");
  EXPECT_EQ(options->table.schema, "x");
  EXPECT_EQ(options->publication, "p");
  EXPECT_FALSE(options->snapshot);
  EXPECT_EQ(options->snapshot_connections, 4);
  EXPECT_EQ(options->snapshot_chunk_pages, 7);
}

TEST(PostgresOptionsTest, EveryProblemIsToldAtOnce) {
  const auto options = ReadPostgresSourceOptions(
      SourceNode({{"scan.snapshot.connections", "0"}, {"slotname", "s"}}));
  ASSERT_FALSE(options.ok());
  const std::string message(options.status().message());
  EXPECT_THAT(message, HasSubstr("option 'slot.name' is missing"));
  EXPECT_THAT(message, HasSubstr("did you mean 'slot.name'?"));
  EXPECT_THAT(message, HasSubstr("expected at least 1"));
}

TEST(PostgresOptionsTest, ASinkTakesItsOptions) {
  const auto defaults = ReadPostgresSinkOptions(SinkNode({}));
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_FALSE(defaults->create_table);
  EXPECT_EQ(defaults->commit_timeout, absl::Seconds(60));
  const auto options = ReadPostgresSinkOptions(SinkNode(
      {{"sink.create-table", "true"}, {"sink.batch-rows", "9"}, {"sink.commit-timeout", "2 s"}}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->create_table);
  EXPECT_EQ(options->batch_rows, 9);
  EXPECT_EQ(options->commit_timeout, absl::Seconds(2));
}

TEST(PostgresOptionsTest, TextsForMessagesHaveNoPassword) {
  const auto options = ReadPostgresSinkOptions(SinkNode({{"password", "geheim"}}));
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->table.password.Reveal(), "geheim");
  EXPECT_EQ(options->table.Text().find("geheim"), std::string::npos);
}

}  // namespace
}  // namespace millrace
