// JSON_VALUE, JSON_QUERY, JSON_EXISTS, IS_JSON: text that is a JSON document, and paths into it
// (RFC 8259; the paths are the member and element accessors of SQL/JSON, ISO/IEC 19075-6).
//
// A document is looked at whole, so that a broken one has no value at any path.
#include <simdjson.h>

#include <charconv>
#include <memory>
#include <optional>

#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

using simdjson::ondemand::json_type;
using Arguments = std::vector<Argument>;

struct Step {
  std::string key;
  int64_t index = -1;  // -1: a member.
};
constexpr size_t kStepsMax = 100;
constexpr size_t kOffPath = SIZE_MAX;

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         (c & 0x80) != 0;
}

// $, then .name, ."any name", ['any name'], [0]; in front perhaps "lax ".
bool ParsePath(std::string_view text, std::vector<Step>& steps) {
  steps.clear();
  if (text.starts_with("lax ")) text.remove_prefix(4);
  if (!text.starts_with('$')) return false;
  text.remove_prefix(1);
  const auto quoted = [&](char quote, std::string& key) {
    const size_t end = text.find(quote, 1);
    if (end == std::string_view::npos) return false;
    key = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    return true;
  };
  while (!text.empty()) {
    if (steps.size() == kStepsMax) return false;
    Step& step = steps.emplace_back();
    if (text.starts_with(".\"")) {
      text.remove_prefix(1);
      if (!quoted('"', step.key)) return false;
    } else if (text.starts_with('.')) {
      size_t end = 1;
      while (end < text.size() && IsNameCharacter(text[end])) ++end;
      if (end == 1) return false;
      step.key = text.substr(1, end - 1);
      text.remove_prefix(end);
    } else if (text.starts_with("['")) {
      text.remove_prefix(1);
      if (!quoted('\'', step.key) || !text.starts_with(']')) return false;
      text.remove_prefix(1);
    } else if (text.starts_with('[')) {
      const auto [end, error] =
          std::from_chars(text.data() + 1, text.data() + text.size(), step.index);
      if (error != std::errc() || step.index < 0 || end == text.data() + text.size() ||
          *end != ']') {
        return false;
      }
      text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
    } else {
      return false;
    }
  }
  return true;
}

// The number grammar of RFC 8259: simdjson looks at numbers only when they are asked for, and then
// at their range, too.
bool IsNumber(std::string_view token) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t begin = i;
    while (i < token.size() && token[i] >= '0' && token[i] <= '9') ++i;
    return i > begin;
  };
  if (i < token.size() && token[i] == '-') ++i;
  if (i < token.size() && token[i] == '0') {
    ++i;
  } else if (!digits()) {
    return false;
  }
  if (i < token.size() && token[i] == '.' && (++i, !digits())) return false;
  if (i < token.size() && (token[i] == 'e' || token[i] == 'E')) {
    ++i;
    if (i < token.size() && (token[i] == '+' || token[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == token.size();
}

// Without the white space of RFC 8259 around it.
std::string_view Trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

// Not thread safe: a kernel has its own.
class Documents {
 public:
  enum class Found { kInvalid, kNothing, kNull, kScalar, kStructure };

  // What is at the end of the path, and its text: of a scalar unquoted, of a structure as it
  // stands; valid until the next call.
  Found Find(std::string_view json, const std::vector<Step>& steps) {
    steps_ = &steps;
    found_ = Found::kNothing;
    // The reader has rules of its own for a document that is a scalar: it becomes an element.
    const std::string_view trimmed = Trimmed(json);
    const bool alone = !trimmed.starts_with('{') && !trimmed.starts_with('[');
    buffer_.assign(alone ? "[" : "");
    buffer_.append(json);
    if (alone) buffer_.push_back(']');
    const size_t size = buffer_.size();
    buffer_.resize(size + simdjson::SIMDJSON_PADDING);
    end_ = buffer_.data() + size;
    const simdjson::padded_string_view padded(buffer_.data(), size, buffer_.size());
    if (parser_.iterate(padded).get(document_) != simdjson::SUCCESS ||
        (alone ? !VisitOnly() : !Visit(document_, 0))) {
      return Found::kInvalid;
    }
    // Nothing may follow.
    return document_.current_location().error() == simdjson::SUCCESS ? Found::kInvalid : found_;
  }
  const std::string& text() const { return text_; }

 private:
  static std::string_view Token(simdjson::ondemand::value& value) { return value.raw_json_token(); }
  static std::string_view Token(simdjson::ondemand::document& document) {
    std::string_view token;
    return document.raw_json_token().get(token) == simdjson::SUCCESS ? token : "";
  }

  // `depth`: steps of the path that lead here, or kOffPath. False: the document is broken.
  template <typename Value>
  bool Visit(Value& value, size_t depth) {
    const bool is_end = depth == steps_->size();
    json_type type;
    if (value.type().get(type) != simdjson::SUCCESS) return false;
    switch (type) {
      case json_type::object:
      case json_type::array: {
        const bool object = type == json_type::object;
        const char* const begin = Token(value).data();
        const size_t inner = is_end ? kOffPath : depth;
        if (object ? !VisitObject(value, inner) : !VisitArray(value, inner)) return false;
        if (is_end) KeepStructure(begin, object ? '}' : ']');
        return true;
      }
      case json_type::string: {
        std::string_view text;
        if (value.get_string().get(text) != simdjson::SUCCESS) return false;
        return Scalar(is_end, text);
      }
      case json_type::number: {
        // Not asked for as a number: its range is no matter. The reader passes over it by itself.
        const std::string_view token = Trimmed(Token(value));
        return IsNumber(token) && Scalar(is_end, token);
      }
      case json_type::boolean: {
        bool truth = false;
        if (value.get_bool().get(truth) != simdjson::SUCCESS) return false;
        return Scalar(is_end, truth ? "true" : "false");
      }
      default: {
        bool null = false;
        if (value.is_null().get(null) != simdjson::SUCCESS || !null) return false;
        if (is_end) found_ = Found::kNull;
        return true;
      }
    }
  }

  // The reader stands behind the structure.
  void KeepStructure(const char* begin, char closing) {
    const char* end = end_;
    if (document_.current_location().get(end) != simdjson::SUCCESS) end = end_;
    while (end > begin && end[-1] != closing) --end;
    found_ = Found::kStructure;
    text_.assign(begin, end);
  }

  bool Scalar(bool is_end, std::string_view text) {
    if (!is_end) return true;
    found_ = Found::kScalar;
    text_ = text;
    return true;
  }

  template <typename Value>
  bool VisitObject(Value& value, size_t depth) {
    simdjson::ondemand::object object;
    if (value.get_object().get(object) != simdjson::SUCCESS) return false;
    const Step* step = depth == kOffPath ? nullptr : &(*steps_)[depth];
    bool taken = step == nullptr || step->index >= 0;
    for (auto member : object) {
      std::string_view key;
      if (member.unescaped_key().get(key) != simdjson::SUCCESS) return false;
      const bool on_path = !taken && key == step->key;  // The first of that name.
      taken |= on_path;
      simdjson::ondemand::value inner;
      if (member.value().get(inner) != simdjson::SUCCESS) return false;
      if (!Visit(inner, on_path ? depth + 1 : kOffPath)) return false;
    }
    return true;
  }

  bool VisitOnly() {
    simdjson::ondemand::array array;
    if (document_.get_array().get(array) != simdjson::SUCCESS) return false;
    int count = 0;
    for (auto element : array) {
      simdjson::ondemand::value inner;
      if (++count > 1 || element.get(inner) != simdjson::SUCCESS || !Visit(inner, 0)) return false;
    }
    return count == 1;
  }

  template <typename Value>
  bool VisitArray(Value& value, size_t depth) {
    simdjson::ondemand::array array;
    if (value.get_array().get(array) != simdjson::SUCCESS) return false;
    const int64_t wanted = depth == kOffPath ? -1 : (*steps_)[depth].index;
    int64_t at = 0;
    for (auto element : array) {
      simdjson::ondemand::value inner;
      if (element.get(inner) != simdjson::SUCCESS) return false;
      if (!Visit(inner, at++ == wanted ? depth + 1 : kOffPath)) return false;
    }
    return true;
  }

  simdjson::ondemand::parser parser_;
  std::string buffer_;
  const char* end_ = nullptr;  // Of the document in the buffer.
  simdjson::ondemand::document document_;
  const std::vector<Step>* steps_ = nullptr;
  Found found_ = Found::kNothing;
  std::string text_;
};
using Found = Documents::Found;

// A path that is taken apart again only when its text has changed.
class Paths {
 public:
  // Null: malformed.
  const std::vector<Step>* Parse(std::string_view text) {
    if (!text_ || *text_ != text) {
      text_ = text;
      is_valid_ = ParsePath(text, steps_);
    }
    return is_valid_ ? &steps_ : nullptr;
  }

 private:
  std::optional<std::string> text_;
  std::vector<Step> steps_;
  bool is_valid_ = false;
};

struct Reader {
  Documents documents;
  Paths paths;
};

constexpr char kBadPath[] = "malformed JSON path: it is $, then .name, ['name'] or [0]";

BoundKernel MakeText(bool structures) {
  return {[structures, reader = std::make_shared<Reader>()](const KernelInput& in) {
            const Arguments arguments(in.arguments.begin(), in.arguments.end());
            return StringLoop(
                in, TypeKind::kString, [&](int64_t row, StringWriter& writer, std::string& error) {
                  const auto* path = reader->paths.Parse(arguments[1].Text(row));
                  if (path == nullptr) return error = kBadPath, RowOutcome::kError;
                  const Found found = reader->documents.Find(arguments[0].Text(row), *path);
                  if (found != (structures ? Found::kStructure : Found::kScalar)) {
                    return RowOutcome::kNull;
                  }
                  writer.Append(reader->documents.text());
                  return RowOutcome::kValue;
                });
          },
          true};
}

BoundKernel MakeTest(bool with_path) {
  return {[with_path, reader = std::make_shared<Reader>()](const KernelInput& in) {
            const Arguments arguments(in.arguments.begin(), in.arguments.end());
            return BoolLoop(in, [&](int64_t row, bool& out, std::string& error) {
              const auto* path =
                  reader->paths.Parse(with_path ? arguments[1].Text(row) : std::string_view("$"));
              if (path == nullptr) return error = kBadPath, RowOutcome::kError;
              const Found found = reader->documents.Find(arguments[0].Text(row), *path);
              out = found != Found::kInvalid && found != Found::kNothing;
              return RowOutcome::kValue;
            });
          },
          true};
}

}  // namespace

absl::StatusOr<BoundKernel> MakeJsonKernel(const KernelRequest& request) {
  if (request.name == "json_value") return MakeText(/*structures=*/false);
  if (request.name == "json_query") return MakeText(/*structures=*/true);
  if (request.name == "json_exists") return MakeTest(/*with_path=*/true);
  if (request.name == "is_json") return MakeTest(/*with_path=*/false);
  return BoundKernel{};
}

}  // namespace millrace::expressions
