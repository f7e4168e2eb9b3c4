// The conformance suite on the stores without a server, and what is special to each.
#include "coordinator/metadata/metadata_store.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <sqlite3.h>

#include "coordinator/metadata/memory_metadata_store.h"
#include "coordinator/metadata/sqlite_metadata_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/coordinator/metadata_store_suite.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(
    All, MetadataStoreTest,
    ::testing::Values(
        Implementation{"Memory",
                       [](const std::string&) -> absl::StatusOr<std::unique_ptr<MetadataStore>> {
                         return std::make_unique<MemoryMetadataStore>();
                       }},
        Implementation{"Sqlite", &OpenSqliteMetadataStore}),
    [](const auto& info) { return info.param.name; });

TEST(SqliteMetadataStoreTest, KeepsEverythingOverAReopen) {
  Folder folder;
  uint64_t version = 0;
  {
    auto store = OpenSqliteMetadataStore(folder.path()).value();
    version = store->CreateIfAbsent("a", "1", {}).value();
    ASSERT_TRUE(store->CreateIfAbsent("b", "1", {}).ok());
    ASSERT_TRUE(store->Delete("b", {}).ok());
  }
  auto store = OpenSqliteMetadataStore(folder.path()).value();
  EXPECT_EQ(store->Get("a")->version, version);
  EXPECT_GT(store->CreateIfAbsent("b", "2", {}).value(), version + 1);
}

TEST(SqliteMetadataStoreTest, ASecondOneOnTheSameFolderIsRefusedUntilTheFirstIsGone) {
  Folder folder;
  auto first = OpenSqliteMetadataStore(folder.path());
  ASSERT_TRUE(first.ok());
  const auto second = OpenSqliteMetadataStore(folder.path());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another coordinator"));
  first->reset();
  EXPECT_TRUE(OpenSqliteMetadataStore(folder.path()).ok());
}

TEST(SqliteMetadataStoreTest, ANewerSchemaIsRefusedByItsNumber) {
  Folder folder;
  ASSERT_TRUE(OpenSqliteMetadataStore(folder.path()).ok());
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((folder.path() + "/metadata.sqlite").c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "PRAGMA user_version=7", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(database);
  const auto store = OpenSqliteMetadataStore(folder.path());
  EXPECT_TRUE(absl::IsFailedPrecondition(store.status()));
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("version 7"));
}

TEST(SqliteMetadataStoreTest, AFileThatIsNoDatabaseIsReportedNotOverwritten) {
  Folder folder;
  const std::string path = folder.path() + "/metadata.sqlite";
  std::ofstream(path) << std::string(4096, 'x');
  EXPECT_TRUE(absl::IsDataLoss(OpenSqliteMetadataStore(folder.path()).status()));
  EXPECT_EQ(std::filesystem::file_size(path), 4096u);
}

TEST(MemoryMetadataStoreTest, FaultsLookTheSameWhetherTheWriteHappenedOrNot) {
  MemoryMetadataStore store;
  using Fault = MemoryMetadataStore::Fault;
  Fault next = Fault::kUnknownApplied;
  store.SetFaults([&](MemoryMetadataStore::Call call, const std::string&) {
    return call == MemoryMetadataStore::Call::kGet ? Fault::kNone
                                                   : std::exchange(next, Fault::kNone);
  });
  EXPECT_EQ(CreateOrConfirm(store, "a", "1", {}).status().code(), absl::StatusCode::kUnknown);
  EXPECT_TRUE(CreateOrConfirm(store, "a", "1", {}).ok());
  next = Fault::kUnknownDropped;
  EXPECT_EQ(CreateOrConfirm(store, "b", "1", {}).status().code(), absl::StatusCode::kUnknown);
  EXPECT_TRUE(absl::IsNotFound(store.Get("b").status()));
  EXPECT_TRUE(CreateOrConfirm(store, "b", "1", {}).ok());
  next = Fault::kUnavailable;
  EXPECT_TRUE(absl::IsUnavailable(store.Delete("a", {})));
  EXPECT_TRUE(store.Get("a").ok());
}

}  // namespace
}  // namespace millrace
