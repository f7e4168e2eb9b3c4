#include "runtime/checkpoint/storage.h"

#include "gmock/gmock.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {
namespace {

TEST(CheckpointStorageTest, AFileHasItsNameOnlyOncePublished) {
  MemoryDisk disk;
  auto storage = OpenCheckpointStorage("file:///checkpoints/", disk).value();
  auto writer = storage->Create("a").value();
  ASSERT_TRUE(writer->Append("bytes").ok());
  EXPECT_EQ(storage->Open("a").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(storage->List()->empty());
  ASSERT_TRUE(writer->Publish().ok());
  EXPECT_THAT(*storage->List(), ::testing::ElementsAre("a"));
  disk.Crash();
  EXPECT_EQ(storage->Open("a").value()->size(), 5u);
  { auto dropped = storage->Create("b").value(); }
  EXPECT_EQ(disk.files(), 1u);
  ASSERT_TRUE(storage->Remove("a").ok());
  EXPECT_TRUE(storage->List()->empty());
}

TEST(CheckpointStorageTest, RefusesNamesThatLeaveTheFolder) {
  MemoryDisk disk;
  auto storage = OpenCheckpointStorage("file:///checkpoints", disk).value();
  for (const std::string& name : {std::string(""), std::string(".."), std::string("../a"),
                                  std::string("/a"), std::string("a/b"), std::string(".hidden"),
                                  std::string("a\0b", 3), std::string(201, 'a')}) {
    EXPECT_EQ(storage->Create(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(storage->Open(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(storage->Remove(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(OpenCheckpointStorage("s3://bucket", disk).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenCheckpointStorage("file://relative", disk).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CheckpointStorageTest, SaysThatTheDiskIsFull) {
  MemoryDisk disk;
  auto storage = OpenCheckpointStorage("file:///checkpoints", disk).value();
  disk.bytes_left = 3;
  auto writer = storage->Create("a").value();
  EXPECT_EQ(writer->Append("bytes").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(storage->Create("b").status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace millrace
