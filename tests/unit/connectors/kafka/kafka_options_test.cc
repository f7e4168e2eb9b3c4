#include "operators/connectors/kafka/kafka_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "millrace/v1/graph.pb.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

using Options = std::map<std::string, std::string>;

v1::Node SourceNode(const Options& options) {
  v1::Node node;
  node.set_uid("bids");
  node.mutable_source()->set_connector("kafka");
  node.mutable_source()->set_format("json");
  (*node.mutable_source()->mutable_options())["topic"] = "bids";
  (*node.mutable_source()->mutable_options())["properties.bootstrap.servers"] = "broker:9092";
  for (const auto& [name, value] : options) {
    (*node.mutable_source()->mutable_options())[name] = value;
  }
  return node;
}

v1::Node SinkNode(const Options& options) {
  v1::Node node;
  node.set_uid("hot");
  node.mutable_sink()->set_connector("kafka");
  node.mutable_sink()->set_format("json");
  (*node.mutable_sink()->mutable_options())["topic"] = "hot";
  (*node.mutable_sink()->mutable_options())["properties.bootstrap.servers"] = "broker:9092";
  for (const auto& [name, value] : options) {
    (*node.mutable_sink()->mutable_options())[name] = value;
  }
  return node;
}

TEST(KafkaOptionsTest, ReadsTheOptionsOfASource) {
  const auto options =
      ParseKafkaSourceOptions(SourceNode({{"topic", "a; b"},
                                          {"properties.group.id", "g"},
                                          {"properties.fetch.min.bytes", "5"},
                                          {"scan.startup.mode", "timestamp"},
                                          {"scan.startup.timestamp-millis", "1700000000000"},
                                          {"scan.topic-partition-discovery.interval", "30 s"}}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->topics, ElementsAre("a", "b"));
  EXPECT_EQ(options->group_id, "g");
  EXPECT_EQ(options->client.brokers, "broker:9092");
  EXPECT_THAT(options->client.properties, ElementsAre(Pair("fetch.min.bytes", Secret("5"))));
  EXPECT_EQ(options->start, KafkaStart::kTimestamp);
  EXPECT_EQ(options->start_timestamp_ms, 1700000000000);
  EXPECT_EQ(options->discovery_interval, absl::Seconds(30));
}

TEST(KafkaOptionsTest, StartsAtTheGroupsOffsetsOnlyWhenThereIsAGroup) {
  EXPECT_EQ(ParseKafkaSourceOptions(SourceNode({}))->start, KafkaStart::kEarliest);
  EXPECT_EQ(ParseKafkaSourceOptions(SourceNode({{"properties.group.id", "g"}}))->start,
            KafkaStart::kGroupOffsets);
}

TEST(KafkaOptionsTest, SaysWhatFetches) {
  EXPECT_TRUE(ParseKafkaSourceOptions(SourceNode({}))->native_fetch);
  EXPECT_TRUE(ParseKafkaSourceOptions(SourceNode({{"fetch", "native"}}))->native_fetch);
  // What only the other one has decides, unless the job does.
  EXPECT_FALSE(
      ParseKafkaSourceOptions(SourceNode({{"properties.client.rack", "a"}}))->native_fetch);
  EXPECT_FALSE(ParseKafkaSourceOptions(SourceNode({{"properties.security.protocol", "SASL_SSL"}}))
                   ->native_fetch);
  EXPECT_TRUE(ParseKafkaSourceOptions(SourceNode({{"properties.security.protocol", "SASL_SSL"},
                                                  {"properties.sasl.mechanism", "PLAIN"}}))
                  ->native_fetch);
  EXPECT_FALSE(ParseKafkaSourceOptions(SourceNode({{"fetch", "librdkafka"}}))->native_fetch);
}

TEST(KafkaOptionsTest, SaysWhatProduces) {
  EXPECT_FALSE(ParseKafkaSinkOptions(SinkNode({}))->native_produce);
  EXPECT_FALSE(ParseKafkaSinkOptions(SinkNode({{"produce", "librdkafka"}}))->native_produce);
  EXPECT_TRUE(ParseKafkaSinkOptions(SinkNode({{"produce", "native"}}))->native_produce);
  const auto refused =
      ParseKafkaSinkOptions(SinkNode({{"produce", "native"}, {"properties.acks", "all"}}));
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("'properties.acks' needs option 'produce' = 'librdkafka'"));
}

TEST(KafkaOptionsTest, BoundedSourcesDoNotLookForNewPartitions) {
  const auto options =
      ParseKafkaSourceOptions(SourceNode({{"scan.bounded.mode", "latest-offset"}}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->end, KafkaEnd::kLatest);
  EXPECT_EQ(options->discovery_interval, absl::ZeroDuration());
}

TEST(KafkaOptionsTest, RefusesWrongValuesAndNamesTheOption) {
  const struct {
    Options options;
    std::string message;
  } cases[] = {
      {{{"topic", ""}}, "option 'topic'"},
      {{{"topic", "a;a"}}, "each topic once"},
      {{{"topic", "no/slash"}}, "option 'topic'"},
      {{{"properties.bootstrap.servers", ""}}, "'properties.bootstrap.servers' is missing"},
      {{{"scan.startup.mode", "newest"}}, "expected one of earliest-offset, latest-offset"},
      {{{"scan.startup.mode", "timestamp"}}, "'scan.startup.timestamp-millis' is needed"},
      {{{"scan.startup.mode", "specific-offsets"}}, "'scan.startup.specific-offsets' is needed"},
      {{{"scan.startup.mode", "specific-offsets"}, {"scan.startup.specific-offsets", "0:5"}},
       "partition:0,offset:42"},
      {{{"scan.startup.mode", "group-offsets"}}, "'properties.group.id' is needed"},
      {{{"scan.bounded.mode", "soon"}}, "option 'scan.bounded.mode'"},
      {{{"fetch", "slowly"}}, "option 'fetch': expected one of native, librdkafka"},
      {{{"scan.topic-partition-discovery.interval", "often"}}, "a duration"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.message);
    const auto options = ParseKafkaSourceOptions(SourceNode(c.options));
    ASSERT_FALSE(options.ok());
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(c.message));
  }
}

TEST(KafkaOptionsTest, RefusesPropertiesThatNameFilesCommandsOrCode) {
  for (const std::string name :
       {"plugin.library.paths", "ssl.engine.location", "sasl.kerberos.kinit.cmd", "ssl.ca.location",
        "ssl.key.location", "ssl.keystore.location", "sasl.kerberos.keytab", "ssl.crl.location",
        "sasl.oauthbearer.token.endpoint.url", "ssl.providers", "builtin.features", "debug",
        "isolation.level", "enable.auto.commit", "transactional.id", "check.crcs", "invented"}) {
    SCOPED_TRACE(name);
    EXPECT_FALSE(CheckKafkaProperty(name).ok());
    const auto options = ParseKafkaSourceOptions(SourceNode({{"properties." + name, "x"}}));
    ASSERT_FALSE(options.ok());
    EXPECT_THAT(std::string(options.status().message()), HasSubstr("'properties." + name + "'"));
  }
}

TEST(KafkaOptionsTest, AllowsTheSecuritySettingsThatHoldTheirValues) {
  for (const std::string name :
       {"security.protocol", "sasl.mechanism", "sasl.username", "sasl.password", "ssl.ca.pem",
        "ssl.certificate.pem", "ssl.key.pem", "compression.type", "transaction.timeout.ms"}) {
    EXPECT_TRUE(CheckKafkaProperty(name).ok()) << name;
  }
}

TEST(KafkaOptionsTest, ReadsTheOptionsOfASink) {
  const auto options = ParseKafkaSinkOptions(SinkNode({{"sink.transactional-id-prefix", "team"},
                                                       {"sink.partitioner", "fixed"},
                                                       {"key.fields", "auction;bidder"},
                                                       {"value.fields-include", "EXCEPT_KEY"},
                                                       {"properties.max.block.ms", "1500"}}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->exactly_once);
  EXPECT_EQ(options->transactional_id_prefix, "team");
  EXPECT_EQ(options->partitioner, KafkaPartitioner::kFixed);
  EXPECT_THAT(options->key_fields, ElementsAre("auction", "bidder"));
  EXPECT_FALSE(options->key_fields_in_value);
  EXPECT_EQ(options->delivery_timeout, absl::Milliseconds(1500));
}

TEST(KafkaOptionsTest, TheGuaranteeOfTheNodeAndTheOptionMustAgree) {
  v1::Node node = SinkNode({{"sink.delivery-guarantee", "at-least-once"}});
  EXPECT_FALSE(ParseKafkaSinkOptions(node)->exactly_once);
  node.mutable_sink()->set_guarantee(v1::DELIVERY_GUARANTEE_AT_LEAST_ONCE);
  EXPECT_FALSE(ParseKafkaSinkOptions(node)->exactly_once);
  node.mutable_sink()->set_guarantee(v1::DELIVERY_GUARANTEE_EXACTLY_ONCE);
  EXPECT_FALSE(ParseKafkaSinkOptions(node).ok());
}

TEST(KafkaOptionsTest, ReadsFlinksFormOfOffsets) {
  EXPECT_THAT(*ParsePartitionOffsets("partition:0,offset:42;partition:1,offset:300"),
              ElementsAre(Pair(0, 42), Pair(1, 300)));
  for (const std::string bad :
       {"", "partition:0", "partition:-1,offset:2", "partition:0,offset:1;partition:0,offset:2",
        "partition:0,offset:9999999999999999999999"}) {
    EXPECT_FALSE(ParsePartitionOffsets(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace millrace
