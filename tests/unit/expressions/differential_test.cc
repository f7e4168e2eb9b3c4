// Random typed expressions over random batches: the vectorised path and the reference interpreter
// must agree on every value and on which rows fail. EXPRESSION_SEED=n repeats one seed.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>

#include "google/protobuf/text_format.h"
#include "runtime/columns/arrays.h"
#include "runtime/expressions/function_table.h"
#include "tests/unit/expressions/expression_builder.h"

namespace millrace {
namespace {

DataType ArrayOf(DataType type) { return DataType::Array(ArrayElement::Of(type)); }

const DataType kTypes[] = {TypeKind::kBool,
                           TypeKind::kInt32,
                           TypeKind::kInt64,
                           TypeKind::kFloat64,
                           TypeKind::kString,
                           TypeKind::kBytes,
                           TypeKind::kDate,
                           TypeKind::kTimestamp,
                           TypeKind::kInterval,
                           DataType::Decimal(10, 2),
                           DataType::Decimal(23, 3),
                           DataType::Decimal(38, 10),
                           DataType::Decimal(38, 0),
                           DataType::Decimal(6, 6),
                           ArrayOf(TypeKind::kInt64),
                           ArrayOf(TypeKind::kString),
                           ArrayOf(TypeKind::kFloat64)};
// Of kTypes; those of the decimals and arrays are of this test only.
constexpr std::string_view kLetters = "bildsyDTImnopqrSt";
constexpr std::string_view kArrayLetters = "rSt";
constexpr std::string_view kElementLetters = "lsd";
constexpr std::string_view kDecimalLetters = "mnopq";
constexpr int kColumnsPerType = 3;  // The third has no NULLs.
constexpr int kDepthMax = 5;

struct ConcreteCall {
  std::string name;
  std::vector<DataType> arguments;
};

DataType TypeOfLetter(char letter) { return kTypes[kLetters.find(letter)]; }

// Decimals of all digits are one: they can be cast.
std::string NameOf(DataType type) {
  return type == TypeKind::kArray ? TypeText(type) : std::string(TypeName(type));
}

absl::StatusOr<ResolvedFunction> Resolve(const ConcreteCall& call) {
  const std::vector<std::optional<DataType>> types(call.arguments.begin(), call.arguments.end());
  return ResolveFunction(call.name, types);
}

// Every signature with its variables replaced by every type, and one to three repetitions; by the
// name of the result.
std::map<std::string, std::vector<ConcreteCall>> AllCalls() {
  std::map<std::string, std::vector<ConcreteCall>> calls;
  const auto add = [&calls](ConcreteCall call) {
    const absl::StatusOr<ResolvedFunction> function = Resolve(call);
    // Not everything that takes any type takes arrays.
    const bool may_refuse = call.arguments[0] == TypeKind::kArray && !function.ok();
    if (may_refuse && call.name.find("array") == std::string::npos) return;
    ASSERT_TRUE(function.ok()) << function.status();
    calls[NameOf(function->result)].push_back(std::move(call));
  };
  for (const expressions::FunctionEntry& entry : expressions::AllFunctions()) {
    for (const std::string_view signature : expressions::SplitSignatures(entry.signatures)) {
      const bool has_any = signature.find('A') != std::string_view::npos;
      const bool has_number = signature.find('N') != std::string_view::npos;
      const bool has_array = signature.find('R') != std::string_view::npos;
      for (const char bound : std::string(has_any      ? kLetters
                                          : has_number ? "ildmnopq"
                                          : has_array  ? kArrayLetters
                                                       : "b")) {
        std::string text(signature);
        const size_t array = kArrayLetters.find(bound);
        for (char& c : text) {
          c = c == 'A' || c == 'N' || c == 'R' ? bound : c == 'E' ? kElementLetters[array] : c;
        }
        const size_t arrow = text.find('>');
        const bool variadic = text[arrow - 1] == '*';
        std::string letters = text.substr(0, variadic ? arrow - 1 : arrow);
        for (int repeat = 0; repeat < (variadic ? 3 : 1); ++repeat) {
          ConcreteCall call{std::string(entry.name), {}};
          for (const char letter : letters) call.arguments.push_back(TypeOfLetter(letter));
          add(std::move(call));
          letters += letters.back();
        }
      }
      // Decimals of different shapes meet only in arithmetic.
      if (signature != "NN>N") continue;
      for (const char a : kDecimalLetters) {
        for (const char b : kDecimalLetters) {
          if (a != b) add({std::string(entry.name), {TypeOfLetter(a), TypeOfLetter(b)}});
        }
      }
    }
  }
  return calls;
}

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Batch RandomBatch() {
    static constexpr int64_t kRows[] = {0, 1, 7, 63, 64, 65, 130};
    const int64_t rows = kRows[Below(std::size(kRows))];
    std::vector<Field> fields;
    std::vector<Column> columns;
    for (const DataType type : kTypes) {
      for (int i = 0; i < kColumnsPerType; ++i) {
        const auto id = static_cast<uint32_t>(fields.size() + 1);
        fields.push_back({.id = id, .name = "c" + std::to_string(id), .type = type});
        columns.push_back(RandomColumn(type, rows, i == 2 ? 0 : i == 1 ? 3 : 10));
      }
    }
    return Batch(Schema::Make(std::move(fields)), rows, std::move(columns));
  }

  v1::Expr RandomExpr(DataType type, int depth) {
    if (depth == 0 || OneIn(6)) return Leaf(type);
    switch (Below(8)) {
      case 0: {
        std::vector<v1::Expr> parts;
        for (size_t i = 0, n = 1 + Below(3); i < n; ++i) {
          parts.push_back(RandomExpr(TypeKind::kBool, depth - 1));
          parts.push_back(RandomExpr(type, depth - 1));
        }
        if (!OneIn(3)) parts.push_back(RandomExpr(type, depth - 1));
        return Case(std::move(parts));
      }
      case 1: {
        const DataType from = kTypes[Below(std::size(kTypes))];
        if (!CanCast(from, type)) return Leaf(type);
        v1::Expr input = RandomExpr(from, depth - 1);
        return OneIn(2) ? Cast(std::move(input), type) : TryCast(std::move(input), type);
      }
      default:
        return RandomCall(type, depth);
    }
  }

  // A call with columns and literals for arguments.
  v1::Expr CallOf(const ConcreteCall& call) {
    std::vector<v1::Expr> arguments;
    for (size_t i = 0; i < call.arguments.size(); ++i) arguments.push_back(ArgumentOf(call, i, 1));
    return Call(call.name, std::move(arguments));
  }

  DataType RandomType() { return kTypes[Below(std::size(kTypes))]; }

 private:
  size_t Below(size_t n) { return random_() % n; }
  bool OneIn(size_t n) { return Below(n) == 0; }

  template <typename T, size_t N>
  T Pick(const T (&pool)[N]) {
    return pool[Below(N)];
  }

  v1::Expr RandomCall(DataType type, int depth) {
    static const auto* calls = new auto(AllCalls());
    const std::vector<ConcreteCall>& fitting = calls->at(NameOf(type));
    const ConcreteCall& call = fitting[Below(fitting.size())];
    std::vector<v1::Expr> arguments;
    for (size_t i = 0; i < call.arguments.size(); ++i) {
      arguments.push_back(ArgumentOf(call, i, depth));
    }
    v1::Expr expr = Call(call.name, std::move(arguments));
    return TypeOf(expr) == type ? expr : Cast(std::move(expr), type);
  }

  // Units and most patterns must make sense, and counts must stay small.
  v1::Expr ArgumentOf(const ConcreteCall& call, size_t i, int depth) {
    static constexpr std::string_view kUnits[] = {"millisecond", "second", "minute",  "HOUR", "day",
                                                  "week",        "month",  "quarter", "year"};
    static constexpr std::string_view kFormats[] = {
        "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd",          "yyMMdd", "d.M.y", "HH:mm:ss.SSS",
        "SSSSSSSSS",           "yyyy'T'MM'o''clock'", ""};
    static constexpr std::string_view kLike[] = {
        "%", "a%", "%a", "%l%o%", "_", "__%", "%_b%c", "a!%b!_c", "ä_ü", "", "%!%%", "Hello World"};
    static constexpr std::string_view kRegex[] = {"a", "^[0-9]+$", "(l+)(o)?",  "(a)|(b)", "",
                                                  ".", "\\s",      "(?i)HELLO", "[äö]+"};
    static constexpr std::string_view kSimilar[] = {"%l%", "(a|b)%", "_+", "[a-z]*", "%.%", ""};
    static constexpr std::string_view kSeparators[] = {",", "l", "", " ", "äö"};
    static constexpr int64_t kCounts[] = {-5, -1, 0, 1, 2, 3, 7, 20};
    static constexpr int64_t kSeconds[] = {0, -1, 1'709'210'096, -62'135'596'800, 5'000'000'000};
    static constexpr int64_t kSha2[] = {224, 256, 384, 512};
    const std::string& name = call.name;
    const bool is_parsed = name == "to_timestamp" || name == "to_date" || name == "unix_timestamp";
    const bool has_time_pattern = is_parsed || name == "date_format" || name == "from_unixtime";
    const bool has_unit =
        name == "extract" || name == "date_trunc" || name.starts_with("timestamp");
    if (i == 0 && has_unit) return Str(Pick(kUnits));
    if (i == 1 && name == "timestampadd" && !OneIn(4)) return Int(Pick(kCounts));
    if (i == 0 && name == "from_unixtime" && !OneIn(4)) return Int(Pick(kSeconds));
    if (i == 1 && call.arguments[1] == TypeKind::kString && OneIn(20)) {
      // Rarely anything at all, even as a pattern.
    } else if (i == 1 && has_time_pattern) {
      return Str(Pick(kFormats));
    } else if (i == 1 && (name == "like" || name == "not_like")) {
      return Str(Pick(kLike));
    } else if (i == 1 && name.starts_with("regexp")) {
      return Str(Pick(kRegex));
    } else if (i == 1 && name == "similar") {
      return Str(Pick(kSimilar));
    }
    if (i == 2 && (name == "like" || name == "not_like")) return Str(OneIn(9) ? "xy" : "!");
    if (i == 2 && name == "regexp_extract") return Int(static_cast<int64_t>(Below(4)) - 1);
    if (i == 1 && name == "to_timestamp_ltz") return Int(OneIn(9) ? 1 : OneIn(2) ? 3 : 0);
    if (i == 1 && name == "element_at" && !OneIn(5)) return Int(Pick(kCounts));
    if (i == 1 && name == "split" && !OneIn(4)) return Str(Pick(kSeparators));
    if (i == 0 && name == "elt") return Int(Pick(kCounts));
    if (i == 1 && name == "sha2") return Int(OneIn(5) ? 1 : Pick(kSha2));
    if (i >= 2 && (name == "locate" || name == "overlay") && !OneIn(5)) return Int(Pick(kCounts));
    if (i == 1 && (name == "repeat" || name.ends_with("pad"))) return Int(Pick(kCounts));
    v1::Expr argument = RandomExpr(call.arguments[i], depth - 1);
    // A malformed literal is refused when it is bound; a computed one fails its rows.
    const bool is_pattern =
        i == 1 && (name.starts_with("regexp") || name == "similar" || has_time_pattern);
    return is_pattern && argument.has_literal()
               ? Ref(ColumnId(TypeKind::kString), TypeKind::kString)
               : argument;
  }

  uint32_t ColumnId(DataType type) {
    const size_t index = static_cast<size_t>(std::find(std::begin(kTypes), std::end(kTypes), type) -
                                             std::begin(kTypes));
    return static_cast<uint32_t>(index * kColumnsPerType + Below(kColumnsPerType) + 1);
  }

  v1::Expr Leaf(DataType type) {
    if (OneIn(12)) return NullLiteral(type);
    if (!OneIn(3)) return Ref(ColumnId(type), type);
    switch (type) {
      case TypeKind::kBool:
        return BoolLiteral(OneIn(2));
      case TypeKind::kFloat64:
        return Float(RandomFloat());
      case TypeKind::kString:
        return Str(RandomText());
      case TypeKind::kBytes:
        return Bytes(RandomText());
      case TypeKind::kDecimal:
        return DecimalLiteral(type, RandomDecimal(type));
      case TypeKind::kArray:
        return NullLiteral(type);
      default:
        return IntLiteral(type, RandomInt(type));
    }
  }

  int64_t RandomInt(DataType type) {
    static constexpr int64_t kInt32Pool[] = {0, 1, -1, 2, 7, -3, 100, INT32_MIN, INT32_MAX};
    static constexpr int64_t kInt64Pool[] = {
        0, 1, -1, 2, 10, -7, 123, INT32_MAX, INT64_MIN, INT64_MAX, INT64_MIN + 1, 1'000'000'007};
    static constexpr int64_t kDatePool[] = {0,      -1,       1,         59,        19'000,
                                            19'782, -719'162, 2'932'896, INT32_MIN, INT32_MAX};
    static constexpr int64_t kTimePool[] = {0,
                                            -1,
                                            1'709'210'096'789'012,
                                            1'700'000'000'000'000,
                                            -62'135'596'800'000'000,
                                            253'402'300'799'999'999,
                                            INT64_MIN,
                                            INT64_MAX,
                                            86'400'000'000};
    switch (type) {
      case TypeKind::kInt32:
        return OneIn(3) ? static_cast<int32_t>(random_()) : Pick(kInt32Pool);
      case TypeKind::kInt64:
        return OneIn(4) ? static_cast<int64_t>(random_()) : Pick(kInt64Pool);
      case TypeKind::kDate:
        return OneIn(3) ? static_cast<int64_t>(Below(40'000)) - 10'000 : Pick(kDatePool);
      default:
        return OneIn(2) ? static_cast<int64_t>(Below(4'000'000'000'000'000)) - 1'000'000'000'000'000
                        : Pick(kTimePool);
    }
  }

  Int128 RandomDecimal(DataType type) {
    const Int128 limit = PowerOfTen(type.precision());
    switch (Below(6)) {
      case 0:
        return limit - 1;
      case 1:
        return 1 - limit;
      case 2:
        return static_cast<Int128>(Below(5)) - 2;
      case 3:  // A half, for rounding.
        return 5 * PowerOfTen(static_cast<int>(Below(static_cast<size_t>(type.precision()))));
      default: {
        // Of any length.
        const Int128 value = Int128{static_cast<int64_t>(random_())} * (Int128{1} << 60) +
                             static_cast<int64_t>(random_());
        return value %
               PowerOfTen(1 + static_cast<int>(Below(static_cast<size_t>(type.precision()))));
      }
    }
  }

  double RandomFloat() {
    static constexpr double kPool[] = {0.0,
                                       -0.0,
                                       1,
                                       -1,
                                       0.5,
                                       -2.5,
                                       1e7,
                                       123456.789,
                                       1e-4,
                                       1e308,
                                       -1e308,
                                       5e-324,
                                       9.3e18,
                                       2147483648.0,
                                       std::numeric_limits<double>::infinity(),
                                       -std::numeric_limits<double>::infinity(),
                                       std::numeric_limits<double>::quiet_NaN()};
    return OneIn(3) ? std::ldexp(static_cast<double>(static_cast<int64_t>(random_())),
                                 -static_cast<int>(Below(70)))
                    : Pick(kPool);
  }

  std::string RandomText() {
    static constexpr std::string_view kPool[] = {"",
                                                 "a",
                                                 "ab",
                                                 "Hello World",
                                                 "äöü ÄÖÜ",
                                                 "日本語",
                                                 "a%b_c",
                                                 "123",
                                                 "-45",
                                                 " 7 ",
                                                 "1.5",
                                                 "1e3",
                                                 "2024-02-29",
                                                 "2024-01-01 12:34:56.789",
                                                 "2024-01-01T00:00Z",
                                                 "true",
                                                 "NO",
                                                 " x ",
                                                 "a,b,,c",
                                                 "+1 02:03:04.5",
                                                 "(",
                                                 "\\",
                                                 "%",
                                                 "9223372036854775808",
                                                 "NaN",
                                                 "😀é",
                                                 "the quick brown fox",
                                                 "SGVsbG8=",
                                                 "a+%C3%A4%2",
                                                 "C3A4"};
    return std::string(Pick(kPool));
  }

  std::string RandomArray(const ArrayElement& element) {
    const Column values = RandomColumn(element.fields[0].type, static_cast<int64_t>(Below(5)), 4);
    std::string bytes;
    for (int64_t i = 0; i < values.length(); ++i) AppendElement(element, {&values, 1}, i, bytes);
    return bytes;
  }

  Column RandomColumn(DataType type, int64_t rows, size_t nulls_one_in) {
    ColumnBuilder builder(type, rows);
    for (int64_t row = 0; row < rows; ++row) {
      if (nulls_one_in != 0 && OneIn(nulls_one_in)) {
        builder.AppendNull();
      } else if (type == TypeKind::kBool) {
        builder.AppendBool(OneIn(2));
      } else if (type == TypeKind::kFloat64) {
        builder.AppendFloat64(RandomFloat());
      } else if (type == TypeKind::kDecimal) {
        builder.AppendDecimal(RandomDecimal(type));
      } else if (type == TypeKind::kArray) {
        builder.AppendString(RandomArray(type.element()));
      } else if (IsVariableWidth(type)) {
        builder.AppendString(type == TypeKind::kBytes && OneIn(8) ? "\xff\x80" : RandomText());
      } else if (FixedWidth(type) == 4) {
        builder.AppendInt32(static_cast<int32_t>(RandomInt(type)));
      } else {
        builder.AppendInt64(RandomInt(type));
      }
    }
    return builder.Finish();
  }

  std::mt19937_64 random_;
};

std::string ExprText(const v1::Expr& expr) {
  std::string text;
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  printer.PrintToString(expr, &text);
  return text;
}

// How much of what was generated gave values, so that the test cannot pass on errors alone.
struct Tally {
  int64_t trees = 0, rows = 0, values = 0, errors = 0;
};

testing::AssertionResult Agree(const v1::Expr& expr, const Batch& batch, Tally& tally) {
  auto bound = BindExpression(expr, *batch.schema());
  if (!bound.ok()) return testing::AssertionFailure() << bound.status();
  RowErrors errors;
  const absl::StatusOr<Column> column = (*bound)->Evaluate(batch, errors);
  if (!column.ok()) return testing::AssertionFailure() << column.status();
  if (column->length() != batch.rows() || column->type() != TypeOf(expr)) {
    return testing::AssertionFailure() << "wrong shape";
  }
  ++tally.trees;
  size_t next_error = 0;
  int64_t nulls = 0;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    const bool failed = next_error < errors.entries.size() && errors.entries[next_error].row == row;
    const std::string message = failed ? errors.entries[next_error++].message : "";
    const absl::StatusOr<Datum> wanted = Interpret(expr, batch, row);
    ++tally.rows;
    nulls += column->IsNull(row);
    if (!wanted.ok()) {
      ++tally.errors;
      if (wanted.status().code() != absl::StatusCode::kOutOfRange || !failed ||
          !column->IsNull(row) || message.empty()) {
        return testing::AssertionFailure() << "row " << row << ": " << ValueText(*column, row)
                                           << ", wanted " << wanted.status();
      }
      continue;
    }
    tally.values += wanted->is_null ? 0 : 1;
    // Zeros of both signs are one value; their text is not.
    const bool zeros = wanted->type == TypeKind::kFloat64 && !wanted->is_null &&
                       !column->IsNull(row) && wanted->float_value == 0 &&
                       column->values<double>()[row] == 0;
    const bool nans = wanted->type == TypeKind::kFloat64 && !wanted->is_null &&
                      !column->IsNull(row) && std::isnan(wanted->float_value) &&
                      std::isnan(column->values<double>()[row]);
    if (failed || (!zeros && !nans && ValueText(*column, row) != DatumText(*wanted))) {
      return testing::AssertionFailure()
             << "row " << row << ": " << (failed ? message : ValueText(*column, row)) << ", wanted "
             << DatumText(*wanted);
    }
  }
  if (next_error != errors.entries.size())
    return testing::AssertionFailure() << "errors out of order";
  if (nulls != column->null_count()) return testing::AssertionFailure() << "wrong null count";
  return testing::AssertionSuccess();
}

TEST(DifferentialTest, RandomExpressionsAgreeWithTheInterpreter) {
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= 120; ++seed) seeds.push_back(seed);
  if (const char* one = std::getenv("EXPRESSION_SEED")) seeds = {std::strtoull(one, nullptr, 10)};
  Tally tally;
  for (const uint64_t seed : seeds) {
    Generator generator(seed);
    for (int i = 0; i < 40; ++i) {
      const Batch batch = generator.RandomBatch();
      const v1::Expr expr = generator.RandomExpr(generator.RandomType(), 1 + i % kDepthMax);
      ASSERT_TRUE(Agree(expr, batch, tally)) << "seed=" << seed << " " << ExprText(expr);
    }
  }
  if (seeds.size() > 1) {
    EXPECT_GT(tally.values, tally.rows / 3);
    EXPECT_GT(tally.errors, tally.rows / 100);
  }
  std::printf("trees %ld, rows %ld, values %ld, errors %ld\n", tally.trees, tally.rows,
              tally.values, tally.errors);
}

// Every signature on its own, so that none depends on being drawn.
TEST(DifferentialTest, EveryFunctionAgreesWithTheInterpreter) {
  Tally tally;
  Generator generator(7);
  const std::map<std::string, std::vector<ConcreteCall>> all = AllCalls();
  for (const auto& [type, calls] : all) {
    for (const ConcreteCall& call : calls) {
      for (int round = 0; round < 6; ++round) {
        const Batch batch = generator.RandomBatch();
        const v1::Expr expr = generator.CallOf(call);
        ASSERT_TRUE(Agree(expr, batch, tally)) << ExprText(expr);
      }
    }
  }
}

}  // namespace
}  // namespace millrace
