// A Disk in memory for tests: it can be full, and it can crash, which loses what was not synced.
//
// Threading: one thread at a time.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/env.h"

namespace millrace {

class MemoryDisk final : public Disk {
 public:
  // Bytes that may still be appended before it is full.
  uint64_t bytes_left = ~uint64_t{0};

  // Names that were not synced and bytes of files that were not synced are gone.
  void Crash() {
    entries_ = durable_entries_;
    for (auto& [path, content] : entries_) content->bytes.resize(content->synced);
  }
  std::string* Bytes(const std::string& path) {
    const auto found = entries_.find(path);
    return found == entries_.end() ? nullptr : &found->second->bytes;
  }
  size_t files() const { return entries_.size(); }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    if (bytes_left == 0) return absl::ResourceExhaustedError("no space left");
    auto content = std::make_shared<Content>();
    entries_[path] = content;
    return std::make_unique<Writable>(*this, std::move(content));
  }
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) override {
    const auto found = entries_.find(path);
    if (found == entries_.end()) return absl::NotFoundError("no such file");
    return std::make_unique<Readable>(found->second);
  }
  absl::Status MakeFolders(const std::string&) override { return absl::OkStatus(); }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    const auto found = entries_.find(from);
    if (found == entries_.end()) return absl::NotFoundError("no such file");
    entries_[to] = found->second;
    entries_.erase(from);
    return SyncFolder(to.substr(0, to.rfind('/')));
  }
  absl::Status HardLink(const std::string& from, const std::string& to) override {
    const auto found = entries_.find(from);
    if (found == entries_.end()) return absl::NotFoundError("no such file");
    if (!entries_.emplace(to, found->second).second) return absl::UnavailableError("file exists");
    return absl::OkStatus();
  }
  absl::Status Remove(const std::string& path) override {
    entries_.erase(path);
    return absl::OkStatus();
  }
  absl::Status RemoveFolder(const std::string& path) override {
    std::erase_if(entries_, [&](const auto& e) { return e.first.starts_with(path + "/"); });
    return absl::OkStatus();
  }
  absl::Status SyncFolder(const std::string& path) override {
    const auto inside = [&](const auto& e) { return e.first.starts_with(path + "/"); };
    std::erase_if(durable_entries_, inside);
    for (const auto& entry : entries_) {
      if (inside(entry)) durable_entries_.insert(entry);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    std::vector<std::string> names;
    for (const auto& [name, content] : entries_) {
      if (name.starts_with(path + "/")) names.push_back(name.substr(path.size() + 1));
    }
    return names;
  }
  bool Exists(const std::string& path) override { return entries_.contains(path); }

 private:
  struct Content {
    std::string bytes;
    size_t synced = 0;
  };
  class Writable final : public WritableFile {
   public:
    Writable(MemoryDisk& disk, std::shared_ptr<Content> content)
        : disk_(disk), content_(std::move(content)) {}
    absl::Status Append(std::string_view bytes) override {
      if (bytes.size() > disk_.bytes_left) {
        disk_.bytes_left = 0;
        return absl::ResourceExhaustedError("no space left");
      }
      disk_.bytes_left -= bytes.size();
      content_->bytes += bytes;
      return absl::OkStatus();
    }
    absl::Status Sync() override {
      content_->synced = content_->bytes.size();
      return absl::OkStatus();
    }
    absl::Status Close() override { return absl::OkStatus(); }

   private:
    MemoryDisk& disk_;
    const std::shared_ptr<Content> content_;
  };
  class Readable final : public ReadableFile {
   public:
    explicit Readable(std::shared_ptr<Content> content) : content_(std::move(content)) {}
    uint64_t size() const override { return content_->bytes.size(); }
    absl::Status Read(uint64_t offset, size_t length, char* out) const override {
      if (offset > size() || length > size() - offset) {
        return absl::OutOfRangeError("the file is shorter");
      }
      std::memcpy(out, content_->bytes.data() + offset, length);
      return absl::OkStatus();
    }

   private:
    const std::shared_ptr<Content> content_;
  };

  std::map<std::string, std::shared_ptr<Content>> entries_;
  std::map<std::string, std::shared_ptr<Content>> durable_entries_;
};

}  // namespace millrace
