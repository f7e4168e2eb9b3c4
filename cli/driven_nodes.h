// Sources and sinks of a job under test: rows come from the driver and go to it, whatever the
// connectors of the job are. Everything else is what it is on a worker.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "millrace/v1/job_service.pb.h"
#include "runtime/base/ids.h"
#include "runtime/task/node_factory.h"

namespace millrace {

// What the driver and the nodes have in common, by uid.
struct DrivenRows {
  struct Input {
    std::deque<std::string> rows;  // JSON objects that wait.
    bool ended = false;
    // Of the rows that could not be read since the driver looked last: what is wrong.
    std::vector<std::string> problems;
  };
  std::map<std::string, Input> inputs;            // Of sources.
  std::map<std::string, EventTime> watermarks;    // Of watermark nodes: at least.
  std::map<std::string, v1::TailedRows> outputs;  // Of sinks.
};

class DrivenNodes : public NodeFactory {
 public:
  // Both outlive this.
  DrivenNodes(const NodeFactory& nodes, DrivenRows& rows) : nodes_(nodes), rows_(rows) {}

  absl::StatusOr<std::unique_ptr<Operator>> MakeOperator(const v1::Node& node) const override;
  absl::StatusOr<std::unique_ptr<Source>> MakeSource(const v1::Node& node) const override;
  absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDiscovery(const v1::Node& node,
                                                                Env& env) const override;
  absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const v1::Node& node) const override;
  bool IsStateful(const v1::Node& node) const override { return nodes_.IsStateful(node); }
  bool IsBlocking(const v1::Node&) const override { return false; }

 private:
  const NodeFactory& nodes_;
  DrivenRows& rows_;
};

}  // namespace millrace
