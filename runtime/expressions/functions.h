// The function registry: which functions exist, what they accept and return. One list serves the
// binder (sql/), the vectorised kernels and the reference interpreter. Names and meanings: Flink
// SQL's, and PostgreSQL's where they agree; differences are in docs/functions.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/columns/types.h"

namespace millrace {

// A function as one call uses it.
struct ResolvedFunction {
  std::string name;                      // Registry name: "add", "eq", "like", "upper", ...
  uint32_t version = 1;                  // Semantics; never reused.
  std::vector<DataType> argument_types;  // After implicit casts (int32 → int64 → float64, ...).
  DataType result = TypeKind::kInt64;
};

// Resolves `name` for arguments of these types; an argument type of nullopt is an untyped NULL.
// kNotFound: unknown function (the message names the nearest known one). kInvalidArgument: known
// function, wrong number or types of arguments (the message lists what it accepts).
absl::StatusOr<ResolvedFunction> ResolveFunction(
    std::string_view name, std::span<const std::optional<DataType>> arguments);

// True when a value of `from` may become `to` by CAST.
bool CanCast(DataType from, DataType to);
// True when the binder may insert that cast by itself (never loses information, but for int64 and
// decimals → float64, as in SQL).
bool CanCastImplicitly(DataType from, DataType to);
// True when a value of `from` may be stored as `to` without being asked for: an implicit cast, or
// one to a DECIMAL that keeps all digits behind the point; a number that is too large for it is an
// error of its row.
bool CanAssign(DataType from, DataType to);
// The type that both sides of CASE, COALESCE, comparison and UNION become. Of two decimals with
// more than 38 digits together, large values do not fit: a cast to it may fail for a row.
absl::StatusOr<DataType> CommonType(DataType a, DataType b);

// All names, sorted; for messages and documentation.
std::vector<std::string> FunctionNames();

}  // namespace millrace
