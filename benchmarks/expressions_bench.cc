// Rows per second of bound expressions over one batch that stays in the cache:
//   price > 100 AND auction % 123 = 0   (Nexmark q2's shape)
//   price * 908 / 1000 + bidder          (integers)
//   0.908 * price                        (Nexmark q1)
//   channel LIKE '%oo%', CASE by price
#include <benchmark/benchmark.h>

#include <random>

#include "millrace/v1/graph.pb.h"
#include "runtime/expressions/expression.h"
#include "runtime/expressions/functions.h"

namespace millrace {
namespace {

constexpr int64_t kRows = 4096;
constexpr uint32_t kAuction = 1, kBidder = 2, kPrice = 3, kChannel = 4;

v1::Expr Typed(DataType type) {
  v1::Expr expr;
  type.ToProto(expr.mutable_type());
  return expr;
}

v1::Expr Ref(uint32_t id, TypeKind type = TypeKind::kInt64) {
  v1::Expr expr = Typed(type);
  expr.set_field_id(id);
  return expr;
}

v1::Expr Int(int64_t value) {
  v1::Expr expr = Typed(TypeKind::kInt64);
  expr.mutable_literal()->set_int_value(value);
  return expr;
}

v1::Expr Float(double value) {
  v1::Expr expr = Typed(TypeKind::kFloat64);
  expr.mutable_literal()->set_float_value(value);
  return expr;
}

v1::Expr Str(const std::string& value) {
  v1::Expr expr = Typed(TypeKind::kString);
  expr.mutable_literal()->set_string_value(value);
  return expr;
}

v1::Expr ToDouble(v1::Expr input) {
  v1::Expr expr = Typed(TypeKind::kFloat64);
  *expr.mutable_cast()->mutable_input() = std::move(input);
  return expr;
}

v1::Expr Call(std::string_view name, std::vector<v1::Expr> arguments) {
  std::vector<std::optional<DataType>> types;
  for (const v1::Expr& argument : arguments) {
    types.push_back(DataType::FromProto(argument.type()));
  }
  v1::Expr expr = Typed(ResolveFunction(name, types)->result);
  expr.mutable_call()->set_function(std::string(name));
  for (v1::Expr& argument : arguments) *expr.mutable_call()->add_arguments() = std::move(argument);
  return expr;
}

Batch Bids(bool with_nulls) {
  const auto schema =
      Schema::Make({{.id = kAuction, .name = "auction"},
                    {.id = kBidder, .name = "bidder"},
                    {.id = kPrice, .name = "price"},
                    {.id = kChannel, .name = "channel", .type = TypeKind::kString}});
  static constexpr std::string_view kChannels[] = {"Google", "Facebook", "Baidu", "Apple"};
  std::mt19937_64 random(1);
  BatchBuilder builder(schema, kRows);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int column = 0; column < 3; ++column) {
      if (with_nulls && random() % 10 == 0) {
        builder.column(column).AppendNull();
      } else {
        builder.column(column).AppendInt64(static_cast<int64_t>(random() % 10'000));
      }
    }
    builder.column(3).AppendString(kChannels[random() % 4]);
  }
  return builder.Finish();
}

void Run(benchmark::State& state, const v1::Expr& expr, bool with_nulls) {
  const Batch batch = Bids(with_nulls);
  auto bound = BindExpression(expr, *batch.schema());
  if (!bound.ok()) return state.SkipWithError(bound.status().ToString().c_str());
  for (auto _ : state) {
    RowErrors errors;
    benchmark::DoNotOptimize((*bound)->Evaluate(batch, errors));
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}

v1::Expr Q2Filter() {
  return Call("and", {Call("gt", {Ref(kPrice), Int(100)}),
                      Call("eq", {Call("modulo", {Ref(kAuction), Int(123)}), Int(0)})});
}

v1::Expr CaseByPrice() {
  v1::Expr expr = Typed(TypeKind::kInt64);
  v1::Case& body = *expr.mutable_case_when();
  *body.add_when() = Call("lt", {Ref(kPrice), Int(1000)});
  *body.add_then() = Call("add", {Ref(kPrice), Int(1)});
  *body.mutable_otherwise() = Ref(kBidder);
  return expr;
}

void Register(const std::string& name, const v1::Expr& expr) {
  for (const bool with_nulls : {false, true}) {
    benchmark::RegisterBenchmark((name + (with_nulls ? "/nulls" : "/no_nulls")).c_str(),
                                 [=](benchmark::State& state) { Run(state, expr, with_nulls); });
  }
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  using namespace millrace;  // NOLINT: a program of its own.
  Register("filter_q2", Q2Filter());
  Register("compare", Call("gt", {Ref(kPrice), Int(100)}));
  Register("add", Call("add", {Ref(kPrice), Ref(kBidder)}));
  Register("modulo", Call("modulo", {Ref(kAuction), Int(123)}));
  Register("integers",
           Call("add", {Call("divide", {Call("multiply", {Ref(kPrice), Int(908)}), Int(1000)}),
                        Ref(kBidder)}));
  Register("q1", Call("multiply", {Float(0.908), ToDouble(Ref(kPrice))}));
  Register("like", Call("like", {Ref(kChannel, TypeKind::kString), Str("%oo%")}));
  Register("upper", Call("upper", {Ref(kChannel, TypeKind::kString)}));
  Register("case", CaseByPrice());
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
