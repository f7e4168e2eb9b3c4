#include "operators/catalog/catalog.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

template <typename Spec>
absl::StatusOr<const Spec*> FindByName(std::span<const Spec> specs, std::string_view kind,
                                       std::string_view name) {
  std::vector<std::string_view> names;
  for (const Spec& spec : specs) {
    if (spec.name == name) return &spec;
    names.push_back(spec.name);
  }
  const std::string_view nearest = NearestName(name, names);
  return absl::NotFoundError(
      Concat(kind, " '", name, "' is unknown",
             nearest.empty() ? std::string() : Concat("; did you mean '", nearest, "'?"),
             " (known: ", Join(names, ", "), ")"));
}

// An exact name wins over a pattern, a longer pattern over a shorter one.
const OptionSpec* FindOption(std::span<const OptionSpec> specs, std::string_view option) {
  const OptionSpec* best = nullptr;
  for (const OptionSpec& spec : specs) {
    if (!spec.Matches(option)) continue;
    if (!spec.is_pattern()) return &spec;
    if (best == nullptr || spec.name.size() > best->name.size()) best = &spec;
  }
  return best;
}

// The text that '#' stands for.
std::string_view ColumnOf(const OptionSpec& spec, std::string_view option) {
  const size_t place = spec.name.find('#');
  return option.substr(place, option.size() - (spec.name.size() - 1));
}

absl::Status CheckRange(const OptionSpec& spec, int64_t value, std::string_view text) {
  if (value >= spec.min && value <= spec.max) return absl::OkStatus();
  const bool low = value < spec.min;
  return absl::InvalidArgumentError(Concat("expected ", low ? "at least " : "at most ",
                                           low ? spec.min : spec.max, ", found '", text, "'"));
}

absl::StatusOr<int64_t> ParseInt(const OptionSpec& spec, std::string_view text) {
  int64_t value = 0;
  if (!ParseNumber(text, value)) {
    return absl::InvalidArgumentError(Concat("expected a whole number, found '", text, "'"));
  }
  MILLRACE_RETURN_IF_ERROR(CheckRange(spec, value, text));
  return value;
}

absl::StatusOr<bool> ParseBool(std::string_view text) {
  if (EqualsIgnoringCase(text, "true")) return true;
  if (EqualsIgnoringCase(text, "false")) return false;
  return absl::InvalidArgumentError(Concat("expected 'true' or 'false', found '", text, "'"));
}

absl::StatusOr<int> ParseEnum(const OptionSpec& spec, std::string_view text) {
  for (size_t i = 0; i < spec.values.size(); ++i) {
    if (EqualsIgnoringCase(spec.values[i], text)) return static_cast<int>(i);
  }
  return absl::InvalidArgumentError(
      Concat("expected one of ", Join(spec.values, ", "), ", found '", text, "'"));
}

absl::StatusOr<absl::Duration> ParseDurationOption(const OptionSpec& spec, std::string_view text) {
  MILLRACE_ASSIGN_OR_RETURN(const absl::Duration value, ParseDuration(text));
  MILLRACE_RETURN_IF_ERROR(CheckRange(spec, absl::ToInt64Milliseconds(value), text));
  return value;
}

absl::StatusOr<int64_t> ParseBytesOption(const OptionSpec& spec, std::string_view text) {
  MILLRACE_ASSIGN_OR_RETURN(const int64_t value, ParseByteSize(text));
  MILLRACE_RETURN_IF_ERROR(CheckRange(spec, value, text));
  return value;
}

absl::Status CheckValue(const OptionSpec& spec, std::string_view text) {
  switch (spec.kind) {
    case OptionKind::kString:
      return absl::OkStatus();
    case OptionKind::kInt:
      return ParseInt(spec, text).status();
    case OptionKind::kBool:
      return ParseBool(text).status();
    case OptionKind::kDuration:
      return ParseDurationOption(spec, text).status();
    case OptionKind::kBytes:
      return ParseBytesOption(spec, text).status();
    case OptionKind::kEnum:
      return ParseEnum(spec, text).status();
  }
  return absl::OkStatus();
}

std::string InOption(std::string_view option, std::string_view message) {
  return Concat("option '", option, "': ", message);
}

std::string HintForUnknown(std::span<const OptionSpec> specs, std::string_view option) {
  std::vector<std::string_view> names;
  for (const OptionSpec& spec : specs) {
    if (!spec.is_pattern() || (spec.name.find('#') != std::string_view::npos))
      names.push_back(spec.name);
  }
  if (const std::string_view nearest = NearestName(option, names); !nearest.empty()) {
    return Concat("did you mean '", nearest, "'?");
  }
  if (names.empty()) return "it takes no options";
  return Concat("known options: ", Join(names, ", "));
}

OptionProblem MissingFormat(std::string_view connector) {
  std::vector<std::string_view> names;
  for (const FormatSpec& spec : FormatSpecs()) names.push_back(spec.name);
  return {"format", Concat("connector '", connector, "' needs the option 'format'"),
          Concat("known formats: ", Join(names, ", "))};
}

// Appends the format's options to `specs`.
void AddFormat(std::string_view name, TableUse use, std::vector<OptionSpec>& specs,
               std::vector<OptionProblem>& problems) {
  const auto format = FindFormatSpec(name);
  if (!format.ok()) {
    problems.push_back({"format", std::string(MessageOf(format.status())), ""});
    return;
  }
  const bool reads = use != TableUse::kSink;
  const bool able = reads ? (*format)->decodes : (*format)->encodes;
  if (!able) {
    problems.push_back(
        {"format", Concat("format '", name, "' cannot be ", reads ? "read" : "written"), ""});
  }
  const auto options = reads ? (*format)->decode_options : (*format)->encode_options;
  specs.insert(specs.end(), options.begin(), options.end());
}

}  // namespace

bool OptionSpec::is_pattern() const { return name.find_first_of("#*") != std::string_view::npos; }

bool OptionSpec::Matches(std::string_view option) const {
  if (name.ends_with("*")) {
    const std::string_view prefix = name.substr(0, name.size() - 1);
    return option.size() > prefix.size() && option.starts_with(prefix);
  }
  const size_t place = name.find('#');
  if (place == std::string_view::npos) return option == name;
  return option.size() >= name.size() && option.starts_with(name.substr(0, place)) &&
         option.ends_with(name.substr(place + 1));
}

std::string OptionProblem::Text() const {
  return hint.empty() ? message : Concat(message, "; ", hint);
}

absl::StatusOr<const ConnectorSpec*> FindConnectorSpec(std::string_view name) {
  return FindByName(ConnectorSpecs(), "connector", name);
}

absl::StatusOr<const FormatSpec*> FindFormatSpec(std::string_view name) {
  return FindByName(FormatSpecs(), "format", name);
}

std::vector<OptionProblem> ValidateOptions(std::span<const OptionSpec> specs,
                                           const OptionMap& options,
                                           std::span<const std::string> columns) {
  std::vector<OptionProblem> problems;
  for (const auto& [name, value] : options) {
    const OptionSpec* spec = FindOption(specs, name);
    if (spec == nullptr) {
      problems.push_back(
          {name, Concat("option '", name, "' is unknown"), HintForUnknown(specs, name)});
      continue;
    }
    if (!columns.empty() && (spec->name.find('#') != std::string_view::npos)) {
      const std::string_view column = ColumnOf(*spec, name);
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) {
        problems.push_back({name, InOption(name, Concat("no column '", column, "'")),
                            Concat("columns: ", Join(columns, ", "))});
        continue;
      }
    }
    if (const absl::Status status = CheckValue(*spec, value); !status.ok()) {
      problems.push_back({name, InOption(name, MessageOf(status)), std::string(spec->help)});
    }
  }
  for (const OptionSpec& spec : specs) {
    if (spec.required && options.find(spec.name) == options.end()) {
      problems.push_back({std::string(spec.name), Concat("option '", spec.name, "' is missing"),
                          std::string(spec.help)});
    }
  }
  std::stable_sort(problems.begin(), problems.end(),
                   [](const auto& a, const auto& b) { return a.option < b.option; });
  return problems;
}

TableUseSpec SpecOfUse(const ConnectorSpec& spec, TableUse use) {
  switch (use) {
    case TableUse::kSource:
      return {spec.has_source, spec.source_needs_format, spec.source_needs_format,
              spec.source_options};
    case TableUse::kSink:
      return {spec.has_sink, spec.sink_needs_format, spec.sink_needs_format, spec.sink_options};
    default:
      return {spec.has_lookup, spec.source_needs_format,
              spec.source_needs_format || spec.lookup_takes_format, spec.lookup_options};
  }
}

std::vector<OptionProblem> ValidateTable(std::string_view connector, std::string_view format,
                                         TableUse use, const OptionMap& options,
                                         std::span<const std::string> columns) {
  const auto found = FindConnectorSpec(connector);
  if (!found.ok()) return {{"connector", std::string(MessageOf(found.status())), ""}};
  const ConnectorSpec& spec = **found;
  const bool source = use == TableUse::kSource;
  const TableUseSpec as_used = SpecOfUse(spec, use);
  std::vector<OptionProblem> problems;
  if (!as_used.possible) {
    problems.push_back({"connector",
                        Concat("connector '", connector, "' cannot be ",
                               source                     ? "read from"
                               : use == TableUse::kLookup ? "looked up"
                                                          : "written to"),
                        ""});
    return problems;
  }
  std::vector<OptionSpec> specs(as_used.options.begin(), as_used.options.end());
  if (use == TableUse::kLookup) {
    specs.insert(specs.end(), LookupOptions().begin(), LookupOptions().end());
  }
  if (!format.empty()) {
    if (as_used.takes_format) {
      AddFormat(format, use, specs, problems);
      const auto about = FindFormatSpec(format);
      if (source && about.ok() && (*about)->changes != SourceChanges::kNone &&
          spec.changes != SourceChanges::kNone) {
        problems.push_back({"format",
                            Concat("format '", format, "' tells itself what changes, connector '",
                                   connector, "' goes by the keys of records"),
                            "use connector 'kafka'"});
      }
    } else {
      problems.push_back({"format", Concat("connector '", connector, "' takes no format"), ""});
    }
  } else if (as_used.needs_format) {
    problems.push_back(MissingFormat(connector));
  }
  OptionMap rest = options;
  rest.erase("connector");
  rest.erase("format");
  for (OptionProblem& problem : ValidateOptions(specs, rest, columns)) {
    problems.push_back(std::move(problem));
  }
  return problems;
}

absl::StatusOr<std::optional<std::string_view>> OptionReader::Raw(std::string_view name,
                                                                  OptionKind kind,
                                                                  const OptionSpec** spec) const {
  *spec = FindOption(specs_, name);
  MILLRACE_CHECK(*spec != nullptr && (*spec)->kind == kind);
  if (const auto it = options_.find(name); it != options_.end()) return it->second;
  if ((*spec)->default_value) return (*spec)->default_value;
  if ((*spec)->required) {
    return absl::InvalidArgumentError(Concat("option '", name, "' is missing"));
  }
  return std::nullopt;
}

namespace {

// Turns the text of an option, if there is one, into a value; errors get the option's name.
template <typename T, typename Parse>
absl::StatusOr<std::optional<T>> ParseIfGiven(
    std::string_view name, const absl::StatusOr<std::optional<std::string_view>>& raw,
    Parse parse) {
  if (!raw.ok()) return raw.status();
  if (!raw->has_value()) return std::optional<T>();
  absl::StatusOr<T> value = parse(**raw);
  if (!value.ok()) return absl::InvalidArgumentError(InOption(name, MessageOf(value.status())));
  return std::optional<T>(*std::move(value));
}

}  // namespace

absl::StatusOr<std::optional<std::string>> OptionReader::String(std::string_view name) const {
  const OptionSpec* spec = nullptr;
  return ParseIfGiven<std::string>(
      name, Raw(name, OptionKind::kString, &spec),
      [](std::string_view text) { return absl::StatusOr<std::string>(std::string(text)); });
}

absl::StatusOr<std::optional<int64_t>> OptionReader::Int(std::string_view name) const {
  const OptionSpec* spec = nullptr;
  const auto raw = Raw(name, OptionKind::kInt, &spec);
  return ParseIfGiven<int64_t>(name, raw,
                               [&](std::string_view text) { return ParseInt(*spec, text); });
}

absl::StatusOr<std::optional<bool>> OptionReader::Bool(std::string_view name) const {
  const OptionSpec* spec = nullptr;
  return ParseIfGiven<bool>(name, Raw(name, OptionKind::kBool, &spec), ParseBool);
}

absl::StatusOr<std::optional<absl::Duration>> OptionReader::Duration(std::string_view name) const {
  const OptionSpec* spec = nullptr;
  const auto raw = Raw(name, OptionKind::kDuration, &spec);
  return ParseIfGiven<absl::Duration>(
      name, raw, [&](std::string_view text) { return ParseDurationOption(*spec, text); });
}

absl::StatusOr<std::optional<int64_t>> OptionReader::Bytes(std::string_view name) const {
  const OptionSpec* spec = nullptr;
  const auto raw = Raw(name, OptionKind::kBytes, &spec);
  return ParseIfGiven<int64_t>(
      name, raw, [&](std::string_view text) { return ParseBytesOption(*spec, text); });
}

absl::StatusOr<std::optional<int>> OptionReader::Enum(std::string_view name) const {
  const OptionSpec* spec = nullptr;
  const auto raw = Raw(name, OptionKind::kEnum, &spec);
  return ParseIfGiven<int>(name, raw,
                           [&](std::string_view text) { return ParseEnum(*spec, text); });
}

}  // namespace millrace
