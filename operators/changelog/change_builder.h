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
  // `inserts_only`: the rows of an append-only edge, which have no kinds.
  ChangeBuilder(const SchemaPtr& schema, Emitter& out, bool inserts_only = false)
      : builder_(schema), out_(out), inserts_only_(inserts_only) {}

  // The builder of a row; Add ends it.
  BatchBuilder& row() { return builder_; }
  void Add(RowKind kind) {
    if (!inserts_only_) builder_.SetKind(kind);
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
  const bool inserts_only_;
};

}  // namespace millrace
