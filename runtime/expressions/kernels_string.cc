// Text functions.
#include <locale.h>
#include <wctype.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/expressions/text.h"
#include "runtime/expressions/text_kernels.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

template <typename F>
BoundKernel TextToBool(F f) {
  return {[f](const KernelInput& in) {
    const Argument a(in.arguments[0]), b(in.arguments[1]);
    return BoolLoop(in, [&](int64_t row, bool& out, std::string&) {
      out = f(a.Text(row), b.Text(row));
      return RowOutcome::kValue;
    });
  }};
}

// --- Upper and lower case ----------------------------------------------------------------------

// Maps single code points. Other scripts' rules (ß → SS) are not applied.
template <bool kUpper>
class CaseMap {
 public:
  CaseMap() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}
  ~CaseMap() {
    if (locale_ != nullptr) freelocale(locale_);
  }
  CaseMap(const CaseMap&) = delete;
  CaseMap& operator=(const CaseMap&) = delete;

  uint32_t operator()(uint32_t code) const {
    if (locale_ == nullptr) return code;
    return static_cast<uint32_t>(kUpper ? towupper_l(code, locale_) : towlower_l(code, locale_));
  }

 private:
  const locale_t locale_;
};

// The code point at `text[i]`, `i` moved behind it; -1 when it is malformed, `i` moved by one.
int64_t DecodeUtf8(std::string_view text, size_t& i) {
  const auto byte = [&](size_t k) { return static_cast<uint8_t>(text[k]); };
  const uint8_t lead = byte(i);
  const size_t size = lead < 0x80   ? 1
                      : lead < 0xC2 ? 0
                      : lead < 0xE0 ? 2
                      : lead < 0xF0 ? 3
                      : lead < 0xF5 ? 4
                                    : 0;
  if (size == 0 || i + size > text.size()) return ++i, -1;
  uint32_t code = size == 1 ? lead : lead & (0x7F >> size);
  for (size_t k = 1; k < size; ++k) {
    if (!IsContinuation(text[i + k])) return ++i, -1;
    code = code << 6 | (byte(i + k) & 0x3F);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return ++i, -1;
  i += size;
  return code;
}

size_t EncodeUtf8(uint32_t code, char* out) {
  if (code < 0x80) return out[0] = static_cast<char>(code), 1;
  const int size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (int k = size - 1; k > 0; --k) {
    out[k] = static_cast<char>(0x80 | (code & 0x3F));
    code >>= 6;
  }
  out[0] = static_cast<char>((0xF00 >> size) | code);
  return static_cast<size_t>(size);
}

template <bool kUpper>
void AppendCased(std::string_view text, StringWriter& writer) {
  static const CaseMap<kUpper> map;  // Immutable.
  char* out = writer.Room(text.size());
  if (out == nullptr) return;
  bool ascii = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<uint8_t>(text[i]);
    const bool flip = static_cast<uint8_t>(c - (kUpper ? 'a' : 'A')) < 26;
    out[i] = static_cast<char>(flip ? c ^ 0x20 : c);
    ascii &= c < 0x80;
  }
  if (ascii) return;
  writer.GiveBack(out + text.size(), out);
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const int64_t code = DecodeUtf8(text, i);
    char encoded[4];
    const uint32_t mapped = code < 0 ? 0 : map(static_cast<uint32_t>(code));
    writer.Append(code < 0 ? text.substr(begin, 1)
                           : std::string_view(encoded, EncodeUtf8(mapped, encoded)));
  }
}

RowOutcome AppendInitcap(std::string_view text, StringWriter& writer) {
  char* out = writer.Room(text.size());
  if (out == nullptr) return RowOutcome::kValue;
  bool in_word = false;
  for (const char c : text) {
    *out++ = in_word ? LowerAscii(c) : UpperAscii(c);
    in_word = IsLetter(c) || IsDigit(c) || static_cast<uint8_t>(c) >= 0x80;
  }
  return RowOutcome::kValue;
}

// --- Trim --------------------------------------------------------------------------------------

// The place of a character in `set`, from 0; -1 = it is not there. `set` is short: it is searched
// anew for each character.
int64_t IndexIn(std::string_view character, std::string_view set) {
  for (int64_t index = 0; !set.empty(); ++index) {
    const std::string_view next = set.substr(0, OffsetOf(set, 1));
    if (next == character) return index;
    set.remove_prefix(next.size());
  }
  return -1;
}

template <bool kLeft, bool kRight>
std::string_view Trimmed(std::string_view text, std::string_view set) {
  while (kLeft && !text.empty()) {
    const std::string_view first = Characters(text, 0, 1);
    if (first.empty() || IndexIn(first, set) < 0) break;
    text.remove_prefix(first.size());
  }
  while (kRight && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && IsContinuation(text[begin])) --begin;
    if (IndexIn(text.substr(begin), set) < 0) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

template <bool kLeft, bool kRight>
BoundKernel Trim() {
  return TextToText([](const Arguments& a, int64_t row, StringWriter& writer) {
    const std::string_view set = a.size() == 2 ? a[1].Text(row) : " ";
    return Put(writer, Trimmed<kLeft, kRight>(a[0].Text(row), set));
  });
}

// --- Parts -------------------------------------------------------------------------------------

constexpr int64_t kToTheEnd = INT64_MAX;

std::string_view Substring(std::string_view text, int64_t start, int64_t length) {
  if (length < 0) return {};
  if (start > 0) return Characters(text, start - 1, length);
  if (start == 0) return Characters(text, 0, length);
  const int64_t from = CountCharacters(text) + start;
  return from < 0 ? std::string_view() : Characters(text, from, length);
}

RowOutcome SplitIndex(const Arguments& a, int64_t row, StringWriter& writer) {
  std::string_view text = a[0].Text(row);
  const std::string_view separator = a[1].Text(row);
  int64_t index = a[2].Int(row);
  if (index < 0 || text.empty()) return RowOutcome::kNull;
  if (separator.empty()) return index == 0 ? Put(writer, text) : RowOutcome::kNull;
  for (;; --index) {
    const size_t end = text.find(separator);
    if (index == 0) return Put(writer, text.substr(0, end));
    if (end == std::string_view::npos) return RowOutcome::kNull;
    text.remove_prefix(end + separator.size());
  }
}

RowOutcome Replace(const Arguments& a, int64_t row, StringWriter& writer) {
  std::string_view text = a[0].Text(row);
  const std::string_view from = a[1].Text(row), to = a[2].Text(row);
  if (!from.empty()) {
    for (size_t at; (at = text.find(from)) != std::string_view::npos;) {
      writer.Append(text.substr(0, at));
      writer.Append(to);
      text.remove_prefix(at + from.size());
    }
  }
  return Put(writer, text);
}

template <bool kLeft>
RowOutcome Pad(const Arguments& a, int64_t row, StringWriter& writer) {
  const std::string_view text = a[0].Text(row);
  const std::string_view filler = a.size() == 3 ? a[2].Text(row) : " ";
  const int64_t length = a[1].Int(row);
  if (length < 0) return RowOutcome::kNull;
  const int64_t missing = length - CountCharacters(text);
  if (missing <= 0) return Put(writer, Characters(text, 0, length));
  const int64_t filler_length = CountCharacters(filler);
  if (filler_length == 0) return RowOutcome::kNull;
  if (!kLeft) writer.Append(text);
  const int64_t whole = missing / filler_length;
  if (whole > static_cast<int64_t>(StringWriter::kValueBytesMax)) {
    (void)writer.Room(StringWriter::kValueBytesMax + 1);  // Fails the row.
    return RowOutcome::kValue;
  }
  for (int64_t i = 0; i < whole; ++i) writer.Append(filler);
  writer.Append(Characters(filler, 0, missing % filler_length));
  if (kLeft) writer.Append(text);
  return RowOutcome::kValue;
}

RowOutcome Repeat(const Arguments& a, int64_t row, StringWriter& writer) {
  const std::string_view text = a[0].Text(row);
  const int64_t times = a[1].Int(row);
  if (times < 1 || text.empty()) return RowOutcome::kValue;
  if (times > static_cast<int64_t>(StringWriter::kValueBytesMax)) {
    (void)writer.Room(StringWriter::kValueBytesMax + 1);  // Fails the row.
    return RowOutcome::kValue;
  }
  for (int64_t i = 0; i < times; ++i) writer.Append(text);
  return RowOutcome::kValue;
}

// Replaces `length` characters from the one `start` (from 1).
RowOutcome Overlay(const Arguments& a, int64_t row, StringWriter& writer) {
  const std::string_view text = a[0].Text(row), replacement = a[1].Text(row);
  const int64_t start = a[2].Int(row);
  const int64_t length = a.size() == 4 ? a[3].Int(row) : CountCharacters(replacement);
  const std::string_view rest = start < 1 ? "" : text.substr(OffsetOf(text, start - 1));
  if (rest.empty()) return Put(writer, text);
  writer.Append(text.substr(0, text.size() - rest.size()));
  writer.Append(replacement);
  return Put(writer, rest.substr(OffsetOf(rest, length)));
}

// Each character of `from` by that of `to` at the same place; without one, it is left out.
RowOutcome Translate(const Arguments& a, int64_t row, StringWriter& writer) {
  std::string_view text = a[0].Text(row);
  const std::string_view from = a[1].Text(row), to = a[2].Text(row);
  while (!text.empty()) {
    const std::string_view character = text.substr(0, OffsetOf(text, 1));
    text.remove_prefix(character.size());
    const int64_t place = IndexIn(character, from);
    writer.Append(place < 0 ? character : Characters(to, place, 1));
  }
  return RowOutcome::kValue;
}

RowOutcome Reverse(const Arguments& a, int64_t row, StringWriter& writer) {
  const std::string_view text = a[0].Text(row);
  for (size_t end = text.size(); end > 0;) {
    size_t begin = end - 1;
    while (begin > 0 && IsContinuation(text[begin])) --begin;
    writer.Append(text.substr(begin, end - begin));
    end = begin;
  }
  return RowOutcome::kValue;
}

int64_t Position(std::string_view needle, std::string_view haystack) {
  const size_t at = haystack.find(needle);
  return at == std::string_view::npos ? 0 : CountCharacters(haystack.substr(0, at)) + 1;
}

// From the character `start` (from 1) on.
int64_t Locate(std::string_view needle, std::string_view haystack, int64_t start) {
  if (start < 1 || start - 1 > CountCharacters(haystack)) return 0;
  const int64_t found = Position(needle, haystack.substr(OffsetOf(haystack, start - 1)));
  return found == 0 ? 0 : found + start - 1;
}

int64_t FirstCode(std::string_view text) {
  size_t i = 0;
  if (text.empty()) return 0;
  const int64_t code = DecodeUtf8(text, i);
  return code < 0 ? static_cast<uint8_t>(text[0]) : code;
}

RowOutcome Character(int64_t code, StringWriter& writer) {
  if (code < 0) return RowOutcome::kValue;
  char encoded[4];
  return Put(writer, {encoded, EncodeUtf8(static_cast<uint32_t>(code & 255), encoded)});
}

RowOutcome Concat(const Arguments& a, int64_t row, StringWriter& writer) {
  for (const Argument& argument : a) writer.Append(argument.Text(row));
  return RowOutcome::kValue;
}

// Not strict: only the separator makes it NULL.
Value RunConcatWs(const KernelInput& in) {
  const Argument separator(in.arguments[0]);
  const Arguments parts(in.arguments.begin() + 1, in.arguments.end());
  const KernelInput strict{in.arguments.first(1), in.rows, in.errors};
  return StringLoop(strict, TypeKind::kString,
                    [&](int64_t row, StringWriter& writer, std::string&) {
                      bool first = true;
                      for (const Argument& part : parts) {
                        if (part.IsNull(row)) continue;
                        if (!first) writer.Append(separator.Text(row));
                        first = false;
                        writer.Append(part.Text(row));
                      }
                      return RowOutcome::kValue;
                    });
}

// Not strict: NULLs count only where they are chosen.
Value RunElt(const KernelInput& in) {
  const Argument index(in.arguments[0]);
  const Arguments choices(in.arguments.begin() + 1, in.arguments.end());
  const KernelInput strict{in.arguments.first(1), in.rows, in.errors};
  return StringLoop(strict, TypeKind::kString,
                    [&](int64_t row, StringWriter& writer, std::string&) {
                      const int64_t chosen = index.Int(row) - 1;
                      if (chosen < 0 || chosen >= static_cast<int64_t>(choices.size())) {
                        return RowOutcome::kNull;
                      }
                      const Argument& choice = choices[static_cast<size_t>(chosen)];
                      return choice.IsNull(row) ? RowOutcome::kNull : Put(writer, choice.Text(row));
                    });
}

BoundKernel MakeConcat(DataType type) {
  return {[type](const KernelInput& in) {
            const Arguments arguments(in.arguments.begin(), in.arguments.end());
            return StringLoop(in, type, [&](int64_t row, StringWriter& writer, std::string&) {
              return Concat(arguments, row, writer);
            });
          },
          true};
}

absl::StatusOr<BoundKernel> MakeByteFunction(const KernelRequest& request) {
  const std::string_view name = request.name;
  if (name == "char_length") {
    return TextToInt(
        [](const Arguments& a, int64_t row) { return CountCharacters(a[0].Text(row)); });
  }
  if (name == "octet_length") {
    return TextToInt([](const Arguments& a, int64_t row) { return a[0].Text(row).size(); });
  }
  if (name == "position") {
    return TextToInt(
        [](const Arguments& a, int64_t row) { return Position(a[0].Text(row), a[1].Text(row)); });
  }
  if (name == "instr") {
    return TextToInt(
        [](const Arguments& a, int64_t row) { return Position(a[1].Text(row), a[0].Text(row)); });
  }
  if (name == "locate") {
    return TextToInt([](const Arguments& a, int64_t row) {
      return Locate(a[0].Text(row), a[1].Text(row), a.size() == 3 ? a[2].Int(row) : 1);
    });
  }
  if (name == "ascii") {
    return TextToInt([](const Arguments& a, int64_t row) { return FirstCode(a[0].Text(row)); });
  }
  if (name == "starts_with") {
    return TextToBool([](auto text, auto start) { return text.starts_with(start); });
  }
  if (name == "ends_with") {
    return TextToBool([](auto text, auto end) { return text.ends_with(end); });
  }
  if (name == "concat") return MakeConcat(request.result);
  if (name == "concat_ws") return BoundKernel{RunConcatWs, true};
  if (name == "elt") return BoundKernel{RunElt, true};
  return BoundKernel{};
}

}  // namespace

absl::StatusOr<BoundKernel> MakeStringKernel(const KernelRequest& request) {
  const std::string_view name = request.name;
  using Writer = StringWriter;
  if (name == "upper" || name == "lower") {
    const auto append = name == "upper" ? AppendCased<true> : AppendCased<false>;
    return TextToText([append](const Arguments& a, int64_t row, Writer& writer) {
      append(a[0].Text(row), writer);
      return RowOutcome::kValue;
    });
  }
  if (name == "initcap") {
    return TextToText([](const Arguments& a, int64_t row, Writer& writer) {
      return AppendInitcap(a[0].Text(row), writer);
    });
  }
  if (name == "substring") {
    return TextToText([](const Arguments& a, int64_t row, Writer& writer) {
      const int64_t length = a.size() == 3 ? a[2].Int(row) : kToTheEnd;
      return Put(writer, Substring(a[0].Text(row), a[1].Int(row), length));
    });
  }
  if (name == "left") {
    return TextToText([](const Arguments& a, int64_t row, Writer& writer) {
      return Put(writer, Characters(a[0].Text(row), 0, a[1].Int(row)));
    });
  }
  if (name == "right") {
    return TextToText([](const Arguments& a, int64_t row, Writer& writer) {
      const std::string_view text = a[0].Text(row);
      const int64_t count = a[1].Int(row);
      if (count < 1) return RowOutcome::kValue;
      return Put(writer, text.substr(OffsetOf(text, CountCharacters(text) - count)));
    });
  }
  if (name == "chr") {
    return TextToText([](const Arguments& a, int64_t row, Writer& writer) {
      return Character(a[0].Int(row), writer);
    });
  }
  if (name == "trim" || name == "btrim") return Trim<true, true>();
  if (name == "ltrim") return Trim<true, false>();
  if (name == "rtrim") return Trim<false, true>();
  if (name == "split_index") return TextToText(SplitIndex);
  if (name == "replace") return TextToText(Replace);
  if (name == "lpad") return TextToText(Pad<true>);
  if (name == "rpad") return TextToText(Pad<false>);
  if (name == "repeat") return TextToText(Repeat);
  if (name == "reverse") return TextToText(Reverse);
  if (name == "overlay") return TextToText(Overlay);
  if (name == "translate") return TextToText(Translate);
  return MakeByteFunction(request);
}

}  // namespace millrace::expressions
