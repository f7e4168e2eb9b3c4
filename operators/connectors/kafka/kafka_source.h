// Reads Kafka partitions through one librdkafka consumer per task, without blocking: the client
// prefetches into one bounded queue, and wakes the task when the queue stops being empty.
//
// Threading: the task thread, as for every Source; `wake` is called on a thread of librdkafka.
// Ownership: as for every Source. Payloads are decoded where librdkafka put them.
// Errors:    kDataLoss names the gap in numbers when the next offset is gone; kUnavailable for what
// a
//            restart may cure.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "operators/connectors/kafka/kafka_client.h"
#include "operators/connectors/kafka/kafka_options.h"
#include "operators/connectors/kafka/message_padding.h"
#include "operators/formats/format.h"
#include "runtime/task/operator_metrics.h"
#include "runtime/task/source.h"

namespace millrace {

class KafkaSource : public Source {
 public:
  explicit KafkaSource(KafkaSourceOptions options) : options_(std::move(options)) {}
  ~KafkaSource() override;

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
    double fetch_lag_s = 0;  // Age of the newest message, when it was fetched.
    OperatorMetrics::Number* lag = nullptr;
    // Of the current Poll: messages to decode, in order.
    std::vector<const rd_kafka_message_t*> arrived;
  };

  // One way to make rows of messages. Its builder has the decoder's columns, then the metadata.
  struct RowMaker {
    std::unique_ptr<Decoder> decoder;
    std::unique_ptr<BatchBuilder> builder;
    int metadata_base = 0;
    std::vector<int> order;  // Per output column its place in the builder; -1: NULL.
  };

  absl::Status BindColumns();
  absl::StatusOr<RowMaker> MakeRowMaker(std::string_view format, std::vector<Field> decoded,
                                        const std::vector<Field>& described,
                                        const std::vector<Field>& key) const;
  absl::Status CheckRange(const SplitState& split, const KafkaOffsetRange& range) const;
  absl::Status HandleError(const rd_kafka_message_t& message);
  void Finish(SplitState& split);
  SplitState* Find(const rd_kafka_message_t& message);
  using Messages = std::span<const rd_kafka_message_t* const>;
  void EmitSplit(uint32_t index, Emitter& out);
  // Messages of the split that are all records, or all deletes.
  void EmitRun(uint32_t index, Messages run, bool deletes, Emitter& out);
  void AppendMetadata(const MetadataColumn& column, ColumnBuilder& builder, const SplitState& split,
                      const rd_kafka_message_t& message);
  void EmitDeadLetters(uint32_t index, Messages run, Emitter& out);
  void UpdateLag();

  const KafkaSourceOptions options_;
  SourceContext* context_ = nullptr;
  std::unique_ptr<KafkaClient> client_;
  KafkaQueueHandle queue_;
  RowMaker records_;  // Of values.
  RowMaker deletes_;  // Of keys, for `upsert-kafka`.
  std::vector<MetadataColumn> metadata_;
  SchemaPtr dead_letter_schema_;

  std::vector<SplitState> splits_;
  size_t unfinished_ = 0;
  // Last topic seen: messages come in runs, and topic handles are one per topic.
  const rd_kafka_topic_t* last_topic_ = nullptr;
  std::string last_topic_name_;
  std::map<KafkaPartition, uint32_t> split_index_;
  std::vector<uint32_t> last_topic_splits_;  // By partition, of last_topic_name_.

  // Scratch, reused from Poll to Poll.
  std::vector<rd_kafka_message_t*> fetched_;
  std::vector<Message> messages_;
  std::vector<NoRow> none_;
  MessagePadding padding_;
  int64_t lag_updated_ns_ = 0;
  OperatorMetrics::Number* fetch_lag_ = nullptr;
};

}  // namespace millrace
