#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "runtime/expressions/expression.h"
#include "runtime/task/counters.h"
#include "runtime/task/operator.h"

namespace millrace {

void CountDeadLetters(OperatorCounters& counters, std::string_view code, uint64_t rows) {
  counters.rows_dead_lettered.Add(rows);
  counters.metrics
      .Counter("millrace_dlq_records_total", "Records sent to the dead-letter output, by reason.",
               {{"reason", std::string(code)}})
      .Add(static_cast<double>(rows));
}

Batch DeadLetterRows(std::string_view uid, std::string_view code, const Batch& batch,
                     const RowErrors& errors, OperatorCounters& counters, Clock& clock,
                     Emitter& out) {
  if (errors.empty()) return batch;
  const int64_t now_us = absl::ToUnixMicros(clock.Now());
  BatchBuilder letters(DeadLetterSchema(), static_cast<int64_t>(errors.entries.size()));
  std::vector<bool> bad(static_cast<size_t>(batch.rows()), false);
  for (const RowErrors::Entry& entry : errors.entries) {
    if (bad[static_cast<size_t>(entry.row)]) continue;
    bad[static_cast<size_t>(entry.row)] = true;
    std::string raw;  // The row as text: the bytes it came from are no longer there.
    for (int c = 0; c < batch.column_count(); ++c) {
      if (c > 0) raw += ", ";
      raw += batch.schema()->field(c).name;
      raw += '=';
      raw += ValueText(batch.column(c), entry.row);
    }
    letters.column(0).AppendString(uid);
    letters.column(1).AppendNull();
    letters.column(2).AppendNull();
    letters.column(3).AppendNull();
    letters.column(4).AppendInt64(now_us);
    letters.column(5).AppendString(code);
    letters.column(6).AppendString(entry.message);
    letters.column(7).AppendNull();
    letters.column(8).AppendString(raw);
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
