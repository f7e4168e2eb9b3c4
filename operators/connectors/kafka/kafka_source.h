// Reads Kafka partitions without blocking. How their records come here is a KafkaFetch's matter;
// offsets are asked for, and the group's published, through librdkafka.
//
// Threading: the task thread, as for every Source.
// Ownership: as for every Source. Payloads are decoded where the fetch put them.
// Errors:    kDataLoss names the gap in numbers when the next offset is gone; kUnavailable for what
//            a restart may cure.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_fetch.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "operators/connectors/kafka/message_padding.h"
#include "operators/connectors/record_origins.h"
#include "operators/formats/format.h"
#include "runtime/task/operator_metrics.h"
#include "runtime/task/source.h"

namespace millrace {

class KafkaSource : public Source {
 public:
  explicit KafkaSource(KafkaSourceOptions options) : options_(std::move(options)) {}

  absl::Status Open(SourceContext& context, std::vector<Split> splits) override;
  absl::Status AddSplits(std::vector<Split> splits) override;
  absl::StatusOr<PollResult> Poll(Emitter& out) override;
  std::vector<Split> Positions() const override;
  void OnEpochCompleted(const std::vector<Split>& positions) override;

 private:
  enum class Metadata { kTopic, kPartition, kOffset, kTimestamp, kKey };
  struct MetadataColumn {
    Metadata kind;
    TypeKind type;
    int index;  // Among the metadata columns.
  };
  struct SplitState {
    std::string id;
    KafkaPartition partition;
    int64_t next_offset = 0;
    std::optional<int64_t> end;
    bool finished = false;
    bool fetched = false;     // The fetch knows it.
    KafkaTopicId topic_id{};  // As the position had it.
    double fetch_lag_s = 0;   // Age of the newest message, when it was fetched.
    OperatorMetrics::Number* lag = nullptr;
  };

  // One way to make rows of messages. Its builder has the decoder's columns, then the metadata.
  struct RowMaker {
    std::unique_ptr<Decoder> decoder;
    std::unique_ptr<BatchBuilder> builder;
    int metadata_base = 0;
    std::vector<int> order;  // Per output column its place in the builder; -1: NULL.
  };

  class Origins : public RecordOrigins {
   public:
    void Begin(const KafkaPartition& partition, std::span<const KafkaRecord> records,
               const std::vector<NoRow>& none);

   private:
    RowOrigin Record(size_t index) const override;

    KafkaPartition partition_;
    std::span<const KafkaRecord> records_;
  };

  absl::Status BindColumns();
  absl::StatusOr<RowMaker> MakeRowMaker(std::string_view format, std::vector<Field> decoded,
                                        const std::vector<Field>& described,
                                        const std::vector<Field>& key) const;
  absl::Status CheckRange(const SplitState& split, const KafkaOffsetRange& range) const;
  absl::Status HandleFault(const KafkaFault& fault);
  void Take(const KafkaRun& run, Emitter& out);
  void Finish(uint32_t index);
  using Records = std::span<const KafkaRecord>;
  void EmitSplit(uint32_t index, Records rest, Emitter& out);
  // Records of the split that all have values, or all have none: deletes.
  void EmitRun(uint32_t index, Records run, bool deletes, Emitter& out);
  void AppendMetadata(const MetadataColumn& column, ColumnBuilder& builder, const SplitState& split,
                      const KafkaRecord& record);
  void EmitDeadLetters(uint32_t index, Records run, Emitter& out);
  void UpdateLag();

  const KafkaSourceOptions options_;
  SourceContext* context_ = nullptr;
  std::unique_ptr<KafkaClient> client_;
  std::unique_ptr<KafkaFetch> fetch_;
  RowMaker records_;  // Of values.
  RowMaker deletes_;  // Of keys, for `upsert-kafka`.
  std::vector<MetadataColumn> metadata_;
  SchemaPtr dead_letter_schema_;

  std::vector<SplitState> splits_;
  size_t unfinished_ = 0;

  // Scratch, reused from Poll to Poll.
  KafkaArrivals arrivals_;
  std::vector<Message> messages_;
  std::vector<NoRow> none_;
  OriginLender<Origins> origins_;
  MessagePadding padding_;
  int64_t lag_updated_ns_ = 0;
  OperatorMetrics::Number* fetch_lag_ = nullptr;
};

}  // namespace millrace
