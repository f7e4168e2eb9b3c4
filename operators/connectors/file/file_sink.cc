// Writes lines into files part-<job>-<slot>-<epoch> of a folder. Until its epoch is committed the
// output is in the outbox; the file then appears whole, by a rename. Its name tells whether it was
// committed before: the same epoch of a slot always has the same content.
#include <cstdio>
#include <optional>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/file/file_connector.h"
#include "operators/connectors/node_options.h"
#include "operators/connectors/op_column.h"
#include "operators/formats/format.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

class FileSink : public Sink {
 public:
  FileSink(std::string folder, bool header, const Format& format, OptionMap options)
      : folder_(std::move(folder)),
        header_(header),
        format_(format),
        options_(std::move(options)) {}

  absl::Status Open(SinkContext& context) override {
    context_ = &context;
    MILLRACE_ASSIGN_OR_RETURN(encoder_, format_.make_encoder(context.schema, options_));
    if (header_) MILLRACE_RETURN_IF_ERROR(MakeHeader());
    return context.env.disk.MakeFolders(folder_);
  }

  absl::Status Write(const Batch& batch) override {
    MILLRACE_RETURN_IF_ERROR(encoder_->Encode(batch, rows_));
    lines_.clear();
    for (size_t i = 0; i < rows_.rows(); ++i) {
      lines_.append(rows_.row(i));
      lines_.push_back('\n');
    }
    context_->counters.bytes_out.Add(lines_.size());
    return context_->outbox.Append(lines_);
  }

  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override {
    return context_->outbox.Seal(epoch);
  }

  absl::Status Commit(const v1::CommitToken& token) override {
    if (token.outbox().empty()) return absl::OkStatus();
    Disk& disk = context_->env.disk;
    const std::string name = PartName(token);
    const std::string path = Concat(folder_, "/", name);
    if (disk.Exists(path)) return absl::OkStatus();
    // Tasks of different attempts must not write the same temporary file.
    const std::string temporary =
        Concat(folder_, "/.", name, ".", context_->generation.number, ".tmp");
    MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, disk.Create(temporary));
    if (header_) MILLRACE_RETURN_IF_ERROR(file->Append(header_line_));
    MILLRACE_RETURN_IF_ERROR(context_->outbox.Read(
        token, [&](std::string_view record) { return file->Append(record); }));
    MILLRACE_RETURN_IF_ERROR(file->Sync());
    MILLRACE_RETURN_IF_ERROR(file->Close());
    return disk.Rename(temporary, path);
  }

 private:
  // Numbers have leading zeros: names sort by slot, then epoch.
  std::string PartName(const v1::CommitToken& token) const {
    char numbers[64];
    std::snprintf(numbers, sizeof(numbers), "%05u-%010llu", token.slot(),
                  static_cast<unsigned long long>(token.epoch()));
    return context_->job_id.empty() ? Concat("part-", numbers)
                                    : Concat("part-", context_->job_id, "-", numbers);
  }

  // The names of the columns as one row of the format.
  absl::Status MakeHeader() {
    std::vector<Field> fields;
    std::vector<Column> columns;
    for (const Field& field : context_->schema->fields()) {
      fields.push_back({.name = field.name, .type = TypeKind::kString});
      ColumnBuilder builder(TypeKind::kString);
      builder.AppendString(field.name);
      columns.push_back(builder.Finish());
    }
    const SchemaPtr schema = Schema::Make(std::move(fields));
    MILLRACE_ASSIGN_OR_RETURN(const auto encoder, format_.make_encoder(schema, options_));
    EncodedRows rows;
    MILLRACE_RETURN_IF_ERROR(encoder->Encode(Batch(schema, 1, std::move(columns)), rows));
    header_line_ = Concat(rows.bytes, "\n");
    return absl::OkStatus();
  }

  const std::string folder_;
  const bool header_;
  const Format& format_;
  const OptionMap options_;
  SinkContext* context_ = nullptr;
  std::string header_line_;  // Constant after Open.
  // Task thread.
  std::unique_ptr<Encoder> encoder_;
  EncodedRows rows_;
  std::string lines_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sink>> MakeFileSink(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(OptionMap all, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("file"));
  const OptionReader reader(spec->sink_options, all);
  MILLRACE_ASSIGN_OR_RETURN(const auto path, reader.String("path"));
  MILLRACE_ASSIGN_OR_RETURN(const auto header, reader.Bool("csv.header"));
  MILLRACE_ASSIGN_OR_RETURN(const Format* format, FindFormat(node.sink().format()));
  return WithOpColumn(node, std::make_unique<FileSink>(*path, *header && format->name == "csv",
                                                       *format, std::move(all)));
}

}  // namespace millrace
