// What every MetadataStore must do: instantiate MetadataStoreTest with a way to open one.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/metadata/metadata_store.h"

namespace millrace {

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

class MetadataStoreTest : public testing::TestWithParam<Implementation> {
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
  const MetadataStore::Guards stale = {{.key = "generation", .version = old_guard}};
  EXPECT_TRUE(absl::IsAborted(store_->CreateIfAbsent("b", "1", stale).status()));
  EXPECT_TRUE(absl::IsAborted(store_->CompareAndSwap("a", a, "2", stale).status()));
  EXPECT_TRUE(absl::IsAborted(store_->Delete("a", stale)));
  EXPECT_TRUE(absl::IsAborted(
      store_->CreateIfAbsent("b", "1", {{.key = "absent", .version = a}}).status()));
  EXPECT_THAT(Keys(""), testing::ElementsAre("a", "generation"));
  const MetadataStore::Guards current = {{.key = "generation", .version = new_guard}};
  EXPECT_TRUE(store_->CreateIfAbsent("b", "1", current).ok());
  EXPECT_TRUE(store_->CompareAndSwap("a", a, "2", current).ok());
  EXPECT_TRUE(store_->Delete("b", current).ok());
}

TEST_P(MetadataStoreTest, OneGuardOfSeveralThatHasMovedOnIsEnoughToRefuse) {
  const uint64_t first = store_->CreateIfAbsent("first", "1", {}).value();
  const uint64_t second = store_->CreateIfAbsent("second", "1", {}).value();
  const MetadataStore::Guards guards = {{.key = "first", .version = first},
                                        {.key = "second", .version = second}};
  ASSERT_TRUE(store_->CreateIfAbsent("a", "1", guards).ok());
  ASSERT_TRUE(store_->CompareAndSwap("second", second, "2", {}).ok());
  // Also of a key that is there: the writer must learn that it is over.
  EXPECT_TRUE(absl::IsAborted(store_->CreateIfAbsent("a", "1", guards).status()));
  EXPECT_TRUE(absl::IsAborted(store_->CreateIfAbsent("b", "1", guards).status()));
  EXPECT_TRUE(absl::IsAborted(store_->Delete("a", guards)));
}

TEST_P(MetadataStoreTest, ListIsSortedAndKeepsToThePrefix) {
  for (const char* key :
       {"job/2/state", "job/1/state", "job/1/epoch/2", "jobs", "job/1/epoch/10"}) {
    ASSERT_TRUE(store_->CreateIfAbsent(key, "x", {}).ok());
  }
  EXPECT_THAT(Keys("job/1/"),
              testing::ElementsAre("job/1/epoch/10", "job/1/epoch/2", "job/1/state"));
  EXPECT_THAT(Keys("job/"), testing::SizeIs(4));
  EXPECT_THAT(Keys("nothing"), testing::ElementsAre());
}

TEST_P(MetadataStoreTest, ListsMoreThanOnePage) {
  constexpr int kEntries = 1201;
  for (int i = 0; i < kEntries; ++i) {
    ASSERT_TRUE(store_->CreateIfAbsent("many/" + std::to_string(10'000 + i), "x", {}).ok());
  }
  const std::vector<std::string> keys = Keys("many/");
  ASSERT_EQ(keys.size(), size_t{kEntries});
  EXPECT_EQ(keys.front(), "many/10000");
  EXPECT_EQ(keys.back(), "many/11200");
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
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

}  // namespace millrace
