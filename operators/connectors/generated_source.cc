#include "operators/connectors/generated_source.h"

#include <algorithm>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr std::string_view kSplitPrefix = "generator/";

class GeneratedSource : public Source {
 public:
  GeneratedSource(GeneratedRows rows, std::unique_ptr<RowGenerator> generator)
      : rows_(rows), generator_(std::move(generator)) {}

  absl::Status Open(SourceContext& context, std::vector<Split> splits) override {
    context_ = &context;
    MILLRACE_RETURN_IF_ERROR(generator_->Open(context.schema));
    builder_.emplace(context.schema, context.batch_rows_max);
    opened_ns_ = context.env.clock.MonotonicNanos();
    return AddSplits(std::move(splits));
  }

  absl::Status AddSplits(std::vector<Split> splits) override {
    for (Split& split : splits) {
      Part part;
      std::string_view number = split.id;
      if (!number.starts_with(kSplitPrefix) ||
          !ParseNumber(number.substr(kSplitPrefix.size()), part.index) ||
          part.index >= rows_.splits) {
        return absl::InvalidArgumentError(
            Concat("split '", split.id, "' does not belong to a generator of ", rows_.splits,
                   " splits; the option 'splits' cannot change"));
      }
      if (!split.position.empty() && !ParseNumber(split.position, part.next)) {
        return absl::DataLossError(Concat("position of split '", split.id, "' is not a number"));
      }
      part.start = part.next;
      if (rows_.total) {
        part.end = (*rows_.total + rows_.splits - 1 - part.index) / rows_.splits;
      }
      part.split = std::move(split);
      parts_.push_back(std::move(part));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PollResult> Poll(Emitter& out) override {
    // The split that is furthest behind: event time of all advances together.
    Part* behind = nullptr;
    for (Part& part : parts_) {
      if (part.next < part.end && (behind == nullptr || part.next < behind->next)) behind = &part;
    }
    if (behind == nullptr) return rows_.total ? PollResult::kEnd : PollResult::kIdle;
    const uint64_t due = std::min(Due(*behind), behind->end);
    if (behind->next >= due) return PollResult::kIdle;
    const auto count = static_cast<int64_t>(
        std::min<uint64_t>(due - behind->next, static_cast<uint64_t>(context_->batch_rows_max)));
    generator_->AppendRows(rows_.first + behind->next * rows_.splits + behind->index, rows_.splits,
                           count, *builder_);
    Batch batch(context_->schema, count, builder_->Finish().columns());
    batch.split = static_cast<uint32_t>(behind - parts_.data());
    behind->next += static_cast<uint64_t>(count);
    context_->counters.rows_in.Add(static_cast<uint64_t>(count));
    context_->counters.bytes_in.Add(batch.byte_size());
    out.Emit(std::move(batch));
    return PollResult::kEmitted;
  }

  std::vector<Split> Positions() const override {
    std::vector<Split> positions;
    for (const Part& part : parts_) {
      positions.push_back(part.split);
      positions.back().position = std::to_string(part.next);
      positions.back().finished = part.next >= part.end;
    }
    return positions;
  }

 private:
  struct Part {
    Split split;
    uint32_t index = 0;
    uint64_t start = 0;         // Position when it was opened.
    uint64_t next = 0;          // Position now.
    uint64_t end = UINT64_MAX;  // Position after its last row.
  };

  // The position that the part may have reached by now.
  uint64_t Due(const Part& part) const {
    if (!rows_.rows_per_second) return UINT64_MAX;
    const int64_t elapsed_ns = context_->env.clock.MonotonicNanos() - opened_ns_;
    const auto all =
        static_cast<unsigned __int128>(elapsed_ns) * *rows_.rows_per_second / 1'000'000'000u;
    return part.start + static_cast<uint64_t>(all) / rows_.splits;
  }

  const GeneratedRows rows_;
  const std::unique_ptr<RowGenerator> generator_;
  SourceContext* context_ = nullptr;
  int64_t opened_ns_ = 0;
  std::optional<BatchBuilder> builder_;
  std::vector<Part> parts_;
};

class GeneratedDiscovery : public SplitDiscovery {
 public:
  explicit GeneratedDiscovery(uint32_t splits) : splits_(splits) {}
  absl::StatusOr<std::vector<Split>> Discover(bool) override {
    std::vector<Split> splits;
    for (uint32_t i = 0; i < splits_; ++i) {
      splits.push_back({.id = Concat(kSplitPrefix, i), .position = "0"});
    }
    return splits;
  }

 private:
  const uint32_t splits_;
};

}  // namespace

std::unique_ptr<Source> MakeGeneratedSource(GeneratedRows rows,
                                            std::unique_ptr<RowGenerator> generator) {
  return std::make_unique<GeneratedSource>(rows, std::move(generator));
}

std::unique_ptr<SplitDiscovery> MakeGeneratedDiscovery(uint32_t splits) {
  return std::make_unique<GeneratedDiscovery>(splits);
}

}  // namespace millrace
