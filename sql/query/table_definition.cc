#include "sql/query/table_definition.h"

#include "runtime/base/text.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

constexpr int kRowDepthMax = 8;

class Reader {
 public:
  Reader(const SqlText& text, const Statement& statement, TableDefinition& out, SqlProblem& problem)
      : text_(text), at_(statement.first), last_(statement.last), out_(out), problem_(problem) {}

  bool Run() {
    ++at_;  // CREATE
    if (Is("TEMPORARY")) ++at_;
    ++at_;                   // TABLE
    if (Is("IF")) at_ += 3;  // IF NOT EXISTS
    out_.offset = Place();
    if (!ReadName(&out_.name) || !Expect('(')) return false;
    while (true) {
      if (!ReadElement()) return false;
      if (Symbol(',')) {
        ++at_;
      } else if (Symbol(')')) {
        ++at_;
        break;
      } else {
        return Fail("expected ',' or ')'");
      }
    }
    if (Is("COMMENT")) at_ += 2;
    if (Is("PARTITIONED") && !ReadPartition()) return false;
    if (at_ == last_)
      return Fail("the table has no options", "write WITH ('connector' = 'kafka', …)");
    if (!Is("WITH")) return Fail("expected WITH ('connector' = …)");
    ++at_;
    if (!ReadOptions()) return false;
    if (!partition_.empty()) out_.options["partition-by"] = Join(partition_, ";");
    return at_ == last_ || Fail("unexpected text behind the table");
  }

 private:
  bool Is(std::string_view word) const { return at_ < last_ && text_.IsWord(at_, word); }
  bool Symbol(char symbol) const { return at_ < last_ && text_.IsSymbol(at_, symbol); }
  size_t Place() const {
    if (at_ < last_) return text_.tokens[at_].begin;
    return last_ > 0 ? text_.tokens[last_ - 1].end : 0;
  }
  bool Fail(std::string message, std::string hint = "") {
    problem_ = {"MR1201", std::move(message), std::move(hint), static_cast<int64_t>(Place())};
    return false;
  }
  bool Expect(char symbol) {
    if (!Symbol(symbol)) return Fail(Concat("expected '", std::string(1, symbol), "'"));
    ++at_;
    return true;
  }
  bool ReadName(std::string* out) {
    if (at_ >= last_ || (text_.tokens[at_].kind != SqlToken::Kind::kWord &&
                         text_.tokens[at_].kind != SqlToken::Kind::kQuotedName)) {
      return Fail("expected a name");
    }
    *out = NameOfToken(text_, text_.tokens[at_++]);
    return true;
  }
  bool ReadString(std::string* out) {
    if (at_ >= last_ || text_.tokens[at_].kind != SqlToken::Kind::kString) {
      return Fail("expected a text in quotes");
    }
    *out = TextOfString(text_.token_text(text_.tokens[at_++]));
    return true;
  }

  // The text of an expression up to the comma or parenthesis that ends it.
  bool ReadExpression(std::string* out, size_t* offset) {
    *offset = Place();
    const size_t first = at_;
    for (int depth = 0; at_ < last_; ++at_) {
      if (Symbol('(')) ++depth;
      if (depth == 0 && (Symbol(',') || Symbol(')'))) break;
      if (Symbol(')')) --depth;
    }
    if (at_ == first) return Fail("expected an expression");
    *out = text_.text.substr(*offset, text_.tokens[at_ - 1].end - *offset);
    return true;
  }

  bool ReadElement() {
    if (Is("WATERMARK") && text_.IsWord(at_ + 1, "FOR")) return ReadWatermark();
    if (Is("CONSTRAINT")) at_ += 2;
    if (Is("PRIMARY") && text_.IsWord(at_ + 1, "KEY")) {
      at_ += 2;
      return ReadKey();
    }
    return ReadColumn();
  }

  bool ReadWatermark() {
    if (out_.watermark) return Fail("the table has two watermarks");
    at_ += 2;
    TableDefinition::Watermark watermark;
    std::string part;
    do {
      if (Symbol('.')) ++at_;
      if (!ReadName(&part)) return false;
      watermark.column += watermark.column.empty() ? part : "." + part;
    } while (Symbol('.'));
    if (!Is("AS")) return Fail("expected AS");
    ++at_;
    if (!ReadExpression(&watermark.expression, &watermark.offset)) return false;
    out_.watermark = std::move(watermark);
    return true;
  }

  bool ReadKey() {
    if (!out_.primary_key.empty()) return Fail("the table has two primary keys");
    if (!Expect('(')) return false;
    do {
      if (Symbol(',')) ++at_;
      if (!ReadName(&out_.primary_key.emplace_back())) return false;
    } while (Symbol(','));
    if (!Expect(')')) return false;
    SkipNotEnforced();
    return true;
  }
  void SkipNotEnforced() {
    if (Is("NOT") && text_.IsWord(at_ + 1, "ENFORCED")) at_ += 2;
  }

  bool ReadColumn() {
    const size_t offset = Place();
    std::string name;
    if (!ReadName(&name)) return false;
    if (!Is("AS")) return ReadTyped({name}, offset, 0) && ReadRest(name);
    ++at_;
    size_t begin = 0;
    std::string expression;
    if (!ReadExpression(&expression, &begin)) return false;
    Add({name}, begin).mutable_computed()->set_sql(expression);
    return true;
  }

  v1::Field& Add(std::vector<std::string> names, size_t offset) {
    v1::Field& field = *out_.schema.add_fields();
    field.set_name(Join(names, "."));
    field.set_id(static_cast<uint32_t>(out_.schema.fields_size()));
    if (names.size() > 1) field.set_path(field.name());
    out_.names.push_back(std::move(names));
    out_.offsets.push_back(offset);
    return field;
  }

  // A type, and the fields that it makes.
  bool ReadTyped(std::vector<std::string> names, size_t offset, int depth) {
    if (depth > kRowDepthMax) return Fail("rows are nested too deep");
    const bool angle = Is("ROW") && text_.IsSymbol(at_ + 1, '<');
    if (!angle && !(Is("ROW") && text_.IsSymbol(at_ + 1, '('))) {
      v1::Type type;
      if (!TypeFromTokens(text_, &at_, &type, &problem_)) return false;
      *Add(std::move(names), offset).mutable_type() = type;
      return true;
    }
    at_ += 2;
    const char close = angle ? '>' : ')';
    while (true) {
      std::vector<std::string> inner = names;
      const size_t begin = Place();
      if (!ReadName(&inner.emplace_back()) || !ReadTyped(inner, begin, depth + 1)) return false;
      if (Is("NOT") && text_.IsWord(at_ + 1, "NULL")) at_ += 2;
      if (Is("NULL")) ++at_;
      if (!Symbol(',')) break;
      ++at_;
    }
    return Expect(close);
  }

  // NOT NULL, METADATA, PRIMARY KEY, COMMENT behind the type.
  bool ReadRest(const std::string& name) {
    v1::Field& field = *out_.schema.mutable_fields(out_.schema.fields_size() - 1);
    while (at_ < last_ && !Symbol(',') && !Symbol(')')) {
      if (Is("NOT") && text_.IsWord(at_ + 1, "NULL")) {
        field.set_not_null(true);
        at_ += 2;
      } else if (Is("NULL")) {
        ++at_;
      } else if (Is("METADATA")) {
        ++at_;
        std::string key = name;
        if (Is("FROM") && !(++at_, ReadString(&key))) return false;
        if (Is("VIRTUAL")) ++at_;
        field.set_metadata(key);
      } else if (Is("FROM")) {
        ++at_;
        std::string path;
        if (!ReadString(&path)) return false;
        field.set_path(path);
      } else if (Is("PRIMARY") && text_.IsWord(at_ + 1, "KEY")) {
        at_ += 2;
        out_.primary_key = {name};
        SkipNotEnforced();
      } else if (Is("COMMENT")) {
        at_ += 2;
      } else {
        return Fail(Concat("unexpected '", text_.token_text(text_.tokens[at_]), "' in a column"));
      }
    }
    return true;
  }

  // PARTITIONED BY (a, b): an option of the connector.
  bool ReadPartition() {
    ++at_;
    if (!Is("BY")) return Fail("expected BY");
    ++at_;
    if (!Expect('(')) return false;
    while (true) {
      const size_t token = at_;
      if (!ReadName(&partition_.emplace_back())) return false;
      if (std::none_of(out_.names.begin(), out_.names.end(), [this](const auto& names) {
            return names.size() == 1 && names[0] == partition_.back();
          })) {
        at_ = token;
        return Fail(Concat("the table has no column '", partition_.back(), "'"));
      }
      if (!Symbol(',')) break;
      ++at_;
    }
    return Expect(')');
  }

  bool ReadOptions() {
    if (!Expect('(')) return false;
    while (true) {
      const size_t token = at_;
      std::string name, value;
      if (!ReadString(&name) || !Expect('=') || !ReadString(&value)) return false;
      if (!out_.options.emplace(name, value).second) {
        at_ = token;
        return Fail(Concat("option '", name, "' is given twice"));
      }
      if (!Symbol(',')) break;
      ++at_;
    }
    return Expect(')');
  }

  const SqlText& text_;
  size_t at_;
  const size_t last_;
  TableDefinition& out_;
  SqlProblem& problem_;
  std::vector<std::string> partition_;
};

}  // namespace

bool ReadTableDefinition(const SqlText& text, const Statement& statement, TableDefinition* out,
                         SqlProblem* problem) {
  *out = {};
  return Reader(text, statement, *out, *problem).Run();
}

}  // namespace millrace
