// What the task needs from operators/ without including it: how to make the body of a node.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/task/operator.h"
#include "runtime/task/sink.h"
#include "runtime/task/source.h"

namespace millrace {

// Threading: every method, from any thread; the tables behind it are constant.
class NodeFactory {
 public:
  virtual ~NodeFactory() = default;
  virtual absl::StatusOr<std::unique_ptr<Operator>> MakeOperator(const v1::Node& node) const = 0;
  virtual absl::StatusOr<std::unique_ptr<Source>> MakeSource(const v1::Node& node) const = 0;
  virtual absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDiscovery(const v1::Node& node,
                                                                        Env& env) const = 0;
  virtual absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const v1::Node& node) const = 0;
  // The operator keeps keyed state: it gets a StateStore.
  virtual bool IsStateful(const v1::Node& node) const = 0;
  // The node's client blocks: its task needs a thread of its own.
  virtual bool IsBlocking(const v1::Node& node) const = 0;
};

}  // namespace millrace
