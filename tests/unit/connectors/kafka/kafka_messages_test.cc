#include "operators/connectors/kafka/native/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/connectors/kafka/hex.h"

namespace millrace {
namespace {

using testing::ElementsAre;

constexpr KafkaUuid kId{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

TEST(KafkaMessagesTest, RequestsHaveTheHeaderOfTheirVersion) {
  EXPECT_EQ(Hex(EncodeRequestHead({KafkaApi::kApiVersions, 0}, 7, "me", 0)),
            "0000000c"
            "0012"
            "0000"
            "00000007"
            "0002"
            "6d65");
  EXPECT_EQ(Hex(EncodeRequestHead({KafkaApi::kFetch, 12}, 7, "me", 1)),
            "0000000e"
            "0001"
            "000c"
            "00000007"
            "0002"
            "6d65"
            "00");
}

TEST(KafkaMessagesTest, ResponsesMustAnswerTheirRequest) {
  const std::string_view response("\0\0\0\7\0body", 9);
  EXPECT_EQ(*ResponseBody({KafkaApi::kFetch, 12}, 7, response), "body");
  EXPECT_EQ(*ResponseBody({KafkaApi::kFetch, 11}, 7, response), std::string_view("\0body", 5));
  EXPECT_EQ(ResponseBody({KafkaApi::kFetch, 12}, 8, response).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ResponseBody({KafkaApi::kFetch, 12}, 7, "\0\0").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(KafkaMessagesTest, AFetchNamesTopicsOrTheirIds) {
  const FetchRequest request{
      .wait_max_ms = 100,
      .bytes_min = 1,
      .bytes_max = 1000,
      .partition_bytes_max = 500,
      .topics = {
          {.name = "t",
           .id = kId,
           .partitions = {{.partition = 3, .offset = 42, .leader_epoch = 5, .last_epoch = 4}}}}};
  const std::string limits =
      "ffffffff"
      "00000064"
      "00000001"
      "000003e8"
      "01";
  EXPECT_EQ(Hex(EncodeFetchRequest(4, request)), limits +
                                                     "00000001"
                                                     "0001"
                                                     "74"
                                                     "00000001"
                                                     "00000003"
                                                     "000000000000002a"
                                                     "000001f4");
  EXPECT_EQ(Hex(EncodeFetchRequest(11, request)), limits +
                                                      "00000000"
                                                      "ffffffff"
                                                      "00000001"
                                                      "0001"
                                                      "74"
                                                      "00000001"
                                                      "00000003"
                                                      "00000005"
                                                      "000000000000002a"
                                                      "ffffffffffffffff"
                                                      "000001f4"
                                                      "00000000"
                                                      "0000");
  EXPECT_EQ(Hex(EncodeFetchRequest(13, request)), limits +
                                                      "00000000"
                                                      "ffffffff"
                                                      "02"
                                                      "0102030405060708090a0b0c0d0e0f10"
                                                      "02"
                                                      "00000003"
                                                      "00000005"
                                                      "000000000000002a"
                                                      "00000004"
                                                      "ffffffffffffffff"
                                                      "000001f4"
                                                      "00"
                                                      "00"
                                                      "01"
                                                      "01"
                                                      "00");
}

TEST(KafkaMessagesTest, AFetchedPartitionOfTheClassicEncoding) {
  WireWriter out(/*flexible=*/false);
  out.Number<int32_t>(0);
  out.Elements(1);
  out.Text("topic");
  out.Elements(1);
  out.Number<int32_t>(3);
  out.Number<int16_t>(0);
  out.Number<int64_t>(100);
  out.Number<int64_t>(90);
  out.Elements(2);
  for (const int64_t number : {7, 50, 8, 60}) out.Number(number);
  out.Bytes("records");
  const std::string bytes = out.Take();
  const auto response = DecodeFetch(4, bytes);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->topics.at(0).name, "topic");
  const FetchResponse::Partition& partition = response->topics[0].partitions.at(0);
  EXPECT_EQ(partition.partition, 3);
  EXPECT_EQ(partition.high_watermark, 100);
  EXPECT_EQ(partition.records, "records");
  ASSERT_EQ(partition.aborted.size(), 2u);
  EXPECT_EQ(partition.aborted[1].producer_id, 8);
  EXPECT_EQ(partition.aborted[1].first_offset, 60);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(DecodeFetch(4, bytes.substr(0, size)).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(KafkaMessagesTest, TagsOfAFetchTellOfALogThatWasCut) {
  WireWriter out(/*flexible=*/true);
  out.Number<int32_t>(0);
  out.Number<int16_t>(0);
  out.Number<int32_t>(0);
  out.Elements(1);
  out.Uuid(kId);
  out.Elements(1);
  out.Number<int32_t>(3);
  out.Number<int16_t>(0);
  for (const int64_t number : {100, 90, 0}) out.Number(number);
  out.Number<int8_t>(0);  // NULL: no aborted transactions.
  out.Number<int32_t>(-1);
  out.Number<int8_t>(0);  // NULL: no records.
  out.Number<int8_t>(2);  // Two tags: one unknown, and where the logs part.
  for (const int8_t byte : {9, 1, 77, 0, 13}) out.Number(byte);
  out.Number<int32_t>(5);
  out.Number<int64_t>(80);
  out.NoTags();
  for (int i = 0; i < 3; ++i) out.NoTags();
  const auto response = DecodeFetch(13, out.Take());
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->topics.at(0).id, kId);
  EXPECT_EQ(response->topics[0].partitions.at(0).diverging_end, 80);
  EXPECT_EQ(response->topics[0].partitions[0].records, "");
}

TEST(KafkaMessagesTest, CountsThatCannotBeAreRefused) {
  WireWriter out(/*flexible=*/false);
  out.Number<int32_t>(0);
  out.Elements(1'000'000'000);
  EXPECT_EQ(DecodeFetch(4, out.Take()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(KafkaMessagesTest, MetadataOfOldAndNewBrokers) {
  for (int16_t version = kMetadataVersions.low; version <= kMetadataVersions.high; ++version) {
    const bool flexible = version >= 9;
    WireWriter out(flexible);
    out.Number<int32_t>(0);
    out.Elements(1);
    out.Number<int32_t>(2);
    out.Text("host");
    out.Number<int32_t>(9092);
    out.Text("rack");
    out.NoTags();
    out.Text("cluster");
    out.Number<int32_t>(2);
    out.Elements(1);
    out.Number<int16_t>(0);
    out.Text("topic");
    if (version >= 10) out.Uuid(kId);
    out.Number<int8_t>(0);
    out.Elements(1);
    out.Number<int16_t>(0);
    out.Number<int32_t>(4);
    out.Number<int32_t>(2);
    if (version >= 7) out.Number<int32_t>(11);
    for (int list = 0; list < 3; ++list) {
      out.Elements(1);
      out.Number<int32_t>(2);
    }
    out.NoTags();
    if (version >= 8) out.Number<int32_t>(0);
    out.NoTags();
    if (version >= 8 && version <= 10) out.Number<int32_t>(0);
    out.NoTags();
    const std::string bytes = out.Take();
    const auto metadata = DecodeMetadata(version, bytes);
    ASSERT_TRUE(metadata.ok()) << version;
    EXPECT_EQ(metadata->brokers.at(0).host, "host");
    EXPECT_EQ(metadata->brokers[0].port, 9092);
    const MetadataResponse::Topic& topic = metadata->topics.at(0);
    EXPECT_EQ(topic.name, "topic");
    EXPECT_EQ(topic.id, version >= 10 ? kId : KafkaUuid{});
    EXPECT_EQ(topic.partitions.at(0).partition, 4);
    EXPECT_EQ(topic.partitions[0].leader, 2);
    EXPECT_EQ(topic.partitions[0].leader_epoch, version >= 7 ? 11 : -1);
  }
}

TEST(KafkaMessagesTest, SaslAndVersions) {
  EXPECT_EQ(Hex(EncodeSaslHandshake("PLAIN")),
            "0005"
            "504c41494e");
  EXPECT_EQ(Hex(EncodeSaslAuthenticate("ab")),
            "00000002"
            "6162");
  WireWriter out(/*flexible=*/false);
  out.Number<int16_t>(58);
  out.Text("no");
  out.Bytes("b");
  const std::string bytes = out.Take();
  const auto answer = DecodeSaslAuthenticate(bytes);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->error, 58);
  EXPECT_EQ(answer->message, "no");
  EXPECT_EQ(answer->bytes, "b");
  WireWriter handshake(/*flexible=*/false);
  handshake.Number<int16_t>(33);
  handshake.Elements(2);
  handshake.Text("PLAIN");
  handshake.Text("GSSAPI");
  const std::string known = handshake.Take();
  EXPECT_THAT(DecodeSaslHandshake(known)->mechanisms, ElementsAre("PLAIN", "GSSAPI"));
  WireWriter versions(/*flexible=*/false);
  versions.Number<int16_t>(0);
  versions.Elements(1);
  for (const int16_t number : {1, 4, 17}) versions.Number(number);
  const auto decoded = DecodeApiVersions(versions.Take());
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->apis.at(0).versions.high, 17);
}

}  // namespace
}  // namespace millrace
