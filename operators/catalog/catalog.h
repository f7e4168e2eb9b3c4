// The catalog says which connectors and formats exist, which options they take and what those mean:
// constant tables, shared by validation at submit, by the connectors themselves and by `explain`.
// The code behind an entry is found by operators/connectors/connector.h and
// operators/formats/format.h.
//
// Threading: pure functions over constant tables; any thread.
// Errors:    problems of a user's options are values (OptionProblem), all of them at once; the
// typed
//            getters return kInvalidArgument for the first one they meet.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "runtime/columns/types.h"

namespace millrace {

// The options of one table: WITH ('name' = 'value', ...).
using OptionMap = std::map<std::string, std::string, std::less<>>;

enum class OptionKind : uint8_t {
  kString,
  kInt,
  kBool,      // "true" or "false".
  kDuration,  // "500 ms", "5 min", or plain milliseconds.
  kBytes,     // "16 mb", "64kb", or plain bytes.
  kEnum,      // One of `values`, ignoring case.
};

struct OptionSpec {
  // A name; or a pattern with '#' for one column name ("fields.#.min"), or with '*' at its end for
  // any further text ("properties.*").
  std::string_view name;
  OptionKind kind = OptionKind::kString;
  bool required = false;
  // As a user would write it; without one the option is unset unless given.
  std::optional<std::string_view> default_value;
  std::span<const std::string_view> values;  // kEnum.
  // Inclusive limits of kInt, of kBytes, and of kDuration in milliseconds.
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
  std::string_view help;
  // Of sources: positions mean something only while it stays the same.
  bool names_data = false;

  bool is_pattern() const;
  bool Matches(std::string_view option) const;
};

// A column that a source can deliver beside the columns of the format.
struct MetadataSpec {
  std::string_view name;
  TypeKind type;
  bool nullable = false;
};

enum class Boundedness : uint8_t { kUnbounded, kBounded, kByOption };
enum class Guarantee : uint8_t { kNone, kAtLeastOnce, kExactlyOnce };

// What the rows of a source say about earlier ones (graph.proto, ChangelogMode).
enum class SourceChanges : uint8_t { kNone, kUpserts, kCaptured };
// Whether a sink applies changes by the key of its rows. One that never does writes the kind of
// each change beside the row instead, in a column `op`.
enum class SinkKey : uint8_t { kNever, kForChanges, kAlways };

struct ConnectorSpec {
  std::string_view name;
  std::string_view help;
  bool has_source = false;
  bool has_sink = false;
  bool has_lookup = false;  // A join can ask for rows of the table (lookup_join).
  // Rows are made of messages: the table needs a 'format'.
  bool source_needs_format = false;
  bool sink_needs_format = false;
  bool sink_takes_arrays = false;  // Without a format; with one, that decides.
  // As a table of lookups it may have a format, and may go without.
  bool lookup_takes_format = false;
  // Such a table has nothing but keys, which are asked for by names that this option makes of
  // columns (key_template.h; without it of the one column that is compared). It is not read whole.
  std::string_view lookup_key_option;
  Boundedness boundedness = Boundedness::kUnbounded;
  // What the sink can promise; sources always can be read again from a position.
  Guarantee sink_guarantee = Guarantee::kNone;
  SourceChanges changes = SourceChanges::kNone;  // Where the format does not say it.
  SinkKey sink_key = SinkKey::kNever;
  std::span<const OptionSpec> source_options;
  std::span<const OptionSpec> sink_options;
  std::span<const OptionSpec> lookup_options;  // Beside LookupOptions().
  std::span<const MetadataSpec> metadata;
};

struct FormatSpec {
  std::string_view name;
  std::string_view help;
  bool decodes = false;
  bool encodes = false;
  SourceChanges changes = SourceChanges::kNone;
  std::span<const OptionSpec> decode_options;  // Full names: "json.timestamp-format.standard".
  std::span<const OptionSpec> encode_options;
};

// Sorted by name.
std::span<const ConnectorSpec> ConnectorSpecs();
std::span<const FormatSpec> FormatSpecs();

// kNotFound names the nearest known name and the whole list.
absl::StatusOr<const ConnectorSpec*> FindConnectorSpec(std::string_view name);
absl::StatusOr<const FormatSpec*> FindFormatSpec(std::string_view name);

// What a table is used for. A SQL table may be all; it is validated once per use.
enum class TableUse : uint8_t { kSource, kSink, kLookup };
// Whether the connector can be used so, what it takes then, and whether it needs a format.
struct TableUseSpec {
  bool possible = false;
  bool needs_format = false;
  bool takes_format = false;
  std::span<const OptionSpec> options;
};
TableUseSpec SpecOfUse(const ConnectorSpec& spec, TableUse use);
// Options of lookups, whatever the connector.
std::span<const OptionSpec> LookupOptions();

struct OptionProblem {
  std::string option;   // Name of the option; empty for the table as a whole.
  std::string message;  // "option 'scan.startup.mod' is unknown"
  std::string hint;     // "did you mean 'scan.startup.mode'?"; may be empty.
  std::string Text() const;
};

// Every problem of `options` for this connector and format, by option name. `options` may contain
// 'connector' and 'format' themselves; `format` may be empty. `columns`, when given, are the names
// that '#' may stand for.
std::vector<OptionProblem> ValidateTable(std::string_view connector, std::string_view format,
                                         TableUse use, const OptionMap& options,
                                         std::span<const std::string> columns = {});
// The same for one list of options, without looking at connectors and formats.
std::vector<OptionProblem> ValidateOptions(std::span<const OptionSpec> specs,
                                           const OptionMap& options,
                                           std::span<const std::string> columns = {});

// Reads validated options; defaults come from the specs. Asking for an option that is in no spec,
// or by the wrong type, is a bug and ends the process. Both arguments must outlive the reader.
class OptionReader {
 public:
  OptionReader(std::span<const OptionSpec> specs, const OptionMap& options)
      : specs_(specs), options_(options) {}

  // Given by the user (true) or only by a default (false).
  bool Has(std::string_view name) const { return options_.find(name) != options_.end(); }
  // Empty optional: neither given nor defaulted.
  absl::StatusOr<std::optional<std::string>> String(std::string_view name) const;
  absl::StatusOr<std::optional<int64_t>> Int(std::string_view name) const;
  absl::StatusOr<std::optional<bool>> Bool(std::string_view name) const;
  absl::StatusOr<std::optional<absl::Duration>> Duration(std::string_view name) const;
  absl::StatusOr<std::optional<int64_t>> Bytes(std::string_view name) const;
  // The position in the spec's `values`.
  absl::StatusOr<std::optional<int>> Enum(std::string_view name) const;

 private:
  absl::StatusOr<std::optional<std::string_view>> Raw(std::string_view name, OptionKind kind,
                                                      const OptionSpec** spec) const;

  const std::span<const OptionSpec> specs_;
  const OptionMap& options_;
};

// "500 ms", "5 min", "1 h", "3 d", "10" (milliseconds); Flink's units. Not negative.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);
// "16 mb", "64kb", "1024"; units are powers of 1024.
absl::StatusOr<int64_t> ParseByteSize(std::string_view text);

// The nearest of `names` by edit distance when it is near enough to be a slip of the pen; else
// empty.
std::string_view NearestName(std::string_view name, std::span<const std::string_view> names);

}  // namespace millrace
