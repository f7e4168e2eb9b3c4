#include "operators/connectors/collect/collect_connector.h"

#include <string>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/node_options.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"
#include "runtime/task/tailed_rows.h"

namespace millrace {
namespace {

// Of one message to the reader, unless a single row is larger.
constexpr size_t kRecordBytesMax = 256 << 10;
constexpr int64_t kRowsPerLook = 64;
// Of one commit with the reader of a record.
constexpr absl::Duration kPatience = absl::Milliseconds(500);

// Hands the rows of an epoch to the reader of the job when it is complete. A record of the outbox
// is a message; its place in the epoch tells readers what they have seen already.
class CollectSink : public Sink {
 public:
  absl::Status Open(SinkContext& context) override {
    if (context.deliver == nullptr) {
      return absl::FailedPreconditionError("nobody takes the rows of a sink 'collect' here");
    }
    context_ = &context;
    return absl::OkStatus();
  }

  absl::Status Write(const Batch& batch) override {
    v1::TailedRows rows;
    for (int64_t row = 0; row < batch.rows(); row += kRowsPerLook) {
      AppendTailedRows(batch, row, std::min(row + kRowsPerLook, batch.rows()), rows);
      if (rows.ByteSizeLong() >= kRecordBytesMax) MILLRACE_RETURN_IF_ERROR(Append(rows));
    }
    return rows.rows().empty() ? absl::OkStatus() : Append(rows);
  }

  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override {
    return context_->outbox.Seal(epoch);
  }

  // A reader may be slow: the io thread is not kept for it.
  absl::Status Commit(const v1::CommitToken& token) override {
    if (token.epoch() != epoch_ || token.slot() != slot_) {
      epoch_ = token.epoch();
      slot_ = token.slot();
      taken_ = 0;
      under_way_ = nullptr;
    }
    uint64_t first_row = 0, record_number = 0;
    return context_->outbox.Read(token, [&](std::string_view record) -> absl::Status {
      v1::TailedRows rows;
      if (!rows.ParseFromArray(record.data(), static_cast<int>(record.size()))) {
        return absl::DataLossError("a record of the outbox of a sink 'collect' cannot be read");
      }
      rows.set_epoch(token.epoch());
      rows.set_slot(token.slot());
      rows.set_first_row(first_row);
      first_row += static_cast<uint64_t>(rows.rows_size());
      if (record_number++ < taken_) return absl::OkStatus();
      if (under_way_ == nullptr) under_way_ = context_->deliver(std::move(rows));
      MILLRACE_ASSIGN_OR_RETURN(const bool taken, under_way_->Wait(kPatience));
      if (!taken) return CommitLater();
      under_way_ = nullptr;
      ++taken_;
      return absl::OkStatus();
    });
  }

 private:
  absl::Status Append(v1::TailedRows& rows) {
    const std::string record = rows.SerializeAsString();
    rows.Clear();
    context_->counters.bytes_out.Add(record.size());
    return context_->outbox.Append(record);
  }

  SinkContext* context_ = nullptr;
  // Io thread: how many records of this epoch the reader has, and the next one on its way.
  uint64_t epoch_ = 0;
  uint32_t slot_ = 0;
  uint64_t taken_ = 0;
  std::shared_ptr<RowDelivery> under_way_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sink>> MakeCollectSink(const v1::Node& node) {
  MILLRACE_RETURN_IF_ERROR(ReadNodeOptions(node).status());
  return std::make_unique<CollectSink>();
}

}  // namespace millrace
