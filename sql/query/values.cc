// Rows that stand in the script: VALUES, and SELECT without FROM.
#include <utility>

#include "runtime/base/text.h"
#include "runtime/expressions/functions.h"
#include "sql/query/query_planner.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

constexpr size_t kRowsMax = 1000;

v1::Expr NumberIs(uint32_t column, int64_t number) {
  v1::Expr left, right;
  left.mutable_type()->set_kind(v1::Type::KIND_INT64);
  left.set_field_id(column);
  *right.mutable_type() = left.type();
  right.mutable_literal()->set_int_value(number);
  return TestExpr("eq", {std::move(left), std::move(right)});
}

bool IsNull(const v1::Expr& expr) { return expr.has_literal() && expr.literal().is_null(); }

}  // namespace

QueryPlanner::Planned QueryPlanner::PlanNumbers(size_t rows, const Block& block, size_t place) {
  v1::Node node;
  v1::Field& number = *node.mutable_schema()->add_fields();
  number.set_name("row");
  number.set_id(1);
  number.mutable_type()->set_kind(v1::Type::KIND_INT64);
  v1::Source& source = *node.mutable_source();
  source.set_connector("datagen");
  auto& options = *source.mutable_options();
  options["fields.row.kind"] = "sequence";
  options["fields.row.start"] = "0";
  options["fields.row.end"] = std::to_string(rows - 1);
  options["splits"] = "1";
  Planned numbers = assembler_.Add(block.object, "values", std::move(node), {}, place);
  if (numbers) numbers->columns.clear();
  return numbers;
}

QueryPlanner::Planned QueryPlanner::PlanValues(const Json& lists, const Block& block,
                                               size_t place) {
  if (lists.size() > kRowsMax) {
    return Problem("MR1208", Concat("VALUES has more than ", kRowsMax, " rows"),
                   "write them into a file, and read that", static_cast<int64_t>(place));
  }
  const size_t width = lists[0]["List"]["items"].size();
  std::vector<std::vector<v1::Expr>> columns(width);
  for (const Json& list : lists) {
    const Json& cells = list["List"]["items"];
    if (cells.size() != width) {
      return Problem("MR1216",
                     Concat("the rows of VALUES have ", width, " and ", cells.size(), " columns"),
                     "", static_cast<int64_t>(PlaceOf(block, list)));
    }
    for (size_t i = 0; i < width; ++i) {
      v1::Expr& cell = columns[i].emplace_back();
      if (cells[i].contains("A_Const") && cells[i]["A_Const"].value("isnull", false)) {
        cell.mutable_literal()->set_is_null(true);  // Of the type of the others.
        continue;
      }
      SqlProblem problem;
      if (!BindTree(block.tree, cells[i], RelationScope({}), &cell, &problem)) {
        return Report(problem);
      }
    }
  }
  Planned numbers = PlanNumbers(lists.size(), block, place);
  if (!numbers) return std::nullopt;
  const uint32_t number = numbers->facts.schema.fields(0).id();
  std::vector<Target> targets;
  for (size_t i = 0; i < width; ++i) {
    Target& target = targets.emplace_back(Target{.name = Concat("EXPR$", i), .expr = {}});
    if (!OneType(columns[i], block, place, target.expr.mutable_type())) return std::nullopt;
    v1::Case& choice = *target.expr.mutable_case_when();
    for (size_t row = 0; row < columns[i].size(); ++row) {
      *choice.add_when() = NumberIs(number, static_cast<int64_t>(row));
      *choice.add_then() = std::move(columns[i][row]);
    }
  }
  return PlanProject(*numbers, targets, block, place);
}

// Casts the expressions to the type that all can have.
bool QueryPlanner::OneType(std::vector<v1::Expr>& exprs, const Block& block, size_t place,
                           v1::Type* type) {
  std::optional<DataType> common;
  for (const v1::Expr& one : exprs) {
    if (IsNull(one)) continue;
    const DataType own = DataType::FromProto(one.type());
    const auto both = common ? CommonType(*common, own) : absl::StatusOr<DataType>(own);
    if (!both.ok()) {
      Problem("MR1216", Concat("a column of VALUES is ", TypeText(*common), " and ", TypeText(own)),
              "CAST one of them", static_cast<int64_t>(place));
      return false;
    }
    common = *both;
  }
  if (!common) {
    Problem("MR1211", "a column of VALUES is NULL in every row", "write CAST(NULL AS INT)",
            static_cast<int64_t>(place));
    return false;
  }
  common->ToProto(type);
  for (v1::Expr& one : exprs) {
    if (IsNull(one)) {
      *one.mutable_type() = *type;
    } else if (!SameType(one.type(), *type)) {
      one = CastExpr(std::move(one), *type);
    }
  }
  return true;
}

}  // namespace millrace
