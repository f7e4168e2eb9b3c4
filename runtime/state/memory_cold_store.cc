#include <iterator>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "runtime/state/cold_store.h"

namespace millrace {
namespace {

class MemoryColdStore final : public ColdStore {
 public:
  using Rows = std::map<std::string, std::string, std::less<>>;

  class MapRun final : public Run {
   public:
    explicit MapRun(MemoryColdStore& store) : store_(store) {}
    absl::Status Put(std::string_view key, std::string_view value) override {
      rows_.emplace_back(key, std::pair(true, std::string(value)));
      return CheckOrder();
    }
    absl::Status Delete(std::string_view key) override {
      rows_.emplace_back(key, std::pair(false, std::string()));
      return CheckOrder();
    }
    absl::Status Finish() override {
      for (auto& [key, row] : rows_) {
        if (row.first) {
          store_.rows_[key] = std::move(row.second);
        } else {
          store_.rows_.erase(key);
        }
      }
      return absl::OkStatus();
    }

   private:
    absl::Status CheckOrder() const {
      const size_t n = rows_.size();
      if (n < 2 || rows_[n - 2].first < rows_[n - 1].first) return absl::OkStatus();
      return absl::InternalError("rows of a cold run are out of order");
    }
    MemoryColdStore& store_;
    std::vector<std::pair<std::string, std::pair<bool, std::string>>> rows_;
  };

  class MapIterator final : public Iterator {
   public:
    explicit MapIterator(const Rows& rows) : rows_(rows), at_(rows.end()) {}
    void Seek(std::string_view key) override { at_ = rows_.lower_bound(key); }
    bool Valid() const override { return at_ != rows_.end(); }
    void Next() override { ++at_; }
    std::string_view key() const override { return at_->first; }
    std::string_view value() const override { return at_->second; }
    absl::Status status() const override { return absl::OkStatus(); }

   private:
    const Rows& rows_;
    Rows::const_iterator at_;
  };

  absl::StatusOr<std::unique_ptr<Run>> BeginRun() override {
    return std::make_unique<MapRun>(*this);
  }
  absl::StatusOr<bool> Get(std::string_view key, std::string* value) override {
    const auto found = rows_.find(key);
    if (found == rows_.end()) return false;
    *value = found->second;
    return true;
  }
  std::unique_ptr<Iterator> NewIterator() override { return std::make_unique<MapIterator>(rows_); }
  absl::Status DeleteRange(std::string_view begin, std::string_view end) override {
    if (begin < end) rows_.erase(rows_.lower_bound(begin), rows_.lower_bound(end));
    return absl::OkStatus();
  }
  // Left in place, as a slow compaction would: nobody may read them.
  void DropPanesUpTo(uint32_t, int64_t) override {}
  uint64_t bytes() const override {
    uint64_t bytes = 0;
    for (const auto& [key, value] : rows_) bytes += key.size() + value.size();
    return bytes;
  }
  uint64_t memory_bytes() const override { return 0; }

 private:
  Rows rows_;
};

}  // namespace

std::unique_ptr<ColdStore> MakeMemoryColdStore() { return std::make_unique<MemoryColdStore>(); }

}  // namespace millrace
