// JSON objects to columns, by the scanner (json_scanner.h) or, where that one refuses, by
// simdjson's On-Demand parser, which decides: only the columns of the schema are converted;
// everything else is passed over (its UTF-8, quotes and brackets are checked, its values are not).
// Of equal keys the last one wins, as in JavaScript and Jackson.
#include "operators/formats/json_decoder.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "operators/catalog/catalog.h"
#include "operators/formats/format_errors.h"
#include "operators/formats/formats.h"
#include "operators/formats/json_scanner.h"
#include "operators/formats/json_tree.h"
#include "operators/formats/text_values.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/columns/arrays.h"

namespace millrace {
namespace {

constexpr size_t kSlotsMax = 256;

// A stream that the scanner refuses is left to the parser for a while.
constexpr int kRefusalsMax = 16;
constexpr int kPauseMessages = 1024;

absl::StatusOr<JsonDecoderOptions> ReadOptions(const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(const FormatSpec* spec, FindFormatSpec("json"));
  const OptionReader reader(spec->decode_options, options);
  JsonDecoderOptions out;
  MILLRACE_ASSIGN_OR_RETURN(const auto missing, reader.Bool("json.fail-on-missing-field"));
  MILLRACE_ASSIGN_OR_RETURN(const auto ignore, reader.Bool("json.ignore-parse-errors"));
  MILLRACE_ASSIGN_OR_RETURN(const auto unknown, reader.Bool("json.ignore-unknown-fields"));
  MILLRACE_ASSIGN_OR_RETURN(const auto form, reader.Enum("json.timestamp-format.standard"));
  MILLRACE_ASSIGN_OR_RETURN(const auto depth, reader.Int("json.max-depth"));
  MILLRACE_ASSIGN_OR_RETURN(const auto bytes, reader.Bytes("json.max-message-size"));
  out.fail_on_missing_field = *missing;
  out.ignore_parse_errors = *ignore;
  out.ignore_unknown_fields = *unknown;
  out.timestamps = static_cast<TimestampForm>(*form);
  out.depth_max = *depth;
  out.message_bytes_max = *bytes;
  return out;
}

// Depth of nesting; for text whose quotes are known to be paired.
int64_t DepthOf(std::string_view text) {
  int64_t depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

bool MayBeDeeperThan(std::string_view text, int64_t depth) {
  if (static_cast<int64_t>(text.size()) <= depth) return false;
  int64_t opened = 0;
  for (const char c : text) opened += c == '{' || c == '[';  // Vectorised.
  return opened > depth;
}

// What messages call the column.
std::string_view PlaceOf(const Field& field) {
  return field.path.empty() ? field.name : field.path;
}

// Not visible outside: the compiler then puts the walk of an object into one function.
class JsonDecoder final : public Decoder, public JsonRowDecoder {
 public:
  JsonDecoder(SchemaPtr schema, const JsonDecoderOptions& options)
      : schema_(std::move(schema)),
        options_(options),
        text_values_(options.timestamps == TimestampForm::kIso8601 ? TimestampText::kIso8601
                                                                   : TimestampText::kSql) {}

  // kInvalidArgument: two columns that exclude each other. With `only_columns`, the others are
  // NULL, whatever they are declared as.
  absl::Status Init(const std::vector<int>* only_columns, JsonValueForms* forms);
  void Decode(std::span<const Message> messages, BatchBuilder& out,
              std::vector<NoRow>& none) override;
  bool DecodeRow(const Message& message, BatchBuilder& out, NoRow& none) override;

 private:
  // Of a column of arrays: a builder per column of the element, and the array that is being built.
  struct ArrayScratch {
    std::vector<Field> fields;
    std::vector<ColumnBuilder> builders;
    std::vector<Column> values;
    std::string bytes;
  };

  bool DecodeOne(const Message& message, BatchBuilder& out);
  bool Scan(const Message& message, BatchBuilder& out);
  void Refuse(BatchBuilder& out, NoRow& none);
  void TakeBack(BatchBuilder& out);
  bool WalkObject(JsonTreeNode& node, ondemand::object object, BatchBuilder& out);
  bool TakeValue(JsonTreeNode::Child& child, ondemand::value& value, BatchBuilder& out);
  bool TakeObject(JsonTreeNode::Child& child, ondemand::value& value, BatchBuilder& out);
  bool AppendValue(const Field& field, ondemand::value& value, ColumnBuilder& column);
  bool AppendText(ondemand::value& value, ColumnBuilder& column);
  bool AppendNumber(const Field& field, ondemand::value& value, ColumnBuilder& column);
  static bool AppendDecimal(ondemand::value& value, ColumnBuilder& column);
  bool AppendArray(const Field& field, ondemand::value& value, ColumnBuilder& column);
  bool AppendRowElement(const Field& field, ArrayScratch& scratch, ondemand::value& value);
  bool FillMissing(BatchBuilder& out);
  // The child that `key` names; null when it is not wanted.
  JsonTreeNode::Child* FindChild(JsonTreeNode& node, size_t position, ondemand::field& field);
  JsonTreeNode::Child* LookUpChild(JsonTreeNode& node, size_t position, ondemand::field& field);

  bool Fail(std::string_view code, std::string error) {
    code_ = code;
    error_ = std::move(error);
    return false;
  }
  bool FailSyntax(simdjson::error_code error) {
    return Fail(kBadSyntax, Concat("not a JSON object: ", simdjson::error_message(error)));
  }
  bool FailValue(const Field& field, ondemand::value& value, std::string_view expected);
  size_t ByteOf(const char* place) const { return static_cast<size_t>(place - text_.data()); }

  const SchemaPtr schema_;
  const JsonDecoderOptions options_;
  std::map<const ArrayElement*, ArrayScratch> arrays_;
  JsonTree tree_;
  std::vector<bool> left_null_;  // By column; empty: none.
  JsonValueForms* forms_ = nullptr;
  std::optional<JsonScanner> scanner_;
  int scanner_refusals_ = 0;  // One after the other.
  int scanner_pause_ = 0;     // Messages.
  ondemand::parser parser_;
  TextValues text_values_;
  // Of the current message.
  std::string_view text_;
  int64_t row_ = 0;
  int filled_ = 0;
  bool passed_over_container_ = false;
  std::string_view code_;
  std::string error_;
};

absl::Status JsonDecoder::Init(const std::vector<int>* only_columns, JsonValueForms* forms) {
  forms_ = forms;
  if (only_columns != nullptr) {
    left_null_.assign(static_cast<size_t>(schema_->size()), true);
    for (const int column : *only_columns) left_null_[static_cast<size_t>(column)] = false;
  }
  MILLRACE_ASSIGN_OR_RETURN(tree_, MakeJsonTree(*schema_, left_null_, options_.depth_max));
  scanner_.emplace(schema_, options_, tree_);
  return absl::OkStatus();
}

void JsonDecoder::Decode(std::span<const Message> messages, BatchBuilder& out,
                         std::vector<NoRow>& none) {
  if (schema_->size() == 0) return;
  row_ = out.column(0).length();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (Scan(messages[i], out) || DecodeOne(messages[i], out)) [[likely]] {
      ++row_;
    } else {
      Refuse(out, none.emplace_back(NoRow{.index = i}));
    }
  }
}

// Most messages. Of the others nothing is left: they are the parser's.
bool JsonDecoder::Scan(const Message& message, BatchBuilder& out) {
  if (message.is_null || static_cast<int64_t>(message.value.size()) > options_.message_bytes_max) {
    return false;
  }
  if (scanner_pause_ > 0) {
    --scanner_pause_;
    return false;
  }
  if (scanner_->Append(message.value, row_, out)) [[likely]] {
    scanner_refusals_ = 0;
    return true;
  }
  TakeBack(out);
  if (++scanner_refusals_ == kRefusalsMax) {
    scanner_refusals_ = 0;
    scanner_pause_ = kPauseMessages;
  }
  return false;
}

bool JsonDecoder::DecodeRow(const Message& message, BatchBuilder& out, NoRow& none) {
  row_ = out.column(0).length();
  const bool done = DecodeOne(message, out);
  if (!done) Refuse(out, none);
  return done;
}

void JsonDecoder::Refuse(BatchBuilder& out, NoRow& none) {
  TakeBack(out);
  none.code = code_;
  none.error = std::move(error_);
}

// The half row that was appended.
void JsonDecoder::TakeBack(BatchBuilder& out) {
  for (int column = 0; column < schema_->size(); ++column) {
    if (out.column(column).length() > row_) out.column(column).Truncate(row_);
  }
}

bool JsonDecoder::DecodeOne(const Message& message, BatchBuilder& out) {
  if (message.is_null) return Fail(kNullMessage, "the message has no value (a tombstone)");
  text_ = message.value;
  if (static_cast<int64_t>(text_.size()) > options_.message_bytes_max) {
    return Fail(kMessageTooLong, Concat("message of ", text_.size(), " bytes; the limit is ",
                                        options_.message_bytes_max));
  }
  filled_ = 0;
  passed_over_container_ = false;
  for (JsonTreeNode& node : tree_) node.seen = false;

  ondemand::document document;
  if (const auto error = parser_.iterate(text_.data(), text_.size(), text_.size() + kMessagePadding)
                             .get(document)) {
    return FailSyntax(error);
  }
  ondemand::object root;
  if (const auto error = document.get_object().get(root)) return FailSyntax(error);
  if (!WalkObject(tree_.front(), root, out)) return false;
  if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
    return Fail(kBadSyntax, "not a JSON object: text after its end");
  if (passed_over_container_ && MayBeDeeperThan(text_, options_.depth_max)) {
    if (const int64_t depth = DepthOf(text_); depth > options_.depth_max) {
      return Fail(kMessageTooDeep,
                  Concat("message is nested ", depth, " deep; the limit is ", options_.depth_max));
    }
  }
  return filled_ == schema_->size() || FillMissing(out);
}

bool JsonDecoder::FillMissing(BatchBuilder& out) {
  for (int i = 0; i < schema_->size(); ++i) {
    if (out.column(i).length() > row_) continue;
    const Field& field = schema_->field(i);
    const bool left_null = !left_null_.empty() && left_null_[static_cast<size_t>(i)];
    if (!left_null && (!field.nullable || options_.fail_on_missing_field)) {
      return Fail(kMissingField, Concat("field '", PlaceOf(field), "' is missing; expected ",
                                        TypeName(field.type)));
    }
    out.column(i).AppendNull();
  }
  return true;
}

JsonTreeNode::Child* JsonDecoder::FindChild(JsonTreeNode& node, size_t position,
                                            ondemand::field& field) {
  const char* key = field.key().raw();
  if (position < node.slots.size()) [[likely]] {
    const JsonTreeNode::Slot& slot = node.slots[position];
    if (slot.key.IsAt(key)) [[likely]] {
      return slot.child < 0 ? nullptr : &node.children[static_cast<size_t>(slot.child)];
    }
  }
  return LookUpChild(node, position, field);
}

JsonTreeNode::Child* JsonDecoder::LookUpChild(JsonTreeNode& node, size_t position,
                                              ondemand::field& field) {
  const char* key = field.key().raw();
  size_t length = 0;
  bool escaped = false;
  for (; key[length] != '"'; ++length) {
    if (key[length] == '\\') {
      escaped = true;
      ++length;
    }
  }
  std::string_view name(key, length);
  if (escaped) {
    std::string_view unescaped;
    if (field.unescaped_key().get(unescaped)) return nullptr;
    name = unescaped;
  }
  int found = -1;
  for (size_t i = 0; i < node.children.size(); ++i) {
    if (node.children[i].key == name) found = static_cast<int>(i);
  }
  if (position < kSlotsMax) {
    if (position >= node.slots.size()) node.slots.resize(position + 1);
    JsonTreeNode::Slot& slot = node.slots[position];
    slot.key.Set({key, length + 1});
    slot.child = found;
  }
  return found < 0 ? nullptr : &node.children[static_cast<size_t>(found)];
}

bool JsonDecoder::WalkObject(JsonTreeNode& node, ondemand::object object, BatchBuilder& out) {
  if (node.seen) {
    // A second object of this key replaces the first one.
    for (const int column : node.columns) {
      if (out.column(column).length() > row_) {
        out.column(column).Truncate(row_);
        --filled_;
      }
    }
  }
  node.seen = true;
  size_t position = 0;
  for (auto result : object) {
    if (const auto error = result.error()) return FailSyntax(error);
    // Not copied: the compiler copies iterators in larger pieces than they were written in, which
    // the store buffer cannot forward; that was a third of the time.
    ondemand::field&& field = std::move(result).value_unsafe();
    const char* key = field.key().raw();
    JsonTreeNode::Child* child = FindChild(node, position, field);
    ++position;
    if (child != nullptr) {
      if (!TakeValue(*child, field.value(), out)) return false;
      continue;
    }
    const std::string_view token = field.value().raw_json_token();
    if (token.empty() || token.front() == '{' || token.front() == '[') {
      passed_over_container_ = true;
    }
    if (!options_.ignore_unknown_fields && &node == &tree_.front()) {
      const char* end = key;
      while (*end != '"') end += *end == '\\' ? 2 : 1;
      const std::string_view name(key, static_cast<size_t>(end - key));
      return Fail(kUnknownField,
                  Concat("field '", Excerpt(name), "' is unknown at byte ", ByteOf(key)));
    }
  }
  return true;
}

bool JsonDecoder::TakeObject(JsonTreeNode::Child& child, ondemand::value& value,
                             BatchBuilder& out) {
  bool is_null = false;
  if (value.is_null().get(is_null) == simdjson::SUCCESS && is_null) {
    if (child.object->seen) {
      for (const int column : child.object->columns) {
        if (out.column(column).length() > row_) {
          out.column(column).Truncate(row_);
          --filled_;
        }
      }
    }
    return true;
  }
  const std::string_view token = value.raw_json_token();
  ondemand::object object;
  const auto error = value.get_object().get(object);
  if (error == simdjson::SUCCESS) return WalkObject(*child.object, object, out);
  if (error != simdjson::INCORRECT_TYPE) return FailSyntax(error);
  if (options_.ignore_parse_errors) return true;
  return Fail(kBadValue, Concat("field '", child.key, "': expected an object, found ",
                                Excerpt(StripSpaces(token)), " at byte ", ByteOf(token.data())));
}

bool JsonDecoder::TakeValue(JsonTreeNode::Child& child, ondemand::value& value, BatchBuilder& out) {
  if (child.object != nullptr) return TakeObject(child, value, out);
  ColumnBuilder& column = out.column(child.column);
  if (column.length() > row_) [[unlikely]] {
    column.Truncate(row_);
    --filled_;
  }
  const Field& field = schema_->field(child.column);
  if (forms_ != nullptr) {
    const JsonValueForms::Result result = forms_->Append(child.column, field, value, column);
    if (result == JsonValueForms::Result::kBad)
      return FailValue(field, value, TypeText(field.type));
    if (result == JsonValueForms::Result::kAppended) {
      ++filled_;
      return true;
    }
  }
  if (AppendValue(field, value, column)) [[likely]] {
    ++filled_;
    return true;
  }
  if (!options_.ignore_parse_errors || !field.nullable || code_ != kBadValue) return false;
  if (column.length() == row_) column.AppendNull();
  ++filled_;
  return true;
}

bool JsonDecoder::FailValue(const Field& field, ondemand::value& value, std::string_view expected) {
  const std::string_view token = value.raw_json_token();
  return Fail(kBadValue, Concat("field '", PlaceOf(field), "': expected ", expected, ", found ",
                                Excerpt(StripSpaces(token)), " at byte ", ByteOf(token.data())));
}

bool JsonDecoder::AppendValue(const Field& field, ondemand::value& value, ColumnBuilder& column) {
  switch (field.type) {
    case TypeKind::kInt64: {
      int64_t number = 0;
      if (value.get_int64().get(number) == simdjson::SUCCESS) [[likely]] {
        column.AppendInt64(number);
        return true;
      }
      break;
    }
    case TypeKind::kString:
    case TypeKind::kBytes:
    case TypeKind::kDate:
      if (AppendText(value, column)) [[likely]]
        return true;
      break;
    case TypeKind::kArray:
      if (bool is_null = false; value.is_null().get(is_null) == simdjson::SUCCESS && is_null) break;
      return AppendArray(field, value, column);
    case TypeKind::kTimestamp:
      if (options_.timestamps == TimestampForm::kEpochMillis ? AppendNumber(field, value, column)
                                                             : AppendText(value, column))
          [[likely]] {
        return true;
      }
      break;
    default:
      if (AppendNumber(field, value, column)) return true;
      break;
  }
  bool is_null = false;
  if (value.is_null().get(is_null) == simdjson::SUCCESS && is_null) {
    if (!field.nullable) {
      return Fail(kMissingField,
                  Concat("field '", PlaceOf(field), "' is null; expected ", TypeText(field.type)));
    }
    column.AppendNull();
    return true;
  }
  return FailValue(field, value, TypeText(field.type));
}

bool JsonDecoder::AppendArray(const Field& field, ondemand::value& value, ColumnBuilder& column) {
  const std::string_view token = value.raw_json_token();
  ondemand::array array;
  const auto error = value.get_array().get(array);
  if (error == simdjson::INCORRECT_TYPE) {
    return Fail(kBadValue, Concat("field '", PlaceOf(field), "': expected an array, found ",
                                  Excerpt(StripSpaces(token)), " at byte ", ByteOf(token.data())));
  }
  if (error) return FailSyntax(error);
  passed_over_container_ = true;  // Its depth is not known.
  const ArrayElement& element = field.type.element();
  ArrayScratch& scratch = arrays_[&element];
  if (scratch.fields.empty()) {
    for (const ArrayElement::Field& one : element.fields) {
      scratch.fields.push_back({.name = one.name, .type = one.type});
      scratch.builders.emplace_back(one.type);
    }
  }
  if (!element.is_row) scratch.fields[0].name = Concat(PlaceOf(field), "[]");
  scratch.bytes.clear();
  for (auto result : array) {
    if (const auto failed = result.error()) return FailSyntax(failed);
    ondemand::value one = std::move(result).value_unsafe();
    for (ColumnBuilder& builder : scratch.builders) builder.Truncate(0);
    const bool appended = element.is_row ? AppendRowElement(field, scratch, one)
                                         : AppendValue(scratch.fields[0], one, scratch.builders[0]);
    if (!appended) return false;
    if (element.is_row && scratch.builders[0].length() == 0) {
      AppendNullElement(scratch.bytes);
      continue;
    }
    scratch.values.clear();
    for (const ColumnBuilder& builder : scratch.builders) scratch.values.push_back(builder.Peek());
    AppendElement(element, scratch.values, 0, scratch.bytes);
  }
  column.AppendString(scratch.bytes);
  return true;
}

// An object; of null, the builders stay empty.
bool JsonDecoder::AppendRowElement(const Field& field, ArrayScratch& scratch,
                                   ondemand::value& value) {
  bool is_null = false;
  if (value.is_null().get(is_null) == simdjson::SUCCESS && is_null) return true;
  const std::string_view token = value.raw_json_token();
  ondemand::object object;
  const auto error = value.get_object().get(object);
  if (error == simdjson::INCORRECT_TYPE) {
    return Fail(kBadValue, Concat("field '", PlaceOf(field), "[]': expected an object, found ",
                                  Excerpt(StripSpaces(token)), " at byte ", ByteOf(token.data())));
  }
  if (error) return FailSyntax(error);
  for (auto result : object) {
    if (const auto failed = result.error()) return FailSyntax(failed);
    ondemand::field&& member = std::move(result).value_unsafe();
    std::string_view name;
    if (const auto failed = member.unescaped_key().get(name)) return FailSyntax(failed);
    for (size_t i = 0; i < scratch.fields.size(); ++i) {
      if (scratch.fields[i].name != name) continue;
      scratch.builders[i].Truncate(0);  // Of equal keys the last one wins.
      if (!AppendValue(scratch.fields[i], member.value(), scratch.builders[i])) return false;
      break;
    }
  }
  for (size_t i = 0; i < scratch.fields.size(); ++i) {
    if (scratch.builders[i].length() > 0) continue;
    if (options_.fail_on_missing_field) {
      return Fail(kMissingField,
                  Concat("field '", PlaceOf(field), "[].", scratch.fields[i].name,
                         "' is missing; expected ", TypeText(scratch.fields[i].type)));
    }
    scratch.builders[i].AppendNull();
  }
  return true;
}

// A number, or a number in quotes; from its text, because a double would change its digits.
bool JsonDecoder::AppendDecimal(ondemand::value& value, ColumnBuilder& column) {
  std::string_view text = value.raw_json_token();
  if (!text.empty() && text.front() == '"') {
    if (value.get_string().get(text)) return false;
  } else {
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  }
  const auto number = ParseDecimal(text, column.type());
  if (number) column.AppendDecimal(*number);
  return number.has_value();
}

bool JsonDecoder::AppendNumber(const Field& field, ondemand::value& value, ColumnBuilder& column) {
  if (field.type == TypeKind::kBool) {
    bool truth = false;
    if (value.get_bool().get(truth)) return false;
    column.AppendBool(truth);
    return true;
  }
  if (field.type == TypeKind::kDecimal) return AppendDecimal(value, column);
  if (field.type == TypeKind::kFloat64) {
    double number = 0;
    if (value.get_double().get(number)) return false;
    column.AppendFloat64(number);
    return true;
  }
  int64_t number = 0;
  if (value.get_int64().get(number)) return false;
  if (field.type == TypeKind::kInt32) {
    if (number < INT32_MIN || number > INT32_MAX) return false;
    column.AppendInt32(static_cast<int32_t>(number));
    return true;
  }
  if (field.type == TypeKind::kTimestamp && __builtin_mul_overflow(number, 1000, &number)) {
    return false;
  }
  column.AppendInt64(number);
  return true;
}

bool JsonDecoder::AppendText(ondemand::value& value, ColumnBuilder& column) {
  std::string_view token = value.raw_json_token();
  if (token.empty() || token.front() != '"') return false;
  while (token.back() != '"') token.remove_suffix(1);  // Spaces up to the next token.
  if (token.size() < 2) return false;
  std::string_view text = token.substr(1, token.size() - 2);
  if (std::memchr(text.data(), '\\', text.size()) != nullptr) {
    if (value.get_string().get(text)) return false;
  }
  return text_values_.Append(text, column);
}

}  // namespace

absl::StatusOr<std::unique_ptr<JsonRowDecoder>> MakeJsonRowDecoder(
    const SchemaPtr& schema, const JsonDecoderOptions& options,
    const std::vector<int>* only_columns, JsonValueForms* forms) {
  auto decoder = std::make_unique<JsonDecoder>(schema, options);
  MILLRACE_RETURN_IF_ERROR(decoder->Init(only_columns, forms));
  return decoder;
}

absl::StatusOr<std::unique_ptr<Decoder>> MakeJsonDecoder(const DecodedTable& table,
                                                         const FormatOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(const JsonDecoderOptions parsed, ReadOptions(options));
  auto decoder = std::make_unique<JsonDecoder>(table.schema, parsed);
  MILLRACE_RETURN_IF_ERROR(decoder->Init(/*only_columns=*/nullptr, /*forms=*/nullptr));
  return decoder;
}

}  // namespace millrace
