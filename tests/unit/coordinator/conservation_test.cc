#include "coordinator/conservation.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using testing::HasSubstr;

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

// Two tasks of a source, a filter in their chain, a window behind an exchange, sinks of all ports.
const char kGraph[] = R"(
  nodes { uid: "bids" parallelism: 2 source {} }
  nodes { uid: "big" parallelism: 2 filter {} former_uids: "large" }
  nodes { uid: "count" parallelism: 3 window_aggregate {} }
  nodes { uid: "out" parallelism: 3 sink {} }
  nodes { uid: "lost" parallelism: 1 sink {} }
  edges { from: "bids" to: "big" forward {} }
  edges { from: "big" to: "count" hash {} }
  edges { from: "count" to: "out" forward {} }
  edges { from: "bids" output: OUTPUT_PORT_DEAD_LETTER to: "lost" single {} }
  edges { from: "count" output: OUTPUT_PORT_LATE to: "lost" single {} })";

const char kEpoch[] = R"(
  tasks { chain: 0 index: 0 nodes { uid: "bids" rows_in: 60 rows_out: 58 rows_dead_lettered: 2 }
                            nodes { uid: "big" rows_in: 58 rows_out: 40 rows_skipped: 18 } }
  tasks { chain: 0 index: 1 nodes { uid: "bids" rows_in: 40 rows_out: 39 rows_skipped: 1 }
                            nodes { uid: "big" rows_in: 39 rows_out: 9 rows_skipped: 30 } }
  tasks { chain: 1 nodes { uid: "count" rows_in: 49 rows_out: 5 rows_late: 4 }
                   nodes { uid: "out" rows_in: 5 } }
  tasks { chain: 2 nodes { uid: "lost" rows_in: 6 } })";

TEST(ConservationTest, HoldsWhereEveryRowIsSomewhere) {
  const auto graph = Parse<v1::JobGraph>(kGraph);
  const RowBalance balance = BalanceRows(graph, Parse<v1::Manifest>(kEpoch));
  for (const auto& [law, too_many] : balance) EXPECT_EQ(too_many, 0) << law;
  EXPECT_EQ(balance.size(), 6u);
  EXPECT_TRUE(CheckConservation({}, balance).ok());
}

TEST(ConservationTest, CountsRowsThatABarrierHasOvertakenAsOnTheirWay) {
  const auto graph = Parse<v1::JobGraph>(kGraph);
  auto epoch = Parse<v1::Manifest>(kEpoch);
  v1::NodeSnapshot& count = *epoch.mutable_tasks(2)->mutable_nodes(0);
  count.set_rows_in(40);
  count.add_in_flight()->set_rows(4);
  count.add_in_flight()->set_rows(5);
  EXPECT_TRUE(CheckConservation({}, BalanceRows(graph, epoch)).ok());
  count.mutable_in_flight(1)->set_rows(6);
  EXPECT_TRUE(absl::IsAborted(CheckConservation({}, BalanceRows(graph, epoch))));
}

TEST(ConservationTest, NamesTheEdgeThatLostRows) {
  const auto graph = Parse<v1::JobGraph>(kGraph);
  auto epoch = Parse<v1::Manifest>(kEpoch);
  epoch.mutable_tasks(2)->mutable_nodes(0)->set_rows_in(46);
  const absl::Status status = CheckConservation({}, BalanceRows(graph, epoch));
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(status.message(),
            "MR5301: rows are not conserved: big -> count: sent = received does not hold: left "
            "side has 3 rows more");
}

TEST(ConservationTest, NamesTheNodeThatMadeRows) {
  const auto graph = Parse<v1::JobGraph>(kGraph);
  auto epoch = Parse<v1::Manifest>(kEpoch);
  epoch.mutable_tasks(1)->mutable_nodes(0)->set_rows_in(38);
  EXPECT_THAT(std::string(CheckConservation({}, BalanceRows(graph, epoch)).message()),
              HasSubstr("bids: in = out + dead letters + skipped does not hold: right side has 2"));
}

TEST(ConservationTest, CountsEveryCopyOfABroadcastAndBothPortsOfANode) {
  auto graph = Parse<v1::JobGraph>(kGraph);
  graph.mutable_edges(1)->mutable_broadcast();
  auto epoch = Parse<v1::Manifest>(kEpoch);
  epoch.mutable_tasks(2)->mutable_nodes(0)->set_rows_in(3 * 49);
  EXPECT_TRUE(CheckConservation({}, BalanceRows(graph, epoch)).ok());
  epoch.mutable_tasks(3)->mutable_nodes(0)->set_rows_in(5);
  EXPECT_THAT(std::string(CheckConservation({}, BalanceRows(graph, epoch)).message()),
              HasSubstr("bids + count -> lost"));
}

TEST(ConservationTest, CountsATruncateForEveryTaskOfAKeyedEdge) {
  const auto graph = Parse<v1::JobGraph>(kGraph);
  auto epoch = Parse<v1::Manifest>(kEpoch);
  epoch.mutable_tasks(0)->mutable_nodes(1)->set_truncates_out(2);
  EXPECT_FALSE(CheckConservation({}, BalanceRows(graph, epoch)).ok());
  epoch.mutable_tasks(2)->mutable_nodes(0)->set_rows_in(49 + 2 * 2);  // Three tasks.
  EXPECT_TRUE(CheckConservation({}, BalanceRows(graph, epoch)).ok());
}

// A node that is new since the savepoint begins at zero although the one before it does not.
TEST(ConservationTest, ComparesWithTheBeginOfTheAttempt) {
  const auto graph = Parse<v1::JobGraph>(kGraph);
  auto begin = Parse<v1::Manifest>(kEpoch);
  begin.mutable_tasks(2)->mutable_nodes(0)->set_rows_in(0);
  // It was called so when the savepoint was taken.
  for (int i = 0; i < 2; ++i) begin.mutable_tasks(i)->mutable_nodes(1)->set_uid("large");
  const RowBalance at_begin = BalanceRows(graph, begin);
  auto epoch = Parse<v1::Manifest>(kEpoch);
  epoch.mutable_tasks(0)->mutable_nodes(0)->set_rows_in(70);
  epoch.mutable_tasks(0)->mutable_nodes(0)->set_rows_out(68);
  epoch.mutable_tasks(0)->mutable_nodes(1)->set_rows_in(68);
  epoch.mutable_tasks(0)->mutable_nodes(1)->set_rows_out(50);
  epoch.mutable_tasks(2)->mutable_nodes(0)->set_rows_in(10);
  const absl::Status held = CheckConservation(at_begin, BalanceRows(graph, epoch));
  EXPECT_TRUE(held.ok()) << held;
  epoch.mutable_tasks(2)->mutable_nodes(0)->set_rows_in(11);
  EXPECT_FALSE(CheckConservation(at_begin, BalanceRows(graph, epoch)).ok());
}

}  // namespace
}  // namespace millrace
