#include "operators/connectors/postgres/postgres_cdc_source.h"

#include <map>
#include <thread>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/postgres/postgres_connector.h"
#include "tests/integration/postgres/postgres_fixture.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::vector<Field> kOrders = {{.id = 1, .name = "id", .type = TypeKind::kInt64},
                                    {.id = 2, .name = "amount", .type = TypeKind::kInt64},
                                    {.id = 3, .name = "note", .type = TypeKind::kString}};

class PostgresCdcTest : public PostgresTest {
 protected:
  struct Reader : SourceReader {
    // "+I 1, 2, 'x'" per row, without the capture columns; "?" for values that are not there.
    std::vector<std::string> Rows() {
      std::vector<std::string> rows;
      for (const Batch& batch : out.batches[OutputPort::kMain]) {
        const Column& missing = batch.column(batch.column_count() - 1);
        for (int64_t row = 0; row < batch.rows(); ++row) {
          std::string& text = rows.emplace_back(RowKindText(batch.kind(row)));
          for (int i = 0; i + 2 < batch.column_count(); ++i) {
            const bool gone =
                !missing.IsNull(row) &&
                (missing.StringAt(row)[static_cast<size_t>(i) / 8] >> (i % 8) & 1) != 0;
            text += (i == 0 ? " " : ", ") + (gone ? "?" : ValueText(batch.column(i), row));
          }
        }
      }
      return rows;
    }
  };

  void MakeOrders() {
    Run("CREATE TABLE orders (id bigint PRIMARY KEY, amount bigint, note text)");
  }

  v1::Node Node(const std::vector<Field>& fields = kOrders, const Options& more = {}) {
    v1::Node node;
    node.set_uid("in");
    node.mutable_source()->set_connector("postgres-cdc");
    Options options = {{"hostname", where_.host}, {"port", where_.port},
                       {"username", where_.user}, {"database-name", where_.database},
                       {"table-name", "orders"},  {"slot.name", name_}};
    for (const auto& [name, value] : more) options[name] = value;
    for (const auto& [name, value] : options)
      (*node.mutable_source()->mutable_options())[name] = value;
    for (const Field& field : fields) {
      v1::Field& proto = *node.mutable_schema()->add_fields();
      proto.set_id(field.id);
      proto.set_name(field.name);
      field.type.ToProto(proto.mutable_type());
    }
    node.mutable_key()->add_ids(1);
    return node;
  }

  absl::StatusOr<std::unique_ptr<Reader>> Open(const v1::Node& node, std::string position = "fresh",
                                               int64_t batch_rows_max = 4096) {
    auto reader = std::make_unique<Reader>();
    reader->node = node;
    std::vector<Field> fields;
    for (const v1::Field& field : node.schema().fields()) {
      fields.push_back(
          {.id = field.id(), .name = field.name(), .type = DataType::FromProto(field.type())});
    }
    fields.push_back({.id = 98, .name = "$sequence", .type = TypeKind::kBytes});
    fields.push_back({.id = 99, .name = "$unavailable", .type = TypeKind::kBytes});
    reader->context =
        std::make_unique<SourceContext>(SourceContext{.node = reader->node,
                                                      .schema = Schema::Make(fields),
                                                      .counters = reader->counters,
                                                      .env = env_,
                                                      .batch_rows_max = batch_rows_max,
                                                      .wake = [] {}});
    auto source = MakePostgresCdcSource(node);
    if (!source.ok()) return source.status();
    reader->source = *std::move(source);
    const absl::Status status =
        reader->source->Open(*reader->context, {Split{.id = "s", .position = std::move(position)}});
    if (!status.ok()) return status;
    return reader;
  }
  // A source that takes over may find the slot in use for a moment, as a restarted job does.
  std::unique_ptr<Reader> MustOpen(const v1::Node& node, const std::string& position = "fresh",
                                   int64_t batch_rows_max = 4096) {
    absl::StatusOr<std::unique_ptr<Reader>> reader;
    EXPECT_TRUE(Eventually([&] {
      reader = Open(node, position, batch_rows_max);
      return !absl::IsUnavailable(reader.status());
    }));
    EXPECT_TRUE(reader.ok()) << reader.status();
    return reader.ok() ? *std::move(reader) : nullptr;
  }

  static std::string PositionOf(const Reader& reader) {
    return reader.source->Positions()[0].position;
  }
  absl::Status PollUntil(Reader& reader, const std::function<bool()>& reached) {
    absl::Status status;
    EXPECT_TRUE(Eventually([&] {
      const auto result = reader.source->Poll(reader.out);
      status = result.status();
      return !status.ok() || reached();
    })) << testing::PrintToString(reader.Rows());
    return status;
  }
  void AwaitRows(Reader& reader, size_t count) {
    const absl::Status status = PollUntil(reader, [&] { return reader.Rows().size() >= count; });
    ASSERT_TRUE(status.ok()) << status;
  }
  void AwaitStream(Reader& reader) {
    const absl::Status status =
        PollUntil(reader, [&] { return PositionOf(reader).starts_with("stream"); });
    ASSERT_TRUE(status.ok()) << status;
  }
  // Polls until the source fails, and returns how.
  absl::Status Failure(Reader& reader) {
    return PollUntil(reader, [] { return false; });
  }

  std::string Confirmed() {
    return Query("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '" +
                 name_ + "'")[0];
  }
  void DropSlot() {
    ASSERT_TRUE(Eventually(
        [&] { return server_->Run("SELECT pg_drop_replication_slot('" + name_ + "')").ok(); }));
  }
};

TEST_F(PostgresCdcTest, SnapshotAndStreamMeetWithoutGapAndOverlap) {
  MakeOrders();
  Run("INSERT INTO orders SELECT n, 0, repeat('x', 500) FROM generate_series(1, 5000) AS n");
  auto writer = [this](int number) {
    auto connection = Connect();
    for (int i = 0; i < 300; ++i) {
      const std::string id = std::to_string(10'000 + number * 1000 + i);
      ASSERT_TRUE(connection->Run("INSERT INTO orders VALUES (" + id + ", 1, NULL)").ok());
      ASSERT_TRUE(connection
                      ->Run("UPDATE orders SET amount = amount + 1 WHERE id = " +
                            std::to_string(1 + (number * 300 + i) * 7 % 5000))
                      .ok());
    }
  };
  std::thread one(writer, 0), two(writer, 1);
  auto reader = MustOpen(Node(kOrders, {{"scan.snapshot.chunk-pages", "3"}}));
  ASSERT_NE(reader, nullptr);
  // Updates must add exactly one to what was there: a gap or an overlap shows.
  std::map<std::string, int> amounts;
  size_t seen = 0;
  std::string problem;
  const auto apply = [&] {
    for (const Batch& batch : reader->out.batches[OutputPort::kMain]) {
      for (int64_t row = 0; row < batch.rows(); ++row) {
        const std::string id = ValueText(batch.column(0), row);
        const int amount = std::stoi(ValueText(batch.column(1), row));
        const bool insert = batch.kind(row) == RowKind::kInsert;
        if (insert == amounts.contains(id)) problem += " kind of " + id;
        if (!insert && amounts[id] + 1 != amount) problem += " amount of " + id;
        amounts[id] = amount;
        ++seen;
      }
    }
    reader->out.batches.clear();
  };
  const absl::Status status = PollUntil(*reader, [&] {
    apply();
    int total = 0;
    for (const auto& [id, amount] : amounts) total += amount;
    return amounts.size() == 5600 && total == 1200;
  });
  one.join();
  two.join();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(problem, "");
}

TEST_F(PostgresCdcTest, ReadsEveryTypeFromSnapshotAndStream) {
  Run("CREATE TABLE orders (id bigint PRIMARY KEY, b bool, i int, s smallint, f float8, n "
      "numeric(30,10), "
      "t text, y bytea, d date, ts timestamp, tz timestamptz, iv interval, j jsonb, a int[])");
  const std::string values =
      ", true, -5, 7, 0.1, 12345678901234567890.0123456789, E'tab\\t\\\\N\\n\"', '\\x00ff', "
      "'2024-02-29', '2024-02-29 23:59:59.123456', '2024-03-01 00:00:00.5+01', '-1 day 2 hours', "
      "'{\"k\": 1}', '{1,NULL}')";
  Run("INSERT INTO orders VALUES (1" + values);
  Run("INSERT INTO orders (id) VALUES (2)");
  std::vector<Field> fields = {{.id = 1, .name = "id", .type = TypeKind::kInt64}};
  const std::vector<std::pair<std::string, DataType>> columns = {
      {"b", TypeKind::kBool},       {"i", TypeKind::kInt32},          {"s", TypeKind::kInt32},
      {"f", TypeKind::kFloat64},    {"n", DataType::Decimal(30, 10)}, {"t", TypeKind::kString},
      {"y", TypeKind::kBytes},      {"d", TypeKind::kDate},           {"ts", TypeKind::kTimestamp},
      {"tz", TypeKind::kTimestamp}, {"iv", TypeKind::kInterval},      {"j", TypeKind::kString},
      {"a", TypeKind::kString}};
  for (const auto& [name, kind] : columns) {
    fields.push_back({.id = static_cast<uint32_t>(fields.size() + 1), .name = name, .type = kind});
  }
  auto reader = MustOpen(Node(fields));
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("INSERT INTO orders VALUES (3" + values);
  AwaitRows(*reader, 3);
  const std::vector<std::string> rows = reader->Rows();
  EXPECT_EQ(rows[1],
            "+I 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL");
  EXPECT_EQ(rows[0].substr(5), rows[2].substr(5));
  EXPECT_THAT(rows[0], AllOf(HasSubstr("TRUE, -5, 7, "),
                             HasSubstr(", 12345678901234567890.0123456789, 'tab\t\\N\n\"', "),
                             HasSubstr("2024-02-29 23:59:59.123456"),
                             HasSubstr("2024-02-29 23:00:00.5"), HasSubstr("'{1,NULL}'")));
  EXPECT_EQ(reader->counters.rows_dead_lettered.value(), 0u);
}

TEST_F(PostgresCdcTest, TellsUpdatesDeletesKeyChangesAndTruncates) {
  MakeOrders();
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, NULL)");
  Run("UPDATE orders SET amount = 11 WHERE id = 1");
  Run("UPDATE orders SET id = 3 WHERE id = 1");
  Run("BEGIN; UPDATE orders SET amount = 0; ROLLBACK");
  Run("DELETE FROM orders WHERE id = 2");
  Run("TRUNCATE orders");
  Run("INSERT INTO orders VALUES (4, 4, 'last')");
  AwaitRows(*reader, 8);
  EXPECT_THAT(reader->Rows(), ElementsAre("+I 1, 10, 'a'", "+I 2, 20, NULL", "+U 1, 11, 'a'",
                                          "-D 1, NULL, NULL", "+I 3, 11, 'a'", "-D 2, NULL, NULL",
                                          "truncate NULL, NULL, NULL", "+I 4, 4, 'last'"));
}

TEST_F(PostgresCdcTest, LongValuesThatDidNotChangeAreMissingAndNotNull) {
  MakeOrders();
  Run("ALTER TABLE orders ALTER note SET STORAGE EXTERNAL");
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("INSERT INTO orders VALUES (1, 10, repeat('x', 3000))");
  Run("UPDATE orders SET amount = 11");
  Run("UPDATE orders SET note = NULL");
  Run("UPDATE orders SET note = repeat('y', 3000)");
  Run("UPDATE orders SET id = 2");
  Run("ALTER TABLE orders REPLICA IDENTITY FULL");
  Run("UPDATE orders SET amount = 12");
  AwaitRows(*reader, 7);
  const std::vector<std::string> rows = reader->Rows();
  EXPECT_EQ(rows[1], "+U 1, 11, ?");
  EXPECT_EQ(rows[2], "+U 1, 11, NULL");
  EXPECT_EQ(rows[4], "-D 1, NULL, NULL");
  EXPECT_EQ(rows[5], "+I 2, 11, '" + std::string(3000, 'y') + "'");  // From the table.
  EXPECT_EQ(rows[6], "+U 2, 12, '" + std::string(3000, 'y') + "'");  // From the old row.
}

TEST_F(PostgresCdcTest, GoesOnInTheMiddleOfATransaction) {
  MakeOrders();
  auto first = MustOpen(Node(), "fresh", 10);
  ASSERT_NE(first, nullptr);
  AwaitStream(*first);
  Run("INSERT INTO orders SELECT n, n, NULL FROM generate_series(1, 25) AS n");
  Run("INSERT INTO orders SELECT n, n, NULL FROM generate_series(26, 47) AS n");
  std::vector<std::string> expected;
  for (int n = 1; n <= 47; ++n) {
    expected.push_back("+I " + std::to_string(n) + ", " + std::to_string(n) + ", NULL");
  }
  std::vector<std::string> positions;
  std::vector<size_t> counts;
  ASSERT_TRUE(PollUntil(*first, [&] {
                positions.push_back(PositionOf(*first));
                counts.push_back(first->Rows().size());
                return counts.back() >= 47;
              }).ok());
  EXPECT_EQ(first->Rows(), expected);
  first = nullptr;
  std::string last;
  for (size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] == last) continue;
    last = positions[i];
    SCOPED_TRACE(last);
    auto again = MustOpen(Node(), positions[i], 7);
    ASSERT_NE(again, nullptr);
    AwaitRows(*again, 47 - counts[i]);
    EXPECT_EQ(again->Rows(),
              std::vector<std::string>(expected.begin() + static_cast<int64_t>(counts[i]),
                                       expected.end()));
  }
}

TEST_F(PostgresCdcTest, ASnapshotThatDidNotEndBeginsAnewWithATruncate) {
  MakeOrders();
  Run("INSERT INTO orders SELECT n, n, NULL FROM generate_series(1, 100) AS n");
  auto reader = MustOpen(Node(), "fresh", 10);
  ASSERT_NE(reader, nullptr);
  AwaitRows(*reader, 10);
  EXPECT_EQ(PositionOf(*reader), "snapshot");
  reader = MustOpen(Node(), "snapshot");
  ASSERT_NE(reader, nullptr);
  AwaitRows(*reader, 101);
  EXPECT_EQ(reader->Rows()[0], "truncate NULL, NULL, NULL");
  EXPECT_EQ(reader->Rows()[1], "+I 1, 1, NULL");
}

TEST_F(PostgresCdcTest, CleaningRemovesWhatOnlyThisJobNeeds) {
  MakeOrders();
  const v1::Node node = Node();
  auto reader = MustOpen(node);
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  auto removed = CleanPostgresCdc(node);
  EXPECT_TRUE(absl::IsFailedPrecondition(removed.status())) << removed.status();
  EXPECT_THAT(std::string(removed.status().message()), HasSubstr("is in use: stop the job"));
  reader = nullptr;
  EXPECT_TRUE(Eventually([&] {
    removed = CleanPostgresCdc(node);
    return removed.ok();
  })) << removed.status();
  EXPECT_THAT(*removed,
              ElementsAre("replication slot " + name_, "publication " + name_ + "_publication"));
  // There is nothing left; and a publication that is for other tables too stays.
  Run("CREATE TABLE other (id bigint PRIMARY KEY)");
  Run("CREATE PUBLICATION " + name_ + "_publication FOR TABLE orders, other");
  removed = CleanPostgresCdc(node);
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_THAT(*removed, IsEmpty());
}

TEST_F(PostgresCdcTest, LatestBeginsWithWhatComes) {
  MakeOrders();
  Run("INSERT INTO orders VALUES (1, 1, NULL)");
  auto reader = MustOpen(Node(kOrders, {{"scan.startup.mode", "latest"}}));
  ASSERT_NE(reader, nullptr);
  EXPECT_TRUE(PositionOf(*reader).starts_with("stream"));
  Run("INSERT INTO orders VALUES (2, 2, NULL)");
  AwaitRows(*reader, 1);
  EXPECT_THAT(reader->Rows(), ElementsAre("+I 2, 2, NULL"));
}

TEST_F(PostgresCdcTest, ConfirmsTheSlotOnlyForCompletedEpochs) {
  MakeOrders();
  // Batches of one row: a row is there before the end of its transaction.
  auto reader = MustOpen(Node(), "fresh", 1);
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  const auto await_transactions = [&](size_t rows) {
    ASSERT_TRUE(PollUntil(*reader, [&] {
                  const auto position = DecodePgPosition(PositionOf(*reader));
                  return reader->Rows().size() >= rows && position->transaction == 0;
                }).ok());
  };
  const std::string before = Confirmed();
  Run("INSERT INTO orders VALUES (1, 1, NULL)");
  await_transactions(1);
  const std::vector<Split> epoch = reader->source->Positions();
  Run("INSERT INTO orders VALUES (2, 2, NULL)");
  await_transactions(2);
  EXPECT_EQ(Confirmed(), before);
  reader->source->OnEpochCompleted(epoch);
  ASSERT_TRUE(PollUntil(*reader, [&] { return Confirmed() != before; }).ok());
  EXPECT_EQ(Confirmed(), PgLsnText(DecodePgPosition(epoch[0].position)->lsn));
}

TEST_F(PostgresCdcTest, ThePositionFollowsTheLogWhileTheTableIsIdle) {
  MakeOrders();
  Run("CREATE TABLE other (id int)");
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  const std::string before = PositionOf(*reader);
  Run("INSERT INTO other SELECT generate_series(1, 1000)");
  EXPECT_TRUE(PollUntil(*reader, [&] { return PositionOf(*reader) != before; }).ok());
  EXPECT_THAT(reader->Rows(), IsEmpty());
}

TEST_F(PostgresCdcTest, TellsHowMuchLogTheSlotHolds) {
  MakeOrders();
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  const auto value = [&](const std::string& name) {
    for (const auto& metric : reader->counters.metrics.Read()) {
      if (metric.name == name) return metric.number;
    }
    return -1.0;
  };
  EXPECT_EQ(value("millrace_cdc_lag_bytes"), 0);
  ASSERT_TRUE(
      PollUntil(*reader, [&] { return value("millrace_cdc_slot_retained_bytes") > 0; }).ok());
}

TEST_F(PostgresCdcTest, ALostConnectionIsMadeAgainWithoutLossOrRepetition) {
  MakeOrders();
  auto reader = MustOpen(Node(), "fresh", 10);
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  std::vector<std::string> ids;
  const auto take = [&] {
    for (const Batch& batch : reader->out.batches[OutputPort::kMain]) {
      for (int64_t row = 0; row < batch.rows(); ++row)
        ids.push_back(ValueText(batch.column(0), row));
    }
    reader->out.batches.clear();
    return ids.size();
  };
  std::vector<std::string> expected;
  for (int round = 0; round < 3; ++round) {
    // More than the buffers of the sockets hold: the connection ends in the middle.
    Run("INSERT INTO orders SELECT " + std::to_string(round * 1000) +
        " + n, n, repeat('x', 200000) FROM generate_series(1, 200) AS n");
    for (int n = 1; n <= 200; ++n) expected.push_back(std::to_string(round * 1000 + n));
    const size_t some = expected.size() - 190;
    ASSERT_TRUE(PollUntil(*reader, [&] { return take() >= some; }).ok());
    EXPECT_NE(DecodePgPosition(PositionOf(*reader))->transaction, 0u);
    ASSERT_EQ(
        Query("SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE "
              "slot_name = '" +
              name_ + "'")[0],
        "1");
    ASSERT_TRUE(PollUntil(*reader, [&] { return take() >= expected.size(); }).ok());
  }
  EXPECT_EQ(ids, expected);
}

TEST_F(PostgresCdcTest, ALostOrMovedOrForeignSlotIsDataLoss) {
  MakeOrders();
  std::string position;
  {
    auto reader = MustOpen(Node());
    ASSERT_NE(reader, nullptr);
    AwaitStream(*reader);
    Run("INSERT INTO orders VALUES (1, 1, NULL)");
    AwaitRows(*reader, 1);
    position = PositionOf(*reader);
  }
  auto expect_loss = [&](const std::string& from, const std::string& what) {
    absl::Status status;
    ASSERT_TRUE(Eventually([&] {
      status = Open(Node(), from).status();
      return !absl::IsUnavailable(status);
    }));
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(what), HasSubstr("start a new job")));
  };
  auto changed = *DecodePgPosition(position);
  changed.server = "1/1";
  expect_loss(EncodePgPosition(changed), "another server");
  changed = *DecodePgPosition(position);
  changed.server.back() = '9';
  expect_loss(EncodePgPosition(changed), "took over");
  changed = *DecodePgPosition(position);
  changed.lsn += 1ull << 40;
  expect_loss(EncodePgPosition(changed), "the server's log ends");
  Run("INSERT INTO orders VALUES (2, 2, NULL)");
  Run("SELECT pg_replication_slot_advance('" + name_ + "', pg_current_wal_lsn())");
  expect_loss(position, "was moved on");
  DropSlot();
  expect_loss(position, "does not exist");
  Run("SELECT pg_create_logical_replication_slot('" + name_ + "', 'test_decoding')");
  expect_loss(position, "somebody else");
}

TEST_F(PostgresCdcTest, EverythingThatIsWrongIsToldAtOnceAndNothingIsMade) {
  Run("CREATE TABLE orders (id bigint, amount text, d date)");
  std::vector<Field> fields = kOrders;
  fields.push_back({.id = 4, .name = "d", .type = TypeKind::kTimestamp});
  const absl::Status status = Open(Node(fields)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("there is no column 'note'"), HasSubstr("column 'amount' is text"),
                    HasSubstr("column 'd' is date"), HasSubstr("no replica identity"),
                    HasSubstr("the key (id) may have several rows")));
  EXPECT_THAT(Query("SELECT pubname FROM pg_publication"), IsEmpty());
  EXPECT_THAT(Query("SELECT 1 FROM pg_replication_slots WHERE slot_name = '" + name_ + "'"),
              IsEmpty());
}

TEST_F(PostgresCdcTest, TablesWhoseChangesWouldNotBeToldAreRefused) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"CREATE TABLE orders (id bigint PRIMARY KEY, amount bigint, note text);"
       "ALTER TABLE orders REPLICA IDENTITY NOTHING",
       "REPLICA IDENTITY is NOTHING"},
      {"CREATE TABLE orders (id bigint, amount bigint PRIMARY KEY, note text)",
       "column 'id' of the key is not part"},
      {"CREATE TABLE orders (id bigint, amount bigint, note text, PRIMARY KEY (id, amount))",
       "may have several rows"},
      {"CREATE UNLOGGED TABLE orders (id bigint PRIMARY KEY, amount bigint, note text)",
       "unlogged"},
      {"CREATE TABLE orders (id bigint PRIMARY KEY, amount bigint, note text);"
       "CREATE TABLE child () INHERITS (orders)",
       "inherit"},
      {"CREATE VIEW orders AS SELECT 1::bigint AS id, 1::bigint AS amount, '' AS note",
       "not a table"}};
  for (const auto& [sql, what] : cases) {
    SCOPED_TRACE(sql);
    Run(sql);
    const absl::Status status = Open(Node()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
    Run(sql.find("VIEW") != std::string::npos ? "DROP VIEW orders" : "DROP TABLE orders CASCADE");
  }
  EXPECT_EQ(Open(Node()).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PostgresCdcTest, PublicationsThatLeaveSomethingOutAreRefused) {
  MakeOrders();
  for (const std::string how :
       {"", "FOR TABLE orders WITH (publish = 'insert')", "FOR TABLE orders WHERE (id > 5)"}) {
    SCOPED_TRACE(how);
    Run("CREATE PUBLICATION p " + how);
    const absl::Status status = Open(Node(kOrders, {{"publication.name", "p"}})).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("does not publish all changes"));
    Run("DROP PUBLICATION p");
  }
  Run("CREATE PUBLICATION p FOR TABLE orders (id, amount)");
  auto reader = MustOpen(Node(kOrders, {{"publication.name", "p"}}));
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("INSERT INTO orders VALUES (1, 1, NULL)");
  EXPECT_THAT(std::string(Failure(*reader).message()),
              HasSubstr("'note' is gone, or not published"));
}

TEST_F(PostgresCdcTest, APartitionedTableIsReadByItsRoot) {
  Run("CREATE TABLE orders (id bigint PRIMARY KEY, amount bigint, note text) PARTITION BY RANGE "
      "(id);"
      "CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (100);"
      "CREATE TABLE high PARTITION OF orders FOR VALUES FROM (100) TO (200);"
      "INSERT INTO orders VALUES (1, 1, NULL), (101, 2, NULL)");
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("UPDATE orders SET amount = 5 WHERE id = 101");
  Run("UPDATE orders SET id = 102 WHERE id = 1");  // Into the other partition.
  AwaitRows(*reader, 5);
  EXPECT_THAT(reader->Rows(), ElementsAre("+I 1, 1, NULL", "+I 101, 2, NULL", "+U 101, 5, NULL",
                                          "-D 1, NULL, NULL", "+I 102, 1, NULL"));
}

TEST_F(PostgresCdcTest, WhatTheStreamDoesNotTellEndsIt) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"DROP TABLE orders; CREATE TABLE orders (id bigint PRIMARY KEY, amount bigint, note text);"
       "INSERT INTO orders VALUES (2, 2, NULL)",
       "made anew|does not publish"},
      {"ALTER TABLE orders RENAME TO moved; INSERT INTO moved VALUES (2, 2, NULL)",
       "now called public.moved|does not publish"},
      {"ALTER TABLE orders ALTER amount TYPE int USING amount * 100; INSERT INTO orders VALUES (2, "
       "2, "
       "NULL)",
       "'amount' is new or has another type"},
      {"ALTER TABLE orders DROP note; INSERT INTO orders VALUES (2, 2)", "'note' is gone"},
      {"ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ADD PRIMARY KEY "
       "(amount);"
       "INSERT INTO orders VALUES (2, 2, NULL)",
       "'id' of the key is not part"}};
  for (const auto& [sql, what] : cases) {
    SCOPED_TRACE(sql);
    MakeOrders();
    Run("INSERT INTO orders VALUES (1, 1, NULL)");
    std::string position;
    {
      auto reader = MustOpen(Node());
      ASSERT_NE(reader, nullptr);
      AwaitStream(*reader);
      Run(sql);
      position = PositionOf(*reader);
      const absl::Status status = Failure(*reader);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
      EXPECT_THAT(std::string(status.message()), testing::ContainsRegex(what));
      EXPECT_EQ(reader->Rows().size(), 1u);
    }
    // Nor does a restart get past it.
    absl::Status again;
    ASSERT_TRUE(Eventually([&] {
      auto reader = Open(Node(), position);
      again = reader.ok() ? Failure(**reader) : reader.status();
      return !absl::IsUnavailable(again);
    }));
    EXPECT_FALSE(again.ok());
    DropSlot();
    Run("DROP TABLE IF EXISTS orders, moved; DROP PUBLICATION \"" + name_ + "_publication\"");
  }
}

TEST_F(PostgresCdcTest, ATableThatIsNoLongerPublishedIsNoticed) {
  MakeOrders();
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("ALTER PUBLICATION \"" + name_ + "_publication\" DROP TABLE orders");
  const absl::Status status = Failure(*reader);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not publish all changes"));
}

TEST_F(PostgresCdcTest, ColumnsThatAreNotReadMayComeAndGo) {
  MakeOrders();
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("ALTER TABLE orders ADD extra text DEFAULT 'e'; INSERT INTO orders VALUES (1, 1, 'a')");
  Run("ALTER TABLE orders DROP extra; INSERT INTO orders VALUES (2, 2, 'b')");
  AwaitRows(*reader, 2);
  EXPECT_THAT(reader->Rows(), ElementsAre("+I 1, 1, 'a'", "+I 2, 2, 'b'"));
}

TEST_F(PostgresCdcTest, AValueThatCannotBeReadIsADeadLetter) {
  Run("CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric, note text);"
      "INSERT INTO orders VALUES (1, 1.5, 'snapshot'), (2, 2, NULL)");
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  Run("INSERT INTO orders VALUES (3, 'NaN', 'stream'), (4, 4, NULL)");
  AwaitRows(*reader, 2);
  EXPECT_THAT(reader->Rows(), ElementsAre("+I 2, 2, NULL", "+I 4, 4, NULL"));
  const std::vector<std::string> letters = reader->out.Rows(OutputPort::kDeadLetter);
  ASSERT_EQ(letters.size(), 2u);
  EXPECT_THAT(letters[0], AllOf(HasSubstr("'public.orders'"), HasSubstr("'MR3201'"),
                                HasSubstr("''1.5'' cannot be read as BIGINT")));
  EXPECT_THAT(letters[1], AllOf(HasSubstr("''amount''"), HasSubstr("''NaN''")));
  EXPECT_EQ(reader->counters.rows_dead_lettered.value(), 2u);
}

TEST_F(PostgresCdcTest, ASlotInUseIsNotTaken) {
  MakeOrders();
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitStream(*reader);
  const absl::Status status = Open(Node()).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("is in use by process"));
}

TEST_F(PostgresCdcTest, AStartThatFailsHalfwayIsRepeated) {
  MakeOrders();
  Run("INSERT INTO orders VALUES (1, 1, NULL)");
  for (const char* point : {"postgres.before_slot", "postgres.after_slot"}) {
    ASSERT_TRUE(Failpoints::Arm(std::string(point) + "=error@1").ok());
    EXPECT_TRUE(absl::IsUnavailable(Open(Node()).status())) << point;
    Failpoints::DisarmAll();
  }
  auto reader = MustOpen(Node());
  ASSERT_NE(reader, nullptr);
  AwaitRows(*reader, 1);
  EXPECT_THAT(reader->Rows(), ElementsAre("+I 1, 1, NULL"));
}

}  // namespace
}  // namespace millrace
