#include "operators/connectors/print/print_connector.h"

#include <cstdio>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/node_options.h"
#include "operators/connectors/op_column.h"
#include "operators/formats/format.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/columns/json_text.h"
#include "runtime/columns/time_text.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// Prints the rows of an epoch when it is committed, so that what was seen never has to be taken
// back. After a restart the last epoch may be printed again: a terminal has no memory to look at.
class PrintSink : public Sink {
 public:
  PrintSink(std::string identifier, bool json)
      : identifier_(std::move(identifier)), json_(json), timestamps_(TimestampText::kSql) {}

  absl::Status Open(SinkContext& context) override {
    context_ = &context;
    if (json_) {
      MILLRACE_ASSIGN_OR_RETURN(const Format* format, FindFormat("json"));
      MILLRACE_ASSIGN_OR_RETURN(encoder_, format->make_encoder(context.schema, {}));
    }
    prefix_ = identifier_;
    if (context.parallelism > 1) {
      if (!prefix_.empty()) prefix_.push_back(':');
      AppendText(prefix_, context.slot + 1);
    }
    if (!prefix_.empty()) prefix_.append("> ");
    return absl::OkStatus();
  }

  absl::Status Write(const Batch& batch) override {
    lines_.clear();
    if (json_) MILLRACE_RETURN_IF_ERROR(encoder_->Encode(batch, rows_));
    for (int64_t row = 0; row < batch.rows(); ++row) {
      lines_.append(prefix_);
      if (json_) {
        lines_.append(rows_.row(static_cast<size_t>(row)));
      } else {
        AppendChange(batch, row);
      }
      lines_.push_back('\n');
    }
    context_->counters.bytes_out.Add(lines_.size());
    return context_->outbox.Append(lines_);
  }

  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override {
    return context_->outbox.Seal(epoch);
  }

  absl::Status Commit(const v1::CommitToken& token) override {
    if (token.slot() == context_->slot) {
      if (token.epoch() <= printed_epoch_) return absl::OkStatus();
      printed_epoch_ = token.epoch();
    }
    std::string text;
    MILLRACE_RETURN_IF_ERROR(context_->outbox.Read(token, [&](std::string_view record) {
      text.append(record);
      return absl::OkStatus();
    }));
    if (text.empty()) return absl::OkStatus();
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
        std::fflush(stdout) != 0) {
      return absl::UnavailableError("cannot write to standard output");
    }
    return absl::OkStatus();
  }

 private:
  void AppendChange(const Batch& batch, int64_t row) {
    lines_.append(RowKindText(batch.kind(row)));
    lines_.push_back('[');
    for (int i = 0; i < batch.column_count(); ++i) {
      if (i > 0) lines_.append(", ");
      AppendPlain(batch.column(i), row);
    }
    lines_.push_back(']');
  }

  void AppendPlain(const Column& column, int64_t row) {
    if (column.IsNull(row)) {
      lines_.append("null");
    } else if (column.type() == TypeKind::kString) {
      lines_.append(column.StringAt(row));
    } else if (column.type() == TypeKind::kTimestamp) {
      timestamps_.Append(column.values<int64_t>()[row], lines_);
    } else if (column.type() == TypeKind::kDate) {
      AppendDate(column.values<int32_t>()[row], lines_);
    } else if (column.type() == TypeKind::kFloat64) {
      AppendJsonNumber(column.values<double>()[row], lines_);
    } else {
      lines_.append(ValueText(column, row));
    }
  }

  const std::string identifier_;
  const bool json_;
  SinkContext* context_ = nullptr;
  std::string prefix_;
  // Task thread.
  std::unique_ptr<Encoder> encoder_;
  TimestampPrinter timestamps_;
  EncodedRows rows_;
  std::string lines_;
  // Io thread.
  uint64_t printed_epoch_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sink>> MakePrintSink(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap options, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("print"));
  const OptionReader reader(spec->sink_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto identifier, reader.String("print-identifier"));
  MILLRACE_ASSIGN_OR_RETURN(const auto style, reader.Enum("style"));
  const bool json = *style == 1;
  auto sink = std::make_unique<PrintSink>(identifier.value_or(""), json);
  if (json) return WithOpColumn(node, std::move(sink));
  return sink;
}

}  // namespace millrace
