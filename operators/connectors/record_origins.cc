#include "operators/connectors/record_origins.h"

namespace millrace {

RowOrigin RecordOrigins::Find(int64_t row) const {
  const auto at = static_cast<size_t>(row);
  if (kept_.empty()) return Record(record_of_row_.empty() ? at : record_of_row_[at]);
  const Kept& kept = kept_[at];
  RowOrigin origin = kept.origin;
  origin.source = kept.source;
  if (origin.key) origin.key = kept.key;
  if (origin.value) origin.value = kept.value;
  return origin;
}

void RecordOrigins::Begin(size_t records, const std::vector<NoRow>& none) {
  rows_ = records - none.size();
  record_of_row_.clear();
  if (none.empty()) return;
  size_t next = 0;
  for (uint32_t i = 0; i < records; ++i) {
    if (next < none.size() && none[next].index == i) {
      ++next;
    } else {
      record_of_row_.push_back(i);
    }
  }
}

void RecordOrigins::Keep() {
  std::vector<Kept> kept;
  kept.reserve(rows_);
  for (size_t row = 0; row < rows_; ++row) {
    const RowOrigin origin = Find(static_cast<int64_t>(row));
    kept.push_back({.source = std::string(origin.source),
                    .key = std::string(origin.key.value_or("")),
                    .value = std::string(origin.value.value_or("")),
                    .origin = origin});
  }
  kept_ = std::move(kept);
}

}  // namespace millrace
