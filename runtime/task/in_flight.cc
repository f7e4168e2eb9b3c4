#include "runtime/task/in_flight.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/status_macros.h"
#include "runtime/checkpoint/little_endian.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/columns/batch_codec.h"
#include "runtime/columns/keys.h"

namespace millrace {
namespace {

// A record: the index of its input, and the batch behind it, which begins at a multiple of 8.
constexpr size_t kRecordHeadBytes = 8;

bool HasColumns(const KeyedInput& input, const v1::InFlightRows::Input& written) {
  const SchemaPtr former = Schema::FromProto(written.columns());
  return static_cast<int>(written.input()) == input.input &&
         std::equal(written.key_columns().begin(), written.key_columns().end(),
                    input.key_columns.begin(), input.key_columns.end(),
                    [](uint32_t a, int b) { return static_cast<int>(a) == b; }) &&
         std::equal(
             former->fields().begin(), former->fields().end(), input.columns->fields().begin(),
             input.columns->fields().end(),
             [](const Field& a, const Field& b) { return a.name == b.name && a.type == b.type; });
}

// By index of `rows.inputs()`: the index of the same in `inputs`.
absl::StatusOr<std::vector<size_t>> MatchInputs(const v1::InFlightRows& rows,
                                                const std::vector<KeyedInput>& inputs) {
  std::vector<size_t> matches;
  for (const v1::InFlightRows::Input& written : rows.inputs()) {
    const auto match = std::find_if(inputs.begin(), inputs.end(), [&](const KeyedInput& input) {
      return HasColumns(input, written);
    });
    if (match == inputs.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("MR5302: the checkpoint has rows on their way to input ", written.input(),
                       " of the node, which has other columns or keys now; "
                       "go on from a savepoint, which has no such rows"));
    }
    matches.push_back(static_cast<size_t>(match - inputs.begin()));
  }
  return matches;
}

Batch RowsOf(Batch batch, const KeyedInput& input, KeyGroupRange key_groups,
             uint32_t max_parallelism) {
  EncodedKeys keys;
  EncodeKeys(batch, input.key_columns, keys);
  std::vector<int32_t> own;
  for (size_t row = 0; row < keys.hashes.size(); ++row) {
    if (key_groups.Contains(KeyGroupOf(keys.hashes[row], max_parallelism))) {
      own.push_back(static_cast<int32_t>(row));
    }
  }
  return own.size() == keys.hashes.size() ? batch : Take(batch, own);
}

}  // namespace

v1::InFlightRows DescribeInFlight(const InFlight& rows, const std::vector<KeyedInput>& inputs) {
  v1::InFlightRows out;
  out.set_watermark_us(rows.watermark.us);
  uint64_t count = 0;
  for (const auto& [input, batch] : rows.batches) count += static_cast<uint64_t>(batch.rows());
  out.set_rows(count);
  for (const KeyedInput& input : inputs) {
    v1::InFlightRows::Input& described = *out.add_inputs();
    described.set_input(static_cast<uint32_t>(input.input));
    for (int column : input.key_columns) described.add_key_columns(static_cast<uint32_t>(column));
    for (const Field& field : input.columns->fields()) {
      v1::Field& column = *described.mutable_columns()->add_fields();
      column.set_name(field.name);
      field.type.ToProto(column.mutable_type());
    }
  }
  return out;
}

absl::StatusOr<v1::Segment> WriteInFlight(CheckpointStorage& storage, const v1::Segment& identity,
                                          const InFlight& rows) {
  MILLRACE_FAILPOINT("in_flight.before_write");
  MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<SegmentWriter> writer,
                            SegmentWriter::Create(storage, identity));
  std::string record;
  for (const auto& [input, batch] : rows.batches) {
    const EncodedBatch encoded = EncodeBatch(batch);
    record.clear();
    AppendLittleEndian(uint64_t{input}, record);
    record += encoded.head;
    for (const BufferPtr& buffer : encoded.body) record += buffer->view();
    MILLRACE_RETURN_IF_ERROR(writer->Append(record));
  }
  return writer->Publish();
}

absl::StatusOr<InFlight> ReadInFlight(CheckpointStorage& storage, const v1::InFlightRows& rows,
                                      const std::vector<KeyedInput>& inputs,
                                      KeyGroupRange key_groups, uint32_t max_parallelism) {
  MILLRACE_FAILPOINT("in_flight.before_read");
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<size_t> matches, MatchInputs(rows, inputs));
  InFlight own{.watermark = EventTime{rows.watermark_us()}};
  uint64_t count = 0;
  MILLRACE_RETURN_IF_ERROR(
      ReadSegment(storage, rows.segment(), [&](std::string_view record) -> absl::Status {
        const auto input = record.size() < kRecordHeadBytes
                               ? ~uint64_t{0}
                               : ReadLittleEndian<uint64_t>(record.data());
        if (input >= matches.size()) return absl::DataLossError("a record names no input");
        const KeyedInput& of = inputs[matches[input]];
        MILLRACE_ASSIGN_OR_RETURN(
            Batch batch, DecodeBatch(of.columns, Buffer::CopyOf(record), kRecordHeadBytes));
        count += static_cast<uint64_t>(batch.rows());
        batch = RowsOf(std::move(batch), of, key_groups, max_parallelism);
        if (batch.rows() > 0) own.batches.emplace_back(matches[input], std::move(batch));
        return absl::OkStatus();
      }));
  if (count != rows.rows()) {
    return absl::DataLossError(absl::StrCat("segment ", rows.segment().name(), " has ", count,
                                            " rows, and the manifest says ", rows.rows()));
  }
  return own;
}

}  // namespace millrace
