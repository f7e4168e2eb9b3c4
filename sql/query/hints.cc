// Hints of a SELECT: SELECT /*+ STATE_TTL('a' = '1 d', 'b' = '12 h') */ … FROM a JOIN b …
#include <algorithm>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "sql/query/query_planner.h"

namespace millrace {
namespace {

// A side of a join that keeps its rows while those of the other go.
constexpr uint64_t kAlwaysMs = uint64_t{100} * 365 * 86'400'000;

constexpr std::string_view kUsage = "write SELECT /*+ STATE_TTL('a' = '1 d', 'b' = '12 h') */ …";

}  // namespace

bool QueryPlanner::ReadHints(const Json& select, const Block& block) {
  if (text_.hints.empty()) return true;
  const size_t place = PlaceOf(block, select["targetList"]);
  size_t behind_select = 0;
  for (size_t i = 0; i < text_.tokens.size() && text_.tokens[i].begin < place; ++i) {
    if (text_.IsWord(i, "SELECT")) behind_select = i + 1;
  }
  bool ok = true;
  for (const SqlHint& hint : text_.hints) {
    if (behind_select == 0 || hint.next_token != behind_select) continue;
    hints_read_.insert(hint.begin);
    ok &= ReadHint(hint);
  }
  return ok;
}

bool QueryPlanner::ReadHint(const SqlHint& hint) {
  const auto fail = [&](std::string message) {
    Problem("MR1224", std::move(message), std::string(kUsage), static_cast<int64_t>(hint.begin));
    return false;
  };
  SqlText text;
  SqlProblem problem;
  if (!PrepareSqlText(hint.text, &text, &problem)) return fail(problem.message);
  size_t at = 0;
  if (!text.IsWord(at, "STATE_TTL")) {
    return fail(Concat("hint '", text.tokens.empty() ? "" : text.token_text(text.tokens[0]),
                       "' is not supported"));
  }
  const auto is_string = [&](size_t i) {
    return i < text.tokens.size() && text.tokens[i].kind == SqlToken::Kind::kString;
  };
  if (!text.IsSymbol(++at, '(')) return fail("STATE_TTL names no tables");
  do {
    ++at;  // '(' or ','.
    if (!is_string(at) || !text.IsSymbol(at + 1, '=') || !is_string(at + 2)) {
      return fail("STATE_TTL needs the names of tables and times, in quotes");
    }
    const std::string value = TextOfString(text.token_text(text.tokens[at + 2]));
    const auto duration = ParseDuration(value);
    if (!duration.ok()) return fail(Concat("'", value, "' is no time to live"));
    const std::string name = LowerAscii(TextOfString(text.token_text(text.tokens[at])));
    state_ttls_[name] = {static_cast<uint64_t>(absl::ToInt64Milliseconds(*duration)), false};
    at += 3;
  } while (text.IsSymbol(at, ','));
  if (!text.IsSymbol(at, ')') || at + 1 != text.tokens.size()) {
    return fail("the hint does not end behind STATE_TTL(…)");
  }
  return true;
}

bool QueryPlanner::CheckHintsUsed(const Json& select, const Block& block) {
  bool ok = true;
  for (const auto& [name, ttl] : state_ttls_) {
    if (ttl.used) continue;
    Problem("MR1224", Concat("STATE_TTL names '", name, "', which is no table whose rows are kept"),
            "the names are those behind FROM and JOIN, of tables that are joined or grouped for "
            "ever",
            static_cast<int64_t>(PlaceOf(block, select["targetList"])));
    ok = false;
  }
  return ok;
}

void QueryPlanner::CheckHintsRead() {
  for (const SqlHint& hint : text_.hints) {
    if (hints_read_.contains(hint.begin)) continue;
    Problem("MR1224", "a hint that nobody reads", std::string(kUsage),
            static_cast<int64_t>(hint.begin));
  }
}

std::optional<uint64_t> QueryPlanner::StateTtlOf(const Relation& relation) {
  std::optional<uint64_t> found;
  const std::string* table = nullptr;
  for (const RelationColumn& column : relation.columns) {
    if (table != nullptr && column.table != *table) return std::nullopt;
    table = &column.table;
  }
  if (table == nullptr) return std::nullopt;
  const auto ttl = state_ttls_.find(LowerAscii(*table));
  if (ttl == state_ttls_.end()) return std::nullopt;
  ttl->second.used = true;
  return ttl->second.ms;
}

void QueryPlanner::SetStateTtl(const Relation& rows, v1::Node& node) {
  const auto ttl = StateTtlOf(rows);
  if (ttl) node.set_state_ttl_ms(*ttl == 0 ? kAlwaysMs : *ttl);
}

void QueryPlanner::SetStateTtls(const Relation& left, const Relation& right, v1::Node& join) {
  const auto hinted_left = StateTtlOf(left), hinted_right = StateTtlOf(right);
  if (!hinted_left && !hinted_right) return;
  const uint64_t left_ms = hinted_left.value_or(assembler_.state_ttl_ms());
  const uint64_t right_ms = hinted_right.value_or(assembler_.state_ttl_ms());
  join.set_state_ttl_ms(left_ms == 0 ? kAlwaysMs : left_ms);
  if (left_ms != right_ms) {
    join.mutable_join()->set_right_state_ttl_ms(right_ms == 0 ? kAlwaysMs : right_ms);
  }
}

}  // namespace millrace
