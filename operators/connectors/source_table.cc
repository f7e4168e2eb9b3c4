#include "operators/connectors/source_table.h"

#include <utility>

#include "runtime/base/mailbox.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr absl::Duration kIdlePause = absl::Milliseconds(20);

// Rows go to a builder; the first record that cannot be read is kept.
class TableEmitter : public Emitter {
 public:
  explicit TableEmitter(BatchBuilder& out) : out_(out) {}

  void Emit(OutputPort port, Batch batch) override {
    if (port == OutputPort::kDeadLetter) {
      if (!bad_.empty() || batch.rows() == 0) return;
      for (int i = 0; i < batch.column_count(); ++i) {
        if (batch.schema()->field(i).name == "error") bad_ = batch.column(i).StringAt(0);
      }
      if (bad_.empty()) bad_ = "a record cannot be read";
      return;
    }
    for (int64_t row = 0; row < batch.rows(); ++row) out_.AppendRow(batch, row);
  }
  bool full() const override { return false; }
  const std::string& bad() const { return bad_; }

 private:
  BatchBuilder& out_;
  std::string bad_;
};

class SourceTable : public LookupTable {
 public:
  explicit SourceTable(SourceTableParts parts) : parts_(std::move(parts)) {}

  absl::Status Open(SchemaPtr schema, std::vector<int>, const Env& env) override {
    schema_ = std::move(schema);
    env_.emplace(env);
    return absl::OkStatus();
  }
  bool finds_by_key() const override { return false; }
  absl::Status Find(const Batch&, BatchBuilder&, RowErrors&) override {
    return absl::UnimplementedError("the table is read as a whole");
  }

  absl::Status ReadAll(int64_t rows_max, BatchBuilder& out) override {
    MILLRACE_ASSIGN_OR_RETURN(const auto discovery, parts_.make_discovery(*env_));
    MILLRACE_ASSIGN_OR_RETURN(std::vector<Split> splits, discovery->Discover(/*first=*/true));
    MILLRACE_ASSIGN_OR_RETURN(const auto source, parts_.make_source());
    Waker waker;
    OperatorCounters counters;
    SourceContext context{.node = parts_.node,
                          .schema = schema_,
                          .counters = counters,
                          .env = *env_,
                          .wake = [&waker] { waker.Wake(); }};
    MILLRACE_RETURN_IF_ERROR(source->Open(context, std::move(splits)));
    TableEmitter emitter(out);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const PollResult result, source->Poll(emitter));
      if (!emitter.bad().empty()) {
        return absl::InvalidArgumentError(
            Concat("the table of a lookup has a bad record: ", emitter.bad()));
      }
      if (out.rows() > rows_max) {
        return absl::ResourceExhaustedError(
            Concat("the table of a lookup has more than ", rows_max, " rows"));
      }
      if (result == PollResult::kEnd) return absl::OkStatus();
      if (result == PollResult::kIdle) waker.Wait(kIdlePause);
    }
  }

 private:
  const SourceTableParts parts_;
  std::optional<Env> env_;
  SchemaPtr schema_;
};

}  // namespace

std::unique_ptr<LookupTable> MakeSourceTable(SourceTableParts parts) {
  return std::make_unique<SourceTable>(std::move(parts));
}

}  // namespace millrace
