// Any bytes as messages of each format, one per line: each becomes a row or a bad message with a
// code, and a row that was decoded survives being encoded and decoded again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "operators/formats/format.h"
#include "runtime/base/check.h"
#include "runtime/columns/batch.h"

namespace {

using millrace::Batch;
using millrace::Message;
using millrace::SchemaPtr;
using millrace::TypeKind;

SchemaPtr Columns(bool with_arrays) {
  std::vector<millrace::Field> fields;
  const auto add = [&fields](const char* name, millrace::DataType type) {
    fields.push_back({.id = static_cast<uint32_t>(fields.size() + 1), .name = name, .type = type});
  };
  add("a", TypeKind::kInt64);
  add("b", TypeKind::kString);
  add("c", TypeKind::kFloat64);
  add("d", TypeKind::kTimestamp);
  add("e", TypeKind::kBool);
  add("f", TypeKind::kInt32);
  add("g", TypeKind::kDate);
  add("h", TypeKind::kBytes);
  add("i", millrace::DataType::Decimal(20, 2));
  if (!with_arrays) return millrace::Schema::Make(fields);
  add("j", millrace::DataType::Array(millrace::ArrayElement::Of(TypeKind::kString)));
  add("k", millrace::DataType::Array(
               {.is_row = true, .fields = {{"s", TypeKind::kString}, {"n", TypeKind::kInt32}}}));
  return millrace::Schema::Make(fields);
}

struct Codec {
  SchemaPtr schema;
  std::unique_ptr<millrace::Decoder> decoder;
  std::unique_ptr<millrace::Encoder> encoder;
};

Codec Make(const millrace::Format& format) {
  Codec codec;
  codec.schema = format.name == "raw"
                     ? millrace::Schema::Make({{.id = 1, .name = "b", .type = TypeKind::kBytes}})
                     : Columns(/*with_arrays=*/format.name == "json");
  if (format.name == "debezium-json") {
    std::vector<millrace::Field> fields = codec.schema->fields();
    for (const char* name : {"$sequence", "$unavailable"}) {
      fields.push_back({.id = 100, .name = name, .type = TypeKind::kBytes});
    }
    codec.schema = millrace::Schema::Make(fields);
  }
  codec.decoder = format.make_decoder({.schema = codec.schema, .key = {0}}, {}).value();
  codec.decoder->BeginSplit("split");
  if (format.make_encoder != nullptr) {
    codec.encoder = format.make_encoder(codec.schema, {}).value();
  }
  return codec;
}

// As the contract of Message wants it: readable behind the end.
std::string Padded(std::string_view bytes) {
  return std::string(bytes).append(millrace::kMessagePadding, '\0');
}

Batch Decode(Codec& codec, const std::vector<std::string>& padded, size_t* bad_count) {
  std::vector<Message> messages;
  for (const std::string& text : padded) {
    messages.push_back(
        {.value = std::string_view(text).substr(0, text.size() - millrace::kMessagePadding)});
  }
  millrace::BatchBuilder builder(codec.schema);
  std::vector<millrace::NoRow> bad;
  codec.decoder->Decode(messages, builder, bad);
  MILLRACE_CHECK(static_cast<size_t>(builder.rows()) + bad.size() == messages.size());
  for (const millrace::NoRow& one : bad) {
    MILLRACE_CHECK(one.index < messages.size() && one.code.empty() == one.error.empty());
  }
  *bad_count = bad.size();
  return builder.Finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static std::vector<Codec>* const codecs = [] {
    auto* made = new std::vector<Codec>;
    for (const millrace::Format& format : millrace::AllFormats()) made->push_back(Make(format));
    return made;
  }();
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> padded;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    padded.push_back(Padded(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (Codec& codec : *codecs) {
    size_t bad = 0;
    const Batch rows = Decode(codec, padded, &bad);
    millrace::EncodedRows encoded;
    if (rows.rows() == 0 || codec.encoder == nullptr ||
        !codec.encoder->Encode(rows, encoded).ok()) {
      continue;
    }
    std::vector<std::string> again;
    for (size_t i = 0; i < encoded.rows(); ++i) again.push_back(Padded(encoded.row(i)));
    const Batch same = Decode(codec, again, &bad);
    MILLRACE_CHECK(bad == 0);
    MILLRACE_CHECK(millrace::SameRows(rows, same));
  }
  return 0;
}
