#include "operators/formats/json_scanner.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <utility>

#include "operators/formats/utf8.h"
#include "runtime/base/check.h"
#include "runtime/columns/bytes32.h"

namespace millrace {
namespace {

// Everything is read at a place before the end of the message, at most one block of it.
static_assert(Bytes32::kBytes <= kMessagePadding && ExpectedText::kBytesMax <= kMessagePadding);

constexpr size_t kKeysMax = 256;     // Of an object that are remembered.
constexpr int64_t kDepthMax = 1000;  // Below the parser's own limit.

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNumberSign(char c) { return c == '-' || c == '+' || c == '.'; }
bool IsLetter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

constexpr uint64_t kPowersOfTen[] = {1,       10,        100,        1'000,      10'000,
                                     100'000, 1'000'000, 10'000'000, 100'000'000};

static_assert(std::endian::native == std::endian::little);  // The first byte is the lowest.

// How many of the eight bytes are digits before the first that is none.
int CountDigits(uint64_t bytes) {
  // The high bit of a byte: above '9', or below '0'; what is carried over stands behind the first.
  const uint64_t others =
      ((bytes + 0x4646464646464646u) | (bytes - 0x3030303030303030u)) & 0x8080808080808080u;
  return others == 0 ? 8 : std::countr_zero(others) / 8;
}

// The value of the first `count` of eight bytes, which are digits.
uint64_t DigitsValue(uint64_t bytes, int count) {
  if (count == 0) return 0;
  bytes <<= 64 - 8 * count;  // Zeros before them.
  // Each time, neighbours become one number: of two digits, of four, of eight.
  bytes = ((bytes & 0x0F0F0F0F0F0F0F0Fu) * (10 * 0x100 + 1)) >> 8;
  bytes = ((bytes & 0x00FF00FF00FF00FFu) * (100 * 0x10000 + 1)) >> 16;
  return ((bytes & 0x0000FFFF0000FFFFu) * (10'000 * (uint64_t{1} << 32) + 1)) >> 32;
}

// A number as RFC 8259 has it, of few enough digits to be read exactly.
bool IsPlainNumber(std::string_view text) {
  size_t at = 0, digits = 0;
  const auto take_digits = [&] {
    const size_t begin = at;
    while (at < text.size() && IsDigit(text[at])) ++at;
    digits += at - begin;
    return at > begin;
  };
  if (at < text.size() && text[at] == '-') ++at;
  const size_t begin = at;
  if (!take_digits() || (text[begin] == '0' && at - begin > 1)) return false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!take_digits()) return false;
  }
  if (digits > 19) return false;
  if (at < text.size() && (text[at] | 0x20) == 'e') {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (!take_digits()) return false;
  }
  return at == text.size();
}

}  // namespace

JsonScanner::JsonScanner(SchemaPtr schema, const JsonDecoderOptions& options, const JsonTree& tree)
    : schema_(std::move(schema)),
      options_(options),
      depth_max_(std::min(options.depth_max, kDepthMax)),
      text_values_(options.timestamps == TimestampForm::kIso8601 ? TimestampText::kIso8601
                                                                 : TimestampText::kSql) {
  AddNode(tree.front());
  // Without room it has no implementation, which is all that is wanted.
  MILLRACE_CHECK(unescaper_.allocate(simdjson::SIMDJSON_PADDING) == simdjson::SUCCESS);
}

JsonScanner::Node* JsonScanner::AddNode(const JsonTreeNode& from) {
  Node& node = nodes_.emplace_back();
  for (const JsonTreeNode::Child& child : from.children) {
    Key& key = node.keys.emplace_back();
    key.column = child.column;
    if (child.object != nullptr) key.object = AddNode(*child.object);
    node.by_name.emplace(child.key, &key);
  }
  return &node;
}

bool JsonScanner::Append(std::string_view text, int64_t row, BatchBuilder& out) {
  at_ = text.data();
  end_ = at_ + text.size();
  out_ = &out;
  row_ = row;
  filled_ = 0;
  ascii_ = true;
  ++message_number_;
  PassOverSpaces();
  if (at_ >= end_ || *at_ != '{' || !ScanObject(nodes_.front(), 1)) return false;
  if (at_ != end_) PassOverSpaces();
  if (at_ != end_ || (!ascii_ && !IsUtf8(text))) return false;
  return filled_ == schema_->size() || FillMissing();
}

bool JsonScanner::FillMissing() {
  for (int i = 0; i < schema_->size(); ++i) {
    ColumnBuilder& column = out_->column(i);
    if (column.length() > row_) continue;
    if (!schema_->field(i).nullable || options_.fail_on_missing_field) return false;
    column.AppendNull();
  }
  return true;
}

// The steps are inline, so that the walk of an object becomes one function.
inline void JsonScanner::PassOverSpaces() {
  while (at_ < end_ && IsSpace(*at_)) ++at_;
}

// From '{' to behind '}'; at `depth`, of which the root has 1.
bool JsonScanner::ScanObject(Node& node, int64_t depth) {
  if (node.seen_in == message_number_) return false;  // It would replace the first one.
  node.seen_in = message_number_;
  ++at_;
  Key** expected = &node.first;
  for (;;) {
    Key* key = *expected;
    if (key != nullptr && key->text.IsAt(at_)) [[likely]] {
      at_ += key->text.size();
    } else {
      if (expected == &node.first && IsEmptyObject()) return true;
      key = LookUpKey(node, *expected);
      if (key == nullptr) return false;
    }
    if (at_ >= end_) return false;
    if (key->column >= 0) {
      if (!ScanValue(key->column)) return false;
    } else if (key->object != nullptr) {
      if (!ScanInner(*key->object, depth + 1)) return false;
    } else {
      if (!options_.ignore_unknown_fields && depth == 1) return false;
      if (!PassOver(depth)) return false;
    }
    if (*at_ != ',' && *at_ != '}') PassOverSpaces();
    if (at_ >= end_) return false;
    const char separator = *at_++;
    if (separator == '}') return true;
    if (separator != ',') return false;
    expected = &key->next;
  }
}

// Behind its '{'; true leads to behind its '}'.
bool JsonScanner::IsEmptyObject() {
  const char* begin = at_;
  PassOverSpaces();
  if (at_ < end_ && *at_ == '}') {
    ++at_;
    return true;
  }
  at_ = begin;
  return false;
}

// Null: there is no key here. `expected` becomes the key.
JsonScanner::Key* JsonScanner::LookUpKey(Node& node, Key*& expected) {
  const char* begin = at_;
  std::string_view name;
  PassOverSpaces();
  if (at_ >= end_ || *at_ != '"' || !TakeString(name)) return nullptr;
  PassOverSpaces();
  if (at_ >= end_ || *at_ != ':') return nullptr;
  ++at_;
  PassOverSpaces();
  const std::string_view text(begin, static_cast<size_t>(at_ - begin));
  // What is expected is not checked again.
  const bool can_be_expected = text.size() <= ExpectedText::kBytesMax && IsUtf8(text);
  auto found = node.by_name.find(name);
  if (found == node.by_name.end()) {
    if (!can_be_expected || node.keys.size() >= kKeysMax) return &node.other;
    found = node.by_name.emplace(name, &node.keys.emplace_back()).first;
  }
  Key* key = found->second;
  key->text.Set(can_be_expected ? text : std::string_view());
  expected = key;
  return key;
}

inline bool JsonScanner::ScanInner(Node& node, int64_t depth) {
  if (*at_ == '{') return ScanObject(node, depth);
  // Behind an object it would take that back.
  return node.seen_in != message_number_ && TakeWord("null");
}

inline bool JsonScanner::ScanValue(int index) {
  ColumnBuilder& column = out_->column(index);
  if (column.length() > row_) return false;  // The last of equal keys wins.
  const Field& field = schema_->field(index);
  ++filled_;
  if (*at_ != 'n') [[likely]]
    return AppendValue(field, column);
  if (!field.nullable || !TakeWord("null")) return false;
  column.AppendNull();
  return true;
}

inline bool JsonScanner::AppendValue(const Field& field, ColumnBuilder& column) {
  int64_t number = 0;
  switch (field.type) {
    case TypeKind::kTimestamp:
      if (options_.timestamps != TimestampForm::kEpochMillis) return AppendText(column);
      if (!TakeInteger(number) || __builtin_mul_overflow(number, 1000, &number)) return false;
      column.AppendInt64(number);
      return true;
    case TypeKind::kInt64:
    case TypeKind::kInterval:
      if (!TakeInteger(number)) return false;
      column.AppendInt64(number);
      return true;
    case TypeKind::kInt32:
      if (!TakeInteger(number) || number < INT32_MIN || number > INT32_MAX) return false;
      column.AppendInt32(static_cast<int32_t>(number));
      return true;
    case TypeKind::kFloat64: {
      double fraction = 0;
      if (!TakeDouble(fraction)) return false;
      column.AppendFloat64(fraction);
      return true;
    }
    case TypeKind::kBool: {
      const bool truth = *at_ == 't';
      if (!TakeWord(truth ? "true" : "false")) return false;
      column.AppendBool(truth);
      return true;
    }
    case TypeKind::kDecimal: {
      std::string_view text;
      if (*at_ != '"') {
        text = TakeNumberText();
      } else if (!TakeString(text)) {
        return false;
      }
      const auto decimal = ParseDecimal(text, field.type);
      if (decimal) column.AppendDecimal(*decimal);
      return decimal.has_value();
    }
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kDate:
      return AppendText(column);
    case TypeKind::kArray:
      return false;  // The parser's.
  }
  return false;
}

inline bool JsonScanner::AppendText(ColumnBuilder& column) {
  std::string_view text;
  return *at_ == '"' && TakeString(text) && text_values_.Append(text, column);
}

// Of a value inside an object at `depth` the parser checks the strings and counts the brackets.
inline bool JsonScanner::PassOver(int64_t depth) {
  const char c = *at_;
  if (c == '"') return PassOverString();
  if (c == '{' || c == '[') return PassOverContainer(depth);
  if (c == 'n') return TakeWord("null");
  if (c != '-' && !IsDigit(c) && !IsLetter(c)) return false;
  do {
    ++at_;
  } while (at_ < end_ && (IsDigit(*at_) || IsLetter(*at_) || IsNumberSign(*at_)));
  return true;
}

bool JsonScanner::PassOverContainer(int64_t depth) {
  const int64_t outside = depth;
  while (at_ < end_) {
    const Bytes32 block(at_);
    ascii_ &= block.IsNotAscii() == 0;
    const char* next = at_ + Bytes32::kBytes;
    for (uint32_t marks = block.IsBracket() | block.Is('"') | block.Is('\\'); marks != 0;
         marks &= marks - 1) {
      const char* mark = at_ + std::countr_zero(marks);
      if (*mark == '"') {
        at_ = mark;
        if (!PassOverString()) return false;
        next = at_;
        break;
      }
      if (*mark == '{' || *mark == '[') {
        if (++depth > depth_max_) return false;
      } else if (*mark == '\\') {
        return false;  // The parser lets it escape a quote even here.
      } else if (--depth == outside) {
        at_ = mark + 1;
        return true;
      }
    }
    at_ = next;
  }
  return false;
}

inline bool JsonScanner::PassOverString() {
  for (const char* at = FindSpecial(at_ + 1); at < end_; at = FindSpecial(at)) {
    if (*at == '"') {
      at_ = at + 1;
      return true;
    }
    const char escaped = at[1];
    if (*at != '\\' || static_cast<unsigned char>(escaped) < 0x20) return false;
    ascii_ &= static_cast<unsigned char>(escaped) < 0x80;
    at += 2;
  }
  return false;
}

inline const char* JsonScanner::FindSpecial(const char* at) {
  for (; at < end_; at += Bytes32::kBytes) {
    const Bytes32 block(at);
    ascii_ &= block.IsNotAscii() == 0;
    const uint32_t special = block.Is('"') | block.Is('\\') | block.IsControl();
    if (special != 0) [[likely]]
      return at + std::countr_zero(special);
  }
  return end_;
}

inline bool JsonScanner::TakeString(std::string_view& text) {
  const char* begin = at_ + 1;
  const char* end = FindSpecial(begin);
  if (end < end_ && *end == '"') [[likely]] {
    text = {begin, static_cast<size_t>(end - begin)};
    at_ = end + 1;
    return true;
  }
  if (!PassOverString()) return false;
  // As the parser does it; it writes in blocks, as it reads.
  unescaped_.resize(static_cast<size_t>(at_ - begin) + simdjson::SIMDJSON_PADDING);
  uint8_t* to = unescaped_.data();
  const simdjson::ondemand::raw_json_string raw(reinterpret_cast<const uint8_t*>(begin));
  return unescaper_.unescape(raw, to).get(text) == simdjson::SUCCESS;
}

inline bool JsonScanner::TakeInteger(int64_t& number) {
  const bool negative = *at_ == '-';
  at_ += negative ? 1 : 0;
  const char* begin = at_;
  uint64_t value = 0;
  int count = 0;
  do {
    uint64_t bytes;
    std::memcpy(&bytes, at_, sizeof(bytes));
    count = CountDigits(bytes);
    value = value * kPowersOfTen[count] + DigitsValue(bytes, count);
    at_ += count;
  } while (count == 8 && at_ - begin <= 16);
  const auto digits = at_ - begin;
  if (digits == 0 || digits > 19 || (*begin == '0' && (digits > 1 || negative))) return false;
  if (value > static_cast<uint64_t>(INT64_MAX)) return false;
  number = negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
  return true;
}

bool JsonScanner::TakeDouble(double& number) {
  const std::string_view text = TakeNumberText();
  if (!IsPlainNumber(text)) return false;
  const char* end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && read == end;
}

std::string_view JsonScanner::TakeNumberText() {
  const char* begin = at_;
  while (at_ < end_ && (IsDigit(*at_) || IsNumberSign(*at_) || (*at_ | 0x20) == 'e')) ++at_;
  return {begin, static_cast<size_t>(at_ - begin)};
}

inline bool JsonScanner::TakeWord(std::string_view word) {
  if (std::memcmp(at_, word.data(), word.size()) != 0) return false;
  at_ += word.size();
  return true;
}

}  // namespace millrace
