#include "operators/catalog/catalog.h"

namespace millrace {
namespace {

constexpr std::string_view kTimestampFormats[] = {"SQL", "ISO-8601", "EPOCH-MILLIS"};

constexpr OptionSpec kJsonTimestamp = {
    .name = "json.timestamp-format.standard",
    .kind = OptionKind::kEnum,
    .default_value = "SQL",
    .values = kTimestampFormats,
    .help =
        "SQL: yyyy-MM-dd HH:mm:ss.SSS; ISO-8601: yyyy-MM-ddTHH:mm:ss.SSS, with Z or an offset "
        "if there is one; EPOCH-MILLIS: a number"};
constexpr OptionSpec kJsonDecode[] = {
    {.name = "json.fail-on-missing-field",
     .kind = OptionKind::kBool,
     .default_value = "false",
     .help = "A message without a field of the table is bad, instead of NULL in that column"},
    {.name = "json.ignore-parse-errors",
     .kind = OptionKind::kBool,
     .default_value = "false",
     .help =
         "A value of the wrong type becomes NULL where the column may be NULL; text that is not "
         "JSON stays bad"},
    {.name = "json.ignore-unknown-fields",
     .kind = OptionKind::kBool,
     .default_value = "true",
     .help = "false: a message with a top-level field that the table does not have is bad"},
    {.name = "json.max-depth",
     .kind = OptionKind::kInt,
     .default_value = "64",
     .min = 1,
     .max = 1000,
     .help = "Deepest nesting of a message"},
    {.name = "json.max-message-size",
     .kind = OptionKind::kBytes,
     .default_value = "16 mb",
     .min = 1,
     .max = int64_t{1} << 30,
     .help = "Longer messages are bad"},
    kJsonTimestamp,
};
constexpr OptionSpec kJsonEncode[] = {
    {.name = "json.encode.ignore-null-fields",
     .kind = OptionKind::kBool,
     .default_value = "false",
     .help = "Leave NULL columns out instead of writing null"},
    kJsonTimestamp,
};

constexpr OptionSpec kCsvDelimiter = {
    .name = "csv.field-delimiter", .default_value = ",", .help = "One character; \\t for a tab"};
constexpr OptionSpec kCsvNull = {
    .name = "csv.null-literal",
    .help = "Unquoted text that means NULL; without it, an empty field that is not quoted"};
constexpr OptionSpec kCsvQuote = {
    .name = "csv.quote-character", .default_value = "\"", .help = "One character"};
constexpr OptionSpec kCsvDecode[] = {
    kCsvDelimiter,
    {.name = "csv.ignore-parse-errors",
     .kind = OptionKind::kBool,
     .default_value = "false",
     .help = "A value of the wrong type becomes NULL where the column may be NULL"},
    {.name = "csv.max-message-size",
     .kind = OptionKind::kBytes,
     .default_value = "16 mb",
     .min = 1,
     .max = int64_t{1} << 30,
     .help = "Longer lines are bad"},
    kCsvNull,
    kCsvQuote,
};
constexpr OptionSpec kCsvEncode[] = {kCsvDelimiter, kCsvNull, kCsvQuote};

constexpr std::string_view kDebeziumTimeUnits[] = {"MICROS", "MILLIS", "NANOS"};
constexpr OptionSpec kDebeziumDecode[] = {
    {.name = "debezium-json.max-depth",
     .kind = OptionKind::kInt,
     .default_value = "64",
     .min = 1,
     .max = 1000,
     .help = "Deepest nesting of a row"},
    {.name = "debezium-json.max-message-size",
     .kind = OptionKind::kBytes,
     .default_value = "16 mb",
     .min = 1,
     .max = int64_t{1} << 30,
     .help = "Longer messages are bad"},
    {.name = "debezium-json.timestamp-unit",
     .kind = OptionKind::kEnum,
     .default_value = "MICROS",
     .values = kDebeziumTimeUnits,
     .help =
         "Unit of timestamps that are numbers, where messages come without a schema: MICROS for "
         "TIMESTAMP of PostgreSQL and DATETIME(6), MILLIS for up to 3 digits of fraction"},
    {.name = "debezium-json.unavailable-value",
     .default_value = "__debezium_unavailable_value",
     .help = "What the connector writes for a large value that did not change "
             "(unavailable.value.placeholder)"},
};

constexpr FormatSpec kFormats[] = {
    {.name = "csv",
     .help = "Comma-separated values, quoted as in RFC 4180; columns by position",
     .decodes = true,
     .encodes = true,
     .decode_options = kCsvDecode,
     .encode_options = kCsvEncode},
    {.name = "dead-letter",
     .help = "The record that failed: its key and value, and what is known of the failure in "
             "headers by the names of Kafka Connect; of dead letters, to Kafka",
     .encodes = true},
    {.name = "debezium-json",
     .help = "Change events of Debezium, with or without their schema",
     .decodes = true,
     .changes = SourceChanges::kCaptured,
     .decode_options = kDebeziumDecode},
    {.name = "json",
     .help = "One JSON object per message; columns by name",
     .decodes = true,
     .encodes = true,
     .decode_options = kJsonDecode,
     .encode_options = kJsonEncode},
    {.name = "raw",
     .help = "The whole message in the only column, STRING or BYTES",
     .decodes = true,
     .encodes = true},
};

}  // namespace

std::span<const FormatSpec> FormatSpecs() { return kFormats; }

}  // namespace millrace
