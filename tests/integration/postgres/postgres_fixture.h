// What the tests against a real server share: a database of each test's own, on the server of
// dev/services (MILLRACE_TEST_POSTGRES=port; user postgres, no password).
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "operators/connectors/postgres/pg_connection.h"
#include "runtime/base/failpoint.h"
#include "tests/unit/connectors/connector_harness.h"

namespace millrace {

class PostgresTest : public ConnectorTest {
 protected:
  void SetUp() override {
    const char* port = std::getenv("MILLRACE_TEST_POSTGRES");
    if (port == nullptr || *port == '\0') {
      GTEST_SKIP() << "needs a server: MILLRACE_TEST_POSTGRES=port";
    }
    where_ = {.host = "127.0.0.1",
              .port = port,
              .user = "postgres",
              .database = "postgres",
              .schema = "public",
              .table = "orders"};
    static int number = 0;
    name_ = "t" + std::to_string(getpid()) + "_" + std::to_string(++number);
    server_ = Connect();
    ASSERT_NE(server_, nullptr);
    ASSERT_TRUE(server_->Run("CREATE DATABASE " + name_).ok());
    where_.database = name_;
    database_ = Connect();
    ASSERT_NE(database_, nullptr);
  }

  void TearDown() override {
    Failpoints::DisarmAll();
    if (server_ == nullptr) return;
    database_ = nullptr;
    // Slots that a test leaves belong to nobody.
    EXPECT_TRUE(server_
                    ->Run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE "
                          "database = '" +
                          name_ + "' AND active_pid IS NOT NULL")
                    .ok());
    EXPECT_TRUE(Eventually([&] {
      return server_
          ->Run(
              "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE "
              "database = '" +
              name_ + "'")
          .ok();
    }));
    EXPECT_TRUE(server_->Run("DROP DATABASE " + name_ + " WITH (FORCE)").ok());
    ConnectorTest::TearDown();
  }

  std::unique_ptr<PgConnection> Connect() {
    auto connection = PgConnection::Open(where_, false);
    EXPECT_TRUE(connection.ok()) << connection.status();
    return connection.ok() ? *std::move(connection) : nullptr;
  }

  void Run(const std::string& sql) {
    const auto rows = database_->Run(sql);
    ASSERT_TRUE(rows.ok()) << rows.status();
  }
  // "a|b" per row; NULL for none.
  std::vector<std::string> Query(const std::string& sql) {
    std::vector<std::string> lines;
    const auto rows = database_->Run(sql);
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok()) return lines;
    const int columns = PQnfields(rows->result());
    for (int row = 0; row < rows->rows(); ++row) {
      std::string& line = lines.emplace_back();
      for (int column = 0; column < columns; ++column) {
        if (column > 0) line += "|";
        line += rows->IsNull(row, column) ? "NULL" : std::string(rows->Text(row, column));
      }
    }
    return lines;
  }

  // Calls `reached` until it is true or the patience ends.
  bool Eventually(const std::function<bool()>& reached,
                  absl::Duration patience = absl::Seconds(20)) {
    const int64_t end = env_.clock.MonotonicNanos() + absl::ToInt64Nanoseconds(patience);
    while (!reached()) {
      if (env_.clock.MonotonicNanos() > end) return false;
    }
    return true;
  }

  PostgresTable where_;
  std::string name_;  // Of the database and of slots: of this test alone.
  std::unique_ptr<PgConnection> server_, database_;
};

}  // namespace millrace
