// What a source tells of the records behind the rows of its batches (RowOrigins), and for how long.
// The records are not copied for it: it looks into them where they lie, until the source needs the
// place. Only of batches that are then still under way (asynchronous operators) copies are made.
//
// Threading: the task thread; batches may be dropped on any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "operators/formats/format.h"
#include "runtime/columns/batch.h"

namespace millrace {

class RecordOrigins : public RowOrigins {
 public:
  RowOrigin Find(int64_t row) const final;
  // The rows are those of `records` records, without `none`.
  void Begin(size_t records, const std::vector<NoRow>& none);
  // Copies everything: the records are about to go.
  void Keep();

 protected:
  virtual RowOrigin Record(size_t index) const = 0;

 private:
  struct Kept {
    std::string source;
    std::string key;
    std::string value;
    RowOrigin origin;  // Its views are those of a moment that is over.
  };

  size_t rows_ = 0;
  std::vector<uint32_t> record_of_row_;  // Empty: the same.
  std::vector<Kept> kept_;
};

template <typename Origins>
class OriginLender {
 public:
  // One to fill, for one batch.
  std::shared_ptr<Origins> Lend() {
    if (free_.empty()) free_.push_back(std::make_shared<Origins>());
    lent_.push_back(std::move(free_.back()));
    free_.pop_back();
    return lent_.back();
  }
  // Call before the records go that were lent.
  void Reclaim() {
    for (std::shared_ptr<Origins>& origins : lent_) {
      if (origins.use_count() == 1) {
        free_.push_back(std::move(origins));
      } else {
        origins->Keep();
      }
    }
    lent_.clear();
  }

 private:
  std::vector<std::shared_ptr<Origins>> lent_;
  std::vector<std::shared_ptr<Origins>> free_;
};

}  // namespace millrace
