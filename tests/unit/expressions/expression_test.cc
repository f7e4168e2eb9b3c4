// Meanings of the functions, case by case: each is evaluated with literals, with columns, and by
// the reference interpreter.
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "tests/unit/expressions/expression_builder.h"

namespace millrace {
namespace {

constexpr std::string_view kError = "ERROR";

struct Expectation {
  v1::Expr expr;
  std::string expected;
};

std::string Evaluated(const v1::Expr& expr, const Batch& batch, int64_t row) {
  auto bound = BindExpression(expr, *batch.schema());
  if (!bound.ok()) return bound.status().ToString();
  RowErrors errors;
  const absl::StatusOr<Column> column = (*bound)->Evaluate(batch, errors);
  if (!column.ok()) return column.status().ToString();
  for (const RowErrors::Entry& entry : errors.entries) {
    if (entry.row == row) return std::string(kError);
  }
  return ValueText(*column, row);
}

std::string Interpreted(const v1::Expr& expr, const Batch& batch, int64_t row) {
  const absl::StatusOr<Datum> datum = Interpret(expr, batch, row);
  if (datum.ok()) return DatumText(*datum);
  return datum.status().code() == absl::StatusCode::kOutOfRange ? std::string(kError)
                                                                : datum.status().ToString();
}

// Turns literals into columns of a batch in which every other row is NULL.
class Columns {
 public:
  static constexpr int64_t kRows = 131;

  v1::Expr Lift(const v1::Expr& expr) {
    v1::Expr lifted = expr;
    if (expr.has_literal()) {
      fields_.push_back(
          {.id = static_cast<uint32_t>(fields_.size() + 1), .name = "c", .type = TypeOf(expr)});
      ColumnBuilder builder(TypeOf(expr));
      const std::unique_ptr<Expression> literal = *BindExpression(expr, Schema({}));
      RowErrors errors;
      const Column value = *literal->Evaluate(RowsOnly(1), errors);
      for (int64_t row = 0; row < kRows; ++row) {
        row % 2 == 0 ? builder.AppendFrom(value, 0) : builder.AppendNull();
      }
      columns_.push_back(builder.Finish());
      return Ref(fields_.back().id, TypeOf(expr));
    }
    if (expr.has_call()) {
      // Units must stay literals.
      const std::string& function = expr.call().function();
      const bool unit = function == "extract" || function == "date_trunc" ||
                        function == "timestampadd" || function == "timestampdiff";
      for (int i = unit ? 1 : 0; i < expr.call().arguments_size(); ++i) {
        *lifted.mutable_call()->mutable_arguments(i) = Lift(expr.call().arguments(i));
      }
    }
    if (expr.has_cast()) *lifted.mutable_cast()->mutable_input() = Lift(expr.cast().input());
    if (expr.has_case_when()) {
      for (auto& when : *lifted.mutable_case_when()->mutable_when()) when = Lift(when);
      for (auto& then : *lifted.mutable_case_when()->mutable_then()) then = Lift(then);
    }
    return lifted;
  }
  Batch Finish() { return Batch(Schema::Make(fields_), kRows, columns_); }

 private:
  std::vector<Field> fields_;
  std::vector<Column> columns_;
};

void Check(const std::vector<Expectation>& cases) {
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    const auto& [expr, expected] = cases[i];
    SCOPED_TRACE(expr.ShortDebugString());
    EXPECT_EQ(Evaluated(expr, RowsOnly(2), 1), expected) << "of literals";
    EXPECT_EQ(Interpreted(expr, RowsOnly(1), 0), expected) << "interpreted";
    Columns columns;
    const v1::Expr lifted = columns.Lift(expr);
    const Batch batch = columns.Finish();
    EXPECT_EQ(Evaluated(lifted, batch, 0), expected) << "of columns, first row";
    EXPECT_EQ(Evaluated(lifted, batch, 130), expected) << "of columns, last row";
    EXPECT_EQ(Evaluated(lifted, batch, 65), Interpreted(lifted, batch, 65)) << "of NULLs";
  }
}

const std::string kErrorText(kError);
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kGreatest = std::numeric_limits<int64_t>::max();

v1::Expr No(DataType type = TypeKind::kBool) { return NullLiteral(type); }
v1::Expr T() { return BoolLiteral(true); }
v1::Expr F() { return BoolLiteral(false); }
// 1/0 > 0: a condition that fails.
v1::Expr Fails() { return Call("gt", {Call("divide", {Int(1), Int(0)}), Int(0)}); }

TEST(ExpressionTest, LogicIsThreeValued) {
  Check({{Call("and", {T(), T()}), "TRUE"},
         {Call("and", {T(), F()}), "FALSE"},
         {Call("and", {No(), F()}), "FALSE"},
         {Call("and", {F(), No()}), "FALSE"},
         {Call("and", {T(), No()}), "NULL"},
         {Call("and", {T(), T(), T(), F()}), "FALSE"},
         {Call("or", {F(), F()}), "FALSE"},
         {Call("or", {F(), T()}), "TRUE"},
         {Call("or", {No(), T()}), "TRUE"},
         {Call("or", {F(), No()}), "NULL"},
         {Call("not", {T()}), "FALSE"},
         {Call("not", {No()}), "NULL"},
         {Call("is_true", {No()}), "FALSE"},
         {Call("is_not_true", {No()}), "TRUE"},
         {Call("is_false", {F()}), "TRUE"},
         {Call("is_not_false", {No()}), "TRUE"},
         {Call("is_null", {No(TypeKind::kString)}), "TRUE"},
         {Call("is_not_null", {Int(1)}), "TRUE"}});
}

TEST(ExpressionTest, OperandsThatAreNotNeededDoNotFail) {
  Check({{Call("and", {F(), Fails()}), "FALSE"},
         {Call("and", {T(), Fails()}), kErrorText},
         {Call("and", {No(), Fails()}), kErrorText},
         {Call("and", {Fails(), F()}), kErrorText},
         {Call("or", {T(), Fails()}), "TRUE"},
         {Call("or", {F(), Fails()}), kErrorText},
         {Call("coalesce", {Int(1), Call("divide", {Int(1), Int(0)})}), "1"},
         {Call("coalesce", {No(TypeKind::kInt64), Call("divide", {Int(1), Int(0)})}), kErrorText},
         {Call("if", {T(), Int(1), Call("divide", {Int(1), Int(0)})}), "1"},
         {Case({F(), Call("divide", {Int(1), Int(0)}), T(), Int(2), Fails(), Int(3)}), "2"},
         {Case({No(), Int(1)}), "NULL"},
         {Case({F(), Int(1), Int(9)}), "9"},
         {Call("is_null", {Call("divide", {Int(1), Int(0)})}), kErrorText}});
}

TEST(ExpressionTest, ArithmeticChecksItsRange) {
  Check({{Call("add", {Int(2), Int(3)}), "5"},
         {Call("add", {Int(kGreatest), Int(1)}), kErrorText},
         {Call("add", {Int32(INT32_MAX), Int32(1)}), kErrorText},
         {Call("add", {Int32(INT32_MAX), Int(1)}), "2147483648"},
         {Call("subtract", {Int(kLeast), Int(1)}), kErrorText},
         {Call("multiply", {Int(kGreatest), Int(2)}), kErrorText},
         {Call("divide", {Int(-7), Int(2)}), "-3"},
         {Call("divide", {Int(kLeast), Int(-1)}), kErrorText},
         {Call("divide", {Int(1), Int(0)}), kErrorText},
         {Call("modulo", {Int(-7), Int(2)}), "-1"},
         {Call("modulo", {Int(kLeast), Int(-1)}), "0"},
         {Call("mod", {Int(1), Int(0)}), kErrorText},
         {Call("divide", {Float(1), Float(0)}), "inf"},
         {Call("divide", {Float(7), Int(2)}), "3.5"},
         {Call("negate", {Int(kLeast)}), kErrorText},
         {Call("abs", {Int(-5)}), "5"},
         {Call("abs", {Int32(INT32_MIN)}), kErrorText},
         {Call("add", {No(TypeKind::kInt64), Int(1)}), "NULL"}});
}

TEST(ExpressionTest, MathematicsRoundsHalfAwayFromZero) {
  Check({{Call("round", {Float(2.5)}), "3"},
         {Call("round", {Float(-2.5)}), "-3"},
         {Call("round", {Float(1.256), Int(2)}), "1.26"},
         {Call("round", {Int(155), Int(-1)}), "160"},
         {Call("round", {Int(-155), Int(-1)}), "-160"},
         {Call("round", {Int(kGreatest), Int(-2)}), "9223372036854775800"},
         {Call("round", {Int(kGreatest), Int(-18)}), "9000000000000000000"},
         {Call("round", {Int(kGreatest), Int(-1)}), kErrorText},
         {Call("truncate", {Float(-1.99)}), "-1"},
         {Call("truncate", {Int(159), Int(-1)}), "150"},
         {Call("ceil", {Float(1.1)}), "2"},
         {Call("floor", {Float(-1.1)}), "-2"},
         {Call("sign", {Int(-9)}), "-1"},
         {Call("sqrt", {Float(9)}), "3"},
         {Call("power", {Int(2), Int(10)}), "1024"},
         {Call("log10", {Float(1000)}), "3"},
         {Call("ln", {Float(0)}), "-inf"},
         {Call("log", {Int(2), Int(8)}), "3"},
         {Call("log", {Int(2), Int(0)}), "-inf"},
         {Call("log", {Int(2), Int(-1)}), "nan"},
         {Call("atan2", {Float(0), Float(-1)}), "3.141592653589793"},
         {Call("cos", {Int(0)}), "1"},
         {Call("asin", {Int(2)}), "nan"},
         {Call("tanh", {No(TypeKind::kFloat64)}), "NULL"}});
}

TEST(ExpressionTest, BitsAreThoseOfTwosComplement) {
  Check({{Call("bitand", {Int(12), Int(10)}), "8"},
         {Call("bitor", {Int(12), Int(-16)}), "-4"},
         {Call("bitxor", {Int(12), Int(10)}), "6"},
         {Call("bitnot", {Int(0)}), "-1"},
         {Call("shift_left", {Int(1), Int(63)}), "-9223372036854775808"},
         {Call("shift_right", {Int(-8), Int(1)}), "-4"},
         {Call("shift_left", {Int(3), Int(65)}), "6"},
         {Call("shift_right", {Int(-1), Int(-1)}), "-1"}});
}

TEST(ExpressionTest, ComparisonOrdersTextByBytes) {
  Check({{Call("lt", {Str("a"), Str("b")}), "TRUE"},
         {Call("lt", {Str("Z"), Str("a")}), "TRUE"},
         {Call("gt", {Str("ä"), Str("z")}), "TRUE"},
         {Call("lt", {Str("a"), Str("aa")}), "TRUE"},
         {Call("eq", {Str(""), Str("")}), "TRUE"},
         {Call("eq", {Float(0.0), Float(-0.0)}), "TRUE"},
         {Call("le", {Int32(3), Float(3)}), "TRUE"},
         {Call("ne", {T(), F()}), "TRUE"},
         {Call("eq", {Int(1), No(TypeKind::kInt64)}), "NULL"},
         {Call("eq", {Date("2024-01-01"), Timestamp("2024-01-01 00:00:00")}), "TRUE"},
         {Call("is_distinct_from", {Int(1), No(TypeKind::kInt64)}), "TRUE"},
         {Call("is_not_distinct_from", {No(), No()}), "TRUE"},
         {Call("in", {Int(2), Int(1), Int(2)}), "TRUE"},
         {Call("in", {Int(3), Int(1), No(TypeKind::kInt64)}), "NULL"},
         {Call("in", {Int(1), Int(1), No(TypeKind::kInt64)}), "TRUE"},
         {Call("in", {Str("x"), Str("y")}), "FALSE"},
         {Call("nullif", {Int(1), Int(1)}), "NULL"},
         {Call("nullif", {Int(1), No(TypeKind::kInt64)}), "1"},
         {Call("greatest", {Int(1), Int(3), Int(2)}), "3"},
         {Call("least", {Str("b"), Str("a")}), "'a'"},
         {Call("greatest", {Int(1), No(TypeKind::kInt64)}), "NULL"}});
}

TEST(ExpressionTest, TextIsCountedInCharacters) {
  Check({{Call("char_length", {Str("äöü")}), "3"},
         {Call("octet_length", {Str("äöü")}), "6"},
         {Call("upper", {Str("straße é")}), "'STRAßE É'"},
         {Call("lower", {Str("ÄÖÜ Ж")}), "'äöü ж'"},
         {Call("initcap", {Str("hello wORLD-x1y")}), "'Hello World-X1y'"},
         {Call("substring", {Str("häß"), Int(2)}), "'äß'"},
         {Call("substring", {Str("hello"), Int(2), Int(3)}), "'ell'"},
         {Call("substring", {Str("hello"), Int(-3), Int(2)}), "'ll'"},
         {Call("substring", {Str("hello"), Int(0), Int(2)}), "'he'"},
         {Call("substring", {Str("hello"), Int(9)}), "''"},
         {Call("substring", {Str("hello"), Int(1), Int(-1)}), "''"},
         {Call("left", {Str("日本語"), Int(2)}), "'日本'"},
         {Call("right", {Str("日本語"), Int(2)}), "'本語'"},
         {Call("right", {Str("ab"), Int(5)}), "'ab'"},
         {Call("position", {Str("語"), Str("日本語")}), "3"},
         {Call("position", {Str("x"), Str("abc")}), "0"},
         {Call("position", {Str(""), Str("abc")}), "1"},
         {Call("reverse", {Str("aäb")}), "'bäa'"},
         {Call("ascii", {Str("é")}), "233"},
         {Call("chr", {Int(65)}), "'A'"},
         {Call("concat", {Str("a"), Str(""), Str("b")}), "'ab'"},
         {Call("concat", {Str("a"), No(TypeKind::kString)}), "NULL"},
         {Call("concat_ws", {Str("-"), Str("a"), No(TypeKind::kString), Str("b")}), "'a-b'"},
         {Call("concat_ws", {No(TypeKind::kString), Str("a")}), "NULL"},
         {Call("trim", {Str("  a  ")}), "'a'"},
         {Call("ltrim", {Str("xyxa"), Str("xy")}), "'a'"},
         {Call("rtrim", {Str("aää"), Str("ä")}), "'a'"},
         {Call("replace", {Str("aXbX"), Str("X"), Str("--")}), "'a--b--'"},
         {Call("lpad", {Str("7"), Int(3), Str("0")}), "'007'"},
         {Call("lpad", {Str("hello"), Int(2)}), "'he'"},
         {Call("rpad", {Str("a"), Int(4), Str("xy")}), "'axyx'"},
         {Call("rpad", {Str("a"), Int(-1)}), "NULL"},
         {Call("repeat", {Str("ab"), Int(3)}), "'ababab'"},
         {Call("repeat", {Str("ab"), Int(kGreatest)}), kErrorText},
         {Call("lpad", {Str("ab"), Int(kGreatest)}), kErrorText},
         {Call("split_index", {Str("a,b,,c"), Str(","), Int(2)}), "''"},
         {Call("split_index", {Str("a,b"), Str(","), Int(2)}), "NULL"},
         {Call("starts_with", {Str("abc"), Str("ab")}), "TRUE"},
         {Call("ends_with", {Str("abc"), Str("ab")}), "FALSE"},
         {Call("md5", {Str("abc")}), "'900150983cd24fb0d6963f7d28e17f72'"},
         {Call("sha256", {Str("abc")}),
          "'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'"}});
}

TEST(ExpressionTest, TextIsSearchedAndChangedInCharacters) {
  const auto no = [] { return No(TypeKind::kString); };
  Check({{Call("instr", {Str("日本語"), Str("語")}), "3"},
         {Call("strpos", {Str("abc"), Str("")}), "1"},
         {Call("locate", {Str("b"), Str("äbcb")}), "2"},
         {Call("locate", {Str("b"), Str("äbcb"), Int(3)}), "4"},
         {Call("locate", {Str("b"), Str("äbcb"), Int(5)}), "0"},
         {Call("locate", {Str(""), Str("ab"), Int(3)}), "3"},
         {Call("locate", {Str(""), Str("ab"), Int(4)}), "0"},
         {Call("locate", {Str("a"), Str("ab"), Int(0)}), "0"},
         {Call("overlay", {Str("häuser"), Str("ei"), Int(2), Int(2)}), "'heiser'"},
         {Call("overlay", {Str("abcdef"), Str("XY"), Int(3)}), "'abXYef'"},
         {Call("overlay", {Str("abc"), Str("XY"), Int(2), Int(0)}), "'aXYbc'"},
         {Call("overlay", {Str("abc"), Str("XYZ"), Int(3)}), "'abXYZ'"},
         {Call("overlay", {Str("abc"), Str("X"), Int(4)}), "'abc'"},
         {Call("overlay", {Str("abc"), Str("X"), Int(0)}), "'abc'"},
         {Call("overlay", {Str("abc"), Str("X"), Int(1), Int(kGreatest)}), "'X'"},
         {Call("translate", {Str("12ä345"), Str("14ä3"), Str("aö")}), "'a2ö5'"},
         {Call("translate", {Str("aab"), Str("aa"), Str("xy")}), "'xxb'"},
         {Call("elt", {Int(2), no(), Str("b")}), "'b'"},
         {Call("elt", {Int(1), no(), Str("b")}), "NULL"},
         {Call("elt", {Int(3), Str("a"), Str("b")}), "NULL"},
         {Call("regexp_count", {Str("äbcäb"), Str("äb")}), "2"},
         {Call("regexp_count", {Str("äb"), Str("")}), "3"},
         {Call("regexp_count", {Str("aab"), Str("a*")}), "3"},
         {Call("regexp_instr", {Str("äöb1"), Str("[a-c]")}), "3"},
         {Call("regexp_instr", {Str("äöb1"), Str("x")}), "0"},
         {Call("regexp_substr", {Str("ab12c"), Str("[0-9]+")}), "'12'"}});
}

TEST(ExpressionTest, BytesAreEncodedAndDecoded) {
  Check(
      {{Call("sha1", {Str("abc")}), "'a9993e364706816aba3e25717850c26c9cd0d89d'"},
       {Call("sha224", {Str("abc")}), "'23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7'"},
       {Call("sha2", {Str("abc"), Int(256)}),
        "'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'"},
       {Call("sha2", {Str("abc"), Int(100)}), kErrorText},
       {Call("hex", {Int(255)}), "'FF'"},
       {Call("hex", {Int(0)}), "'0'"},
       {Call("hex", {Int(-1)}), "'FFFFFFFFFFFFFFFF'"},
       {Call("hex", {Str("ä!")}), "'C3A421'"},
       {Call("unhex", {Str("c3A4")}), "x'c3a4'"},
       {Call("unhex", {Str("c3A")}), "NULL"},
       {Call("unhex", {Str("xx")}), "NULL"},
       {Call("bin", {Int(6)}), "'110'"},
       {Call("bin", {Int(0)}), "'0'"},
       {Call("to_base64", {Str("Hello")}), "'SGVsbG8='"},
       {Call("from_base64", {Str("SGVsbG8=")}), "'Hello'"},
       {Call("from_base64", {Str("SGVsbG8")}), "NULL"},
       {Call("from_base64", {Str("SGVs bG8")}), "NULL"},
       {Call("from_base64", {Str("SGVsbG..")}), "NULL"},
       {Call("from_base64", {Str("/w==")}), "NULL"},
       {Call("from_base64", {Str("")}), "''"},
       {Call("url_encode", {Str("a b&ä*")}), "'a+b%26%C3%A4*'"},
       {Call("url_decode", {Str("a+b%26%C3%A4*")}), "'a b&ä*'"},
       {Call("url_decode", {Str("100%")}), "NULL"},
       {Call("url_decode", {Str("%FF")}), "NULL"}});
}

TEST(ExpressionTest, PatternsMatchWholeCharacters) {
  Check({{Call("like", {Str("abc"), Str("a%")}), "TRUE"},
         {Call("like", {Str("abc"), Str("%c")}), "TRUE"},
         {Call("like", {Str("abc"), Str("%b%")}), "TRUE"},
         {Call("like", {Str("abc"), Str("abc")}), "TRUE"},
         {Call("like", {Str("abc"), Str("ab")}), "FALSE"},
         {Call("like", {Str("äx"), Str("_x")}), "TRUE"},
         {Call("like", {Str("aXbXc"), Str("a%X_")}), "TRUE"},
         {Call("like", {Str("aab"), Str("%ab")}), "TRUE"},
         {Call("like", {Str("ab"), Str("%ab%ab%")}), "FALSE"},
         {Call("like", {Str("aba"), Str("ab%ba")}), "FALSE"},
         {Call("like", {Str("abba"), Str("ab%ba")}), "TRUE"},
         {Call("like", {Str("aba"), Str("ab%_ba")}), "FALSE"},
         {Call("like", {Str("a.c"), Str("a.c")}), "TRUE"},
         {Call("like", {Str("abc"), Str("a.c")}), "FALSE"},
         {Call("like", {Str("a\nb"), Str("a%b")}), "TRUE"},
         {Call("like", {Str("10%"), Str("10!%"), Str("!")}), "TRUE"},
         {Call("like", {Str("10x"), Str("10!%"), Str("!")}), "FALSE"},
         {Call("like", {Str("x"), Str("x!"), Str("!")}), kErrorText},
         {Call("not_like", {Str("abc"), Str("a%")}), "FALSE"},
         {Call("regexp", {Str("foobar"), Str("o+b")}), "TRUE"},
         {Call("regexp_extract", {Str("channel_id=42&x"), Str("id=([0-9]+)"), Int(1)}), "'42'"},
         {Call("regexp_extract", {Str("abc"), Str("[0-9]+")}), "NULL"},
         {Call("regexp_extract", {Str("abc"), Str("b"), Int(3)}), kErrorText},
         {Call("regexp_replace", {Str("a1b22"), Str("[0-9]+"), Str("#")}), "'a#b#'"},
         {Call("similar", {Str("abc"), Str("(a|x)%")}), "TRUE"},
         {Call("similar", {Str("abc"), Str("b")}), "FALSE"}});
}

TEST(ExpressionTest, JsonIsReadByPath) {
  const v1::Expr document =
      Str("{\"a\": {\"b c\": [1, 2.50, \"x\\ny\"]}, \"n\": null, \"t\": true, \"a\": 7}");
  const auto value = [&](const char* path) { return Call("json_value", {document, Str(path)}); };
  const auto query = [&](const char* path) { return Call("json_query", {document, Str(path)}); };
  const auto exists = [&](const char* path) { return Call("json_exists", {document, Str(path)}); };
  Check({{value("$.a['b c'][1]"), "'2.50'"},
         {value("lax $.a.\"b c\"[2]"), "'x\ny'"},
         {value("$.t"), "'true'"},
         {value("$.n"), "NULL"},
         {value("$.a"), "NULL"},
         {value("$.a['b c'][3]"), "NULL"},
         {value("$.a.b c"), kErrorText},
         {value("a"), kErrorText},
         {query("$.a"), "'{\"b c\": [1, 2.50, \"x\\ny\"]}'"},
         {query("$.t"), "NULL"},
         {exists("$.n"), "TRUE"},
         {exists("$.a[0]"), "FALSE"},
         {Call("json_value", {Str("12"), Str("$")}), "'12'"},
         {Call("json_value", {Str("{\"a\": 1"), Str("$.a")}), "NULL"},
         {Call("json_exists", {Str("{\"a\": 1} x"), Str("$.a")}), "FALSE"},
         {Call("is_json", {Str(" [1e400] ")}), "TRUE"},
         {Call("is_json", {Str("[01]")}), "FALSE"},
         {Call("is_json", {Str("")}), "FALSE"}});
}

TEST(ExpressionTest, TimesFollowTheCivilCalendar) {
  const auto ts = [] { return Timestamp("2024-02-29 13:45:59.123456"); };
  const auto old = [] { return Timestamp("1969-12-31 23:59:59.999"); };
  Check({{Call("extract_year", {ts()}), "2024"},
         {Call("extract_quarter", {ts()}), "1"},
         {Call("extract_month", {ts()}), "2"},
         {Call("extract_day", {ts()}), "29"},
         {Call("extract_doy", {ts()}), "60"},
         {Call("extract_dow", {ts()}), "5"},
         {Call("extract_isodow", {Date("2024-03-03")}), "7"},
         {Call("extract_week", {Date("2021-01-03")}), "53"},
         {Call("extract_hour", {ts()}), "13"},
         {Call("extract_minute", {ts()}), "45"},
         {Call("extract_second", {ts()}), "59"},
         {Call("extract_millisecond", {ts()}), "123"},
         {Call("extract_epoch", {old()}), "-1"},
         {Call("extract_second", {old()}), "59"},
         {Call("extract", {Str("HOUR"), ts()}), "13"},
         {Call("date_trunc", {Str("hour"), ts()}), "TIMESTAMP '2024-02-29 13:00:00.000000'"},
         {Call("date_trunc", {Str("week"), ts()}), "TIMESTAMP '2024-02-26 00:00:00.000000'"},
         {Call("date_trunc", {Str("quarter"), ts()}), "TIMESTAMP '2024-01-01 00:00:00.000000'"},
         {Call("date_trunc", {Str("day"), old()}), "TIMESTAMP '1969-12-31 00:00:00.000000'"},
         {Call("date_format", {ts(), Str("yyyy-MM-dd HH:mm:ss.SSS")}), "'2024-02-29 13:45:59.123'"},
         {Call("date_format", {ts(), Str("d.M.yy 'o''clock' H")}), "'29.2.24 o''clock 13'"},
         {Call("to_timestamp", {Str("2024-02-29 01:02:03")}),
          "TIMESTAMP '2024-02-29 01:02:03.000000'"},
         {Call("to_timestamp", {Str("2023-02-29 01:02:03")}), "NULL"},
         {Call("to_timestamp", {Str("29.02.2024"), Str("dd.MM.yyyy")}),
          "TIMESTAMP '2024-02-29 00:00:00.000000'"},
         {Call("to_timestamp_ltz", {Int(1500), Int(3)}), "TIMESTAMP '1970-01-01 00:00:01.500000'"},
         {Call("to_timestamp_ltz", {Int(kGreatest), Int(0)}), kErrorText},
         {Call("subtract", {ts(), Interval("+0 00:00:04")}),
          "TIMESTAMP '2024-02-29 13:45:55.123456'"},
         {Call("subtract", {ts(), old()}), "INTERVAL '1709214359124456' MICROSECOND"},
         {Call("add", {Date("2024-02-28"), Int32(2)}), "DATE '2024-03-01'"},
         {Call("subtract", {Date("2024-03-01"), Date("2024-02-01")}), "29"},
         {Call("add", {Date("2024-03-01"), Interval("+1 12:00:00")}),
          "TIMESTAMP '2024-03-02 12:00:00.000000'"},
         {Call("multiply", {Interval("+0 00:00:10"), Int(6)}), "INTERVAL '60000000' MICROSECOND"},
         {Call("add", {IntLiteral(TypeKind::kTimestamp, kGreatest), Interval("+1 00:00:00")}),
          kErrorText}});
}

TEST(ExpressionTest, TimesAreApartInWholeUnits) {
  const auto add = [](std::string_view unit, int64_t n, std::string_view time) {
    return Call("timestampadd", {Str(unit), Int(n), Timestamp(time)});
  };
  const auto diff = [](std::string_view unit, std::string_view a, std::string_view b) {
    return Call("timestampdiff", {Str(unit), Timestamp(a), Timestamp(b)});
  };
  Check({{add("MONTH", 1, "2024-01-31 10:00:00"), "TIMESTAMP '2024-02-29 10:00:00.000000'"},
         {add("year", -1, "2024-02-29 00:00:00"), "TIMESTAMP '2023-02-28 00:00:00.000000'"},
         {add("quarter", 2, "2023-08-31 00:00:00"), "TIMESTAMP '2024-02-29 00:00:00.000000'"},
         {add("week", -1, "2024-01-03 00:00:01"), "TIMESTAMP '2023-12-27 00:00:01.000000'"},
         {add("second", kGreatest, "2024-01-01"), kErrorText},
         {add("year", 300'000, "2024-01-01"), kErrorText},
         {diff("month", "2024-01-31 10:00:00", "2024-02-29 10:00:00"), "1"},
         {diff("month", "2024-01-31 10:00:00", "2024-02-29 09:59:59"), "0"},
         {diff("month", "2024-02-15 10:00:00", "2024-01-15 12:00:00"), "0"},
         {diff("month", "2024-02-15 12:00:00", "2024-01-15 12:00:00"), "-1"},
         {diff("year", "2020-02-29", "2024-02-28"), "3"},
         {diff("day", "2024-02-28 12:00:00", "2024-03-01 11:00:00"), "1"},
         {diff("hour", "2024-01-01 02:00:00", "2024-01-01 00:30:00"), "-1"},
         {diff("second", "1969-12-31 23:59:59.5", "1970-01-01 00:00:00.4"), "0"},
         {Call("extract_century", {Date("2000-12-31")}), "20"},
         {Call("extract_century", {Date("2001-01-01")}), "21"},
         {Call("extract_millennium", {Date("2001-01-01")}), "3"},
         {Call("extract_decade", {Date("2019-06-01")}), "201"},
         {Call("extract_isoyear", {Date("2021-01-03")}), "2020"},
         {Call("from_unixtime", {Int(1'709'210'096)}), "'2024-02-29 12:34:56'"},
         {Call("from_unixtime", {Int(-1), Str("yyyy/MM/dd")}), "'1969/12/31'"},
         {Call("from_unixtime", {Int(kGreatest)}), kErrorText},
         {Call("unix_timestamp", {Str("2024-02-29 12:34:56.9")}), "1709210096"},
         {Call("unix_timestamp", {Str("1969-12-31 23:59:59.5")}), "-1"},
         {Call("unix_timestamp", {Str("29.2.2024"), Str("d.M.yyyy")}), "1709164800"},
         {Call("unix_timestamp", {Str("30.2.2024"), Str("d.M.yyyy")}), "NULL"},
         {Call("to_date", {Str("2024-02-29")}), "DATE '2024-02-29'"},
         {Call("to_date", {Str("29.02.24"), Str("dd.MM.yy")}), "DATE '2024-02-29'"},
         {Call("to_date", {Str("2023-02-29")}), "NULL"}});
}

TEST(ExpressionTest, CastsAreStrict) {
  const DataType i64 = TypeKind::kInt64, i32 = TypeKind::kInt32, f64 = TypeKind::kFloat64;
  const DataType str = TypeKind::kString, ts = TypeKind::kTimestamp;
  Check({{Cast(Str(" 42 "), i64), "42"},
         {Cast(Str("+7"), i32), "7"},
         {Cast(Str("4x"), i64), kErrorText},
         {Cast(Str(""), i64), kErrorText},
         {Cast(Str("--1"), i64), kErrorText},
         {Cast(Str("9223372036854775808"), i64), kErrorText},
         {Cast(Str("2147483648"), i32), kErrorText},
         {TryCast(Str("4x"), i64), "NULL"},
         {TryCast(Call("divide", {Int(1), Int(0)}), str), kErrorText},
         {Cast(Float(3.99), i64), "3"},
         {Cast(Float(-3.99), i32), "-3"},
         {Cast(Float(9.3e18), i64), kErrorText},
         {Cast(Float(2147483647.5), i32), "2147483647"},
         {Cast(Int(1), f64), "1"},
         {Cast(Int(INT64_C(1) << 40), i32), kErrorText},
         {Cast(Float(1), str), "'1.0'"},
         {Cast(Float(1e7), str), "'1.0E7'"},
         {Cast(Float(1234567.125), str), "'1234567.125'"},
         {Cast(Float(0.001), str), "'0.001'"},
         {Cast(Float(1e-4), str), "'1.0E-4'"},
         {Cast(T(), str), "'TRUE'"},
         {Cast(Str("Yes"), TypeKind::kBool), "TRUE"},
         {Cast(Str("2"), TypeKind::kBool), kErrorText},
         {Cast(Str("1e3"), f64), "1000"},
         {Cast(Str("2024-02-30"), TypeKind::kDate), kErrorText},
         {Cast(Str("2024-02-29"), TypeKind::kDate), "DATE '2024-02-29'"},
         {Cast(Str("2024-02-29T10:11"), ts), "TIMESTAMP '2024-02-29 10:11:00.000000'"},
         {Cast(Str("2024-02-29 10:11:12.5Z"), ts), "TIMESTAMP '2024-02-29 10:11:12.500000'"},
         {Cast(Str("2024-02-29 24:00"), ts), kErrorText},
         {Cast(Timestamp("2024-02-29 10:11:12.123456"), str), "'2024-02-29 10:11:12.123456'"},
         {Cast(Timestamp("2024-02-29 10:11:12"), str), "'2024-02-29 10:11:12.000'"},
         {Cast(Timestamp("1969-12-31 23:00:00"), TypeKind::kDate), "DATE '1969-12-31'"},
         {Cast(Interval("-1 02:03:04"), str), "'-1 02:03:04.000'"},
         {Cast(Bytes("ab"), str), "'ab'"},
         {Cast(Bytes("\xff"), str), kErrorText}});
}

TEST(ExpressionTest, ErrorsNameTheValue) {
  const std::unique_ptr<Expression> cast =
      *BindExpression(Cast(Str("abc"), TypeKind::kInt64), Schema({}));
  RowErrors errors;
  ASSERT_TRUE(cast->Evaluate(RowsOnly(2), errors).ok());
  ASSERT_EQ(errors.entries.size(), 2u);
  EXPECT_EQ(errors.entries[1].row, 1);
  EXPECT_EQ(errors.entries[1].message, "cannot cast 'abc' to BIGINT");
}

TEST(ExpressionTest, BindingRefusesWhatDoesNotFit) {
  const Schema schema({{.id = 1, .name = "a", .type = TypeKind::kInt64}});
  const auto message = [&](const v1::Expr& expr) {
    return std::string(BindExpression(expr, schema).status().message());
  };
  EXPECT_EQ(message(Ref(2, TypeKind::kInt64)), "unknown field id 2");
  EXPECT_EQ(message(Ref(1, TypeKind::kString)), "column a is BIGINT, not STRING");
  EXPECT_EQ(message(v1::Expr()), "expression without a type");
  v1::Expr wrong = Call("add", {Int(1), Int(2)});
  wrong.mutable_type()->set_kind(v1::Type::KIND_INT32);
  EXPECT_EQ(message(wrong), "result of add is BIGINT, not INT");
  v1::Expr newer = Call("add", {Int(1), Int(2)});
  newer.mutable_call()->set_function_version(2);
  EXPECT_EQ(message(newer), "unknown version 2 of function add");
  v1::Expr mixed = Call("add", {Int(1), Int(2)});
  *mixed.mutable_call()->mutable_arguments(0) = Int32(1);
  EXPECT_EQ(message(mixed), "argument 1 of add is INT, not BIGINT");
  EXPECT_NE(
      message(Call("extract", {Str("hourz"), Timestamp("2024-01-01")})).find("known are century"),
      std::string::npos);
  EXPECT_NE(message(Call("regexp", {Str("a"), Str("(")})).find("malformed"), std::string::npos);
  EXPECT_EQ(message(Cast(Date("2024-01-01"), TypeKind::kInt64)), "cannot cast DATE to BIGINT");
  v1::Expr deep = Int(1);
  for (int i = 0; i < 300; ++i) deep = Call("negate", {std::move(deep)});
  EXPECT_EQ(message(deep), "expression nested too deeply");
}

TEST(ExpressionTest, ReferencedFieldsAreSortedAndUnique) {
  const v1::Expr expr =
      Case({Call("gt", {Ref(9, TypeKind::kInt64), Ref(2, TypeKind::kInt64)}),
            Cast(Ref(5, TypeKind::kInt64), TypeKind::kString), Ref(9, TypeKind::kString)});
  EXPECT_EQ(ReferencedFields(expr), (std::vector<uint32_t>{2, 5, 9}));
}

// Text that is not UTF-8 has no meaning to agree on, but must not break anything.
TEST(ExpressionTest, MalformedTextIsHarmless) {
  const std::string_view texts[] = {"\x80",         "\xff\xfe", "a\xc3",        "\xe2\x82",
                                    "\xf0\x9f\x98", "\xc3(",    "\xed\xa0\x80", "x\x80\x80y"};
  int evaluated = 0;
  for (const std::string& name : FunctionNames()) {
    for (const std::string_view text : texts) {
      for (int count = 1; count <= 3; ++count) {
        for (const bool number_last : {false, true}) {
          std::vector<v1::Expr> arguments(static_cast<size_t>(count), Str(text));
          if (number_last) arguments.back() = Int(2);
          std::vector<std::optional<DataType>> types;
          for (const v1::Expr& argument : arguments) types.push_back(TypeOf(argument));
          if (!ResolveFunction(name, types).ok()) continue;
          Columns columns;
          const v1::Expr lifted = columns.Lift(Call(name, arguments));
          const Batch batch = columns.Finish();
          auto bound = BindExpression(lifted, *batch.schema());
          if (!bound.ok()) continue;
          RowErrors errors;
          EXPECT_TRUE((*bound)->Evaluate(batch, errors).ok());
          ++evaluated;
        }
      }
    }
  }
  EXPECT_GT(evaluated, 300);
}

}  // namespace
}  // namespace millrace
