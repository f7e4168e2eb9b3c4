#include "sql/query/sql_compiler.h"
#include "sql/query/function_definition.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "sql/query/query_planner.h"
#include "sql/query/script.h"
#include "sql/query/table_definition.h"
#include "sql/variables.h"

namespace millrace {
namespace {

using nlohmann::json;

enum class Setting {
  kName,
  kParallelism,
  kMaxParallelism,
  kInterval,
  kTimeout,
  kMinPause,
  kAlignment,
  kFailuresMax,
  kZone,
  kTtl,
  kDeadLetters,
  kLateRows
};
struct KnownSetting {
  std::string_view name;
  Setting setting;
};
constexpr KnownSetting kSettings[] = {
    {"execution.checkpointing.aligned-checkpoint-timeout", Setting::kAlignment},
    {"execution.checkpointing.interval", Setting::kInterval},
    {"execution.checkpointing.min-pause", Setting::kMinPause},
    {"execution.checkpointing.timeout", Setting::kTimeout},
    {"execution.checkpointing.tolerable-failed-checkpoints", Setting::kFailuresMax},
    {"parallelism.default", Setting::kParallelism},
    {"pipeline.max-parallelism", Setting::kMaxParallelism},
    {"pipeline.dead-letters", Setting::kDeadLetters},
    {"pipeline.late-rows", Setting::kLateRows},
    {"pipeline.name", Setting::kName},
    {"table.exec.state.ttl", Setting::kTtl},
    {"table.local-time-zone", Setting::kZone},
};

class Compiler {
 public:
  explicit Compiler(Script script)
      : script_(std::move(script)),
        assembler_(script_.text.text),
        planner_(script_.text, assembler_) {}

  void Run() {
    for (const Statement& statement : script_.statements) Compile(statement);
    if (!assembler_.has_errors() && !planner_.has_sink()) {
      assembler_.Report({"MR1220", "the script does nothing: it has neither INSERT nor SELECT",
                         "write INSERT INTO target SELECT …", 0});
    }
    if (!assembler_.has_errors()) planner_.CheckHintsRead();
    if (!assembler_.has_errors()) {
      assembler_.DropUnread();
      if (dead_letters_) planner_.PlanLetters(*dead_letters_, /*late=*/false);
      if (late_rows_) planner_.PlanLetters(*late_rows_, /*late=*/true);
    }
    v1::JobGraph& graph = assembler_.graph();
    if (graph.name().empty()) graph.set_name(planner_.first_target());
  }

  GraphAssembler& assembler() { return assembler_; }

 private:
  const SqlText& text() const { return script_.text; }
  int64_t Place(const Statement& statement) const {
    return static_cast<int64_t>(text().tokens[statement.first].begin);
  }

  void Compile(const Statement& statement) {
    const size_t first = statement.first;
    const bool creates = text().IsWord(first, "CREATE");
    size_t object = first + 1;
    if (text().IsWord(object, "OR")) object += 2;  // OR REPLACE
    if (text().IsWord(object, "TEMPORARY")) ++object;
    if (creates && text().IsWord(object, "TABLE")) return CompileTable(statement);
    if (creates && text().IsWord(object, "FUNCTION")) return CompileFunction(statement);
    if (creates && text().IsWord(object, "VIEW")) return CompileView(statement, object + 1);
    if (text().IsWord(first, "SET")) return CompileSet(statement);
    if (text().IsWord(first, "INSERT") && text().IsWord(first + 1, "INTO")) {
      return CompileInsert(statement, first + 2);
    }
    if (text().IsWord(first, "SELECT") || text().IsWord(first, "WITH") ||
        text().IsSymbol(first, '(')) {
      if (auto query = Parse(statement, "SelectStmt")) {
        planner_.PlanSelectAlone(*query, static_cast<size_t>(Place(statement)));
      }
      return;
    }
    assembler_.Report(
        {"MR1202", Concat("unknown statement '", text().token_text(text().tokens[first]), "'"),
         "statements: CREATE TABLE, CREATE VIEW, CREATE FUNCTION, INSERT INTO, SELECT, SET",
         Place(statement)});
  }

  void CompileTable(const Statement& statement) {
    TableDefinition table;
    SqlProblem problem;
    if (!ReadTableDefinition(text(), statement, &table, &problem)) {
      return assembler_.Report(problem);
    }
    (void)planner_.DefineTable(std::move(table));
  }

  void CompileFunction(const Statement& statement) {
    SqlFunction function;
    SqlProblem problem;
    if (!ReadFunctionDefinition(text(), statement, planner_.functions(), &function, &problem)) {
      return assembler_.Report(problem);
    }
    planner_.DefineFunction(std::move(function));
  }

  // The query of a statement whose tree is {kind: {…}}.
  std::optional<QueryPlanner::View> Parse(const Statement& statement, const char* kind) {
    QueryPlanner::View query;
    TranslateDialect(statement, &script_.text, &query.notes);
    json tree;
    SqlProblem problem;
    if (!ParseStatement(text(), statement, query.notes, &tree, &query.location_base, &problem)) {
      assembler_.Report(problem);
      return std::nullopt;
    }
    if (!tree.contains(kind)) {
      assembler_.Report({"MR1202", "this statement is not supported", "", Place(statement)});
      return std::nullopt;
    }
    json& body = tree[kind];
    if (std::string_view(kind) == "SelectStmt") {
      query.query = std::move(body);
    } else if (body.contains("returningList")) {
      assembler_.Report({"MR1202", "RETURNING is not supported",
                         "INSERT the same query into a second table", Place(statement)});
      return std::nullopt;
    } else {
      query.query = std::move(body[body.contains("query") ? "query" : "selectStmt"]["SelectStmt"]);
    }
    return query;
  }

  // "name" or "name (a, b)" at token `at`.
  bool ReadTarget(size_t at, std::string* name, std::vector<std::string>* columns) {
    if (at >= text().tokens.size()) return false;
    *name = NameOfToken(text(), text().tokens[at++]);
    if (!text().IsSymbol(at, '(')) return true;
    for (++at; at < text().tokens.size() && !text().IsSymbol(at, ')'); ++at) {
      if (!text().IsSymbol(at, ',')) columns->push_back(NameOfToken(text(), text().tokens[at]));
    }
    return true;
  }

  void CompileView(const Statement& statement, size_t at) {
    auto query = Parse(statement, "ViewStmt");
    std::string name;
    if (!query || !ReadTarget(at, &name, &query->columns)) return;
    (void)planner_.DefineView(name, *std::move(query), text().tokens[at].begin);
  }

  // ON CONFLICT DO … at the end of an INSERT, which is taken off. False: reported.
  bool TakeConflict(Statement* statement, std::optional<QueryPlanner::OnConflict>* out) {
    size_t at = statement->first;
    while (at < statement->last && !(text().IsWord(at, "ON") && text().IsWord(at + 1, "CONFLICT") &&
                                     (text().IsWord(at + 2, "DO") || text().IsWord(at + 2, "ON") ||
                                      text().IsSymbol(at + 2, '(')))) {
      ++at;
    }
    if (at == statement->last) return true;
    QueryPlanner::OnConflict& clause = out->emplace();
    clause.offset = text().tokens[at].begin;
    constexpr std::pair<std::string_view, v1::ResolveConflicts::Keep> kWords[] = {
        {"DEDUPLICATE", v1::ResolveConflicts::KEEP_LAST},
        {"NOTHING", v1::ResolveConflicts::KEEP_FIRST},
        {"ERROR", v1::ResolveConflicts::KEEP_ONLY}};
    for (const auto& [word, keep] : kWords) {
      if (!text().IsWord(at + 2, "DO") || !text().IsWord(at + 3, word)) continue;
      if (at + 4 != statement->last) break;
      clause.keep = keep;
      statement->last = at;
      return true;
    }
    assembler_.Report({"MR1202", "ON CONFLICT is DO DEDUPLICATE, DO NOTHING or DO ERROR",
                       "the rows in conflict are those of one PRIMARY KEY of the target: DO "
                       "DEDUPLICATE gives the last of them, as an update would",
                       static_cast<int64_t>(clause.offset)});
    return false;
  }

  void CompileInsert(Statement statement, size_t at) {
    std::optional<QueryPlanner::OnConflict> conflict;
    if (!TakeConflict(&statement, &conflict)) return;
    const auto query = Parse(statement, "InsertStmt");
    std::string name;
    std::vector<std::string> columns;
    if (!query || !ReadTarget(at, &name, &columns)) return;
    planner_.PlanInsert(name, columns, *query, text().tokens[at].begin, conflict);
  }

  // SET 'name' = 'value'
  void CompileSet(const Statement& statement) {
    const size_t at = statement.first + 1;
    const auto is_string = [&](size_t token) {
      return token < statement.last && text().tokens[token].kind == SqlToken::Kind::kString;
    };
    if (!is_string(at) || !text().IsSymbol(at + 1, '=') || !is_string(at + 2) ||
        at + 3 != statement.last) {
      return assembler_.Report({"MR1201", "a setting has a name and a value in quotes",
                                "write SET 'parallelism.default' = '4'", Place(statement)});
    }
    const std::string name = TextOfString(text().token_text(text().tokens[at]));
    const std::string value = TextOfString(text().token_text(text().tokens[at + 2]));
    std::vector<std::string_view> names;
    for (const KnownSetting& known : kSettings) {
      if (known.name != name) {
        names.push_back(known.name);
      } else if (!Set(known.setting, value, text().tokens[at + 2].begin)) {
        assembler_.Report({"MR1219", Concat("'", value, "' is no value for '", name, "'"), "",
                           static_cast<int64_t>(text().tokens[at + 2].begin)});
        return;
      } else {
        return;
      }
    }
    const std::string_view nearest = NearestName(name, names);
    assembler_.Report({"MR1219", Concat("setting '", name, "' is unknown"),
                       nearest.empty() ? Concat("settings: ", Join(names, ", "))
                                       : Concat("did you mean '", nearest, "'?"),
                       static_cast<int64_t>(text().tokens[at].begin)});
  }

  bool Set(Setting setting, const std::string& value, size_t offset) {
    v1::JobGraph& graph = assembler_.graph();
    uint32_t number = 0;
    switch (setting) {
      case Setting::kDeadLetters:
        dead_letters_ = {.table = value, .offset = offset};
        return !value.empty();
      case Setting::kLateRows:
        late_rows_ = {.table = value, .offset = offset};
        return !value.empty();
      case Setting::kName:
        graph.set_name(value);
        return !value.empty();
      case Setting::kZone:
        graph.mutable_settings()->set_time_zone(value);
        return true;
      case Setting::kParallelism:
        if (!ParseNumber(value, number) || number == 0) return false;
        graph.set_parallelism(number);
        return true;
      case Setting::kMaxParallelism:
        if (!ParseNumber(value, number) || number == 0) return false;
        graph.set_max_parallelism(number);
        return true;
      case Setting::kFailuresMax:
        if (!ParseNumber(value, number)) return false;
        graph.mutable_settings()->set_checkpoint_failures_max(number);
        return true;
      default:
        break;
    }
    const auto duration = ParseDuration(value);
    const int64_t ms = duration.ok() ? absl::ToInt64Milliseconds(*duration) : 0;
    if (setting == Setting::kTtl) {
      if (!duration.ok() || ms < 0) return false;
      assembler_.set_state_ttl_ms(static_cast<uint64_t>(ms));
      return true;
    }
    const int64_t least = setting == Setting::kAlignment && duration.ok() ? 0 : 1;
    if (ms < least || ms > UINT32_MAX) return false;
    number = static_cast<uint32_t>(ms);
    v1::Settings& settings = *graph.mutable_settings();
    if (setting == Setting::kInterval) settings.set_checkpoint_interval_ms(number);
    if (setting == Setting::kTimeout) settings.set_checkpoint_timeout_ms(number);
    if (setting == Setting::kMinPause) settings.set_checkpoint_min_pause_ms(number);
    if (setting == Setting::kAlignment) settings.set_aligned_checkpoint_timeout_ms(number);
    return true;
  }

  Script script_;
  GraphAssembler assembler_;
  QueryPlanner planner_;
  std::optional<QueryPlanner::Letters> dead_letters_, late_rows_;
};

CompiledGraph Failed(const SqlProblem& problem, std::string_view text) {
  GraphAssembler assembler(text);
  assembler.Report(problem);
  return {.graph = {}, .diagnostics = assembler.TakeDiagnostics()};
}

}  // namespace

CompiledGraph CompileSql(std::string_view original, const Variables& variables, Disk* disk) {
  std::string text;
  SqlProblem problem;
  if (original.size() > kScriptBytesMax) {
    return Failed(
        {"MR1208", Concat("the script is longer than ", kScriptBytesMax, " bytes"), "", 0}, "");
  }
  if (!ReplaceVariables(original, variables, &text, &problem)) return Failed(problem, original);
  Script script;
  if (!ReadScript(text, &script, &problem)) return Failed(problem, text);
  Compiler compiler(std::move(script));
  compiler.Run();
  GraphAssembler& assembler = compiler.assembler();
  if (assembler.has_errors()) {
    return {.graph = assembler.graph(), .diagnostics = assembler.TakeDiagnostics()};
  }
  return CompileGraph(assembler.graph(), &assembler.positions(), disk);
}

bool LooksLikeSql(std::string_view text) {
  Script script;
  SqlProblem problem;
  if (!ReadScript(text.substr(0, kScriptBytesMax), &script, &problem)) {
    return text.find(';') != std::string_view::npos && text.find(':') == std::string_view::npos;
  }
  if (script.text.tokens.empty()) return false;
  constexpr std::string_view kFirst[] = {"CREATE",  "INSERT", "SELECT", "SET",
                                         "EXECUTE", "BEGIN",  "WITH"};
  return !script.text.IsSymbol(1, ':') &&
         std::any_of(std::begin(kFirst), std::end(kFirst),
                     [&](std::string_view word) { return script.text.IsWord(0, word); });
}

}  // namespace millrace
