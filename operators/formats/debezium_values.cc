#include "operators/formats/debezium_values.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include "runtime/base/text.h"
#include "runtime/columns/base64.h"

namespace millrace {
namespace {

constexpr size_t kDecimalBytesMax = 1024;
constexpr int kDecimalScaleMax = 10'000;
constexpr size_t kSchemaBytesMax = 1 << 20;

// What Debezium writes for infinity and -infinity of PostgreSQL, in microseconds.
constexpr int64_t kInfinityUs = 9'223'372'036'825'200'000;
constexpr int64_t kMinusInfinityUs = -9'223'372'036'832'400'000;

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number{};
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || at != text.data() + text.size()) return std::nullopt;
  return number;
}

// The text of a string token without escapes; nothing for other tokens.
std::optional<std::string_view> PlainText(std::string_view token) {
  if (token.size() < 2 || token.front() != '"' || token.back() != '"') return std::nullopt;
  token = token.substr(1, token.size() - 2);
  if (token.find('\\') != token.npos) return std::nullopt;
  return token;
}

std::optional<int64_t> ToMicros(int64_t number, DebeziumTimeUnit unit) {
  switch (unit) {
    case DebeziumTimeUnit::kMicros:
      if (number == kInfinityUs || number == kMinusInfinityUs) return std::nullopt;
      return number;
    case DebeziumTimeUnit::kMillis: {
      int64_t us;
      if (__builtin_mul_overflow(number, 1000, &us)) return std::nullopt;
      return us;
    }
    case DebeziumTimeUnit::kNanos:
      // Towards the past, as for the fraction of a text.
      return number / 1000 - (number % 1000 < 0 ? 1 : 0);
  }
  return std::nullopt;
}

// A number as text, to a column of numbers.
JsonValueForms::Result AppendDigits(std::string_view text, const Field& field,
                                    ColumnBuilder& builder) {
  if (field.type == TypeKind::kFloat64) {
    const auto number = ParseNumber<double>(text);
    if (number) builder.AppendFloat64(*number);
    return number ? JsonValueForms::Result::kAppended : JsonValueForms::Result::kBad;
  }
  if (field.type == TypeKind::kDecimal) {
    const auto number = ParseDecimal(text, field.type);
    if (number) builder.AppendDecimal(*number);
    return number ? JsonValueForms::Result::kAppended : JsonValueForms::Result::kBad;
  }
  const auto whole = field.type == TypeKind::kInt64 ? ParseNumber<int64_t>(text) : std::nullopt;
  if (whole) builder.AppendInt64(*whole);
  return whole ? JsonValueForms::Result::kAppended : JsonValueForms::Result::kBad;
}

}  // namespace

bool AppendDecimalText(std::string_view unscaled, int scale, std::string& out) {
  if (unscaled.empty() || unscaled.size() > kDecimalBytesMax || scale > kDecimalScaleMax ||
      scale < -kDecimalScaleMax) {
    return false;
  }
  const bool negative = (unscaled.front() & 0x80) != 0;
  std::vector<uint32_t> digits;  // Of the magnitude, base 2^32, the greatest first.
  std::string magnitude(unscaled);
  if (negative) {
    bool carry = true;
    for (size_t i = magnitude.size(); i-- > 0;) {
      const auto flipped = static_cast<unsigned char>(~magnitude[i]);
      magnitude[i] = static_cast<char>(flipped + (carry ? 1 : 0));
      carry = carry && flipped == 0xff;
    }
  }
  magnitude.insert(0, (4 - magnitude.size() % 4) % 4, '\0');
  for (size_t i = 0; i < magnitude.size(); i += 4) {
    uint32_t digit = 0;
    for (size_t j = 0; j < 4; ++j) {
      digit = digit << 8 | static_cast<unsigned char>(magnitude[i + j]);
    }
    digits.push_back(digit);
  }
  std::string text;  // The last digit first.
  while (std::any_of(digits.begin(), digits.end(), [](uint32_t digit) { return digit != 0; })) {
    uint64_t rest = 0;
    for (uint32_t& digit : digits) {
      rest = rest << 32 | digit;
      digit = static_cast<uint32_t>(rest / 1'000'000'000);
      rest %= 1'000'000'000;
    }
    for (int i = 0; i < 9; ++i, rest /= 10) text.push_back(static_cast<char>('0' + rest % 10));
  }
  while (!text.empty() && text.back() == '0') text.pop_back();
  if (scale < 0 && !text.empty()) text.insert(0, static_cast<size_t>(-scale), '0');
  const size_t fraction = scale > 0 ? static_cast<size_t>(scale) : 0;
  if (text.size() <= fraction) text.append(fraction + 1 - text.size(), '0');
  if (negative) out.push_back('-');
  std::reverse(text.begin(), text.end());
  out.append(text, 0, text.size() - fraction);
  if (fraction > 0) out.append(".").append(text, text.size() - fraction);
  return true;
}

DebeziumValues::DebeziumValues(SchemaPtr columns, Options options)
    : columns_(std::move(columns)),
      options_(std::move(options)),
      unavailable_text_(Concat("\"", options_.unavailable, "\"")),
      unavailable_bytes_([this] {
        std::string bytes = "\"";
        AppendBase64(options_.unavailable, bytes);
        return bytes + "\"";
      }()),
      forms_(static_cast<size_t>(columns_->size()), Form{.unit = options_.unit, .scale = {}}) {}

absl::Status DebeziumValues::UseSchema(std::string_view schema) {
  if (schema == schema_) return absl::OkStatus();
  if (schema.size() > kSchemaBytesMax) {
    return absl::InvalidArgumentError(Concat("the schema has ", schema.size(), " bytes"));
  }
  std::fill(forms_.begin(), forms_.end(), Form{.unit = options_.unit, .scale = {}});
  schema_.clear();
  if (!schema.empty()) {
    if (absl::Status status = ReadSchema(schema); !status.ok()) return status;
  }
  schema_ = schema;
  return absl::OkStatus();
}

// {"type": "struct", "fields": [{"field": "after", "fields": [{"field": "id", "name": …}, …]}, …]}
absl::Status DebeziumValues::ReadSchema(std::string_view schema) {
  simdjson::dom::parser parser;
  simdjson::dom::array members;
  const auto error = parser.parse(schema.data(), schema.size())["fields"].get(members);
  if (error) {
    return absl::InvalidArgumentError(
        Concat("the schema of the message cannot be read: ", simdjson::error_message(error)));
  }
  for (const simdjson::dom::element member : members) {
    std::string_view name;
    simdjson::dom::array fields;
    if (member["field"].get(name) || name != "after" || member["fields"].get(fields)) continue;
    for (const simdjson::dom::element field : fields) {
      std::string_view column, semantic, scale;
      if (field["field"].get(column) || field["name"].get(semantic)) continue;
      for (int i = 0; i < columns_->size(); ++i) {
        const Field& wanted = columns_->field(i);
        if ((wanted.path.empty() ? wanted.name : wanted.path) != column) continue;
        Form& form = forms_[static_cast<size_t>(i)];
        if (semantic == "io.debezium.time.Timestamp" ||
            semantic == "org.apache.kafka.connect.data.Timestamp") {
          form.unit = DebeziumTimeUnit::kMillis;
        } else if (semantic == "io.debezium.time.MicroTimestamp") {
          form.unit = DebeziumTimeUnit::kMicros;
        } else if (semantic == "io.debezium.time.NanoTimestamp") {
          form.unit = DebeziumTimeUnit::kNanos;
        } else if (semantic == "org.apache.kafka.connect.data.Decimal" &&
                   !field["parameters"]["scale"].get(scale)) {
          form.scale = ParseNumber<int>(scale);
        }
      }
    }
  }
  return absl::OkStatus();
}

JsonValueForms::Result DebeziumValues::Append(int column, const Field& field,
                                              ondemand::value& value, ColumnBuilder& builder) {
  const std::string_view token = StripSpaces(value.raw_json_token());
  const Form& form = forms_[static_cast<size_t>(column)];
  if (token.empty()) return Result::kNotMine;
  if (token.front() == '"') {
    if (token == unavailable_text_ ||
        (field.type == TypeKind::kBytes && token == unavailable_bytes_)) {
      unavailable_.push_back(column);
      builder.AppendNull();
      return Result::kAppended;
    }
    const std::optional<std::string_view> text = PlainText(token);
    return text ? AppendText(form, field, *text, builder) : Result::kNotMine;
  }
  if (token.front() == '{') return AppendVariableScale(field, value, builder);
  return AppendNumber(form, field, token, builder);
}

JsonValueForms::Result DebeziumValues::AppendNumber(const Form& form, const Field& field,
                                                    std::string_view token,
                                                    ColumnBuilder& builder) {
  if (field.type == TypeKind::kDate) {
    const auto days = ParseNumber<int32_t>(token);
    if (!days) return Result::kNotMine;
    builder.AppendInt32(*days);
    return Result::kAppended;
  }
  if (field.type != TypeKind::kTimestamp) return Result::kNotMine;
  const auto number = ParseNumber<int64_t>(token);
  if (!number) return Result::kNotMine;
  const std::optional<int64_t> us = ToMicros(*number, form.unit);
  if (!us) return Result::kBad;
  builder.AppendInt64(*us);
  return Result::kAppended;
}

JsonValueForms::Result DebeziumValues::AppendText(const Form& form, const Field& field,
                                                  std::string_view text, ColumnBuilder& builder) {
  switch (field.type) {
    case TypeKind::kString:
      return form.scale ? AppendDecimal(text, *form.scale, field, builder) : Result::kNotMine;
    case TypeKind::kDecimal:
    case TypeKind::kFloat64:
    case TypeKind::kInt64:
      return form.scale ? AppendDecimal(text, *form.scale, field, builder)
                        : AppendDigits(text, field, builder);
    default:
      return Result::kNotMine;
  }
}

// NUMERIC without a scale: {"scale": 2, "value": "BBo="}.
JsonValueForms::Result DebeziumValues::AppendVariableScale(const Field& field,
                                                           ondemand::value& value,
                                                           ColumnBuilder& builder) {
  ondemand::object object;
  int64_t scale = 0;
  std::string_view unscaled;
  if (value.get_object().get(object) || object["scale"].get_int64().get(scale) ||
      object["value"].get_string().get(unscaled) || scale > kDecimalScaleMax ||
      scale < -kDecimalScaleMax) {
    return Result::kBad;
  }
  return AppendDecimal(unscaled, static_cast<int>(scale), field, builder);
}

JsonValueForms::Result DebeziumValues::AppendDecimal(std::string_view base64, int scale,
                                                     const Field& field, ColumnBuilder& builder) {
  std::string unscaled;
  scratch_.clear();
  if (!DecodeBase64(base64, unscaled) || !AppendDecimalText(unscaled, scale, scratch_)) {
    return Result::kBad;
  }
  if (field.type == TypeKind::kString) {
    builder.AppendString(scratch_);
    return Result::kAppended;
  }
  return AppendDigits(scratch_, field, builder);
}

}  // namespace millrace
