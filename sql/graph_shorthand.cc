#include "sql/graph_shorthand.h"

#include <cstddef>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/text.h"
#include "sql/column_text.h"
#include "sql/sql_text.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

using google::protobuf::Message;

int64_t PlaceOf(const SqlText& text, size_t token) {
  return static_cast<int64_t>(text.tokens[token].begin);
}

// "expression AS name" into its parts; without AS the name stays empty.
bool SplitName(std::string_view original, std::string* sql, std::string* name,
               SqlProblem* problem) {
  SqlText text;
  if (!PrepareSqlText(original, &text, problem)) return false;
  size_t end = original.size();
  SplitAlias(text, &end, name);
  // Offsets into the expression stay offsets into the whole.
  *sql = std::string(original.substr(0, end));
  return true;
}

bool ReadExpr(std::string_view text, Message& message, SqlProblem*) {
  static_cast<v1::Expr&>(message).set_sql(std::string(text));
  return true;
}

bool ReadNamedExpr(std::string_view text, Message& message, SqlProblem* problem) {
  auto& column = static_cast<v1::NamedExpr&>(message);
  return SplitName(text, column.mutable_expr()->mutable_sql(), column.mutable_name(), problem);
}

bool ReadAggregate(std::string_view text, Message& message, SqlProblem* problem) {
  auto& aggregate = static_cast<v1::Aggregate&>(message);
  return SplitName(text, aggregate.mutable_sql(), aggregate.mutable_name(), problem);
}

bool ReadFields(std::string_view text, Message& message, SqlProblem*) {
  static_cast<v1::Fields&>(message).add_names(std::string(text));
  return true;
}

bool ReadField(std::string_view text, Message& message, SqlProblem* problem) {
  return ParseColumnText(text, &static_cast<v1::Field&>(message), problem);
}

bool ReadType(std::string_view original, Message& message, SqlProblem* problem) {
  SqlText text;
  size_t at = 0;
  if (!PrepareSqlText(original, &text, problem) ||
      !TypeFromTokens(text, &at, &static_cast<v1::Type&>(message), problem)) {
    return false;
  }
  if (at == text.tokens.size()) return true;
  *problem = {"MR1209",
              Concat("unexpected '", text.token_text(text.tokens[at]), "' after the type"), "",
              PlaceOf(text, at)};
  return false;
}

// num DESC NULLS LAST
bool ReadSortKey(std::string_view original, Message& message, SqlProblem* problem) {
  auto& key = static_cast<v1::SortKey&>(message);
  SqlText text;
  if (!PrepareSqlText(original, &text, problem)) return false;
  size_t at = 0;
  const bool named = !text.tokens.empty() && (text.tokens[0].kind == SqlToken::Kind::kWord ||
                                              text.tokens[0].kind == SqlToken::Kind::kQuotedName);
  if (named) {
    key.mutable_field()->add_names(NameOfToken(text, text.tokens[at++]));
    if (text.IsWord(at, "ASC") || text.IsWord(at, "DESC")) {
      key.set_descending(text.IsWord(at++, "DESC"));
    }
    if (text.IsWord(at, "NULLS") && (text.IsWord(at + 1, "FIRST") || text.IsWord(at + 1, "LAST"))) {
      key.set_nulls_first(text.IsWord(at + 1, "FIRST"));
      at += 2;
    }
    if (at == text.tokens.size()) return true;
  }
  *problem = {"MR1201", "this is not a sort key", "write: num DESC NULLS LAST",
              at < text.tokens.size() ? PlaceOf(text, at) : 0};
  return false;
}

// name[3] at *at, a name with an optional number in brackets.
bool ReadIndexedName(const SqlText& text, size_t* at, std::string* name, uint32_t* index) {
  const bool named =
      *at < text.tokens.size() && (text.tokens[*at].kind == SqlToken::Kind::kWord ||
                                   text.tokens[*at].kind == SqlToken::Kind::kQuotedName);
  if (!named) return false;
  *name = NameOfToken(text, text.tokens[(*at)++]);
  if (!text.IsSymbol(*at, '[')) return true;
  if (*at + 2 >= text.tokens.size() || !text.IsSymbol(*at + 2, ']')) return false;
  if (!ParseNumber(text.token_text(text.tokens[*at + 1]), *index)) return false;
  *at += 3;
  return true;
}

struct TensorTypeName {
  std::string_view name;
  v1::Tensor::Type type;
};
constexpr TensorTypeName kTensorTypes[] = {
    {"FLOAT", v1::Tensor::TYPE_FLOAT32},   {"FLOAT32", v1::Tensor::TYPE_FLOAT32},
    {"REAL", v1::Tensor::TYPE_FLOAT32},    {"DOUBLE", v1::Tensor::TYPE_FLOAT64},
    {"FLOAT64", v1::Tensor::TYPE_FLOAT64}, {"INT", v1::Tensor::TYPE_INT32},
    {"INT32", v1::Tensor::TYPE_INT32},     {"BIGINT", v1::Tensor::TYPE_INT64},
    {"INT64", v1::Tensor::TYPE_INT64},     {"BOOLEAN", v1::Tensor::TYPE_BOOL},
    {"BOOL", v1::Tensor::TYPE_BOOL},       {"STRING", v1::Tensor::TYPE_STRING},
};

// features FLOAT[20]
bool ReadTensor(std::string_view original, Message& message, SqlProblem* problem) {
  auto& tensor = static_cast<v1::Tensor&>(message);
  SqlText text;
  if (!PrepareSqlText(original, &text, problem)) return false;
  size_t at = 0;
  uint32_t none = 0, width = 1;
  std::string type;
  if (ReadIndexedName(text, &at, tensor.mutable_name(), &none) && none == 0 &&
      ReadIndexedName(text, &at, &type, &width) && at == text.tokens.size() && width > 0) {
    tensor.set_width(width);
    for (const TensorTypeName& known : kTensorTypes) {
      if (EqualsIgnoringCase(known.name, type)) tensor.set_type(known.type);
    }
    if (tensor.type() != v1::Tensor::TYPE_UNSPECIFIED) return true;
  }
  *problem = {"MR1503", Concat("'", original, "' is not a tensor"),
              "write: features FLOAT[20]; types are FLOAT, DOUBLE, INT, BIGINT, BOOLEAN, STRING",
              0};
  return false;
}

// probabilities[1] AS score
bool ReadPrediction(std::string_view original, Message& message, SqlProblem* problem) {
  auto& output = static_cast<v1::Prediction&>(message);
  SqlText text;
  if (!PrepareSqlText(original, &text, problem)) return false;
  size_t at = 0;
  uint32_t index = 0, none = 0;
  bool ok = ReadIndexedName(text, &at, output.mutable_tensor(), &index);
  if (ok && text.IsWord(at, "AS")) {
    ++at;
    ok = ReadIndexedName(text, &at, output.mutable_name(), &none) && none == 0;
  }
  output.set_index(index);
  if (ok && at == text.tokens.size()) return true;
  *problem = {"MR1201", Concat("'", original, "' is not an output of a model"),
              "write: probabilities[1] AS score", 0};
  return false;
}

struct TextForm {
  std::string_view type;
  std::string_view path;
  std::string_view form;
  bool (*read)(std::string_view text, Message& message, SqlProblem* problem);
};
constexpr TextForm kForms[] = {
    {"millrace.v1.Aggregate", ".sql", "count(*) AS num", &ReadAggregate},
    {"millrace.v1.Expr", "", "price > 10", &ReadExpr},
    {"millrace.v1.Field", "", "auction BIGINT NOT NULL", &ReadField},
    {"millrace.v1.Fields", ".names[0]", "auction", &ReadFields},
    {"millrace.v1.NamedExpr", ".expr", "price * 2 AS price2", &ReadNamedExpr},
    {"millrace.v1.Prediction", "", "probabilities[1] AS score", &ReadPrediction},
    {"millrace.v1.SortKey", ".field", "num DESC", &ReadSortKey},
    {"millrace.v1.Tensor", "", "features FLOAT[20]", &ReadTensor},
    {"millrace.v1.Type", "", "BIGINT", &ReadType},
};

const TextForm* FormOf(const Message& message) {
  for (const TextForm& form : kForms) {
    if (form.type == message.GetDescriptor()->full_name()) return &form;
  }
  return nullptr;
}

}  // namespace

bool HasTextForm(const Message& message, std::string_view* form) {
  const TextForm* found = FormOf(message);
  if (found != nullptr) *form = found->form;
  return found != nullptr;
}

std::string_view TextFormPath(const Message& message) { return FormOf(message)->path; }

bool ReadTextForm(std::string_view text, Message& message, SqlProblem* problem) {
  return FormOf(message)->read(text, message, problem);
}

}  // namespace millrace
