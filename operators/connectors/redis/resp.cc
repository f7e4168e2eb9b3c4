#include "operators/connectors/redis/resp.h"

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kLineBytesMax = 64 << 10;
constexpr std::string_view kLineEnd = "\r\n";

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }

  // False: not complete.
  absl::StatusOr<bool> Line(std::string_view& out) {
    const size_t end = bytes_.find(kLineEnd, position_);
    if (end == bytes_.npos ? bytes_.size() - position_ > kLineBytesMax
                           : end - position_ > kLineBytesMax) {
      return absl::DataLossError("not an answer of Redis: a line has no end");
    }
    if (end == bytes_.npos) return false;
    out = bytes_.substr(position_, end - position_);
    position_ = end + kLineEnd.size();
    return true;
  }

  // Of `length` bytes, with their line end.
  absl::StatusOr<bool> Bulk(int64_t length, std::string_view& out) {
    const auto size = static_cast<size_t>(length);
    if (bytes_.size() - position_ < size + kLineEnd.size()) return false;
    out = bytes_.substr(position_, size);
    if (bytes_.substr(position_ + size, kLineEnd.size()) != kLineEnd) {
      return absl::DataLossError("not an answer of Redis: a text has another length than it says");
    }
    position_ += size + kLineEnd.size();
    return true;
  }

 private:
  const std::string_view bytes_;
  size_t position_ = 0;
};

// A length, or -1 for NULL.
absl::StatusOr<int64_t> Length(std::string_view digits, int64_t max, std::string_view what) {
  int64_t length = 0;
  if (!ParseNumber(digits, length) || length < -1) {
    return absl::DataLossError("not an answer of Redis: a length is no number");
  }
  if (length > max) {
    return absl::InvalidArgumentError(
        Concat("an answer of Redis has ", length, " ", what, "; at most ", max, " are taken"));
  }
  return length;
}

absl::StatusOr<bool> Elements(Reader& reader, int64_t count, RespReply& out) {
  for (int64_t i = 0; i < count; ++i) {
    std::string_view line, text;
    MILLRACE_ASSIGN_OR_RETURN(const bool has_line, reader.Line(line));
    if (!has_line) return false;
    if (!line.starts_with('$')) {
      return absl::DataLossError("not an answer to a question of ours: an array of other things");
    }
    MILLRACE_ASSIGN_OR_RETURN(const int64_t length, Length(line.substr(1), kRespTextMax, "bytes"));
    if (length < 0) {
      out.elements.emplace_back();
      continue;
    }
    MILLRACE_ASSIGN_OR_RETURN(const bool has_text, reader.Bulk(length, text));
    if (!has_text) return false;
    out.elements.emplace_back(text);
  }
  return true;
}

// What ReadRespReply returns; an array may be too long though its elements are not.
absl::StatusOr<size_t> Taken(const Reader& reader, bool complete, size_t bytes) {
  if (static_cast<int64_t>(complete ? reader.position() : bytes) > kRespBytesMax) {
    return absl::InvalidArgumentError(
        Concat("an answer of Redis has more than ", kRespBytesMax, " bytes"));
  }
  return complete ? reader.position() : 0;
}

}  // namespace

void AppendRespCommand(std::span<const std::string_view> words, std::string& out) {
  AppendText(out, Concat("*", words.size(), kLineEnd));
  for (const std::string_view word : words) {
    AppendText(out, Concat("$", word.size(), kLineEnd));
    out.append(word).append(kLineEnd);
  }
}

absl::StatusOr<size_t> ReadRespReply(std::string_view bytes, RespReply& out) {
  out = {};
  Reader reader(bytes.substr(0, kRespBytesMax + 1));
  std::string_view line;
  MILLRACE_ASSIGN_OR_RETURN(const bool has_line, reader.Line(line));
  if (!has_line) return 0;
  if (line.empty()) return absl::DataLossError("not an answer of Redis: an empty line");
  const std::string_view rest = line.substr(1);
  switch (line[0]) {
    case '+':
    case '-':
    case ':':
      out.kind = line[0] == '+'   ? RespReply::Kind::kText
                 : line[0] == '-' ? RespReply::Kind::kError
                                  : RespReply::Kind::kInteger;
      out.text = rest;
      return reader.position();
    case '$': {
      MILLRACE_ASSIGN_OR_RETURN(const int64_t length, Length(rest, kRespTextMax, "bytes"));
      if (length < 0) return reader.position();
      out.kind = RespReply::Kind::kText;
      MILLRACE_ASSIGN_OR_RETURN(const bool complete, reader.Bulk(length, out.text));
      return Taken(reader, complete, bytes.size());
    }
    case '*': {
      MILLRACE_ASSIGN_OR_RETURN(const int64_t count, Length(rest, kRespElementsMax, "elements"));
      if (count < 0) return reader.position();
      out.kind = RespReply::Kind::kArray;
      MILLRACE_ASSIGN_OR_RETURN(const bool complete, Elements(reader, count, out));
      return Taken(reader, complete, bytes.size());
    }
    default:
      return absl::DataLossError(
          "not an answer of Redis: is this its port, and are both sides with TLS, or none?");
  }
}

}  // namespace millrace
