#include "runtime/checkpoint/storage.h"

#include "gmock/gmock.h"
#include "tests/unit/checkpoint/memory_disk.h"
#include "tests/unit/checkpoint/storage_conformance.h"

namespace millrace {
namespace {

// A storage and the disk that it is on.
struct InMemory {
  MemoryDisk disk;
  std::unique_ptr<CheckpointStorage> storage =
      OpenCheckpointStorage("file:///checkpoints/", {.disk = &disk}).value();
};

INSTANTIATE_TEST_SUITE_P(Local, StorageConformance,
                         ::testing::Values(StorageMaker{"local", [] {
                                                          auto made = std::make_shared<InMemory>();
                                                          return std::shared_ptr<CheckpointStorage>(
                                                              made, made->storage.get());
                                                        }}));

TEST(CheckpointStorageTest, WhatIsPublishedSurvivesACrash) {
  InMemory made;
  auto writer = made.storage->Create("a").value();
  ASSERT_TRUE(writer->Append("bytes").ok());
  ASSERT_TRUE(writer->Publish().ok());
  made.disk.Crash();
  EXPECT_EQ(made.storage->Open("a").value()->size(), 5u);
  EXPECT_EQ(made.disk.files(), 1u);
}

TEST(CheckpointStorageTest, KnowsOnlyItsSchemes) {
  MemoryDisk disk;
  for (const char* uri : {"s3://bucket", "file://relative", "ftp://host/folder", ""}) {
    EXPECT_EQ(OpenCheckpointStorage(uri, {.disk = &disk}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << uri;
  }
}

TEST(CheckpointStorageTest, SaysThatTheDiskIsFull) {
  InMemory made;
  made.disk.bytes_left = 3;
  auto writer = made.storage->Create("a").value();
  EXPECT_EQ(writer->Append("bytes").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(made.storage->Create("b").status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(CheckpointStorageTest, WhatIsUnfinishedCanBeRemovedUnderItsWriter) {
  InMemory made;
  auto writer = made.storage->Create("g1-a1.t-x.e3.n0").value();
  const auto unfinished = made.storage->ListUnfinished().value();
  ASSERT_EQ(unfinished.size(), 1u);
  EXPECT_EQ(unfinished[0].name, "g1-a1.t-x.e3.n0");
  ASSERT_TRUE(made.storage->RemoveUnfinished(unfinished[0]).ok());
  EXPECT_TRUE(made.storage->ListUnfinished()->empty());
  EXPECT_EQ(writer->Publish().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(made.storage->List()->empty());
}

TEST(CheckpointStorageTest, OptionsStayBehindThePath) {
  EXPECT_EQ(StorageUriBelow("file:///a/", "job-1"), "file:///a/job-1");
  EXPECT_EQ(StorageUriBelow("file:///a?b", "job-1"), "file:///a?b/job-1");
  EXPECT_EQ(StorageUriBelow("s3://bucket", "job-1"), "s3://bucket/job-1");
  EXPECT_EQ(StorageUriBelow("s3://bucket/p/?region=x", "job-1"), "s3://bucket/p/job-1?region=x");
}

}  // namespace
}  // namespace millrace
