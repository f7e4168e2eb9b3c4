#include <gmock/gmock.h>

#include "tests/unit/formats/format_test_env.h"

namespace millrace {
namespace {

using testing::ElementsAre;

SchemaPtr One(TypeKind type, bool nullable = true) {
  return Schema::Make({{.id = 1, .name = "line", .type = type, .nullable = nullable}});
}

TEST(RawFormatTest, EveryByteComesBack) {
  std::vector<std::string> texts = {"", "a b", std::string("\0\n\xFF", 3), "Zürich"};
  const Decoded bytes = DecodeText("raw", One(TypeKind::kBytes), texts);
  EXPECT_TRUE(bytes.bad.empty());
  EXPECT_EQ(EncodeRows("raw", bytes.rows), texts);
}

TEST(RawFormatTest, AStringMustBeUtf8) {
  const Decoded text = DecodeText("raw", One(TypeKind::kString), {"Zürich", "Z\xFCrich", "x"});
  EXPECT_THAT(RowTexts(text.rows), ElementsAre("'Zürich'", "'x'"));
  ASSERT_EQ(text.bad.size(), 1u);
  EXPECT_EQ(text.bad[0].index, 1u);
  EXPECT_EQ(text.bad[0].error, "field 'line': not UTF-8");
}

TEST(RawFormatTest, AMessageWithoutValueIsNullWhereNullMayBe) {
  const Message tombstone{.value = {}, .is_null = true};
  for (const bool nullable : {true, false}) {
    const SchemaPtr schema = One(TypeKind::kBytes, nullable);
    auto decoder = (*FindFormat("raw"))->make_decoder({schema}, {});
    ASSERT_TRUE(decoder.ok());
    BatchBuilder builder(schema);
    std::vector<NoRow> bad;
    (*decoder)->Decode(std::vector<Message>{tombstone}, builder, bad);
    EXPECT_EQ(builder.rows(), nullable ? 1 : 0);
    EXPECT_EQ(bad.size(), nullable ? 0u : 1u);
  }
}

TEST(RawFormatTest, OtherSchemasAreRefused) {
  const FormatOptions options;
  const auto error = [&](const SchemaPtr& schema) {
    return std::string((*FindFormat("raw"))->make_decoder({schema}, options).status().message());
  };
  const std::string expected = "format 'raw' needs a table with one column of type STRING or BYTES";
  EXPECT_EQ(error(One(TypeKind::kInt64)), expected);
  EXPECT_EQ(error(Schema::Make({})), expected);
}

}  // namespace
}  // namespace millrace
