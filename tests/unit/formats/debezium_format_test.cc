// Messages as the PostgreSQL connector 3.5 writes them, cut to what matters.
#include <gmock/gmock.h>

#include "operators/formats/debezium_values.h"
#include "operators/formats/format_errors.h"
#include "runtime/base/text.h"
#include "runtime/columns/keys.h"
#include "tests/unit/formats/format_test_env.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<Field> kTable = {
    {.id = 1, .name = "id", .type = TypeKind::kInt64, .nullable = false},
    {.id = 2, .name = "note", .type = TypeKind::kString},
    {.id = 3, .name = "at", .type = TypeKind::kTimestamp, .nullable = false},
};

SchemaPtr Captured(std::vector<Field> fields) {
  for (const char* name : {"$sequence", "$unavailable"}) {
    fields.push_back({.id = 90, .name = name, .type = TypeKind::kBytes});
  }
  return Schema::Make(std::move(fields));
}

Decoded Decode(const SchemaPtr& schema, const std::vector<std::string>& texts,
               const FormatOptions& options = {}, std::vector<int> places = {}) {
  auto decoder = (*FindFormat("debezium-json"))
                     ->make_decoder({.schema = schema, .key = {0}, .places = places}, options);
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  (*decoder)->BeginSplit("orders/0");
  std::vector<std::string> padded;
  std::vector<Message> messages;
  padded.reserve(texts.size());
  for (const std::string& text : texts) {
    padded.push_back(text + std::string(kMessagePadding, '\0'));
    messages.push_back(
        {.value = std::string_view(padded.back()).substr(0, text.size()), .is_null = text.empty()});
  }
  BatchBuilder builder(schema);
  Decoded out;
  (*decoder)->Decode(messages, builder, out.bad);
  out.rows = builder.Finish();
  return out;
}

// "+I 1, 'a'": the kind of a row, and the columns of the table.
std::vector<std::string> Changes(const Batch& batch) {
  std::vector<std::string> rows;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    std::string text(RowKindText(batch.kind(row)));
    for (int c = 0; c + 2 < batch.column_count(); ++c) {
      text += Concat(c == 0 ? " " : ", ", ValueText(batch.column(c), row));
    }
    rows.push_back(text);
  }
  return rows;
}

std::string Change(std::string_view op, std::string_view before, std::string_view after,
                   std::string_view sequence = R"("[\"1000\",\"1016\"]")") {
  return Concat(R"({"before":)", before, R"(,"after":)", after,
                R"(,"source":{"version":"3.5.0.Final","connector":"postgresql","name":"shop",)"
                R"("snapshot":"false","sequence":)",
                sequence, R"(,"schema":"public","table":"orders","lsn":1016},)",
                R"("transaction":null,"op":")", op, R"(","ts_ms":1767225600123})");
}

TEST(DebeziumFormatTest, TellsWhatEachOperationChanges) {
  const Decoded decoded =
      Decode(Captured(kTable), {Change("r", "null", R"({"id":1,"note":"a","at":1000000})"),
                                Change("c", "null", R"({"id":2,"note":null,"at":2000000})"),
                                Change("u", "null", R"({"id":2,"note":"b","at":3000000})"),
                                // Of a deleted row only the key is real.
                                Change("d", R"({"id":1,"note":"invented","at":0})", "null"),
                                "",  // The tombstone behind it.
                                Change("t", "null", "null"), Change("m", "null", "null"),
                                Change("c", "null", R"({"id":3,"note":"c","at":4000000})")});
  EXPECT_THAT(Changes(decoded.rows),
              ElementsAre("+I 1, 'a', TIMESTAMP '1970-01-01 00:00:01.000000'",
                          "+I 2, NULL, TIMESTAMP '1970-01-01 00:00:02.000000'",
                          "+U 2, 'b', TIMESTAMP '1970-01-01 00:00:03.000000'", "-D 1, NULL, NULL",
                          "truncate NULL, NULL, NULL",
                          "+I 3, 'c', TIMESTAMP '1970-01-01 00:00:04.000000'"));
  ASSERT_THAT(decoded.bad, SizeIs(2));
  EXPECT_EQ(decoded.bad[0].index, 4u);
  EXPECT_EQ(decoded.bad[1].index, 6u);
  EXPECT_FALSE(decoded.bad[0].is_bad() || decoded.bad[1].is_bad());
}

TEST(DebeziumFormatTest, ReadsMessagesWithTheirSchema) {
  const std::string schema =
      R"({"type":"struct","fields":[{"type":"struct","field":"before","fields":[]},)"
      R"({"type":"struct","field":"after","fields":[{"type":"int64","field":"id"},)"
      R"({"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,)"
      R"("parameters":{"scale":"2","connect.decimal.precision":"10"},"field":"note"},)"
      R"({"type":"int64","name":"io.debezium.time.Timestamp","field":"at"}]}]})";
  const auto with_schema = [&](const std::string& payload) {
    return Concat(R"({"schema":)", schema, R"(,"payload":)", payload, "}");
  };
  const Decoded decoded = Decode(
      Captured(kTable),
      {with_schema(Change("c", "null", R"({"id":1,"note":"BBo=","at":1000})")),
       with_schema(Change("u", "null", R"({"id":1,"note":"+5s=","at":2000})")), with_schema("null"),
       // One without: by the options again.
       Change("u", "null", R"({"id":1,"note":"BBo=","at":2000})")});
  EXPECT_THAT(Changes(decoded.rows),
              ElementsAre("+I 1, '10.50', TIMESTAMP '1970-01-01 00:00:01.000000'",
                          "+U 1, '-11.25', TIMESTAMP '1970-01-01 00:00:02.000000'",
                          "+U 1, 'BBo=', TIMESTAMP '1970-01-01 00:00:00.002000'"));
  ASSERT_THAT(decoded.bad, SizeIs(1));
  EXPECT_FALSE(decoded.bad[0].is_bad());
}

TEST(DebeziumFormatTest, ASequenceOrdersByCommitAndThenByPlace) {
  const std::string row = R"({"id":1,"note":"a","at":1})";
  const Decoded decoded = Decode(
      Captured(kTable),
      {Change("c", "null", row, R"("[null,\"16\"]")"),
       Change("c", "null", row, R"("[\"16\",\"300\"]")"),
       Change("c", "null", row, R"("[\"256\",\"20\"]")"),  // A lower place in a later transaction.
       Change("t", "null", "null", R"("[\"256\",\"30\"]")"), Change("r", "null", row),
       Change("c", "null", row, "null"), Change("c", "null", row, R"("[\"256\",null]")"),
       Change("c", "null", row, "17")});
  EXPECT_THAT(decoded.bad, IsEmpty());
  const Column& sequence = decoded.rows.column(3);
  ASSERT_EQ(sequence.length(), 8);
  for (int64_t row_index = 0; row_index < 4; ++row_index) {
    EXPECT_EQ(sequence.StringAt(row_index).size(), 24u);
    EXPECT_EQ(sequence.StringAt(row_index).substr(0, 8), sequence.StringAt(0).substr(0, 8));
  }
  EXPECT_LT(sequence.StringAt(0), sequence.StringAt(1));
  EXPECT_LT(sequence.StringAt(1), sequence.StringAt(2));
  EXPECT_LT(sequence.StringAt(2), sequence.StringAt(3));
  for (int64_t row_index = 4; row_index < 8; ++row_index) EXPECT_TRUE(sequence.IsNull(row_index));
}

TEST(DebeziumFormatTest, MarksValuesThatDidNotChange) {
  std::vector<Field> fields = {
      {.id = 1, .name = "id", .type = TypeKind::kInt64, .nullable = false},
      {.id = 2, .name = "text", .type = TypeKind::kString, .nullable = false},
      {.id = 3, .name = "bytes", .type = TypeKind::kBytes},
  };
  const std::string change = Change("u", "null",
                                    R"({"id":1,"text":"__debezium_unavailable_value",)"
                                    R"("bytes":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="})");
  const Decoded decoded =
      Decode(Captured(fields), {change, Change("u", "null", R"({"id":1,"text":"b","bytes":""})")});
  EXPECT_THAT(Changes(decoded.rows), ElementsAre("+U 1, NULL, NULL", "+U 1, 'b', x''"));
  EXPECT_EQ(decoded.rows.column(4).StringAt(0), "\x06");
  EXPECT_TRUE(decoded.rows.column(4).IsNull(1));
  // In batches that have further columns before them.
  const Decoded moved = Decode(Captured(fields), {change}, {}, {1, 9, 2, 3, 4});
  EXPECT_EQ(moved.rows.column(4).StringAt(0), (std::string{"\x04\x02", 2}));
}

TEST(DebeziumFormatTest, ReadsTheFormsOfItsValues) {
  const SchemaPtr schema = Captured({
      {.id = 1, .name = "id", .type = TypeKind::kInt64, .nullable = false},
      {.id = 2, .name = "day", .type = TypeKind::kDate},
      {.id = 3, .name = "price", .type = TypeKind::kFloat64},
      {.id = 4, .name = "exact", .type = TypeKind::kString},
      {.id = 5, .name = "at", .type = TypeKind::kTimestamp},
      {.id = 6, .name = "done", .type = TypeKind::kBool},
      {.id = 7, .name = "fee", .type = DataType::Decimal(12, 2)},
  });
  const Decoded decoded = Decode(
      schema,
      {Change(
           "c", "null",
           R"({"id":"12","day":19723,"price":"10.5","exact":{"scale":3,"value":"BBo="},)"
           R"("at":"2026-01-01T10:00:00.5+02:00","done":true,"fee":{"scale":3,"value":"BBo="}})"),
       Change("c", "null",
              R"({"id":7,"day":"2024-01-01","price":{"scale":0,"value":"AA=="},)"
              R"("exact":"plain","at":1767225600000,"done":null,"fee":"-7.1"})")},
      {{"debezium-json.timestamp-unit", "MILLIS"}});
  EXPECT_THAT(decoded.bad, IsEmpty());
  EXPECT_THAT(Changes(decoded.rows),
              ElementsAre("+I 12, DATE '2024-01-01', 10.5, '1.050', "
                          "TIMESTAMP '2026-01-01 08:00:00.500000', TRUE, 1.05",
                          "+I 7, DATE '2024-01-01', 0, 'plain', "
                          "TIMESTAMP '2026-01-01 00:00:00.000000', NULL, -7.10"));
}

TEST(DebeziumFormatTest, BadMessagesSayWhy) {
  const std::string row = R"({"id":1,"note":"a","at":1})";
  std::string deep = R"({"payload":)";
  for (int i = 0; i < 5000; ++i) deep += R"({"payload":)";
  const std::vector<std::string> texts = {
      "{",
      "[]",
      R"({"id":1})",
      Change("x", "null", row),
      Change("c", "null", "null"),
      Change("d", "null", "null"),
      Change("c", "null", R"({"id":"x","note":"a","at":1})"),
      Change("c", "null", R"({"note":"a","at":1})"),
      Change("c", "null", row) + "1",
      Change("c", "null", R"({"id":1,"note":"a","at":9223372036825200000})"),
      deep,
      Change("c", "[]", row),
      Concat(R"({"schema":{"fields":1},"payload":)", Change("c", "null", row), "}"),
      std::string(3000, ' ')};
  const Decoded decoded =
      Decode(Captured(kTable), texts, {{"debezium-json.max-message-size", "20 kb"}});
  EXPECT_EQ(decoded.rows.rows(), 0);
  ASSERT_THAT(decoded.bad, SizeIs(texts.size()));
  const std::vector<std::pair<std::string_view, std::string>> expected = {
      {kBadSyntax, "not a change of Debezium"},
      {kBadSyntax, "not a change of Debezium"},
      {kBadSyntax, "there is no 'op'"},
      {kBadValue, "op 'x' is not known"},
      {kMissingField, "op 'c' without 'after'"},
      {kMissingField, "op 'd' without 'before'"},
      {kBadValue, "'after': field 'id': expected BIGINT, found \"x\""},
      {kMissingField, "'after': field 'id' is missing"},
      {kBadSyntax, "not a change of Debezium"},
      {kBadValue, "'after': field 'at': expected TIMESTAMP, found 9223372036825200000"},
      {kMessageTooLong, "the limit is 20480"},
      {kBadSyntax, "not a change of Debezium"},
      {kBadSyntax, "the schema of the message cannot be read"},
      {kBadSyntax, "not a change of Debezium"},
  };
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(decoded.bad[i].code, expected[i].first) << i;
    EXPECT_THAT(decoded.bad[i].error, HasSubstr(expected[i].second)) << i;
  }
}

TEST(DebeziumFormatTest, WritesDecimalsOfAnySizeInDigits) {
  const auto text = [](std::string_view unscaled, int scale) {
    std::string out;
    return AppendDecimalText(unscaled, scale, out) ? out : "none";
  };
  EXPECT_EQ(text({"\x00", 1}, 0), "0");
  EXPECT_EQ(text({"\x00", 1}, 2), "0.00");
  EXPECT_EQ(text("\xff", 0), "-1");
  EXPECT_EQ(text("\xff", 3), "-0.001");
  EXPECT_EQ(text("\x7b", -2), "12300");
  EXPECT_EQ(text({"\x00\xff", 2}, 1), "25.5");
  EXPECT_EQ(text({"\x80\x00\x00\x00\x00\x00\x00\x00", 8}, 0), "-9223372036854775808");
  EXPECT_EQ(text({"\x01\x00\x00\x00\x00\x00\x00\x00\x00", 9}, 0), "18446744073709551616");
  EXPECT_EQ(text("", 0), "none");
  EXPECT_EQ(text("\x01", 100'000), "none");
  EXPECT_EQ(text(std::string(2000, '\x01'), 0), "none");
}

}  // namespace
}  // namespace millrace
