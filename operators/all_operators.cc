#include "operators/all_operators.h"

#include "absl/strings/str_cat.h"
#include "millrace/v1/graph.pb.h"
#include "operators/catalog/catalog.h"
#include "operators/changelog/changelog.h"
#include "operators/connectors/connector.h"
#include "operators/connectors/source_table.h"
#include "operators/inference/inference.h"
#include "operators/joins/joins.h"
#include "operators/node_secrets.h"
#include "operators/over/over.h"
#include "operators/ranking/ranking.h"
#include "operators/relational/relational.h"
#include "operators/udf/python_call.h"
#include "operators/windows/windows.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

std::unique_ptr<Operator> MakeWindow(const v1::Node& node) {
  return node.window_aggregate().window().kind() == v1::Window::KIND_SESSION ? MakeSessionWindow()
                                                                             : MakePaneWindow();
}

struct OperatorEntry {
  v1::Node::BodyCase body;
  std::unique_ptr<Operator> (*make)(const v1::Node& node);
  bool stateful = false;
};

// In the order of the cases in graph.proto.
constexpr OperatorEntry kOperators[] = {
    {.body = v1::Node::kFilter, .make = [](const v1::Node&) { return MakeFilter(); }},
    {.body = v1::Node::kProject, .make = [](const v1::Node&) { return MakeProject(); }},
    {.body = v1::Node::kWatermark, .make = [](const v1::Node&) { return MakeWatermark(); }},
    {.body = v1::Node::kWindowAggregate, .make = &MakeWindow, .stateful = true},
    {.body = v1::Node::kWindowTopN,
     .make = [](const v1::Node&) { return MakeWindowTopN(); },
     .stateful = true},
    {.body = v1::Node::kNormalize,
     .make = [](const v1::Node&) { return MakeNormalize(); },
     .stateful = true},
    {.body = v1::Node::kGroupAggregate,
     .make = [](const v1::Node&) { return MakeGroupAggregate(); },
     .stateful = true},
    {.body = v1::Node::kJoin, .make = [](const v1::Node&) { return MakeJoin(); }, .stateful = true},
    {.body = v1::Node::kInference,
     .make = [](const v1::Node&) { return MakeInference(); },
     .stateful = true},
    {.body = v1::Node::kTopN, .make = [](const v1::Node&) { return MakeTopN(); }, .stateful = true},
    {.body = v1::Node::kProcessingTime,
     .make = [](const v1::Node&) { return MakeProcessingTime(); }},
    {.body = v1::Node::kTemporalJoin,
     .make = [](const v1::Node&) { return MakeTemporalJoin(); },
     .stateful = true},
    {.body = v1::Node::kOverAggregate,
     .make = [](const v1::Node&) { return MakeOverAggregate(); },
     .stateful = true},
    {.body = v1::Node::kOverValues,
     .make = [](const v1::Node&) { return MakeOverValues(); },
     .stateful = true},
    {.body = v1::Node::kResolveConflicts,
     .make = [](const v1::Node&) { return MakeResolveConflicts(); },
     .stateful = true},
    {.body = v1::Node::kAssignWindows, .make = [](const v1::Node&) { return MakeAssignWindows(); }},
    {.body = v1::Node::kUnnest, .make = [](const v1::Node&) { return MakeUnnest(); }},
};

const OperatorEntry* FindOperator(v1::Node::BodyCase body) {
  for (const OperatorEntry& entry : kOperators) {
    if (entry.body == body) return &entry;
  }
  return nullptr;
}

class NoSecrets final : public SecretStore {
 public:
  absl::StatusOr<Secret> Get(std::string_view name) const override {
    return absl::FailedPreconditionError(
        absl::StrCat("secret '", std::string(name), "' is not there: this process has none"));
  }
};

class NodeTable : public NodeFactory {
 public:
  NodeTable(const SecretStore& secrets, PythonSettings python)
      : secrets_(secrets), python_(std::move(python)) {}

  absl::StatusOr<std::unique_ptr<Operator>> MakeOperator(const v1::Node& node) const override {
    if (node.has_lookup_join()) return MakeLookup(node);
    if (node.has_python_call()) return MakePythonCall(python_);
    const OperatorEntry* entry = FindOperator(node.body_case());
    if (entry == nullptr) {
      return absl::UnimplementedError(absl::StrCat(
          "this worker does not know the operator of node ", node.uid(), "; is it too old?"));
    }
    return entry->make(node);
  }

  absl::StatusOr<std::unique_ptr<Source>> MakeSource(const v1::Node& node) const override {
    MILLRACE_ASSIGN_OR_RETURN(const Connector* connector, FindConnector(node.source().connector()));
    if (connector->make_source == nullptr) return CannotBe(node.source().connector(), "source");
    return WithSecrets(node, connector->make_source);
  }

  absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDiscovery(const v1::Node& node,
                                                                Env& env) const override {
    MILLRACE_ASSIGN_OR_RETURN(const Connector* connector, FindConnector(node.source().connector()));
    if (connector->make_discovery == nullptr) return CannotBe(node.source().connector(), "source");
    return WithSecrets(
        node, [&](const v1::Node& readable) { return connector->make_discovery(readable, env); });
  }

  absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const v1::Node& node) const override {
    MILLRACE_ASSIGN_OR_RETURN(const Connector* connector, FindConnector(node.sink().connector()));
    if (connector->make_sink == nullptr) return CannotBe(node.sink().connector(), "sink");
    return WithSecrets(node, connector->make_sink);
  }

  bool IsStateful(const v1::Node& node) const override {
    const OperatorEntry* entry = FindOperator(node.body_case());
    return entry != nullptr && entry->stateful;
  }

  bool IsBlocking(const v1::Node& node) const override {
    if (!node.has_source() && !node.has_sink()) return false;
    const auto connector =
        FindConnector(node.has_source() ? node.source().connector() : node.sink().connector());
    return connector.ok() && (*connector)->blocking;
  }

 private:
  absl::StatusOr<std::unique_ptr<Operator>> MakeLookup(const v1::Node& node) const {
    const v1::LookupJoin& join = node.lookup_join();
    v1::Node table;
    table.set_uid(node.uid());
    *table.mutable_source() = join.table();
    *table.mutable_schema() = join.table_schema();
    MILLRACE_ASSIGN_OR_RETURN(const Connector* connector, FindConnector(join.table().connector()));
    if (connector->make_lookup != nullptr) {
      MILLRACE_ASSIGN_OR_RETURN(auto made, WithSecrets(table, connector->make_lookup));
      return MakeLookupJoin(std::move(made));
    }
    auto& options = *table.mutable_source()->mutable_options();
    for (const OptionSpec& spec : LookupOptions()) options.erase(std::string(spec.name));
    return MakeLookupJoin(MakeSourceTable(
        {.node = table,
         .make_source = [this, table] { return MakeSource(table); },
         .make_discovery = [this, table](Env& env) { return MakeDiscovery(table, env); }}));
  }
  static absl::Status CannotBe(const std::string& connector, const char* role) {
    return absl::InvalidArgumentError(
        absl::StrCat("connector '", connector, "' cannot be a ", role));
  }
  template <typename Make>
  auto WithSecrets(const v1::Node& node, const Make& make) const -> decltype(make(node)) {
    MILLRACE_ASSIGN_OR_RETURN(const NodeWithSecrets readable,
                              NodeWithSecrets::Make(node, secrets_));
    auto made = make(readable.node());
    if (!made.ok()) return readable.Redact(made.status());
    return made;
  }

  const SecretStore& secrets_;
  const PythonSettings python_;
};

}  // namespace

const NodeFactory& AllNodes() {
  static const NodeTable* const table = new NodeTable(*new NoSecrets, {});
  return *table;
}

std::unique_ptr<NodeFactory> AllNodesWith(const SecretStore& secrets, PythonSettings python) {
  return std::make_unique<NodeTable>(secrets, std::move(python));
}

absl::StatusOr<std::vector<std::string>> CleanSource(const v1::Node& node,
                                                     const SecretStore& secrets) {
  MILLRACE_ASSIGN_OR_RETURN(const Connector* connector, FindConnector(node.source().connector()));
  if (connector->clean == nullptr) return std::vector<std::string>();
  MILLRACE_ASSIGN_OR_RETURN(const NodeWithSecrets readable, NodeWithSecrets::Make(node, secrets));
  auto removed = connector->clean(readable.node());
  if (!removed.ok()) return readable.Redact(removed.status());
  return removed;
}

}  // namespace millrace
