// The JSON decoder: which values become which columns, which messages are bad, and random documents
// against another parser.
#include <simdjson.h>

#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/unit/formats/format_test_env.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

SchemaPtr Columns() {
  return Schema::Make({{.id = 1, .name = "n", .type = TypeKind::kInt64},
                       {.id = 2, .name = "t", .type = TypeKind::kString},
                       {.id = 3, .name = "x", .type = TypeKind::kFloat64},
                       {.id = 4, .name = "b", .type = TypeKind::kBool}});
}

TEST(JsonFormatTest, ParsesWithSimdInstructions) {
  // Arrow's library brings a copy without them; the link order decides.
  EXPECT_NE(simdjson::get_active_implementation()->name(), "fallback");
}

TEST(JsonFormatTest, AnyOrderMissingFieldsAndNulls) {
  const Decoded decoded =
      DecodeText("json", Columns(),
                 {R"({"n":1,"t":"a","x":1.5,"b":true})", R"({"b":false,"x":2,"t":"","n":-1})",
                  R"({"other":{"n":5,"t":[1,{"x":3}]},"t":"b"})", R"({"n":null})", R"({})",
                  R"(  {"t" : "\u00e9\n\"" , "n" : 7 }  )"});
  EXPECT_THAT(decoded.bad, IsEmpty());
  EXPECT_THAT(
      RowTexts(decoded.rows),
      ElementsAre("1, 'a', 1.5, TRUE", "-1, '', 2, FALSE", "NULL, 'b', NULL, NULL",
                  "NULL, NULL, NULL, NULL", "NULL, NULL, NULL, NULL", "7, 'é\n\"', NULL, NULL"));
}

TEST(JsonFormatTest, NullsMayBeLeftOut) {
  const Decoded decoded = DecodeText("json", Columns(), {R"({"t":"a","b":true})", R"({})"});
  EXPECT_THAT(EncodeRows("json", decoded.rows),
              ElementsAre(R"({"n":null,"t":"a","x":null,"b":true})",
                          R"({"n":null,"t":null,"x":null,"b":null})"));
  EXPECT_THAT(EncodeRows("json", decoded.rows, {{"json.encode.ignore-null-fields", "true"}}),
              ElementsAre(R"({"t":"a","b":true})", "{}"));
}

SchemaPtr ArrayColumns() {
  const DataType items = DataType::Array(
      {.is_row = true, .fields = {{"sku", TypeKind::kString}, {"n", TypeKind::kInt32}}});
  return Schema::Make(
      {{.id = 1, .name = "id", .type = TypeKind::kInt64},
       {.id = 2, .name = "tags", .type = DataType::Array(ArrayElement::Of(TypeKind::kString))},
       {.id = 3, .name = "items", .type = items}});
}

TEST(JsonFormatTest, ArraysOfValuesAndOfRows) {
  const std::vector<std::string> messages = {
      R"({"id":1,"tags":["a","b\"",null],)"
      R"("items":[{"n":2,"sku":"x","more":[1]},{"sku":null},null]})",
      R"({"id":2,"tags":[],"items":[]})", R"({"id":3,"tags":null})",
      R"({"id":4,"items":[{"n":1,"n":2}],"tags":["x"],"tags":["y","z"]})"};
  const Decoded decoded = DecodeText("json", ArrayColumns(), messages);
  EXPECT_THAT(decoded.bad, IsEmpty());
  EXPECT_THAT(RowTexts(decoded.rows),
              ElementsAre(R"(1, ['a', 'b"', NULL], [('x', 2), (NULL, NULL), NULL])", "2, [], []",
                          "3, NULL, NULL", "4, ['y', 'z'], [(NULL, 2)]"));
  EXPECT_THAT(
      EncodeRows("json", decoded.rows),
      ElementsAre(R"({"id":1,"tags":["a","b\"",null],)"
                  R"("items":[{"sku":"x","n":2},{"sku":null,"n":null},null]})",
                  R"({"id":2,"tags":[],"items":[]})", R"({"id":3,"tags":null,"items":null})",
                  R"({"id":4,"tags":["y","z"],"items":[{"sku":null,"n":2}]})"));
}

TEST(JsonFormatTest, ArraysThatAreNone) {
  const std::vector<std::string> messages = {
      R"({"id":1,"tags":"a"})",          R"({"id":2,"tags":["a",1]})",
      R"({"id":3,"items":[{"n":"x"}]})", R"({"id":4,"items":[7]})",
      R"({"id":5,"tags":["a"})",         R"({"id":6,"items":[{"n":2147483648}],"tags":["b"]})"};
  const Decoded decoded = DecodeText("json", ArrayColumns(), messages);
  EXPECT_EQ(decoded.rows.rows(), 0);
  ASSERT_THAT(decoded.bad, SizeIs(6));
  EXPECT_THAT(decoded.bad[0].error, HasSubstr("field 'tags': expected an array, found \"a\""));
  EXPECT_THAT(decoded.bad[1].error, HasSubstr("field 'tags[]': expected STRING, found 1"));
  EXPECT_THAT(decoded.bad[2].error, HasSubstr("field 'n': expected INT, found \"x\""));
  EXPECT_THAT(decoded.bad[3].error, HasSubstr("field 'items[]': expected an object, found 7"));
  // What comes behind the array is still read.
  const Decoded lenient =
      DecodeText("json", ArrayColumns(), messages, {{"json.ignore-parse-errors", "true"}});
  EXPECT_THAT(RowTexts(lenient.rows), ElementsAre("1, NULL, NULL", "2, NULL, NULL", "3, NULL, NULL",
                                                  "4, NULL, NULL", "6, ['b'], NULL"));
}

// A path is one also where the column is called the same; a name with a dot is none.
TEST(JsonFormatTest, PathsLeadIntoObjectsWhateverTheColumnIsCalled) {
  const Decoded decoded = DecodeText(
      "json",
      Schema::Make({{.id = 1, .name = "bid.price", .type = TypeKind::kInt64, .path = "bid.price"},
                    {.id = 2, .name = "a.b", .type = TypeKind::kInt64}}),
      {R"({"bid":{"price":7},"a":{"b":1}})", R"({"bid.price":7,"a.b":2})"});
  EXPECT_THAT(decoded.bad, IsEmpty());
  EXPECT_THAT(RowTexts(decoded.rows), ElementsAre("7, NULL", "NULL, 2"));
}

// From the text of the number: a double would change its digits.
TEST(JsonFormatTest, DecimalsAreExact) {
  const Decoded decoded =
      DecodeText("json", Schema::Make({{.id = 1, .name = "m", .type = DataType::Decimal(20, 2)}}),
                 {R"({"m":0.1})", R"({"m" : "123456789012345678.91" })",
                  R"({"m":99999999999999999.995 })", R"({"m":-1e3})", R"({"m":null})",
                  R"({"m":1e18})", R"({"m":"x"})", R"({"m":true})", R"({"m":{}})", R"({"m":7})"});
  EXPECT_THAT(RowTexts(decoded.rows),
              ElementsAre("0.10", "123456789012345678.91", "100000000000000000.00", "-1000.00",
                          "NULL", "7.00"));
  ASSERT_THAT(decoded.bad, SizeIs(4));
  EXPECT_THAT(decoded.bad[0].error, HasSubstr("DECIMAL(20, 2)"));
}

TEST(JsonFormatTest, BadMessagesNameTheFieldAndLeaveNoHalfRow) {
  const Decoded decoded = DecodeText(
      "json", Columns(),
      {R"({"t":"a","n":"x"})", R"({"t":"a")", "", "7", "[]", R"({"n":9223372036854775808})",
       R"({"n":1.5})", R"({"b":1})", "{\"t\":\"\xff\"}", R"({"n":1} trailing)", R"({"n":3})"});
  EXPECT_THAT(RowTexts(decoded.rows), ElementsAre("3, NULL, NULL, NULL"));
  ASSERT_THAT(decoded.bad, SizeIs(10));
  for (size_t i = 0; i < decoded.bad.size(); ++i) {
    EXPECT_EQ(decoded.bad[i].index, i);
    EXPECT_THAT(decoded.bad[i].code, HasSubstr("MR"));
    EXPECT_FALSE(decoded.bad[i].error.empty());
  }
  EXPECT_THAT(decoded.bad[0].error, HasSubstr("'n'"));
}

TEST(JsonFormatTest, RandomDocumentsAgreeWithAnotherParser) {
  std::mt19937_64 random(11);
  const auto below = [&](uint64_t n) { return random() % n; };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> texts;
    std::vector<std::string> want;
    for (int i = 0; i < 20; ++i) {
      nlohmann::ordered_json document = nlohmann::ordered_json::object();
      // Fields of the schema and others, in any order, now and then not there.
      for (uint64_t f = below(8); f > 0; --f) {
        switch (below(6)) {
          case 0:
            document["n"] = static_cast<int64_t>(random());
            break;
          case 1: {
            std::string text;
            for (uint64_t c = below(40); c > 0; --c) text += static_cast<char>(1 + below(127));
            document["t"] = text + (below(3) == 0 ? "ü€😀" : "");
            break;
          }
          case 2:
            document["x"] = static_cast<double>(static_cast<int64_t>(random())) / 1e6;
            break;
          case 3:
            document["b"] = below(2) == 0;
            break;
          case 4:
            document[absl::StrCat("extra", below(3))] = {{"n", 1}, {"t", {1, 2, nullptr}}};
            break;
          default:
            document[below(2) == 0 ? "n" : "t"] = nullptr;
        }
      }
      texts.push_back(document.dump(below(2) == 0 ? -1 : 2, ' ', below(2) == 0));
      BatchBuilder row(Columns());
      const auto value = [&](const char* name) {
        return document.contains(name) ? document[name] : nlohmann::ordered_json(nullptr);
      };
      if (value("n").is_null()) {
        row.column(0).AppendNull();
      } else {
        row.column(0).AppendInt64(value("n").get<int64_t>());
      }
      if (value("t").is_null()) {
        row.column(1).AppendNull();
      } else {
        row.column(1).AppendString(value("t").get<std::string>());
      }
      if (value("x").is_null()) {
        row.column(2).AppendNull();
      } else {
        row.column(2).AppendFloat64(value("x").get<double>());
      }
      if (value("b").is_null()) {
        row.column(3).AppendNull();
      } else {
        row.column(3).AppendBool(value("b").get<bool>());
      }
      want.push_back(RowTexts(row.Finish())[0]);
    }
    const Decoded decoded = DecodeText("json", Columns(), texts);
    ASSERT_THAT(decoded.bad, IsEmpty())
        << decoded.bad[0].error << ": " << texts[decoded.bad[0].index];
    ASSERT_EQ(RowTexts(decoded.rows), want);
    // And what we write, the other parser reads.
    const std::vector<std::string> encoded = EncodeRows("json", decoded.rows);
    for (size_t i = 0; i < encoded.size(); ++i) {
      const auto again = nlohmann::json::parse(encoded[i], nullptr, false);
      ASSERT_FALSE(again.is_discarded()) << encoded[i];
    }
    ASSERT_TRUE(SameRows(decoded.rows, DecodeText("json", Columns(), encoded).rows));
  }
}

}  // namespace
}  // namespace millrace
