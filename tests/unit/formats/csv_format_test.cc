#include "gmock/gmock.h"
#include "tests/unit/formats/format_test_env.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

SchemaPtr TextAndNumber() {
  return Schema::Make({{.id = 1, .name = "t", .type = TypeKind::kString},
                       {.id = 2, .name = "n", .type = TypeKind::kInt64}});
}

TEST(CsvFormatTest, QuotesAndNulls) {
  const Decoded decoded =
      DecodeText("csv", TextAndNumber(),
                 {"plain,1", "\"a,\"\"b\"\"\",-2", ",", "\"\",0", "\"line\nbreak\",3"});
  EXPECT_THAT(decoded.bad, SizeIs(0));
  EXPECT_THAT(RowTexts(decoded.rows), ElementsAre("'plain', 1", "'a,\"b\"', -2", "NULL, NULL",
                                                  "'', 0", "'line\nbreak', 3"));
  EXPECT_THAT(EncodeRows("csv", decoded.rows),
              ElementsAre("plain,1", "\"a,\"\"b\"\"\",-2", ",", "\"\",0", "\"line\nbreak\",3"));
}

TEST(CsvFormatTest, BadLinesSayWhatAndWhere) {
  const Decoded decoded =
      DecodeText("csv", TextAndNumber(),
                 {"a,x", "only", "a,1,2", "\"open,1", "a,99999999999999999999", "b,7"});
  EXPECT_THAT(RowTexts(decoded.rows), ElementsAre("'b', 7"));
  ASSERT_THAT(decoded.bad, SizeIs(5));
  for (size_t i = 0; i < decoded.bad.size(); ++i) {
    EXPECT_EQ(decoded.bad[i].index, i);
    EXPECT_THAT(decoded.bad[i].code, HasSubstr("MR"));
  }
  EXPECT_THAT(decoded.bad[0].error, HasSubstr("'n'"));
}

TEST(CsvFormatTest, WhatLooksLikeNullOrHoldsTheDelimiterIsQuoted) {
  const SchemaPtr schema = Schema::Make({{.id = 1, .name = "n", .type = TypeKind::kInt64},
                                         {.id = 2, .name = "b", .type = TypeKind::kBytes},
                                         {.id = 3, .name = "d", .type = TypeKind::kDate}});
  BatchBuilder builder(schema);
  builder.column(0).AppendInt64(0);
  builder.column(1).AppendString("");
  builder.column(2).AppendInt32(0);
  builder.column(0).AppendNull();
  builder.column(1).AppendNull();
  builder.column(2).AppendNull();
  const Batch batch = builder.Finish();
  for (const FormatOptions& options : {FormatOptions{}, FormatOptions{{"csv.null-literal", "0"}},
                                       FormatOptions{{"csv.field-delimiter", "-"}}}) {
    const std::vector<std::string> texts = EncodeRows("csv", batch, options);
    const Decoded decoded = DecodeText("csv", schema, texts, options);
    EXPECT_THAT(decoded.bad, SizeIs(0)) << texts[0];
    EXPECT_TRUE(SameRows(batch, decoded.rows)) << texts[0];
  }
}

}  // namespace
}  // namespace millrace
