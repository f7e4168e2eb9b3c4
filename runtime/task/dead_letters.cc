#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "runtime/columns/json_text.h"
#include "runtime/expressions/expression.h"
#include "runtime/task/counters.h"
#include "runtime/task/dead_letters.h"
#include "runtime/task/operator.h"

namespace millrace {
namespace {

std::string ColumnNames(const Schema& schema) {
  std::string names;
  for (const Field& field : schema.fields()) {
    if (!names.empty()) names += ", ";
    names += field.name;
  }
  return names;
}

void AppendBytes(const std::optional<std::string_view>& bytes, ColumnBuilder& out) {
  if (bytes) {
    out.AppendString(*bytes);
  } else {
    out.AppendNull();
  }
}

}  // namespace

void CountDeadLetters(OperatorCounters& counters, std::string_view code, uint64_t rows) {
  counters.rows_dead_lettered.Add(rows);
  counters.metrics
      .Counter("millrace_dlq_records_total", "Records sent to the dead-letter output, by reason.",
               {{"reason", std::string(code)}})
      .Add(static_cast<double>(rows));
}

void AppendDeadLetter(const DeadLetter& letter, BatchBuilder& letters) {
  letters.column(0).AppendString(letter.uid);
  const RowOrigin* const origin = letter.origin ? &*letter.origin : nullptr;
  if (origin != nullptr) {
    letters.column(1).AppendString(origin->source);
    letters.column(3).AppendInt64(origin->offset);
  } else {
    letters.column(1).AppendNull();
    letters.column(3).AppendNull();
  }
  if (origin != nullptr && origin->partition) {
    letters.column(2).AppendInt32(*origin->partition);
  } else {
    letters.column(2).AppendNull();
  }
  letters.column(4).AppendInt64(letter.time_us);
  letters.column(5).AppendString(letter.code);
  letters.column(6).AppendString(letter.error);
  AppendBytes(origin != nullptr ? origin->key : std::nullopt, letters.column(7));
  AppendBytes(origin != nullptr ? origin->value : letter.row, letters.column(8));
  AppendBytes(origin != nullptr ? std::nullopt : letter.columns, letters.column(9));
}

Batch DeadLetterRows(std::string_view uid, std::string_view code, const Batch& batch,
                     const RowErrors& errors, OperatorCounters& counters, Clock& clock,
                     Emitter& out) {
  if (errors.empty()) return batch;
  const int64_t now_us = absl::ToUnixMicros(clock.Now());
  const std::string names = ColumnNames(*batch.schema());
  BatchBuilder letters(DeadLetterSchema(), static_cast<int64_t>(errors.entries.size()));
  std::vector<bool> bad(static_cast<size_t>(batch.rows()), false);
  for (const RowErrors::Entry& entry : errors.entries) {
    if (bad[static_cast<size_t>(entry.row)]) continue;
    bad[static_cast<size_t>(entry.row)] = true;
    DeadLetter letter{.uid = uid,
                      .time_us = now_us,
                      .code = code,
                      .error = entry.message,
                      .origin = batch.OriginOf(entry.row)};
    std::string row;
    if (!letter.origin) {  // The bytes it came from are no longer there.
      row = RowAsJson(batch, entry.row);
      letter.row = row;
      letter.columns = names;
    }
    AppendDeadLetter(letter, letters);
  }
  CountDeadLetters(counters, code, static_cast<uint64_t>(letters.rows()));
  out.Emit(OutputPort::kDeadLetter, letters.Finish());
  std::vector<int32_t> good;
  for (int32_t row = 0; row < batch.rows(); ++row) {
    if (!bad[static_cast<size_t>(row)]) good.push_back(row);
  }
  return Take(batch, good);
}

}  // namespace millrace
