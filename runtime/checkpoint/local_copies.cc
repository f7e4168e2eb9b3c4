#include "runtime/checkpoint/local_copies.h"

#include <algorithm>

#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/little_endian.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/checkpoint/segment_name.h"

namespace millrace {
namespace {

constexpr size_t kReadBytes = 128 << 10;
// A segment ends with the checksum of all before it, and four bytes of magic.
constexpr size_t kTailBytes = 8;

uint32_t ChecksumIn(const std::string& tail) { return ReadLittleEndian<uint32_t>(tail.data()); }

// Whether the file is the segment of that length and tail. The tail counts by itself: a checksum
// over bytes that end with their own checksum is the same for all whole segments.
bool IsWhole(const ReadableFile& file, uint64_t bytes, const std::string& tail) {
  if (file.size() != bytes) return false;
  const uint64_t tail_at = bytes - kTailBytes;
  std::string block(kTailBytes, '\0');
  if (!file.Read(tail_at, kTailBytes, block.data()).ok() || block != tail) return false;
  uint32_t crc = 0;
  for (uint64_t at = 0; at < tail_at; at += block.size()) {
    block.resize(std::min<uint64_t>(kReadBytes, tail_at - at));
    if (!file.Read(at, block.size(), block.data()).ok()) return false;
    crc = Crc32c(block, crc);
  }
  return crc == ChecksumIn(tail);
}

}  // namespace

// Writes to storage and beside it. Whatever goes wrong with the copy ends the copy alone.
class CopyingWriter final : public CheckpointStorage::Writer {
 public:
  CopyingWriter(LocalCopies& copies, LocalCopies::Key key, Epoch epoch,
                std::unique_ptr<CheckpointStorage::Writer> writer)
      : copies_(copies), key_(std::move(key)), writer_(std::move(writer)) {
    copy_.path = copies_.NewPath();
    copy_.epoch = epoch;
    if (auto file = copies_.disk_.Create(copy_.path); file.ok()) file_ = *std::move(file);
  }
  ~CopyingWriter() override { Drop(); }

  absl::Status Append(std::string_view bytes) override {
    MILLRACE_RETURN_IF_ERROR(writer_->Append(bytes));
    copy_.bytes += bytes.size();
    if (file_ == nullptr) return absl::OkStatus();
    std::string& tail = copy_.tail;
    tail.append(bytes.substr(bytes.size() - std::min(bytes.size(), kTailBytes)));
    tail.erase(0, tail.size() - std::min(tail.size(), kTailBytes));
    if (copy_.bytes > copies_.bytes_max_ || !file_->Append(bytes).ok()) Drop();
    return absl::OkStatus();
  }

  absl::Status Publish() override {
    MILLRACE_RETURN_IF_ERROR(writer_->Publish());
    if (file_ == nullptr) return absl::OkStatus();
    if (copy_.tail.size() < kTailBytes || !file_->Close().ok()) {
      Drop();
      return absl::OkStatus();
    }
    file_.reset();
    copies_.Add(key_, std::move(copy_));
    return absl::OkStatus();
  }

 private:
  void Drop() {
    if (file_ == nullptr) return;
    file_.reset();
    (void)copies_.disk_.Remove(copy_.path);  // Else the next start does.
  }

  LocalCopies& copies_;
  const LocalCopies::Key key_;
  const std::unique_ptr<CheckpointStorage::Writer> writer_;
  std::unique_ptr<WritableFile> file_;  // Null: there is no copy, or it is kept.
  LocalCopies::Copy copy_;
};

class CopyingStorage final : public CheckpointStorage {
 public:
  CopyingStorage(LocalCopies& copies, std::string uri, std::unique_ptr<CheckpointStorage> storage)
      : copies_(copies), uri_(std::move(uri)), storage_(std::move(storage)) {}

  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& name) override {
    MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<Writer> writer, storage_->Create(name));
    const std::optional<Epoch> epoch = EpochOfStateSegment(name);
    if (!epoch.has_value()) return writer;
    return std::make_unique<CopyingWriter>(copies_, LocalCopies::Key{uri_, name}, *epoch,
                                           std::move(writer));
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& name) override {
    if (!EpochOfStateSegment(name).has_value()) return storage_->Open(name);
    if (std::unique_ptr<ReadableFile> copy = copies_.Open({uri_, name})) return copy;
    MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, storage_->Open(name));
    copies_.CountStorageRead(file->size());
    return file;
  }

  absl::StatusOr<std::vector<std::string>> List() override { return storage_->List(); }
  absl::Status Remove(absl::Span<const std::string> names) override {
    return storage_->Remove(names);
  }
  absl::StatusOr<std::vector<UnfinishedFile>> ListUnfinished() override {
    return storage_->ListUnfinished();
  }
  absl::Status RemoveUnfinished(const UnfinishedFile& file) override {
    return storage_->RemoveUnfinished(file);
  }

 private:
  LocalCopies& copies_;
  const std::string uri_;
  const std::unique_ptr<CheckpointStorage> storage_;
};

LocalCopies::LocalCopies(Disk& disk, std::string folder, uint64_t bytes_max)
    : disk_(disk), folder_(std::move(folder)), bytes_max_(bytes_max) {}

absl::Status LocalCopies::Start() {
  MILLRACE_RETURN_IF_ERROR(disk_.RemoveFolder(folder_));
  return disk_.MakeFolders(folder_);
}

std::unique_ptr<CheckpointStorage> LocalCopies::Wrap(std::string uri,
                                                     std::unique_ptr<CheckpointStorage> storage) {
  return std::make_unique<CopyingStorage>(*this, std::move(uri), std::move(storage));
}

void LocalCopies::Retain(const std::string& uri, Epoch epoch,
                         const std::vector<v1::Segment>& segments) {
  std::map<std::string_view, const v1::Segment*> named;
  for (const v1::Segment& segment : segments) named[segment.name()] = &segment;
  absl::MutexLock lock(&mutex_);
  for (auto at = copies_.lower_bound({uri, ""}); at != copies_.end() && at->first.first == uri;) {
    const auto copy = at++;
    if (epoch < copy->second.epoch) continue;
    const auto found = named.find(copy->first.second);
    if (found == named.end() || found->second->bytes() != copy->second.bytes ||
        found->second->crc32c() != ChecksumIn(copy->second.tail)) {
      Erase(copy);
    }
  }
}

LocalCopies::Counters LocalCopies::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

std::string LocalCopies::NewPath() {
  // Relaxed: only uniqueness matters.
  return Concat(folder_, "/", next_.fetch_add(1, std::memory_order_relaxed));
}

void LocalCopies::Add(const Key& key, Copy copy) {
  absl::MutexLock lock(&mutex_);
  if (const auto former = copies_.find(key); former != copies_.end()) Erase(former);
  copy.number = next_.fetch_add(1, std::memory_order_relaxed);
  counters_.kept_bytes += copy.bytes;
  copies_.emplace(key, std::move(copy));
  while (counters_.kept_bytes > bytes_max_) {
    Erase(std::min_element(copies_.begin(), copies_.end(), [](const auto& a, const auto& b) {
      return a.second.number < b.second.number;
    }));
  }
}

std::unique_ptr<ReadableFile> LocalCopies::Open(const Key& key) {
  Copy copy;
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = absl::NotFoundError("");
  {
    absl::MutexLock lock(&mutex_);
    const auto found = copies_.find(key);
    if (found == copies_.end()) return nullptr;
    copy = found->second;
    // Under the lock: nobody removes the file meanwhile; once open it stays readable.
    file = disk_.Open(copy.path);
  }
  const bool whole = file.ok() && IsWhole(**file, copy.bytes, copy.tail);
  absl::MutexLock lock(&mutex_);
  if (whole) {
    ++counters_.local_reads;
    counters_.local_bytes += copy.bytes;
    return *std::move(file);
  }
  ++(absl::IsNotFound(file.status()) ? counters_.missing : counters_.damaged);
  LogWarning("a local copy of a segment cannot be used: it is read from checkpoint storage",
             {{"segment", key.second}, {"file", copy.path}});
  const auto found = copies_.find(key);
  if (found != copies_.end() && found->second.number == copy.number) Erase(found);
  return nullptr;
}

void LocalCopies::CountStorageRead(uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  ++counters_.storage_reads;
  counters_.storage_bytes += bytes;
}

void LocalCopies::Erase(std::map<Key, Copy>::iterator at) {
  counters_.kept_bytes -= at->second.bytes;
  (void)disk_.Remove(at->second.path);  // Else the next start does.
  copies_.erase(at);
}

}  // namespace millrace
