// What every CheckpointStorage must do: a suite that its tests instantiate with a way to make one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/checkpoint/storage.h"

namespace millrace {

struct StorageMaker {
  std::string name;  // Of the kind.
  // A storage over an empty place of its own. What it needs lives as long as the shared pointer.
  std::function<std::shared_ptr<CheckpointStorage>()> make;
};

class StorageConformance : public ::testing::TestWithParam<StorageMaker> {
 protected:
  static absl::Status Write(CheckpointStorage& storage, const std::string& name,
                            std::string_view bytes) {
    auto writer = storage.Create(name);
    if (!writer.ok()) return writer.status();
    if (absl::Status status = (*writer)->Append(bytes); !status.ok()) return status;
    return (*writer)->Publish();
  }
  static std::string Read(CheckpointStorage& storage, const std::string& name) {
    const auto file = storage.Open(name).value();
    std::string bytes(file->size(), '\0');
    EXPECT_TRUE(file->Read(0, bytes.size(), bytes.data()).ok());
    return bytes;
  }

  const std::shared_ptr<CheckpointStorage> storage_ = GetParam().make();
};

TEST_P(StorageConformance, AFileHasItsNameOnlyOncePublished) {
  {
    auto writer = storage_->Create("a").value();
    ASSERT_TRUE(writer->Append("byt").ok());
    ASSERT_TRUE(writer->Append("es").ok());
    EXPECT_EQ(storage_->Open("a").status().code(), absl::StatusCode::kNotFound);
    EXPECT_TRUE(storage_->List()->empty());
    const absl::Status published = writer->Publish();
    ASSERT_TRUE(published.ok()) << published;
  }
  EXPECT_THAT(*storage_->List(), ::testing::ElementsAre("a"));
  EXPECT_EQ(Read(*storage_, "a"), "bytes");
  { auto dropped = storage_->Create("b").value(); }
  EXPECT_THAT(*storage_->List(), ::testing::ElementsAre("a"));
  EXPECT_TRUE(storage_->ListUnfinished()->empty());
}

TEST_P(StorageConformance, ANameIsTakenOnce) {
  ASSERT_TRUE(Write(*storage_, "a", "first").ok());
  EXPECT_EQ(Write(*storage_, "a", "second").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Write(*storage_, "a", "first").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Read(*storage_, "a"), "first");
  ASSERT_TRUE(storage_->Remove({"a"}).ok());
  ASSERT_TRUE(Write(*storage_, "a", "second").ok());
  EXPECT_EQ(Read(*storage_, "a"), "second");
}

TEST_P(StorageConformance, OfTwoWritersOneWins) {
  auto one = storage_->Create("a").value();
  auto other = storage_->Create("a").value();
  ASSERT_TRUE(one->Append("one").ok());
  ASSERT_TRUE(other->Append("other").ok());
  EXPECT_TRUE(other->Publish().ok());
  EXPECT_EQ(one->Publish().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Read(*storage_, "a"), "other");
}

TEST_P(StorageConformance, FilesMayBeEmptyAndLarge) {
  ASSERT_TRUE(Write(*storage_, "empty", "").ok());
  EXPECT_EQ(storage_->Open("empty").value()->size(), 0u);
  std::string large;
  for (uint32_t i = 0; large.size() < (size_t{17} << 20) + 123; ++i) {
    large.append(reinterpret_cast<const char*>(&i), sizeof(i));
  }
  const absl::Status written = Write(*storage_, "large", large);
  ASSERT_TRUE(written.ok()) << written;
  const auto file = storage_->Open("large").value();
  ASSERT_EQ(file->size(), large.size());
  std::string middle(1000, '\0');
  ASSERT_TRUE(file->Read(size_t{9} << 20, middle.size(), middle.data()).ok());
  EXPECT_EQ(middle, large.substr(size_t{9} << 20, 1000));
  EXPECT_EQ(file->Read(large.size() - 1, 2, middle.data()).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Crc32c(Read(*storage_, "large")), Crc32c(large));
  EXPECT_EQ(Write(*storage_, "large", large).code(), absl::StatusCode::kAlreadyExists);
}

TEST_P(StorageConformance, AnOpenFileOutlivesItsName) {
  ASSERT_TRUE(Write(*storage_, "a", "bytes").ok());
  const auto file = storage_->Open("a").value();
  ASSERT_TRUE(storage_->Remove({"a"}).ok());
  std::string bytes(5, '\0');
  ASSERT_TRUE(file->Read(0, 5, bytes.data()).ok());
  EXPECT_EQ(bytes, "bytes");
}

TEST_P(StorageConformance, RemovesWhatIsThereAndNotTheRest) {
  for (const std::string name : {"a", "b", "c.%=+~-_1"}) {
    ASSERT_TRUE(Write(*storage_, name, name).ok());
  }
  ASSERT_TRUE(storage_->Remove({"a", "absent", "c.%=+~-_1"}).ok());
  EXPECT_THAT(*storage_->List(), ::testing::ElementsAre("b"));
  ASSERT_TRUE(storage_->Remove({}).ok());
}

TEST_P(StorageConformance, RefusesNamesThatLeaveTheFolder) {
  for (const std::string& name : {std::string(""), std::string(".."), std::string("../a"),
                                  std::string("/a"), std::string("a/b"), std::string(".hidden"),
                                  std::string("a\0b", 3), std::string(201, 'a')}) {
    EXPECT_EQ(storage_->Create(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(storage_->Open(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(storage_->Remove({name}).code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

TEST_P(StorageConformance, CanBeTried) {
  const absl::Status tried = TryStorage(*storage_, 7);
  EXPECT_TRUE(tried.ok()) << tried;
  EXPECT_TRUE(storage_->List()->empty());
}

}  // namespace millrace
