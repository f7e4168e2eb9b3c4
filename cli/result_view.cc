#include "cli/result_view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/columns/json_text.h"

namespace millrace {
namespace {

constexpr size_t kValueCharactersMax = 60;  // Of a column that is not wide.
constexpr char kEllipsis[] = "…";

struct ScreenSize {
  size_t lines = 24;
  size_t columns = 80;
};

ScreenSize SizeOf(std::FILE* out) {
  winsize size{};
  if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return {};
  return {.lines = size.ws_row, .columns = size.ws_col};
}

// The length of the UTF-8 character that begins at `i`; 0: none does.
size_t CharacterAt(std::string_view text, size_t i) {
  const auto byte = static_cast<uint8_t>(text[i]);
  const size_t length = byte < 0x80    ? 1
                        : byte >= 0xF0 ? 4
                        : byte >= 0xE0 ? 3
                        : byte >= 0xC2 ? 2
                                       : 0;
  if (length == 0 || i + length > text.size()) return 0;
  for (size_t j = 1; j < length; ++j) {
    if ((static_cast<uint8_t>(text[i + j]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

size_t Characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

std::string Cut(std::string_view text, size_t characters_max) {
  if (Characters(text) <= characters_max) return std::string(text);
  size_t end = 0;
  for (size_t n = 0; n + 1 < characters_max && end < text.size(); ++n) {
    end += std::max<size_t>(1, CharacterAt(text, end));
  }
  std::string cut(text.substr(0, end));
  if (characters_max > 0) cut.append(kEllipsis);
  return cut;
}

// What a terminal would obey, and bytes that are no text, as \xNN.
std::string Shown(std::string_view text) {
  std::string shown;
  for (size_t i = 0; i < text.size();) {
    const size_t length = CharacterAt(text, i);
    const auto byte = static_cast<uint8_t>(text[i]);
    // U+0080 to U+009F are control characters, too.
    const bool control =
        length == 1 ? byte < 0x20 || byte == 0x7F
                    : length == 2 && byte == 0xC2 && static_cast<uint8_t>(text[i + 1]) < 0xA0;
    if (length == 0 || control) {
      absl::StrAppend(&shown, "\\x", absl::Hex(byte, absl::kZeroPad2));
      ++i;
    } else {
      shown.append(text.substr(i, length));
      i += length;
    }
  }
  return shown;
}

std::string HexOf(std::string_view bytes) {
  std::string text = "\\x";
  for (const char c : bytes) {
    absl::StrAppend(&text, absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
  }
  return text;
}

bool IsNumber(const v1::Type& type) {
  switch (type.kind()) {
    case v1::Type::KIND_INT32:
    case v1::Type::KIND_INT64:
    case v1::Type::KIND_FLOAT64:
    case v1::Type::KIND_DECIMAL:
    case v1::Type::KIND_INTERVAL:
      return true;
    default:
      return false;
  }
}

std::string JsonValue(const v1::Type& type, const std::string& text) {
  std::string out;
  if (type.kind() == v1::Type::KIND_BYTES) {
    out.push_back('"');
    AppendBase64(text, out);
    out.push_back('"');
  } else if (type.kind() == v1::Type::KIND_BOOL || type.kind() == v1::Type::KIND_ARRAY ||
             (IsNumber(type) && (text.find_first_of("IN") == std::string::npos))) {
    out = text;
  } else {
    AppendJsonString(text, out);
  }
  return out;
}

bool HasNull(const v1::TailedRow& row, size_t column) {
  return std::find(row.nulls().begin(), row.nulls().end(), static_cast<uint32_t>(column)) !=
         row.nulls().end();
}

const char* ColourOf(const std::string& op) {
  return op == "+I" ? "\x1b[32m" : op == "-D" ? "\x1b[31m" : "\x1b[33m";
}

}  // namespace

ResultViewOptions ResultViewOptionsFor(OutputFormat format) {
  const char* const term = std::getenv("TERM");
  const bool moves = term != nullptr && std::strcmp(term, "dumb") != 0;
  const char* const no_colour = std::getenv("NO_COLOR");
  ResultViewOptions options;
  options.format = format;
  options.terminal = isatty(STDOUT_FILENO) == 1 && moves;
  options.colours = options.terminal && (no_colour == nullptr || *no_colour == '\0');
  return options;
}

bool ResultView::lists() const {
  return options_.format == OutputFormat::kJson || options_.format == OutputFormat::kYaml;
}

void ResultView::Add(const v1::TailNodeResponse& response) {
  if (!has_columns_) {
    has_columns_ = true;
    columns_ = response;
    const auto& fields = columns_.schema().fields();
    for (int i = 0; i < fields.size(); ++i) {
      widths_.push_back(Characters(Shown(fields[i].name())));
      if (std::find(columns_.key().begin(), columns_.key().end(), fields[i].name()) !=
          columns_.key().end()) {
        key_columns_.push_back(static_cast<size_t>(i));
      }
    }
    const bool changes = columns_.changelog_mode() != v1::CHANGELOG_MODE_APPEND;
    is_table_ = !options_.changelog && (changes || (!key_columns_.empty() && options_.terminal));
    changed_ = true;
    return;
  }
  std::vector<Row> listed;
  for (const v1::TailedRow& row : response.rows().rows()) {
    ++rows_seen_;
    if (row.values_size() != columns_.schema().fields_size()) continue;  // Of another version.
    if (lists()) {
      std::fprintf(options_.out, "%s%s\n", options_.format == OutputFormat::kYaml ? "- " : "",
                   JsonOf(row).c_str());
    } else if (is_table_) {
      Apply(row);
    } else {
      listed.push_back({.key = "", .op = row.op(), .texts = TextsOf(row)});
    }
  }
  if (lists()) Flush();
  if (!listed.empty()) PrintListed(listed);
}

std::string ResultView::KeyOf(const v1::TailedRow& row) const {
  std::string key;
  const auto add = [&](size_t column) {
    const std::string& value = row.values(static_cast<int>(column));
    absl::StrAppend(&key, HasNull(row, column) ? "n" : "v", value.size(), ":", value);
  };
  for (const size_t column : key_columns_) add(column);
  if (!key_columns_.empty()) return key;
  for (int i = 0; i < row.values_size(); ++i) add(static_cast<size_t>(i));
  return key;
}

std::vector<std::string> ResultView::TextsOf(const v1::TailedRow& row) const {
  std::vector<std::string> texts;
  for (int i = 0; i < row.values_size(); ++i) {
    const bool bytes = columns_.schema().fields(i).type().kind() == v1::Type::KIND_BYTES;
    texts.push_back(HasNull(row, static_cast<size_t>(i)) ? "NULL"
                    : bytes                              ? HexOf(row.values(i))
                                                         : Shown(row.values(i)));
    if (options_.format != OutputFormat::kWide)
      texts.back() = Cut(texts.back(), kValueCharactersMax);
  }
  return texts;
}

std::string ResultView::JsonOf(const v1::TailedRow& row) const {
  const auto& fields = columns_.schema().fields();
  const bool taken = std::any_of(fields.begin(), fields.end(),
                                 [](const v1::Field& field) { return field.name() == "op"; });
  std::string json = absl::StrCat("{\"", taken ? "$op" : "op", "\":\"", row.op(), "\"");
  for (int i = 0; i < fields.size(); ++i) {
    json.push_back(',');
    AppendJsonString(fields[i].name(), json);
    json.push_back(':');
    json.append(HasNull(row, static_cast<size_t>(i)) ? "null"
                                                     : JsonValue(fields[i].type(), row.values(i)));
  }
  return json + "}";
}

// A row that is changed keeps its place.
void ResultView::Apply(const v1::TailedRow& row) {
  changed_ = true;
  const std::string key = KeyOf(row);
  const auto found = by_key_.find(key);
  const bool keyed = !key_columns_.empty();
  if (row.op() == "-D" || (row.op() == "-U" && !keyed)) {
    if (found == by_key_.end()) return;
    rows_.erase(found->second);
    by_key_.erase(found);
    return;
  }
  if (row.op() == "-U") return;  // The row that it is now follows.
  std::vector<std::string> texts = TextsOf(row);
  for (size_t i = 0; i < texts.size(); ++i) widths_[i] = std::max(widths_[i], Characters(texts[i]));
  if (keyed && found != by_key_.end()) {
    found->second->texts = std::move(texts);
    return;
  }
  rows_.push_back({.key = key, .op = row.op(), .texts = std::move(texts)});
  by_key_.emplace(key, std::prev(rows_.end()));
  if (rows_.size() > options_.rows_max) Forget();
}

void ResultView::Forget() {
  const auto [begin, end] = by_key_.equal_range(rows_.front().key);
  for (auto it = begin; it != end; ++it) {
    if (it->second != rows_.begin()) continue;
    by_key_.erase(it);
    break;
  }
  rows_.pop_front();
  ++forgotten_;
}

std::string ResultView::Line(const Row& row, size_t width_max) const {
  std::string line;
  for (size_t i = 0; i < row.texts.size(); ++i) {
    const size_t width = Characters(row.texts[i]);
    const std::string padding(widths_[i] - std::min(widths_[i], width), ' ');
    const bool right = IsNumber(columns_.schema().fields(static_cast<int>(i)).type());
    const bool last = i + 1 == row.texts.size();
    absl::StrAppend(&line, i == 0 ? "" : "  ", right ? padding : "", row.texts[i],
                    right || last ? "" : padding);
  }
  return width_max == 0 ? line : Cut(line, width_max);
}

std::vector<std::string> ResultView::Lines(size_t rows_shown, size_t width_max) {
  Row head;
  for (const v1::Field& field : columns_.schema().fields()) {
    head.texts.push_back(Shown(field.name()));
  }
  std::vector<std::string> lines = {Line(head, width_max)};
  const size_t above = rows_.size() - std::min(rows_.size(), rows_shown);
  if (above + forgotten_ > 0) {
    lines.push_back(absl::StrCat("(", above + forgotten_, " earlier rows)"));
  }
  for (auto row = std::next(rows_.begin(), static_cast<ptrdiff_t>(above)); row != rows_.end();
       ++row) {
    lines.push_back(Line(*row, width_max));
  }
  return lines;
}

// Rows that are never changed again; with their op where some are.
void ResultView::PrintListed(const std::vector<Row>& rows) {
  const bool with_op = columns_.changelog_mode() != v1::CHANGELOG_MODE_APPEND;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.texts.size(); ++i) {
      widths_[i] = std::max(widths_[i], Characters(row.texts[i]));
    }
  }
  size_t width_max = options_.terminal && options_.format != OutputFormat::kWide
                         ? SizeOf(options_.out).columns
                         : 0;
  if (width_max > 4 && with_op) width_max -= 4;
  if (!std::exchange(head_printed_, true)) {
    Row head;
    for (const v1::Field& field : columns_.schema().fields()) {
      head.texts.push_back(Shown(field.name()));
    }
    std::fprintf(options_.out, "%s%s\n", with_op ? "op  " : "", Line(head, width_max).c_str());
  }
  for (const Row& row : rows) {
    if (with_op) {
      std::fprintf(options_.out, "%s%s%s  ", options_.colours ? ColourOf(row.op) : "",
                   row.op.c_str(), options_.colours ? "\x1b[0m" : "");
    }
    std::fprintf(options_.out, "%s\n", Line(row, width_max).c_str());
  }
  Flush();
}

void ResultView::Flush() {
  failed_ |= std::fflush(options_.out) != 0 || std::ferror(options_.out) != 0;
}

void ResultView::Draw() {
  if (!options_.terminal || lists() || !has_columns_ || !is_table_ || !changed_) return;
  const ScreenSize screen = SizeOf(options_.out);
  // The last column stays free: a terminal breaks the line behind it. Head, a line for the rows
  // above, and the cursor's own.
  const std::vector<std::string> lines =
      Lines(screen.lines > 4 ? screen.lines - 3 : 1, std::max<size_t>(screen.columns, 2) - 1);
  std::string text;
  if (lines_drawn_ > 0) absl::StrAppend(&text, "\x1b[", lines_drawn_, "A\r\x1b[J");
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  std::fwrite(text.data(), 1, text.size(), options_.out);
  Flush();
  lines_drawn_ = lines.size();
  changed_ = false;
}

void ResultView::Erase() {
  if (lines_drawn_ == 0) return;
  std::fprintf(options_.out, "\x1b[%zuA\r\x1b[J", std::exchange(lines_drawn_, 0));
  Flush();
  changed_ = true;
}

void ResultView::Finish() {
  if (lists() || !has_columns_ || !is_table_) return;
  Erase();
  const size_t width_max = options_.terminal && options_.format != OutputFormat::kWide
                               ? SizeOf(options_.out).columns
                               : 0;
  for (const std::string& line : Lines(rows_.size(), width_max)) {
    std::fprintf(options_.out, "%s\n", line.c_str());
  }
  Flush();
}

}  // namespace millrace
