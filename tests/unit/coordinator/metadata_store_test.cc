// One conformance suite for every MetadataStore, and what is special to each.
#include "coordinator/metadata/metadata_store.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sqlite3.h>

#include "coordinator/metadata/memory_metadata_store.h"
#include "coordinator/metadata/sqlite_metadata_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A new folder per test, removed at its end.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Implementation {
  std::string name;
  absl::StatusOr<std::unique_ptr<MetadataStore>> (*open)(const std::string& folder);
};

class MetadataStoreTest : public ::testing::TestWithParam<Implementation> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<MetadataStore>> store = GetParam().open(folder_.path());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::vector<std::string> Keys(const std::string& prefix) {
    std::vector<std::string> keys;
    const std::vector<MetadataEntry> entries = store_->List(prefix).value();
    for (const MetadataEntry& entry : entries) keys.push_back(entry.key);
    return keys;
  }

  Folder folder_;
  std::unique_ptr<MetadataStore> store_;
};

TEST_P(MetadataStoreTest, CreateStoresOnceAndRefusesTheSecondTime) {
  const auto version = store_->CreateIfAbsent("a", "1", {});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_TRUE(absl::IsAlreadyExists(store_->CreateIfAbsent("a", "2", {}).status()));
  const auto entry = store_->Get("a");
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->value, "1");
  EXPECT_EQ(entry->version, *version);
}

TEST_P(MetadataStoreTest, SwapNeedsTheVersionThatIsThere) {
  const uint64_t first = store_->CreateIfAbsent("a", "1", {}).value();
  const auto second = store_->CompareAndSwap("a", first, "2", {});
  ASSERT_TRUE(second.ok());
  EXPECT_NE(*second, first);
  EXPECT_TRUE(absl::IsAborted(store_->CompareAndSwap("a", first, "3", {}).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->CompareAndSwap("b", first, "3", {}).status()));
  EXPECT_EQ(store_->Get("a")->value, "2");
}

TEST_P(MetadataStoreTest, AVersionIsNeverUsedTwiceEvenAfterDelete) {
  const uint64_t first = store_->CreateIfAbsent("a", "1", {}).value();
  ASSERT_TRUE(store_->Delete("a", {}).ok());
  const uint64_t second = store_->CreateIfAbsent("a", "1", {}).value();
  EXPECT_NE(first, second);
  EXPECT_TRUE(absl::IsAborted(store_->CompareAndSwap("a", first, "2", {}).status()));
}

TEST_P(MetadataStoreTest, EveryWriteIsRefusedWhenTheGuardHasMovedOn) {
  const uint64_t old_guard = store_->CreateIfAbsent("generation", "1", {}).value();
  const uint64_t a = store_->CreateIfAbsent("a", "1", {}).value();
  const uint64_t new_guard = store_->CompareAndSwap("generation", old_guard, "2", {}).value();
  const MetadataGuard stale{.key = "generation", .version = old_guard};
  EXPECT_TRUE(absl::IsAborted(store_->CreateIfAbsent("b", "1", stale).status()));
  EXPECT_TRUE(absl::IsAborted(store_->CompareAndSwap("a", a, "2", stale).status()));
  EXPECT_TRUE(absl::IsAborted(store_->Delete("a", stale)));
  EXPECT_TRUE(absl::IsAborted(
      store_->CreateIfAbsent("b", "1", MetadataGuard{.key = "absent", .version = a}).status()));
  EXPECT_THAT(Keys(""), ElementsAre("a", "generation"));
  const MetadataGuard current{.key = "generation", .version = new_guard};
  EXPECT_TRUE(store_->CreateIfAbsent("b", "1", current).ok());
  EXPECT_TRUE(store_->CompareAndSwap("a", a, "2", current).ok());
  EXPECT_TRUE(store_->Delete("b", current).ok());
}

TEST_P(MetadataStoreTest, ListIsSortedAndKeepsToThePrefix) {
  for (const char* key :
       {"job/2/state", "job/1/state", "job/1/epoch/2", "jobs", "job/1/epoch/10"}) {
    ASSERT_TRUE(store_->CreateIfAbsent(key, "x", {}).ok());
  }
  EXPECT_THAT(Keys("job/1/"), ElementsAre("job/1/epoch/10", "job/1/epoch/2", "job/1/state"));
  EXPECT_THAT(Keys("job/"), ::testing::SizeIs(4));
  EXPECT_THAT(Keys("nothing"), ElementsAre());
}

TEST_P(MetadataStoreTest, DeleteOfNothingIsFine) { EXPECT_TRUE(store_->Delete("a", {}).ok()); }

TEST_P(MetadataStoreTest, ValuesAreBytes) {
  const std::string bytes("\0\xff'--\n", 6);
  ASSERT_TRUE(store_->CreateIfAbsent("k", bytes, {}).ok());
  EXPECT_EQ(store_->Get("k")->value, bytes);
  ASSERT_TRUE(store_->CreateIfAbsent("empty", "", {}).ok());
  EXPECT_EQ(store_->Get("empty")->value, "");
}

TEST_P(MetadataStoreTest, LimitsAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(store_->CreateIfAbsent("", "x", {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      store_->CreateIfAbsent(std::string(kMetadataKeyBytesMax + 1, 'k'), "x", {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      store_->CreateIfAbsent("k", std::string(kMetadataValueBytesMax + 1, 'v'), {}).status()));
}

TEST_P(MetadataStoreTest, OfManyRivalsExactlyOneWinsEachRound) {
  constexpr int kRivals = 4;
  constexpr int kRounds = 25;
  ASSERT_TRUE(store_->CreateIfAbsent("counter", "0", {}).ok());
  std::vector<std::thread> rivals;
  for (int r = 0; r < kRivals; ++r) {
    rivals.emplace_back([this] {
      for (int done = 0; done < kRounds;) {
        const MetadataEntry entry = store_->Get("counter").value();
        const std::string next = std::to_string(std::stoi(entry.value) + 1);
        if (store_->CompareAndSwap("counter", entry.version, next, {}).ok()) ++done;
      }
    });
  }
  for (std::thread& rival : rivals) rival.join();
  EXPECT_EQ(store_->Get("counter")->value, std::to_string(kRivals * kRounds));
}

TEST_P(MetadataStoreTest, AConfirmedWriteIsOursAndARivalsIsNot) {
  ASSERT_TRUE(CreateOrConfirm(*store_, "a", "mine", {}).ok());
  const auto again = CreateOrConfirm(*store_, "a", "mine", {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(absl::IsAlreadyExists(CreateOrConfirm(*store_, "a", "other", {}).status()));
  const auto swapped = SwapOrConfirm(*store_, "a", *again, "mine 2", {});
  ASSERT_TRUE(swapped.ok());
  EXPECT_EQ(SwapOrConfirm(*store_, "a", *again, "mine 2", {}).value(), *swapped);
  EXPECT_TRUE(absl::IsAborted(SwapOrConfirm(*store_, "a", *again, "other", {}).status()));
}

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
