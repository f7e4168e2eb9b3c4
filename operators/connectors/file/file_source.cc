// Reads lines of files. A split is a file, or a range of bytes of a large one: it holds the lines
// that begin within the range. Its position is the offset of the next line; empty: not begun.
#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/file/file_connector.h"
#include "operators/connectors/node_options.h"
#include "operators/connectors/record_origins.h"
#include "operators/formats/format.h"
#include "operators/formats/format_errors.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/task/counters.h"
#include "runtime/task/dead_letters.h"

namespace millrace {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr size_t kRawBytesInLetterMax = 1000;  // Of a line that is too long.
constexpr size_t kFilesMax = 100'000;

struct FileSourceOptions {
  std::string path;
  int64_t split_bytes = 0;
  size_t line_bytes_max = 0;
  bool header = false;
};

absl::StatusOr<FileSourceOptions> ReadOptions(const OptionMap& options) {
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("file"));
  const OptionReader reader(spec->source_options, options);
  FileSourceOptions out;
  MILLRACE_ASSIGN_OR_RETURN(const auto path, reader.String("path"));
  MILLRACE_ASSIGN_OR_RETURN(const auto split, reader.Bytes("split-size"));
  MILLRACE_ASSIGN_OR_RETURN(const auto line, reader.Bytes("max-line-size"));
  MILLRACE_ASSIGN_OR_RETURN(const auto header, reader.Bool("csv.header"));
  out.path = *path;
  out.split_bytes = *split;
  out.line_bytes_max = static_cast<size_t>(*line);
  out.header = *header;
  return out;
}

// ---- splits -------------------------------------------------------------------------------------

struct FileRange {
  std::string path;
  uint64_t begin = 0;
  uint64_t end = UINT64_MAX;  // Of the file.
};

// "path", or "path#begin-end".
FileRange RangeOfSplit(std::string_view id) {
  FileRange range;
  const size_t hash = id.rfind('#');
  if (hash != std::string_view::npos) {
    const std::string_view numbers = id.substr(hash + 1);
    const size_t dash = numbers.find('-');
    if (dash != std::string_view::npos && ParseNumber(numbers.substr(0, dash), range.begin) &&
        ParseNumber(numbers.substr(dash + 1), range.end)) {
      range.path = std::string(id.substr(0, hash));
      return range;
    }
    range.begin = 0;
    range.end = UINT64_MAX;
  }
  range.path = std::string(id);
  return range;
}

// * and ? within one name.
bool MatchesPattern(std::string_view name, std::string_view pattern) {
  size_t n = 0, p = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n]) && pattern[p] != '*') {
      ++n, ++p;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool IsPattern(std::string_view text) { return text.find_first_of("*?") != std::string_view::npos; }

class FileDiscovery : public SplitDiscovery {
 public:
  FileDiscovery(FileSourceOptions options, Env& env) : options_(std::move(options)), env_(env) {}

  absl::StatusOr<std::vector<Split>> Discover(bool) override {
    MILLRACE_ASSIGN_OR_RETURN(const std::vector<std::string> files, Files());
    std::vector<Split> splits;
    for (const std::string& file : files) {
      const auto opened = env_.disk.Open(file);
      if (!opened.ok()) {
        return absl::Status(opened.status().code(),
                            Concat("cannot read file '", file, "': ", MessageOf(opened.status())));
      }
      const uint64_t size = (*opened)->size();
      const auto step = static_cast<uint64_t>(options_.split_bytes);
      if (size <= step) {
        splits.push_back({.id = file});
        continue;
      }
      for (uint64_t begin = 0; begin < size; begin += step) {
        splits.push_back({.id = Concat(file, "#", begin, "-", std::min(begin + step, size))});
      }
    }
    return splits;
  }

 private:
  absl::StatusOr<std::vector<std::string>> Files() {
    std::string folder = options_.path;
    std::string pattern = "*";
    const size_t slash = options_.path.rfind('/');
    const std::string name =
        slash == std::string::npos ? options_.path : options_.path.substr(slash + 1);
    if (IsPattern(name)) {
      folder = slash == std::string::npos ? "." : slash == 0 ? "/" : options_.path.substr(0, slash);
      pattern = name;
    }
    if (IsPattern(folder)) {
      return absl::InvalidArgumentError(
          Concat("option 'path': * and ? are possible in the last part only: ", options_.path));
    }
    const auto names = env_.disk.List(folder);
    if (!names.ok()) {
      if (pattern == name) return names.status();
      if (env_.disk.Exists(options_.path)) return std::vector<std::string>{options_.path};
      return absl::NotFoundError(Concat("no file or folder '", options_.path, "'"));
    }
    std::vector<std::string> files;
    for (const std::string& one : *names) {
      if (one.starts_with('.') || one.starts_with('_') || !MatchesPattern(one, pattern)) continue;
      const std::string path = Concat(folder.ends_with('/') ? folder : folder + "/", one);
      if (env_.disk.List(path).ok()) continue;  // A folder in the folder.
      files.push_back(path);
    }
    if (files.empty()) {
      return absl::NotFoundError(Concat("no file matches '", options_.path, "'"));
    }
    if (files.size() > kFilesMax) {
      return absl::InvalidArgumentError(
          Concat("more than ", kFilesMax, " files match '", options_.path, "'"));
    }
    return files;
  }

  const FileSourceOptions options_;
  Env& env_;
};

// ---- source -------------------------------------------------------------------------------------

DecodedTable TableOf(const SourceContext& context) {
  DecodedTable table{.schema = context.schema};
  for (const uint32_t id : context.node.key().ids()) {
    table.key.push_back(context.schema->IndexOfId(id));
  }
  return table;
}

class LineOrigins : public RecordOrigins {
 public:
  void Begin(std::string_view path, std::span<const Message> lines,
             std::span<const uint64_t> starts, const std::vector<NoRow>& none) {
    path_ = path;
    lines_ = lines;
    starts_ = starts;
    RecordOrigins::Begin(lines.size(), none);
  }

 private:
  RowOrigin Record(size_t index) const override {
    return {.source = path_,
            .offset = static_cast<int64_t>(starts_[index]),
            .value = lines_[index].value};
  }

  std::string path_;
  std::span<const Message> lines_;
  std::span<const uint64_t> starts_;
};

class FileSource : public Source {
 public:
  FileSource(FileSourceOptions options, const Format& format, OptionMap all_options)
      : options_(std::move(options)), format_(format), all_options_(std::move(all_options)) {}

  absl::Status Open(SourceContext& context, std::vector<Split> splits) override {
    context_ = &context;
    MILLRACE_ASSIGN_OR_RETURN(decoder_, format_.make_decoder(TableOf(context), all_options_));
    builder_.emplace(context.schema, context.batch_rows_max);
    return AddSplits(std::move(splits));
  }

  absl::Status AddSplits(std::vector<Split> splits) override {
    for (Split& split : splits) {
      Part part;
      part.range = RangeOfSplit(split.id);
      if (!split.position.empty()) {
        uint64_t offset = 0;
        if (!ParseNumber(split.position, offset)) {
          return absl::DataLossError(Concat("position of split '", split.id, "' is not a number"));
        }
        part.next = offset;
      }
      part.finished = split.finished;
      part.split = std::move(split);
      parts_.push_back(std::move(part));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PollResult> Poll(Emitter& out) override {
    origins_.Reclaim();
    while (current_ < parts_.size() && parts_[current_].finished) {
      file_.reset();
      ++current_;
    }
    if (current_ == parts_.size()) return PollResult::kEnd;
    Part& part = parts_[current_];
    if (file_ == nullptr) MILLRACE_RETURN_IF_ERROR(OpenPart(part));
    MILLRACE_RETURN_IF_ERROR(CollectLines(part));
    EmitLines(part, out);
    return PollResult::kEmitted;
  }

  std::vector<Split> Positions() const override {
    std::vector<Split> positions;
    for (const Part& part : parts_) {
      positions.push_back(part.split);
      positions.back().position = part.next ? std::to_string(*part.next) : std::string();
      positions.back().finished = part.finished;
    }
    return positions;
  }

 private:
  struct Part {
    Split split;
    FileRange range;
    std::optional<uint64_t> next;  // Offset of the next line.
    bool finished = false;
  };

  absl::Status OpenPart(Part& part) {
    auto opened = env().disk.Open(part.range.path);
    if (!opened.ok()) {
      return absl::Status(opened.status().code(), Concat("cannot read file '", part.range.path,
                                                         "': ", MessageOf(opened.status())));
    }
    file_ = *std::move(opened);
    end_ = std::min(part.range.end, file_->size());
    held_ = used_ = 0;
    if (part.next) {
      if (*part.next > file_->size()) {
        return absl::DataLossError(Concat("file '", part.range.path, "' is shorter than before: ",
                                          file_->size(), " bytes, read up to ", *part.next));
      }
      read_offset_ = *part.next;
      return absl::OkStatus();
    }
    // A range begins after the first line break at or after its first byte but one.
    read_offset_ = part.range.begin == 0 ? 0 : part.range.begin - 1;
    part.next = read_offset_;
    if (part.range.begin > 0 || options_.header) MILLRACE_RETURN_IF_ERROR(PassLine(part));
    return absl::OkStatus();
  }

  // Moves past the end of the line at the position.
  absl::Status PassLine(Part& part) {
    while (true) {
      if (const char* line_end = FindLineEnd()) {
        const auto length = static_cast<size_t>(line_end - (buffer_.data() + used_)) + 1;
        used_ += length;
        *part.next += length;
        return absl::OkStatus();
      }
      *part.next += held_ - used_;
      used_ = held_;
      MILLRACE_ASSIGN_OR_RETURN(const bool more, ReadMore());
      if (!more) return absl::OkStatus();
    }
  }

  const char* FindLineEnd() const {
    return static_cast<const char*>(std::memchr(buffer_.data() + used_, '\n', held_ - used_));
  }

  // Appends a block to the buffer; false at the end of the file.
  absl::StatusOr<bool> ReadMore() {
    if (buffer_.size() < held_ + kReadBytes + kMessagePadding) {
      buffer_.resize(held_ + kReadBytes + kMessagePadding);
    }
    const uint64_t left = file_->size() - read_offset_;
    const auto length = static_cast<size_t>(std::min<uint64_t>(left, kReadBytes));
    if (length == 0) return false;
    MILLRACE_RETURN_IF_ERROR(file_->Read(read_offset_, length, buffer_.data() + held_));
    read_offset_ += length;
    held_ += length;
    return true;
  }

  // Fills messages_ with lines of the buffer, reading on when it holds no whole line.
  absl::Status CollectLines(Part& part) {
    messages_.clear();
    starts_.clear();
    if (*part.next >= end_) {
      part.finished = true;
      return absl::OkStatus();
    }
    // The buffer keeps only what is not used up; messages point into it until the next call.
    if (used_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + used_, held_ - used_);
      held_ -= used_;
      used_ = 0;
    }
    while (FindLineEnd() == nullptr) {
      if (held_ > options_.line_bytes_max) return PassLongLine(part);
      MILLRACE_ASSIGN_OR_RETURN(const bool more, ReadMore());
      if (!more) break;
    }
    while (*part.next < end_ && used_ < held_ &&
           static_cast<int64_t>(messages_.size()) < context_->batch_rows_max) {
      const char* line_end = FindLineEnd();
      if (line_end == nullptr && read_offset_ < file_->size()) break;
      const char* line = buffer_.data() + used_;
      const size_t length =
          line_end != nullptr ? static_cast<size_t>(line_end - line) : held_ - used_;
      const size_t taken = length + (line_end != nullptr ? 1 : 0);
      if (length > 0) {  // Empty lines are passed over.
        messages_.push_back({.value = {line, length}});
        starts_.push_back(*part.next);
      }
      used_ += taken;
      *part.next += taken;
    }
    if (*part.next >= end_ || (used_ == held_ && read_offset_ >= file_->size())) {
      part.finished = true;
    }
    return absl::OkStatus();
  }

  // The line at the position is longer than allowed: its beginning becomes a dead letter.
  absl::Status PassLongLine(Part& part) {
    long_line_.assign(buffer_.data(), std::min(held_, kRawBytesInLetterMax));
    long_line_start_ = *part.next;
    MILLRACE_RETURN_IF_ERROR(PassLine(part));
    if (*part.next >= end_) part.finished = true;
    has_long_line_ = true;
    return absl::OkStatus();
  }

  void EmitLines(const Part& part, Emitter& out) {
    none_.clear();
    if (std::exchange(has_long_line_, false)) {
      context_->counters.rows_in.Add(1);
      EmitDeadLetters(
          part,
          {{.start = long_line_start_,
            .raw = long_line_,
            .code = kMessageTooLong,
            .error = Concat("line is longer than ", options_.line_bytes_max, " bytes")}},
          out);
      return;
    }
    if (messages_.empty()) return;
    decoder_->BeginSplit(part.range.path);
    decoder_->Decode(messages_, *builder_, none_);
    uint64_t bytes = 0;
    for (const Message& message : messages_) bytes += message.value.size() + 1;
    context_->counters.rows_in.Add(messages_.size());
    context_->counters.rows_skipped.Add(CountSkipped(none_));
    context_->counters.bytes_in.Add(bytes);
    const auto rows = static_cast<int64_t>(messages_.size() - none_.size());
    if (rows > 0) {
      const Batch built = builder_->Finish();
      Batch batch(context_->schema, rows, built.columns());
      batch.set_kinds(built.kinds_buffer());
      batch.split = static_cast<uint32_t>(current_);
      const std::shared_ptr<LineOrigins> origins = origins_.Lend();
      origins->Begin(part.range.path, messages_, starts_, none_);
      batch.set_origins(origins);
      out.Emit(std::move(batch));
    }
    std::vector<Letter> letters;
    for (const NoRow& bad : none_) {
      if (!bad.is_bad()) continue;
      letters.push_back({.start = starts_[bad.index],
                         .raw = messages_[bad.index].value,
                         .code = bad.code,
                         .error = bad.error});
    }
    if (!letters.empty()) EmitDeadLetters(part, letters, out);
  }

  struct Letter {
    uint64_t start;
    std::string_view raw;
    std::string_view code;
    std::string error;
  };

  void EmitDeadLetters(const Part& part, const std::vector<Letter>& letters, Emitter& out) {
    BatchBuilder builder(DeadLetterSchema(), static_cast<int64_t>(letters.size()));
    const int64_t now_us = absl::ToUnixMicros(env().clock.Now());
    for (const Letter& letter : letters) {
      AppendDeadLetter({.uid = context_->node.uid(),
                        .time_us = now_us,
                        .code = letter.code,
                        .error = letter.error,
                        .origin = RowOrigin{.source = part.range.path,
                                            .offset = static_cast<int64_t>(letter.start),
                                            .value = letter.raw}},
                       builder);
      CountDeadLetters(context_->counters, letter.code, 1);
    }
    Batch batch = builder.Finish();
    batch.split = static_cast<uint32_t>(current_);
    out.Emit(OutputPort::kDeadLetter, std::move(batch));
  }

  Env& env() const { return context_->env; }

  const FileSourceOptions options_;
  const Format& format_;
  const OptionMap all_options_;
  SourceContext* context_ = nullptr;
  std::unique_ptr<Decoder> decoder_;
  std::optional<BatchBuilder> builder_;
  std::vector<Part> parts_;
  size_t current_ = 0;  // The part being read; those before it are finished.
  // Of the current part: buffer_[used_, held_) are the bytes from its position to read_offset_.
  std::unique_ptr<ReadableFile> file_;
  uint64_t end_ = 0;
  uint64_t read_offset_ = 0;
  std::vector<char> buffer_ = std::vector<char>(kMessagePadding);
  size_t held_ = 0;
  size_t used_ = 0;
  // Of the current call.
  std::vector<Message> messages_;
  std::vector<uint64_t> starts_;
  std::vector<NoRow> none_;
  OriginLender<LineOrigins> origins_;
  bool has_long_line_ = false;
  std::string long_line_;
  uint64_t long_line_start_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> MakeFileSource(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(OptionMap all, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(FileSourceOptions options, ReadOptions(all));
  MILLRACE_ASSIGN_OR_RETURN(const Format* format, FindFormat(node.source().format()));
  return std::make_unique<FileSource>(std::move(options), *format, std::move(all));
}

absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeFileDiscovery(const v1::Node& node, Env& env) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap all, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(FileSourceOptions options, ReadOptions(all));
  return std::make_unique<FileDiscovery>(std::move(options), env);
}

}  // namespace millrace
