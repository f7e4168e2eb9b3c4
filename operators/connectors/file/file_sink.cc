// Writes lines into files part-<job>-<slot>-<epoch> of a folder or a store, or of its folders by
// partition. Until its epoch is committed the output is in the outbox; each file then appears
// whole. Its name tells whether it was committed before: the same epoch of a slot always has the
// same content.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/file/file_connector.h"
#include "operators/connectors/file/part_files.h"
#include "operators/connectors/file/partition_path.h"
#include "operators/connectors/node_options.h"
#include "operators/connectors/op_column.h"
#include "operators/formats/format.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/outbox.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

// Files of partitions that a commit writes at a time; the outbox is read again for the others.
constexpr size_t kOpenFilesMax = 64;

class FileSink : public Sink {
 public:
  // `partition_by`: names of columns; their values are in the names of folders, not in the files.
  FileSink(std::string path, std::vector<std::string> partition_by, bool header,
           const Format& format, OptionMap options)
      : path_(std::move(path)),
        partition_by_(std::move(partition_by)),
        header_(header),
        format_(format),
        options_(std::move(options)) {}

  absl::Status Open(SinkContext& context) override {
    context_ = &context;
    MILLRACE_RETURN_IF_ERROR(SplitColumns());
    MILLRACE_ASSIGN_OR_RETURN(encoder_, format_.make_encoder(file_schema_, options_));
    if (header_) MILLRACE_RETURN_IF_ERROR(MakeHeader());
    MILLRACE_ASSIGN_OR_RETURN(
        files_, OpenPartFiles(path_, {&context.env.disk, context.s3}, context.generation));
    return absl::OkStatus();
  }

  absl::Status Write(const Batch& batch) override {
    if (!partition_columns_.empty()) return WritePartitions(batch);
    MILLRACE_RETURN_IF_ERROR(encoder_->Encode(batch, rows_));
    lines_.clear();
    for (size_t i = 0; i < rows_.rows(); ++i) AppendLine(i, lines_);
    context_->counters.bytes_out.Add(lines_.size());
    return context_->outbox.Append(lines_);
  }

  absl::StatusOr<v1::CommitToken> Prepare(Epoch epoch) override {
    return context_->outbox.Seal(epoch);
  }

  absl::Status Commit(const v1::CommitToken& token) override {
    if (token.outbox().empty()) return absl::OkStatus();
    std::set<std::string, std::less<>> done;  // Partitions; "" without any.
    bool more = true;
    while (more) {
      MILLRACE_ASSIGN_OR_RETURN(more, CommitSome(token, done));
    }
    return absl::OkStatus();
  }

 private:
  // Which columns name the folder and which are in the file.
  absl::Status SplitColumns() {
    std::vector<Field> fields;
    for (const std::string& name : partition_by_) {
      if (name.empty()) continue;
      partition_columns_.push_back(context_->schema->IndexOfName(name));
      if (partition_columns_.back() >= 0) continue;
      return absl::InvalidArgumentError(
          Concat("option 'partition-by': the rows have no column '", name, "'"));
    }
    for (int i = 0; i < context_->schema->size(); ++i) {
      const bool names_folder = std::find(partition_columns_.begin(), partition_columns_.end(),
                                          i) != partition_columns_.end();
      if (names_folder) continue;
      file_columns_.push_back(i);
      fields.push_back(context_->schema->field(i));
    }
    if (fields.empty()) {
      return absl::InvalidArgumentError("option 'partition-by': no column is left for the files");
    }
    file_schema_ = partition_columns_.empty() ? context_->schema : Schema::Make(std::move(fields));
    return absl::OkStatus();
  }

  void AppendLine(size_t row, std::string& lines) const {
    lines.append(rows_.row(row));
    lines.push_back('\n');
  }

  // A record of the outbox: length of the partition's path (4 bytes), the path, lines.
  absl::Status WritePartitions(const Batch& batch) {
    std::vector<Column> columns;
    for (const int i : file_columns_) columns.push_back(batch.column(i));
    MILLRACE_RETURN_IF_ERROR(
        encoder_->Encode(batch.WithColumns(file_schema_, std::move(columns)), rows_));
    std::map<std::string, std::string> lines;
    for (size_t i = 0; i < rows_.rows(); ++i) {
      AppendLine(i, lines[PartitionPath(batch, partition_columns_, static_cast<int64_t>(i))]);
    }
    for (const auto& [partition, text] : lines) {
      const auto size = static_cast<uint32_t>(partition.size());
      lines_.assign(reinterpret_cast<const char*>(&size), sizeof(size));
      lines_.append(partition).append(text);
      context_->counters.bytes_out.Add(text.size());
      MILLRACE_RETURN_IF_ERROR(context_->outbox.Append(lines_));
    }
    return absl::OkStatus();
  }

  // The partition of a record, which then has only its lines.
  absl::StatusOr<std::string_view> TakePartition(std::string_view& record) const {
    if (partition_columns_.empty()) return std::string_view();
    uint32_t size = 0;
    if (record.size() < sizeof(size)) return absl::DataLossError("a short record of a file sink");
    std::memcpy(&size, record.data(), sizeof(size));
    record.remove_prefix(sizeof(size));
    if (record.size() < size) return absl::DataLossError("a short record of a file sink");
    const std::string_view partition = record.substr(0, size);
    record.remove_prefix(size);
    return partition;
  }

  // Makes the files of partitions that are not done yet. True: there are more than fit at once.
  absl::StatusOr<bool> CommitSome(const v1::CommitToken& token,
                                  std::set<std::string, std::less<>>& done) {
    std::map<std::string, std::unique_ptr<PartFile>, std::less<>> open;
    bool more = false;
    if (partition_columns_.empty()) {
      MILLRACE_ASSIGN_OR_RETURN(open[""], Create(token, ""));
      if (open[""] == nullptr) return false;  // It was committed before.
    }
    MILLRACE_RETURN_IF_ERROR(
        context_->outbox.Read(token, [&](std::string_view record) -> absl::Status {
          MILLRACE_ASSIGN_OR_RETURN(const std::string_view partition, TakePartition(record));
          if (done.contains(partition)) return absl::OkStatus();
          auto file = open.find(partition);
          if (file == open.end()) {
            if (open.size() == kOpenFilesMax) {
              more = true;
              return absl::OkStatus();
            }
            MILLRACE_ASSIGN_OR_RETURN(auto made, Create(token, partition));
            if (made == nullptr) {  // It was committed before.
              done.emplace(partition);
              return absl::OkStatus();
            }
            file = open.emplace(partition, std::move(made)).first;
          }
          return file->second->Append(record);
        }));
    for (auto& [partition, file] : open) {
      MILLRACE_RETURN_IF_ERROR(file->Publish());
      done.insert(partition);
    }
    return more;
  }

  absl::StatusOr<std::unique_ptr<PartFile>> Create(const v1::CommitToken& token,
                                                   std::string_view partition) {
    const bool again = token.epoch() <= context_->restored_epoch.number;
    MILLRACE_ASSIGN_OR_RETURN(auto made,
                              files_->Create(std::string(partition), PartName(token), again));
    if (made != nullptr && header_) MILLRACE_RETURN_IF_ERROR(made->Append(header_line_));
    return made;
  }

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
    for (const Field& field : file_schema_->fields()) {
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

  const std::string path_;
  const std::vector<std::string> partition_by_;
  const bool header_;
  const Format& format_;
  const OptionMap options_;
  SinkContext* context_ = nullptr;
  // Constant after Open.
  std::string header_line_;
  std::vector<int> partition_columns_, file_columns_;
  SchemaPtr file_schema_;
  std::unique_ptr<PartFiles> files_;  // Used by Commit alone.
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
  MILLRACE_ASSIGN_OR_RETURN(const auto partition_by, reader.String("partition-by"));
  MILLRACE_ASSIGN_OR_RETURN(const Format* format, FindFormat(node.sink().format()));
  return WithOpColumn(
      node, std::make_unique<FileSink>(*path, SplitList(partition_by.value_or(std::string())),
                                       *header && format->name == "csv", *format, std::move(all)));
}

}  // namespace millrace
