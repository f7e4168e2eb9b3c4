#include "runtime/columns/json_text.h"

#include <bit>
#include <cstring>

#include "runtime/columns/arrays.h"
#include "runtime/columns/bytes32.h"

namespace millrace {
namespace {

// How many bytes come before the first that needs an escape.
size_t CountPlain(std::string_view text) {
  for (size_t at = 0; at < text.size(); at += Bytes32::kBytes) {
    char last[Bytes32::kBytes];
    const char* bytes = text.data() + at;
    const size_t left = text.size() - at;
    if (left < sizeof(last)) {
      std::memset(last, 'x', sizeof(last));
      std::memcpy(last, bytes, left);
      bytes = last;
    }
    const Bytes32 block(bytes);
    const uint32_t special = block.Is('"') | block.Is('\\') | block.IsControl();
    if (special != 0) return at + static_cast<size_t>(std::countr_zero(special));
  }
  return text.size();
}

void AppendEscaped(char c, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out.push_back('\\');
  switch (c) {
    case '"':
    case '\\':
      out.push_back(c);
      return;
    case '\n':
      out.push_back('n');
      return;
    case '\r':
      out.push_back('r');
      return;
    case '\t':
      out.push_back('t');
      return;
    default:
      out.append("u00");
      out.push_back(kHex[c >> 4]);
      out.push_back(kHex[c & 15]);
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    const size_t plain = CountPlain(text);
    out.append(text.substr(0, plain));
    if (plain == text.size()) break;
    AppendEscaped(text[plain], out);
    text.remove_prefix(plain + 1);
  }
  out.push_back('"');
}

void JsonPrinter::AppendArray(const ArrayElement& element, std::string_view bytes,
                              std::string& out) {
  if (element_ != &element) {
    element_ = &element;
    values_.clear();
    for (const ArrayElement::Field& field : element.fields) values_.emplace_back(field.type);
  }
  const auto append_value = [&](const Column& value) {
    if (value.IsNull(0)) {
      out += "null";
    } else {
      Append(value, 0, out);
    }
  };
  out += '[';
  for (bool first = true; !bytes.empty(); first = false) {
    if (!first) out += ',';
    const std::string_view one = TakeElement(element, bytes);
    for (ColumnBuilder& value : values_) value.Truncate(0);
    DecodeElement(element, one, values_);
    if (!element.is_row) {
      append_value(values_[0].Peek());
    } else if (IsNullElement(one)) {
      out += "null";
    } else {
      out += '{';
      for (size_t i = 0; i < values_.size(); ++i) {
        if (i > 0) out += ',';
        AppendJsonString(element.fields[i].name, out);
        out += ':';
        append_value(values_[i].Peek());
      }
      out += '}';
    }
  }
  out += ']';
}

std::string RowAsJson(const Batch& batch, int64_t row) {
  JsonPrinter printer(JsonPrinter::Timestamps::kSql);
  std::string out = "{";
  for (int i = 0; i < batch.column_count(); ++i) {
    if (i > 0) out += ',';
    AppendJsonString(batch.schema()->field(i).name, out);
    out += ':';
    if (batch.column(i).IsNull(row)) {
      out += "null";
    } else {
      printer.Append(batch.column(i), row, out);
    }
  }
  return out + "}";
}

}  // namespace millrace
