// Where an operator or source puts its output rows.
#pragma once

#include "runtime/columns/batch.h"

namespace millrace {

// Numbers are those of proto OutputPort.
enum class OutputPort { kMain = 1, kLate = 2, kDeadLetter = 3 };

// Threading: the task thread only. Borrowed for the duration of one call.
class Emitter {
 public:
  virtual ~Emitter() = default;
  // Hands `batch` to whatever follows. Empty batches are dropped. The limit is soft: a call on a
  // bounded batch may overfill.
  virtual void Emit(OutputPort port, Batch batch) = 0;
  void Emit(Batch batch) { Emit(OutputPort::kMain, std::move(batch)); }
  // True when the caller should stop as soon as it can: output waits for credit.
  virtual bool full() const = 0;
};

}  // namespace millrace
