// Collects the changes that an operator emits, and hands them over in batches of bounded size.
//
// Threading: the task thread.
#pragma once

#include <utility>

#include "runtime/columns/batch.h"
#include "runtime/task/emitter.h"

namespace millrace {

class ChangeBuilder {
 public:
  ChangeBuilder(const SchemaPtr& schema, Emitter& out) : builder_(schema), out_(out) {}

  // The builder of a row; Add ends it.
  BatchBuilder& row() { return builder_; }
  void Add(RowKind kind) {
    builder_.SetKind(kind);
    // The rows of an update stay together.
    if (builder_.rows() >= kRowsMax && kind != RowKind::kUpdateBefore) Flush();
  }
  void Flush() {
    if (builder_.rows() > 0) out_.Emit(builder_.Finish());
  }

 private:
  static constexpr int64_t kRowsMax = 4096;

  BatchBuilder builder_;
  Emitter& out_;
};

}  // namespace millrace
