// Decoding and encoding of messages that are given as text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "operators/formats/format.h"
#include "runtime/columns/batch.h"

namespace millrace {

struct Decoded {
  Batch rows;
  std::vector<NoRow> bad;
};

inline Decoded DecodeText(std::string_view format_name, const SchemaPtr& schema,
                          const std::vector<std::string>& texts,
                          const FormatOptions& options = {}) {
  const auto format = FindFormat(format_name);
  EXPECT_TRUE(format.ok()) << format.status();
  auto decoder = (*format)->make_decoder({schema}, options);
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  std::vector<std::string> padded;
  std::vector<Message> messages;
  padded.reserve(texts.size());
  for (const std::string& text : texts) {
    padded.push_back(text + std::string(kMessagePadding, '\0'));
    messages.push_back({.value = std::string_view(padded.back()).substr(0, text.size())});
  }
  BatchBuilder builder(schema);
  Decoded out;
  (*decoder)->Decode(messages, builder, out.bad);
  out.rows = builder.Finish();
  return out;
}

inline std::vector<std::string> EncodeRows(std::string_view format_name, const Batch& batch,
                                           const FormatOptions& options = {}) {
  auto encoder = (*FindFormat(format_name))->make_encoder(batch.schema(), options);
  EXPECT_TRUE(encoder.ok()) << encoder.status();
  EncodedRows rows;
  EXPECT_TRUE((*encoder)->Encode(batch, rows).ok());
  std::vector<std::string> texts;
  for (size_t i = 0; i < rows.rows(); ++i) texts.emplace_back(rows.row(i));
  return texts;
}

// "1, 'a', NULL" per row.
inline std::vector<std::string> RowTexts(const Batch& batch) {
  std::vector<std::string> rows;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    std::string text;
    for (const Column& column : batch.columns()) {
      if (!text.empty()) text += ", ";
      text += ValueText(column, row);
    }
    rows.push_back(text);
  }
  return rows;
}

}  // namespace millrace
