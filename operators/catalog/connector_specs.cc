#include "operators/catalog/catalog.h"

namespace millrace {
namespace {

constexpr int64_t kRowsMax = int64_t{1} << 62;

// ---- datagen ------------------------------------------------------------------------------------

constexpr std::string_view kDatagenKinds[] = {"random", "sequence"};
constexpr OptionSpec kDatagenSource[] = {
    {.name = "fields.#.end",
     .kind = OptionKind::kInt,
     .help = "Last value of a sequence; the source ends with it"},
    {.name = "fields.#.kind",
     .kind = OptionKind::kEnum,
     .default_value = "random",
     .values = kDatagenKinds,
     .help = "How the values of a column are made"},
    {.name = "fields.#.length",
     .kind = OptionKind::kInt,
     .default_value = "100",
     .min = 0,
     .max = 1 << 20,
     .help = "Characters of a random string"},
    {.name = "fields.#.max", .help = "Largest random value, inclusive"},
    {.name = "fields.#.min", .help = "Smallest random value"},
    {.name = "fields.#.null-rate",
     .help = "Share of NULLs in a random column, 0 to 1; 0 when not given"},
    {.name = "fields.#.start", .kind = OptionKind::kInt, .help = "First value of a sequence"},
    {.name = "number-of-rows",
     .kind = OptionKind::kInt,
     .min = 0,
     .max = kRowsMax,
     .help = "The source ends after so many rows; without it, never"},
    {.name = "rows-per-second",
     .kind = OptionKind::kInt,
     .min = 1,
     .max = 1'000'000'000,
     .help = "Pace over all tasks; without it, as fast as they are taken"},
    {.name = "seed",
     .kind = OptionKind::kInt,
     .default_value = "1",
     .help = "Same seed, same rows",
     .names_data = true},
    {.name = "splits",
     .kind = OptionKind::kInt,
     .default_value = "4",
     .min = 1,
     .max = 4096,
     .help = "Parts that can be read in parallel",
     .names_data = true},
};

// ---- file ---------------------------------------------------------------------------------------

constexpr OptionSpec kFileSource[] = {
    {.name = "csv.header",
     .kind = OptionKind::kBool,
     .default_value = "false",
     .help = "Pass over the first line of every file"},
    {.name = "max-line-size",
     .kind = OptionKind::kBytes,
     .default_value = "16 mb",
     .min = 16,
     .max = int64_t{1} << 30,
     .help = "Longer lines are bad"},
    {.name = "path",
     .required = true,
     .help = "A file, a folder (all its files but those that begin with . or _), or a pattern with "
             "* and ?",
     .names_data = true},
    {.name = "split-size",
     .kind = OptionKind::kBytes,
     .default_value = "64 mb",
     .min = 1,
     .max = int64_t{1} << 40,
     .help = "Larger files are read in parts of about this size",
     .names_data = true},
};
constexpr OptionSpec kFileSink[] = {
    {.name = "csv.header",
     .kind = OptionKind::kBool,
     .default_value = "false",
     .help = "Write the names of the columns as first line of every file"},
    {.name = "partition-by",
     .help =
         "Semicolon-separated columns: rows go into folders dt=…/hm=… by their values, which are "
         "not in the files; in SQL: PARTITIONED BY (dt, hm)"},
    {.name = "path",
     .required = true,
     .help = "A folder, or s3://BUCKET/PREFIX; files part-* appear in it when their epoch is "
             "committed"},
};

// ---- kafka --------------------------------------------------------------------------------------

constexpr std::string_view kKafkaStarts[] = {"earliest-offset", "latest-offset", "group-offsets",
                                             "timestamp", "specific-offsets"};
constexpr std::string_view kKafkaEnds[] = {"unbounded", "latest-offset", "timestamp",
                                           "specific-offsets"};
constexpr std::string_view kKafkaClients[] = {"native", "librdkafka"};
constexpr std::string_view kKafkaGuarantees[] = {"exactly-once", "at-least-once"};
constexpr std::string_view kKafkaPartitioners[] = {"default", "fixed", "round-robin"};
constexpr std::string_view kKafkaInclude[] = {"ALL", "EXCEPT_KEY"};

constexpr OptionSpec kKafkaBrokers = {.name = "properties.bootstrap.servers",
                                      .required = true,
                                      .help = "Comma-separated list of brokers, host:port"};
constexpr OptionSpec kKafkaProperties = {
    .name = "properties.*",
    .help = "A property of the Kafka client; a list of safe ones is allowed"};
constexpr OptionSpec kUpsertKafkaKeyFormat = {
    .name = "key.format",
    .help = "Format of the message key; the bytes of a single text column, else json"};
constexpr OptionSpec kUpsertKafkaSource[] = {
    kUpsertKafkaKeyFormat,  // All but this one are those of `kafka`.
    {.name = "fetch",
     .kind = OptionKind::kEnum,
     .values = kKafkaClients,
     .help = "What fetches the records; native, unless a property of the client needs librdkafka"},
    kKafkaBrokers,
    {.name = "properties.group.id", .help = "Consumer group to publish offsets to"},
    kKafkaProperties,
    {.name = "scan.bounded.mode",
     .kind = OptionKind::kEnum,
     .default_value = "unbounded",
     .values = kKafkaEnds,
     .help = "Where to end"},
    {.name = "scan.bounded.specific-offsets", .help = "partition:0,offset:42;partition:1,offset:7"},
    {.name = "scan.bounded.timestamp-millis", .kind = OptionKind::kInt, .min = 0},
    {.name = "scan.startup.mode",
     .kind = OptionKind::kEnum,
     .values = kKafkaStarts,
     .help = "Where a fresh job begins; the group's offsets when there is a group, else earliest"},
    {.name = "scan.startup.specific-offsets", .help = "partition:0,offset:42;partition:1,offset:7"},
    {.name = "scan.startup.timestamp-millis", .kind = OptionKind::kInt, .min = 0},
    {.name = "scan.topic-partition-discovery.interval",
     .kind = OptionKind::kDuration,
     .default_value = "5 min",
     .help = "How often to look for new partitions; 0 = never"},
    {.name = "topic",
     .required = true,
     .help = "A topic, or several separated by ;",
     .names_data = true},
};
constexpr std::span kKafkaSource = std::span<const OptionSpec>(kUpsertKafkaSource).subspan(1);
constexpr OptionSpec kKafkaSinkDeliveryGuarantee = {.name = "sink.delivery-guarantee",
                                                    .kind = OptionKind::kEnum,
                                                    .default_value = "exactly-once",
                                                    .values = kKafkaGuarantees};
constexpr OptionSpec kKafkaSinkTransactionalIdPrefix = {.name = "sink.transactional-id-prefix",
                                                        .default_value = "millrace"};
constexpr OptionSpec kKafkaSinkProduce = {
    .name = "produce",
    .kind = OptionKind::kEnum,
    .default_value = "librdkafka",
    .values = kKafkaClients,
    .help = "What produces the records of an exactly-once sink"};
constexpr OptionSpec kKafkaSinkTopic = {.name = "topic", .required = true};
constexpr OptionSpec kKafkaSink[] = {
    {.name = "key.fields", .help = "Columns of the message key, separated by ;"},
    {.name = "key.format", .help = "Format of the message key"},
    kKafkaSinkProduce,
    kKafkaBrokers,
    kKafkaProperties,
    kKafkaSinkDeliveryGuarantee,
    {.name = "sink.partitioner",
     .kind = OptionKind::kEnum,
     .default_value = "default",
     .values = kKafkaPartitioners,
     .help = "default: by key, without a key round-robin; fixed: one partition per task"},
    kKafkaSinkTransactionalIdPrefix,
    kKafkaSinkTopic,
    {.name = "value.fields-include",
     .kind = OptionKind::kEnum,
     .default_value = "ALL",
     .values = kKafkaInclude,
     .help = "Whether key columns are in the value too"},
};
constexpr OptionSpec kUpsertKafkaSink[] = {
    kUpsertKafkaKeyFormat, kKafkaSinkProduce,           kKafkaBrokers,
    kKafkaProperties,      kKafkaSinkDeliveryGuarantee, kKafkaSinkTransactionalIdPrefix,
    kKafkaSinkTopic,
};
constexpr MetadataSpec kKafkaMetadata[] = {
    {.name = "key", .type = TypeKind::kBytes, .nullable = true},
    {.name = "offset", .type = TypeKind::kInt64},
    {.name = "partition", .type = TypeKind::kInt32},
    {.name = "timestamp", .type = TypeKind::kTimestamp},
    {.name = "topic", .type = TypeKind::kString},
};

// ---- nexmark ------------------------------------------------------------------------------------

constexpr OptionSpec kNexmarkSource[] = {
    {.name = "first-event",
     .kind = OptionKind::kInt,
     .default_value = "0",
     .min = 0,
     .max = kRowsMax,
     .help = "Number of the first event",
     .names_data = true},
    {.name = "number-of-events",
     .kind = OptionKind::kInt,
     .min = 0,
     .max = kRowsMax,
     .help = "The source ends after so many events; without it, never"},
    {.name = "events-per-second",
     .kind = OptionKind::kInt,
     .min = 1,
     .max = 1'000'000'000,
     .help = "Real pace over all tasks; without it, as fast as they are taken"},
    {.name = "rate",
     .kind = OptionKind::kInt,
     .default_value = "100000",
     .min = 1,
     .max = 10'000'000,
     .help = "Events per second of event time",
     .names_data = true},
    {.name = "seed",
     .kind = OptionKind::kInt,
     .default_value = "1",
     .min = 0,
     .help = "Same seed, same events",
     .names_data = true},
    {.name = "splits",
     .kind = OptionKind::kInt,
     .default_value = "4",
     .min = 1,
     .max = 4096,
     .help = "Parts that can be read in parallel",
     .names_data = true},
};

// ---- postgres ----------------------------------------------------------------------------------

constexpr std::string_view kPostgresStarts[] = {"initial", "latest"};
constexpr OptionSpec kPgDatabase = {.name = "database-name", .required = true, .names_data = true};
constexpr OptionSpec kPgHost = {
    .name = "hostname", .required = true, .help = "Host, or folder of a Unix socket"};
constexpr OptionSpec kPgPassword = {.name = "password",
                                    .help = "Without one, libpq looks into ~/.pgpass"};
constexpr OptionSpec kPgPort = {
    .name = "port", .kind = OptionKind::kInt, .default_value = "5432", .min = 1, .max = 65535};
constexpr OptionSpec kPgSchema = {
    .name = "schema-name", .default_value = "public", .names_data = true};
constexpr OptionSpec kPgTable = {.name = "table-name", .required = true, .names_data = true};
constexpr OptionSpec kPgUser = {.name = "username", .required = true};
constexpr OptionSpec kPostgresSource[] = {
    kPgDatabase,
    kPgHost,
    kPgPassword,
    kPgPort,
    {.name = "publication.name",
     .help = "Made when there is none; otherwise it must have the table. SLOT_publication when not "
             "given"},
    {.name = "scan.snapshot.chunk-pages",
     .kind = OptionKind::kInt,
     .default_value = "1024",
     .min = 1,
     .max = 1 << 24,
     .help = "Pages of the table that one query of the snapshot reads"},
    {.name = "scan.snapshot.connections",
     .kind = OptionKind::kInt,
     .default_value = "2",
     .min = 1,
     .max = 16,
     .help = "Connections that read the snapshot at the same time"},
    {.name = "scan.startup.mode",
     .kind = OptionKind::kEnum,
     .default_value = "initial",
     .values = kPostgresStarts,
     .help = "initial: the rows that are there, then changes; latest: changes from now on"},
    kPgSchema,
    {.name = "slot.name",
     .required = true,
     .help = "Replication slot of this job alone; a fresh start drops one that is there",
     .names_data = true},
    kPgTable,
    kPgUser,
};
constexpr OptionSpec kPostgresSink[] = {
    kPgDatabase,
    kPgHost,
    kPgPassword,
    kPgPort,
    kPgSchema,
    {.name = "sink.batch-rows",
     .kind = OptionKind::kInt,
     .default_value = "5000",
     .min = 1,
     .max = 1'000'000,
     .help = "Rows per statement; an epoch is one transaction all the same"},
    {.name = "sink.commit-timeout",
     .kind = OptionKind::kDuration,
     .default_value = "60 s",
     .min = 1000,
     .max = 3'600'000,
     .help = "How long a commit is tried before the job restarts"},
    {.name = "sink.create-table",
     .kind = OptionKind::kBool,
     .default_value = "false",
     .help = "Make the table when there is none"},
    kPgTable,
    kPgUser,
};

constexpr OptionSpec kPostgresLookup[] = {
    kPgDatabase,
    kPgHost,
    {.name = "lookup.timeout",
     .kind = OptionKind::kDuration,
     .default_value = "30 s",
     .min = 100,
     .max = 3'600'000,
     .help = "Of a statement that asks for keys"},
    kPgPassword,
    kPgPort,
    kPgSchema,
    kPgTable,
    kPgUser,
};

// ---- redis -------------------------------------------------------------------------------------

constexpr OptionSpec kRedisLookup[] = {
    {.name = "database", .kind = OptionKind::kInt, .default_value = "0", .min = 0, .max = 1 << 20},
    {.name = "hostname", .required = true},
    {.name = "key",
     .help = "Name of a row's key, made of columns that the join compares: 'shop:{region}:{id}'; "
             "{{ is a brace. Without it the value of the one column that is compared"},
    {.name = "lookup.timeout",
     .kind = OptionKind::kDuration,
     .default_value = "5 s",
     .min = 10,
     .max = 3'600'000,
     .help = "Of a connection, and of an answer to 500 keys"},
    {.name = "password"},
    {.name = "port", .kind = OptionKind::kInt, .default_value = "6379", .min = 1, .max = 65535},
    {.name = "tls", .kind = OptionKind::kBool, .default_value = "false"},
    {.name = "tls.ca.pem",
     .help = "Whose certificates the server may have; without it the system's"},
    {.name = "tls.certificate.pem", .help = "Of the client, where the server asks for one"},
    {.name = "tls.key.pem", .help = "Of that certificate"},
    {.name = "username", .help = "Without it the default user; needs 'password'"},
};

// ---- lookups ------------------------------------------------------------------------------------

constexpr std::string_view kLookupCaches[] = {"none", "partial", "full"};
constexpr OptionSpec kLookup[] = {
    {.name = "lookup.cache",
     .kind = OptionKind::kEnum,
     .values = kLookupCaches,
     .help = "none: every batch of rows asks the table; partial: answers are kept for a while; "
             "full: the table is read whole. Without it: full for files, else none"},
    {.name = "lookup.full-cache.max-rows",
     .kind = OptionKind::kInt,
     .default_value = "1000000",
     .min = 1,
     .max = kRowsMax,
     .help = "A larger table ends the job: each task has all of it in memory"},
    {.name = "lookup.full-cache.periodic-reload.interval",
     .kind = OptionKind::kDuration,
     .min = 100,
     .max = int64_t{366} * 86'400'000,
     .help = "How often the table is read again; without it, only when a task begins"},
    {.name = "lookup.max-retries",
     .kind = OptionKind::kInt,
     .default_value = "3",
     .min = 0,
     .max = 1000,
     .help = "How often a question that failed is asked again before the job restarts"},
    {.name = "lookup.partial-cache.cache-missing-key",
     .kind = OptionKind::kBool,
     .default_value = "true",
     .help = "Keep also that a key has no row"},
    {.name = "lookup.partial-cache.expire-after-write",
     .kind = OptionKind::kDuration,
     .default_value = "60 s",
     .min = 1,
     .max = int64_t{366} * 86'400'000,
     .help = "How old an answer may be that is used again"},
    {.name = "lookup.partial-cache.max-rows",
     .kind = OptionKind::kInt,
     .default_value = "100000",
     .min = 1,
     .max = kRowsMax,
     .help = "Rows per task; those longest unused make room"},
};

// ---- print --------------------------------------------------------------------------------------

constexpr std::string_view kPrintStyles[] = {"changelog", "json"};
constexpr OptionSpec kPrintSink[] = {
    {.name = "print-identifier", .help = "Text in front of every line"},
    {.name = "style",
     .kind = OptionKind::kEnum,
     .default_value = "changelog",
     .values = kPrintStyles,
     .help = "changelog: +I[1, a]; json: one object per line"},
};

constexpr ConnectorSpec kConnectors[] = {
    {.name = "blackhole",
     .help = "Counts rows and drops them",
     .has_sink = true,
     .sink_takes_arrays = true,
     .sink_guarantee = Guarantee::kExactlyOnce},
    {.name = "collect",
     .help = "Committed rows for the one reader of TailNode, for whom the job waits",
     .has_sink = true,
     .sink_takes_arrays = true,
     .sink_guarantee = Guarantee::kExactlyOnce},
    {.name = "datagen",
     .help = "Random or sequential rows",
     .has_source = true,
     .boundedness = Boundedness::kByOption,
     .source_options = kDatagenSource},
    {.name = "file",
     .help = "Lines of files; a folder of part files",
     .has_source = true,
     .has_sink = true,
     .has_lookup = true,
     .source_needs_format = true,
     .sink_needs_format = true,
     .boundedness = Boundedness::kBounded,
     .sink_guarantee = Guarantee::kExactlyOnce,
     .source_options = kFileSource,
     .sink_options = kFileSink,
     .lookup_options = kFileSource},
    {.name = "kafka",
     .help = "Topics of Apache Kafka",
     .has_source = true,
     .has_sink = true,
     .source_needs_format = true,
     .sink_needs_format = true,
     .boundedness = Boundedness::kByOption,
     .sink_guarantee = Guarantee::kExactlyOnce,
     .source_options = kKafkaSource,
     .sink_options = kKafkaSink,
     .metadata = kKafkaMetadata},
    {.name = "nexmark",
     .help = "The events of the Nexmark benchmark: persons, auctions, bids",
     .has_source = true,
     .boundedness = Boundedness::kByOption,
     .source_options = kNexmarkSource},
    {.name = "postgres",
     .help = "A table of PostgreSQL: inserts, or upserts and deletes by key; lookups",
     .has_sink = true,
     .has_lookup = true,
     .sink_guarantee = Guarantee::kExactlyOnce,
     .sink_key = SinkKey::kForChanges,
     .sink_options = kPostgresSink,
     .lookup_options = kPostgresLookup},
    {.name = "postgres-cdc",
     .help = "Changes of a PostgreSQL table by logical replication",
     .has_source = true,
     .changes = SourceChanges::kCaptured,
     .source_options = kPostgresSource},
    {.name = "print",
     .help = "Committed rows as lines of standard output; a restart may repeat the last epoch",
     .has_sink = true,
     .sink_takes_arrays = true,
     .sink_guarantee = Guarantee::kAtLeastOnce,
     .sink_options = kPrintSink},
    {.name = "redis",
     .help = "Lookups by key: hashes whose fields are columns, or texts in a format",
     .has_lookup = true,
     .lookup_takes_format = true,
     .lookup_key_option = "key",
     .lookup_options = kRedisLookup},
    {.name = "upsert-kafka",
     .help =
         "Topics of Apache Kafka in which a record replaces the one of its key, and one without a "
         "value deletes it",
     .has_source = true,
     .has_sink = true,
     .source_needs_format = true,
     .sink_needs_format = true,
     .boundedness = Boundedness::kByOption,
     .sink_guarantee = Guarantee::kExactlyOnce,
     .changes = SourceChanges::kUpserts,
     .sink_key = SinkKey::kAlways,
     .source_options = kUpsertKafkaSource,
     .sink_options = kUpsertKafkaSink,
     .metadata = kKafkaMetadata},
};

}  // namespace

std::span<const OptionSpec> LookupOptions() { return kLookup; }

std::span<const ConnectorSpec> ConnectorSpecs() { return kConnectors; }

}  // namespace millrace
