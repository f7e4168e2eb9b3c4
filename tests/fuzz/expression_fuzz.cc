// Any bytes as a SQL expression, an aggregate and a column of a schema. Whatever can be bound must
// be typed consistently, print, and pass through the wire.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/check.h"
#include "sql/column_text.h"
#include "sql/expression_binder.h"
#include "sql/expression_text.h"

namespace {

millrace::v1::Schema Columns() {
  millrace::v1::Schema schema;
  for (const char* text : {"a BIGINT", "b INT", "c DOUBLE", "d STRING", "e TIMESTAMP(3)", "f DATE",
                           "g BOOLEAN", "h BYTES", "i INTERVAL"}) {
    millrace::SqlProblem problem;
    millrace::v1::Field& field = *schema.add_fields();
    MILLRACE_CHECK(millrace::ParseColumnText(text, &field, &problem));
    field.set_id(static_cast<uint32_t>(schema.fields_size()));
  }
  return schema;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const millrace::v1::Schema* const schema = new millrace::v1::Schema(Columns());
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  millrace::SqlProblem problem;
  millrace::v1::Expr expr;
  if (millrace::BindExpressionText(text, *schema, &expr, &problem)) {
    MILLRACE_CHECK(millrace::CheckTypedExpression(expr, *schema, &problem));
    MILLRACE_CHECK(!millrace::ExpressionText(expr, *schema).empty());
    millrace::v1::Expr copy;
    MILLRACE_CHECK(copy.ParseFromString(expr.SerializeAsString()));
  } else {
    MILLRACE_CHECK(!problem.code.empty() && !problem.message.empty());
    MILLRACE_CHECK(problem.offset <= static_cast<int64_t>(size));
  }
  millrace::v1::Aggregate aggregate;
  (void)millrace::BindAggregateText(text, *schema, &aggregate, &problem);  // Must not crash.
  millrace::v1::Field field;
  (void)millrace::ParseColumnText(text, &field, &problem);  // Must not crash.
  return 0;
}
