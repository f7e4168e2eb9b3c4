#include "runtime/columns/json_text.h"

#include <bit>
#include <cstring>

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

void JsonPrinter::AppendArray(const Column& column, int64_t row, std::string& out) {
  if (flat_of_ == nullptr || flat_of_ != column.values_buffer()) {
    flat_.emplace(column);
    flat_of_ = column.values_buffer();
  }
  const ArrayElement& element = column.type().element();
  const FlatArrays& flat = *flat_;
  const auto append_value = [&](size_t field, int32_t at) {
    if (flat.columns[field].IsNull(at)) {
      out += "null";
    } else {
      Append(flat.columns[field], at, out);
    }
  };
  out += '[';
  for (int32_t at = flat.begin(row); at < flat.end(row); ++at) {
    if (at > flat.begin(row)) out += ',';
    if (!element.is_row) {
      append_value(0, at);
    } else if (flat.is_null[static_cast<size_t>(at)] != 0) {
      out += "null";
    } else {
      out += '{';
      for (size_t i = 0; i < element.fields.size(); ++i) {
        if (i > 0) out += ',';
        AppendJsonString(element.fields[i].name, out);
        out += ':';
        append_value(i, at);
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
