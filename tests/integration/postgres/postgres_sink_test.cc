#include "operators/connectors/postgres/postgres_sink.h"

#include "millrace/v1/checkpoint.pb.h"
#include "millrace/v1/graph.pb.h"
#include "operators/connectors/postgres/postgres_connector.h"
#include "tests/integration/postgres/postgres_fixture.h"
#include "tests/unit/connectors/stored_outbox.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class PostgresSinkTest : public PostgresTest {
 protected:
  struct Writer {
    v1::Node node;
    OperatorCounters counters;
    std::unique_ptr<SinkContext> context;
    std::unique_ptr<Sink> sink;
  };
  struct Row {
    RowKind kind;
    int64_t id;
    std::string note;
  };

  SchemaPtr schema_ = Schema::Make({{.id = 1, .name = "id", .type = TypeKind::kInt64},
                                    {.id = 2, .name = "note", .type = TypeKind::kString}});

  v1::Node Node(bool keyed, const Options& more = {}) {
    v1::Node node;
    node.set_uid("out");
    node.mutable_sink()->set_connector("postgres");
    Options options = {{"hostname", where_.host}, {"port", where_.port},
                       {"username", where_.user}, {"database-name", where_.database},
                       {"table-name", "target"},  {"sink.commit-timeout", "5 s"}};
    for (const auto& [name, value] : more) options[name] = value;
    for (const auto& [name, value] : options)
      (*node.mutable_sink()->mutable_options())[name] = value;
    if (keyed) node.mutable_key()->add_ids(1);
    return node;
  }

  absl::StatusOr<std::unique_ptr<Writer>> Open(const v1::Node& node, uint64_t generation = 1,
                                               uint64_t restored_epoch = 0) {
    auto writer = std::make_unique<Writer>();
    writer->node = node;
    writer->context = std::make_unique<SinkContext>(SinkContext{.node = writer->node,
                                                                .schema = schema_,
                                                                .counters = writer->counters,
                                                                .env = env_,
                                                                .job_id = "job",
                                                                .job_name = "test",
                                                                .generation = {generation},
                                                                .restored_epoch = {restored_epoch},
                                                                .slot = 0,
                                                                .parallelism = 1,
                                                                .outbox = outbox_});
    auto sink = MakePostgresSink(node);
    if (!sink.ok()) return sink.status();
    writer->sink = *std::move(sink);
    const absl::Status status = writer->sink->Open(*writer->context);
    if (!status.ok()) return status;
    return writer;
  }
  std::unique_ptr<Writer> MustOpen(const v1::Node& node, uint64_t generation = 1,
                                   uint64_t restored_epoch = 0) {
    auto writer = Open(node, generation, restored_epoch);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return writer.ok() ? *std::move(writer) : nullptr;
  }

  Batch Rows(const std::vector<Row>& rows) {
    BatchBuilder builder(schema_);
    for (const Row& row : rows) {
      builder.column(0).AppendInt64(row.id);
      row.note == "NULL" ? builder.column(1).AppendNull()
                         : builder.column(1).AppendString(row.note);
      builder.SetKind(row.kind);
    }
    return builder.Finish();
  }
  Batch Inserts(int64_t first, int64_t last) {
    std::vector<Row> rows;
    for (int64_t id = first; id <= last; ++id) rows.push_back({RowKind::kInsert, id, "n"});
    return Rows(rows);
  }

  // Writes the rows and prepares the epoch.
  v1::CommitToken Prepare(Writer& writer, const Batch& batch, uint64_t epoch) {
    EXPECT_TRUE(writer.sink->Write(batch).ok());
    auto token = writer.sink->Prepare({epoch});
    EXPECT_TRUE(token.ok()) << token.status();
    return *token;
  }

  StoredOutbox outbox_{"out", 0};
};

TEST_F(PostgresSinkTest, ChangesAreAppliedByKey) {
  Run("CREATE TABLE target (note text, id bigint PRIMARY KEY)");
  auto writer = MustOpen(Node(true));
  ASSERT_NE(writer, nullptr);
  const auto first = Prepare(*writer,
                             Rows({{RowKind::kInsert, 1, "a"},
                                   {RowKind::kInsert, 2, "NULL"},
                                   {RowKind::kInsert, 3, "c"},
                                   {RowKind::kUpdateBefore, 1, "a"},
                                   {RowKind::kUpdateAfter, 1, "b"},
                                   {RowKind::kDelete, 3, "c"}}),
                             1);
  EXPECT_THAT(Query("SELECT * FROM target"), IsEmpty());  // Not before the commit.
  ASSERT_TRUE(writer->sink->Commit(first).ok());
  EXPECT_THAT(Query("SELECT id, note FROM target ORDER BY id"), ElementsAre("1|b", "2|NULL"));
  const auto second = Prepare(*writer,
                              Rows({{RowKind::kDelete, 1, "b"},
                                    {RowKind::kInsert, 1, "again"},
                                    {RowKind::kDelete, 2, "NULL"}}),
                              2);
  ASSERT_TRUE(writer->sink->Commit(second).ok());
  EXPECT_THAT(Query("SELECT id, note FROM target"), ElementsAre("1|again"));
  EXPECT_THAT(Query("SELECT epoch FROM _millrace_commits"), ElementsAre("2"));
}

TEST_F(PostgresSinkTest, ACommitIsDoneOnceWhereverItFails) {
  Run("CREATE TABLE target (id bigint, note text)");
  uint64_t epoch = 0;
  for (const char* point :
       {"postgres.before_marker", "postgres.before_commit", "postgres.after_commit"}) {
    SCOPED_TRACE(point);
    auto writer = MustOpen(Node(false));
    ASSERT_NE(writer, nullptr);
    const auto id = static_cast<int64_t>(++epoch);
    const auto token = Prepare(*writer, Inserts(id, id), epoch);
    ASSERT_TRUE(Failpoints::Arm(std::string(point) + "=error@1").ok());
    EXPECT_TRUE(writer->sink->Commit(token).ok());
    EXPECT_EQ(Failpoints::Hits(point), 2);  // The second attempt, too.
    Failpoints::DisarmAll();
    // Once more, by the same and by the next owner.
    EXPECT_TRUE(writer->sink->Commit(token).ok());
    auto next = MustOpen(Node(false), 1, epoch);
    ASSERT_NE(next, nullptr);
    EXPECT_TRUE(next->sink->Commit(token).ok());
    EXPECT_THAT(Query("SELECT count(*) FROM target WHERE id = " + std::to_string(epoch)),
                ElementsAre("1"));
  }
}

TEST_F(PostgresSinkTest, AConnectionThatBreaksIsMadeAgain) {
  Run("CREATE TABLE target (id bigint, note text)");
  auto writer = MustOpen(Node(false));
  ASSERT_NE(writer, nullptr);
  for (uint64_t epoch = 1; epoch <= 3; ++epoch) {
    const auto id = static_cast<int64_t>(epoch);
    const auto token = Prepare(*writer, Inserts(id, id), epoch);
    Run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'");
    EXPECT_TRUE(writer->sink->Commit(token).ok());
  }
  EXPECT_THAT(Query("SELECT id FROM target ORDER BY id"), ElementsAre("1", "2", "3"));
}

TEST_F(PostgresSinkTest, AnOwnerOfBeforeIsFenced) {
  Run("CREATE TABLE target (id bigint, note text)");
  auto old = MustOpen(Node(false), 1);
  ASSERT_NE(old, nullptr);
  const auto first = Prepare(*old, Inserts(1, 1), 1);
  ASSERT_TRUE(old->sink->Commit(first).ok());
  const auto second = Prepare(*old, Inserts(2, 2), 2);
  auto owner = MustOpen(Node(false), 2, 1);
  ASSERT_NE(owner, nullptr);
  ASSERT_TRUE(owner->sink->Commit(first).ok());  // Takes the slot.
  const absl::Status late = old->sink->Commit(second);
  EXPECT_EQ(late.code(), absl::StatusCode::kAborted) << late;
  EXPECT_THAT(Query("SELECT id FROM target"), ElementsAre("1"));
  auto older = MustOpen(Node(false), 1, 1);
  ASSERT_NE(older, nullptr);
  EXPECT_EQ(older->sink->Commit(second).code(), absl::StatusCode::kAborted);
}

TEST_F(PostgresSinkTest, AnEpochOlderThanTheTableIsRefused) {
  Run("CREATE TABLE target (id bigint, note text)");
  auto writer = MustOpen(Node(false));
  ASSERT_NE(writer, nullptr);
  const auto first = Prepare(*writer, Inserts(1, 1), 1);
  const auto second = Prepare(*writer, Inserts(2, 2), 2);
  ASSERT_TRUE(writer->sink->Commit(first).ok());
  ASSERT_TRUE(writer->sink->Commit(second).ok());
  auto restored = MustOpen(Node(false), 2, 1);
  ASSERT_NE(restored, nullptr);
  const absl::Status status = restored->sink->Commit(first);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("checkpoint_epoch=1"), HasSubstr("committed_epoch=2")));
}

TEST_F(PostgresSinkTest, ALongEpochIsOneTransactionOfSeveralStatements) {
  Run("CREATE TABLE target (id bigint PRIMARY KEY, note text);"
      "CREATE TABLE seen (tx bigint);"
      "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES "
      "(txid_current()); RETURN NULL; END $$;"
      "CREATE TRIGGER see AFTER INSERT ON target FOR EACH STATEMENT EXECUTE FUNCTION see()");
  auto writer = MustOpen(Node(true, {{"sink.batch-rows", "100"}}));
  ASSERT_NE(writer, nullptr);
  ASSERT_TRUE(writer->sink->Write(Inserts(1, 950)).ok());
  // The last of a key wins over those of statements before.
  const auto token =
      Prepare(*writer, Rows({{RowKind::kUpdateAfter, 5, "last"}, {RowKind::kDelete, 6, ""}}), 1);
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_THAT(Query("SELECT count(*), min(note) FROM target"), ElementsAre("949|last"));
  EXPECT_THAT(Query("SELECT count(*) >= 9, count(DISTINCT tx) FROM seen"), ElementsAre("t|1"));
}

TEST_F(PostgresSinkTest, EveryTypeArrivesAsItIs) {
  schema_ = Schema::Make({{.id = 1, .name = "id", .type = TypeKind::kInt64},
                          {.id = 2, .name = "b", .type = TypeKind::kBool},
                          {.id = 3, .name = "i", .type = TypeKind::kInt32},
                          {.id = 4, .name = "f", .type = TypeKind::kFloat64},
                          {.id = 5, .name = "t", .type = TypeKind::kString},
                          {.id = 6, .name = "y", .type = TypeKind::kBytes},
                          {.id = 7, .name = "d", .type = TypeKind::kDate},
                          {.id = 8, .name = "ts", .type = TypeKind::kTimestamp},
                          {.id = 9, .name = "iv", .type = TypeKind::kInterval},
                          {.id = 10, .name = "n", .type = DataType::Decimal(20, 3)}});
  auto writer = MustOpen(Node(true, {{"sink.create-table", "true"}}));
  ASSERT_NE(writer, nullptr);
  BatchBuilder builder(schema_);
  builder.column(0).AppendInt64(-9'223'372'036'854'775'807);
  builder.column(1).AppendBool(true);
  builder.column(2).AppendInt32(-7);
  builder.column(3).AppendFloat64(0.1);
  builder.column(4).AppendString("q'\"\\{},\nNULL ä");
  builder.column(5).AppendString(std::string("\0\xff\\", 3));
  builder.column(6).AppendInt32(2932897);  // 10000-01-01.
  builder.column(7).AppendInt64(-1);
  builder.column(8).AppendInt64(-90'061'000'001);
  builder.column(9).AppendDecimal(-12'345'678'901'234'500);
  builder.column(0).AppendInt64(2);
  for (int i = 1; i < 10; ++i) builder.column(i).AppendNull();
  const auto token = Prepare(*writer, builder.Finish(), 1);
  ASSERT_TRUE(writer->sink->Commit(token).ok());
  EXPECT_THAT(Query("SELECT * FROM target ORDER BY id"),
              ElementsAre("-9223372036854775807|t|-7|0.1|q'\"\\{},\nNULL ä|\\x00ff5c|10000-01-01|"
                          "1969-12-31 23:59:59.999999|PT-25H-1M-1.000001S|-12345678901234.500",
                          "2|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL"));
  EXPECT_THAT(Query("SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = "
                    "'target'::regclass"),
              ElementsAre("target_pkey"));
}

TEST_F(PostgresSinkTest, NothingIsCutToFitAColumn) {
  for (const std::string type : {"character(4)", "varchar(4)", "bit(4)"}) {
    SCOPED_TRACE(type);
    Run("DROP TABLE IF EXISTS target, _millrace_commits");
    Run("CREATE TABLE target (id bigint, note " + type + ")");
    auto writer = MustOpen(Node(false));
    ASSERT_NE(writer, nullptr);
    const auto fits = Prepare(*writer, Rows({{RowKind::kInsert, 1, "1010"}}), 1);
    ASSERT_TRUE(writer->sink->Commit(fits).ok());
    EXPECT_THAT(Query("SELECT note FROM target"), ElementsAre("1010"));
    const auto longer = Prepare(*writer, Rows({{RowKind::kInsert, 2, "10101"}}), 2);
    const absl::Status status = writer->sink->Commit(longer);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
}

TEST_F(PostgresSinkTest, AColumnThatWouldRoundIsRefused) {
  schema_ = Schema::Make({{.id = 1, .name = "id", .type = TypeKind::kInt64},
                          {.id = 2, .name = "note", .type = DataType::Decimal(20, 3)}});
  Run("CREATE TABLE target (id bigint, note numeric(30, 2))");
  const auto refused = Open(Node(false));
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("column 'note' is numeric(30,2), which would round DECIMAL(20, 3)"));
  Run("ALTER TABLE target ALTER COLUMN note TYPE numeric(30, 3)");
  EXPECT_NE(MustOpen(Node(false)), nullptr);
}

TEST_F(PostgresSinkTest, TheRowThatTheServerRefusesIsNamed) {
  Run("CREATE TABLE target (id bigint PRIMARY KEY, note varchar(4), CHECK (id <> 77))");
  auto writer = MustOpen(Node(true));
  ASSERT_NE(writer, nullptr);
  ASSERT_TRUE(writer->sink->Write(Inserts(1, 70)).ok());
  auto token =
      Prepare(*writer, Rows({{RowKind::kInsert, 71, "too long"}, {RowKind::kInsert, 72, "n"}}), 1);
  absl::Status status = writer->sink->Commit(token);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("refuses a row"), HasSubstr("value too long"),
                    HasSubstr("id='71', note='too long'")));
  EXPECT_THAT(Query("SELECT * FROM target"), IsEmpty());
  auto again = MustOpen(Node(true), 2);
  ASSERT_NE(again, nullptr);
  token = Prepare(*again, Inserts(75, 80), 2);
  status = again->sink->Commit(token);
  EXPECT_THAT(std::string(status.message()), HasSubstr("id='77', note='n'"));
}

TEST_F(PostgresSinkTest, ANulCharacterIsRefusedWithItsRow) {
  Run("CREATE TABLE target (id bigint, note text)");
  auto writer = MustOpen(Node(false));
  ASSERT_NE(writer, nullptr);
  const absl::Status status =
      writer->sink->Write(Rows({{RowKind::kInsert, 1, std::string("a\0b", 3)}}));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("column 'note' has a NUL character"));
}

TEST_F(PostgresSinkTest, EverythingThatIsWrongWithTheTableIsToldAtOnce) {
  EXPECT_EQ(Open(Node(true)).status().code(), absl::StatusCode::kNotFound);
  Run("CREATE TABLE target (id date, note bigint[], extra int NOT NULL, given int NOT NULL DEFAULT "
      "1)");
  absl::Status status = Open(Node(true)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("column 'id' is date, which does not take BIGINT"),
            HasSubstr("column 'note' is bigint[], which does not take"),
            HasSubstr("column 'extra' is NOT NULL"), HasSubstr("no primary key or unique index"),
            testing::Not(HasSubstr("'given'"))));
  Run("DROP TABLE target; CREATE TABLE target (id bigint GENERATED ALWAYS AS IDENTITY, other text);"
      "CREATE UNIQUE INDEX ON target (id) WHERE other IS NULL");
  status = Open(Node(true)).status();
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("there is no column 'note'"), HasSubstr("'id' is generated"),
                    HasSubstr("no primary key or unique index")));
  Run("DROP TABLE target; CREATE TABLE target (id bigint UNIQUE DEFERRABLE, note text)");
  EXPECT_THAT(std::string(Open(Node(true)).status().message()), HasSubstr("deferrable"));
  Run("DROP TABLE target; CREATE TABLE target (id bigint UNIQUE, note text)");
  EXPECT_THAT(std::string(Open(Node(true)).status().message()), HasSubstr("NULLS NOT DISTINCT"));
}

TEST_F(PostgresSinkTest, WhoMayOnlyWriteRowsNeedsNoMore) {
  Run("CREATE TABLE target (id bigint, note text)");
  ASSERT_NE(MustOpen(Node(false)), nullptr);  // Makes the table of markers.
  Run("CREATE ROLE " + name_ + "_writer LOGIN; GRANT INSERT, SELECT ON target TO " + name_ +
      "_writer; GRANT INSERT, SELECT, UPDATE ON _millrace_commits TO " + name_ + "_writer");
  auto writer = MustOpen(Node(false, {{"username", name_ + "_writer"}}));
  ASSERT_NE(writer, nullptr);
  const auto token = Prepare(*writer, Inserts(1, 1), 1);
  EXPECT_TRUE(writer->sink->Commit(token).ok());
  writer = nullptr;
  Run("DROP OWNED BY " + name_ + "_writer; DROP ROLE " + name_ + "_writer");
}

}  // namespace
}  // namespace millrace
