#include "cli/driven_nodes.h"

#include <optional>
#include <string_view>
#include <utility>

#include "millrace/v1/checkpoint.pb.h"
#include "operators/formats/format.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"
#include "runtime/task/tailed_rows.h"

namespace millrace {
namespace {

constexpr char kOp[] = "op";
constexpr char kSplit[] = "driver";

// The kind that a member "op" of a row names.
std::optional<RowKind> KindOf(std::string_view op) {
  for (const RowKind kind :
       {RowKind::kInsert, RowKind::kUpdateBefore, RowKind::kUpdateAfter, RowKind::kDelete}) {
    if (op == RowKindText(kind)) return kind;
  }
  return std::nullopt;
}

// Gives the rows that were fed. What was given is never read again: tests restart with an epoch
// that has everything.
class DrivenSource : public Source {
 public:
  explicit DrivenSource(DrivenRows::Input& input) : input_(input) {}

  absl::Status Open(SourceContext& context, std::vector<Split> splits) override {
    context_ = &context;
    // By the names of the columns, wherever they stand in the records of the real source.
    std::vector<Field> fields;
    for (const Field& field : context.schema->fields()) {
      fields.push_back(field);
      fields.back().path.clear();
    }
    const bool has_op = context.schema->IndexOfName(kOp) >= 0;
    with_op_ = context.node.changelog_mode() > v1::CHANGELOG_MODE_APPEND && !has_op;
    if (with_op_) fields.push_back({.name = kOp, .type = DataType(TypeKind::kString)});
    decoded_ = Schema::Make(std::move(fields));
    MILLRACE_ASSIGN_OR_RETURN(const Format* json, FindFormat("json"));
    MILLRACE_ASSIGN_OR_RETURN(decoder_, json->make_decoder({.schema = decoded_}, {}));
    return AddSplits(std::move(splits));
  }

  absl::Status AddSplits(std::vector<Split> splits) override {
    for (Split& split : splits) splits_.push_back(std::move(split));
    return absl::OkStatus();
  }

  absl::StatusOr<PollResult> Poll(Emitter& out) override {
    if (splits_.empty()) return PollResult::kIdle;  // Another task has the split, or it comes yet.
    if (input_.rows.empty()) {
      splits_[0].finished = input_.ended;
      return input_.ended ? PollResult::kEnd : PollResult::kIdle;
    }
    std::vector<std::string> texts;
    while (!input_.rows.empty() && static_cast<int64_t>(texts.size()) < context_->batch_rows_max) {
      texts.push_back(std::move(input_.rows.front()));
      input_.rows.pop_front();
    }
    std::vector<Message> messages;
    for (std::string& text : texts) {
      context_->counters.bytes_in.Add(text.size());
      text.reserve(text.size() + kMessagePadding);
    }
    for (const std::string& text : texts) messages.push_back({.value = text});
    std::vector<NoRow> none;
    BatchBuilder builder(decoded_);
    decoder_->Decode(messages, builder, none);
    context_->counters.rows_in.Add(texts.size());
    for (const NoRow& one : none) {
      input_.problems.push_back(
          Concat(texts[one.index], ": ", one.is_bad() ? one.error : "no row"));
    }
    context_->counters.rows_skipped.Add(none.size());
    EmitRows(builder.Finish(), out);
    return PollResult::kEmitted;
  }

  std::vector<Split> Positions() const override { return splits_; }

 private:
  void EmitRows(const Batch& decoded, Emitter& out) {
    BatchBuilder rows(context_->schema);
    const int op_column = with_op_ ? decoded.column_count() - 1 : -1;
    for (int64_t row = 0; row < decoded.rows(); ++row) {
      std::optional<RowKind> kind = RowKind::kInsert;
      if (with_op_ && !decoded.column(op_column).IsNull(row)) {
        kind = KindOf(decoded.column(op_column).StringAt(row));
      }
      if (!kind) {
        input_.problems.push_back(
            Concat("op '", decoded.column(op_column).StringAt(row), "' is none of +I, -U, +U, -D"));
        context_->counters.rows_skipped.Add(1);
        continue;
      }
      for (int i = 0; i < context_->schema->size(); ++i) {
        rows.column(i).AppendFrom(decoded.column(i), row);
      }
      rows.SetKind(*kind);
    }
    out.Emit(rows.Finish());
  }

  DrivenRows::Input& input_;
  SourceContext* context_ = nullptr;
  SchemaPtr decoded_;
  bool with_op_ = false;
  std::unique_ptr<Decoder> decoder_;
  std::vector<Split> splits_;
};

class DrivenDiscovery : public SplitDiscovery {
 public:
  absl::StatusOr<std::vector<Split>> Discover(bool) override {
    return std::vector<Split>{{.id = kSplit, .position = {}}};
  }
};

// The watermark of the job, moved on by the driver.
class DrivenWatermark : public Operator {
 public:
  DrivenWatermark(std::unique_ptr<Operator> watermark, const EventTime& at_least)
      : watermark_(std::move(watermark)), at_least_(at_least) {}
  absl::Status Open(OperatorContext& context) override { return watermark_->Open(context); }
  absl::Status Process(int input, const Batch& batch, Emitter& out) override {
    return watermark_->Process(input, batch, out);
  }
  std::optional<EventTime> OwnWatermark() override { return at_least_; }

 private:
  const std::unique_ptr<Operator> watermark_;
  const EventTime& at_least_;
};

// Keeps what it is given for the driver, at once.
class DrivenSink : public Sink {
 public:
  explicit DrivenSink(v1::TailedRows& rows) : rows_(rows) {}
  absl::Status Open(SinkContext& context) override {
    context_ = &context;
    return absl::OkStatus();
  }
  absl::Status Write(const Batch& batch) override {
    AppendTailedRows(batch, 0, batch.rows(), rows_);
    return absl::OkStatus();
  }
  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override {
    return context_->outbox.Seal(epoch);
  }
  absl::Status Commit(const v1::CommitToken&) override { return absl::OkStatus(); }
  bool VisibleOnWrite() const override { return true; }

 private:
  v1::TailedRows& rows_;
  SinkContext* context_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Operator>> DrivenNodes::MakeOperator(const v1::Node& node) const {
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<Operator> made, nodes_.MakeOperator(node));
  if (!node.has_watermark()) return made;
  const EventTime& at_least =
      rows_.watermarks.try_emplace(node.uid(), EventTime::Min()).first->second;
  return std::make_unique<DrivenWatermark>(std::move(made), at_least);
}

absl::StatusOr<std::unique_ptr<Source>> DrivenNodes::MakeSource(const v1::Node& node) const {
  return std::make_unique<DrivenSource>(rows_.inputs[node.uid()]);
}

absl::StatusOr<std::unique_ptr<SplitDiscovery>> DrivenNodes::MakeDiscovery(const v1::Node&,
                                                                           Env&) const {
  return std::make_unique<DrivenDiscovery>();
}

absl::StatusOr<std::unique_ptr<Sink>> DrivenNodes::MakeSink(const v1::Node& node) const {
  return std::make_unique<DrivenSink>(rows_.outputs[node.uid()]);
}

}  // namespace millrace
