// JSON functions over random documents, broken ones, and random paths, against the interpreter.
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "tests/unit/expressions/expression_builder.h"

namespace millrace {
namespace {

class Documents {
 public:
  explicit Documents(uint32_t seed) : random_(seed) {}

  std::string Document() {
    std::string text = absl::StrCat(Space(), Value(0), Space());
    // Half of them broken: a byte changed, or one left out, or something behind.
    if (random_() % 4 == 0 && !text.empty()) {
      constexpr char kBytes[] = "{}[]\",:\\0-e.u \x01\xC3\xFF";
      text[random_() % text.size()] = kBytes[random_() % (sizeof(kBytes) - 1)];
    }
    if (random_() % 8 == 0 && !text.empty()) text.erase(random_() % text.size(), 1);
    if (random_() % 16 == 0) text += Value(3);
    return text;
  }

  std::string Path() {
    std::string path = random_() % 10 == 0 ? "lax $" : "$";
    for (size_t steps = random_() % 4; steps > 0; --steps) {
      switch (random_() % 5) {
        case 0:
          absl::StrAppend(&path, "[", random_() % 3, "]");
          break;
        case 1:
          absl::StrAppend(&path, "['", Name(), "']");
          break;
        case 2:
          absl::StrAppend(&path, ".\"", Name(), "\"");
          break;
        default:
          absl::StrAppend(&path, ".", Name());
      }
    }
    if (random_() % 30 == 0) path.erase(random_() % path.size(), 1);
    return path;
  }

 private:
  std::string Space() {
    constexpr const char* kSpaces[] = {"", "", "", " ", "\n\t", "\r "};
    return kSpaces[random_() % 6];
  }
  std::string Name() {
    constexpr const char* kNames[] = {"a", "b", "c", "ä", "a1"};
    return kNames[random_() % 5];
  }
  std::string Text() {
    constexpr const char* kTexts[] = {
        "",        "a",   "\\u0061", "\\n\\\"", "€ 𝄞", "\\uD834\\uDD1E",
        "\\uD834", "\\x", "\\u00e4", "{\\/}"};
    return absl::StrCat("\"", kTexts[random_() % 10], "\"");
  }
  std::string Value(int depth) {
    constexpr const char* kScalars[] = {
        "null", "true", "false", "0", "-1.50", "1e400", "12345678901234567890123",
        "01",   "1.",   "nul"};
    const auto kind = random_() % (depth > 3 ? 4 : 10);
    if (kind < 3) return kScalars[random_() % (random_() % 6 == 0 ? 10 : 7)];
    if (kind < 4) return Text();
    std::string text(1, kind < 7 ? '{' : '[');
    const size_t size = random_() % 4;
    for (size_t i = 0; i < size; ++i) {
      if (i > 0) text += ",";
      if (kind < 7) {
        absl::StrAppend(&text, Space(), random_() % 3 == 0 ? Text() : "\"" + Name() + "\"", Space(),
                        ":");
      }
      absl::StrAppend(&text, Space(), Value(depth + 1), Space());
    }
    return text + (kind < 7 ? "}" : "]");
  }

  std::mt19937 random_;
};

TEST(JsonFunctionsTest, AgreeWithTheInterpreter) {
  Documents documents(5);
  constexpr int kRows = 20'000;
  ColumnBuilder texts(TypeKind::kString), paths(TypeKind::kString);
  for (int row = 0; row < kRows; ++row) {
    texts.AppendString(documents.Document());
    paths.AppendString(documents.Path());
  }
  const Batch batch(Schema::Make({{.id = 1, .name = "d", .type = TypeKind::kString},
                                  {.id = 2, .name = "p", .type = TypeKind::kString}}),
                    kRows, {texts.Finish(), paths.Finish()});
  for (const char* name : {"json_value", "json_query", "json_exists", "is_json"}) {
    std::vector<v1::Expr> arguments = {Ref(1, TypeKind::kString)};
    if (std::string_view(name) != "is_json") arguments.push_back(Ref(2, TypeKind::kString));
    const v1::Expr call = Call(name, arguments);
    const auto bound = BindExpression(call, *batch.schema());
    ASSERT_TRUE(bound.ok()) << bound.status();
    RowErrors errors;
    const auto column = (*bound)->Evaluate(batch, errors);
    ASSERT_TRUE(column.ok());
    size_t next = 0;
    int values = 0;
    for (int row = 0; row < kRows; ++row) {
      const bool failed = next < errors.entries.size() && errors.entries[next].row == row;
      if (failed) ++next;
      const absl::StatusOr<Datum> wanted = Interpret(call, batch, row);
      const std::string where =
          absl::StrCat(name, "(", std::string(batch.column(0).StringAt(row)), " , ",
                       std::string(batch.column(1).StringAt(row)), ")");
      ASSERT_EQ(failed, !wanted.ok()) << where;
      if (failed) continue;
      ASSERT_EQ(ValueText(*column, row), DatumText(*wanted)) << where;
      values += wanted->is_null ? 0 : 1;
    }
    EXPECT_GT(values, 300) << name;
  }
}

}  // namespace
}  // namespace millrace
