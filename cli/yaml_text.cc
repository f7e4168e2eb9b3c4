#include "cli/yaml_text.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "runtime/columns/base64.h"
#include "runtime/columns/json_text.h"

namespace millrace {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kIndent = 2;

// Needs no quotes: a reader of YAML 1.1 or 1.2 takes it for a text.
bool IsPlain(const std::string& text) {
  constexpr std::array<std::string_view, 10> kWords = {"true", "false", "null", "yes", "no",
                                                       "on",   "off",   "y",    "n",   "inf"};
  const auto is_plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '/';
  };
  return !text.empty() && absl::ascii_isalpha(static_cast<unsigned char>(text[0])) &&
         std::all_of(text.begin(), text.end(), is_plain) &&
         std::find(kWords.begin(), kWords.end(), absl::AsciiStrToLower(text)) == kWords.end();
}

void AppendText(const std::string& text, std::string& out) {
  if (IsPlain(text)) {
    out.append(text);
  } else {
    AppendJsonString(text, out);
  }
}

void AppendFloating(double value, std::string& out) {
  if (std::isfinite(value)) {
    AppendJsonNumber(value, out);
  } else {
    out.append(std::isnan(value) ? ".nan" : value > 0 ? ".inf" : "-.inf");
  }
}

// One value that is not a message. `index` < 0: the field is not repeated.
void AppendScalar(const Message& message, const FieldDescriptor& field, int index,
                  std::string& out) {
  const Reflection& reflection = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return index < 0 ? (reflection.*single)(message, &field)
                     : (reflection.*repeated)(message, &field, index);
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      out.append(std::to_string(get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32)));
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      out.append(std::to_string(get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64)));
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      out.append(std::to_string(get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32)));
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      out.append(std::to_string(get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64)));
      return;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      AppendFloating(get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble), out);
      return;
    case FieldDescriptor::CPPTYPE_FLOAT:
      AppendFloating(get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat), out);
      return;
    case FieldDescriptor::CPPTYPE_BOOL:
      out.append(get(&Reflection::GetBool, &Reflection::GetRepeatedBool) ? "true" : "false");
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      out.append(get(&Reflection::GetEnum, &Reflection::GetRepeatedEnum)->name());
      return;
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = get(&Reflection::GetString, &Reflection::GetRepeatedString);
      if (field.type() == FieldDescriptor::TYPE_BYTES) {
        out.push_back('"');
        AppendBase64(text, out);
        out.push_back('"');
      } else {
        AppendText(text, out);
      }
      return;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return;
  }
}

void AppendFields(const Message& message, int indent, std::string& out);

// Behind "name:" or "- ".
void AppendMessage(const Message& message, int indent, bool in_list, std::string& out) {
  std::string fields;
  AppendFields(message, indent, fields);
  if (fields.empty()) {
    out.append(in_list ? "{}\n" : " {}\n");
  } else if (in_list) {
    out.append(fields, static_cast<size_t>(indent));  // The dash stands where the indent was.
  } else {
    out.append("\n").append(fields);
  }
}

void AppendMap(const Message& message, const FieldDescriptor& field, int indent, std::string& out) {
  const Reflection& reflection = *message.GetReflection();
  const FieldDescriptor& key = *field.message_type()->FindFieldByNumber(1);
  const FieldDescriptor& value = *field.message_type()->FindFieldByNumber(2);
  std::vector<std::string> entries;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    std::string line(static_cast<size_t>(indent), ' ');
    AppendScalar(entry, key, -1, line);
    line.push_back(':');
    if (value.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      AppendMessage(entry.GetReflection()->GetMessage(entry, &value), indent + kIndent,
                    /*in_list=*/false, line);
    } else {
      line.push_back(' ');
      AppendScalar(entry, value, -1, line);
      line.push_back('\n');
    }
    entries.push_back(std::move(line));
  }
  std::sort(entries.begin(), entries.end());
  out.push_back('\n');
  for (const std::string& entry : entries) out.append(entry);
}

void AppendFields(const Message& message, int indent, std::string& out) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    out.append(static_cast<size_t>(indent), ' ').append(field->name()).push_back(':');
    const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (field->is_map()) {
      AppendMap(message, *field, indent + kIndent, out);
    } else if (!field->is_repeated() && is_message) {
      AppendMessage(reflection.GetMessage(message, field), indent + kIndent, /*in_list=*/false,
                    out);
    } else if (!field->is_repeated()) {
      out.push_back(' ');
      AppendScalar(message, *field, -1, out);
      out.push_back('\n');
    } else {
      out.push_back('\n');
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        out.append(static_cast<size_t>(indent), ' ').append("- ");
        if (is_message) {
          AppendMessage(reflection.GetRepeatedMessage(message, field, i), indent + kIndent,
                        /*in_list=*/true, out);
        } else {
          AppendScalar(message, *field, i, out);
          out.push_back('\n');
        }
      }
    }
  }
}

}  // namespace

void AppendYaml(const google::protobuf::Message& message, std::string& out) {
  AppendFields(message, 0, out);
}

}  // namespace millrace
