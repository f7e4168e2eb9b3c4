#include "operators/connectors/blackhole/blackhole_connector.h"

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/node_options.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// Drops rows; the task counts them as it does for every sink.
class BlackholeSink : public Sink {
 public:
  absl::Status Open(SinkContext& context) override {
    context_ = &context;
    return absl::OkStatus();
  }
  absl::Status Write(const Batch& batch) override {
    context_->counters.bytes_out.Add(batch.byte_size());
    return absl::OkStatus();
  }
  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override {
    return context_->outbox.Seal(epoch);
  }
  absl::Status Commit(const v1::CommitToken&) override { return absl::OkStatus(); }
  bool VisibleOnWrite() const override { return true; }

 private:
  SinkContext* context_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sink>> MakeBlackholeSink(const v1::Node& node) {
  MILLRACE_RETURN_IF_ERROR(ReadNodeOptions(node).status());
  return std::make_unique<BlackholeSink>();
}

}  // namespace millrace
