// The time at which rows pass.
#include <algorithm>

#include "runtime/base/text.h"
#include "sql/node_compiler.h"
#include "sql/type_names.h"

namespace millrace {
namespace {

std::optional<StreamFacts> CompileProcessingTime(const NodeContext& context) {
  v1::ProcessingTime& body = *context.node.mutable_processing_time();
  if (body.name().empty()) {
    context.Error("MR1414", ".processing_time.name", "the column has no name",
                  "write for example processing_time: {name: received_at}");
    return std::nullopt;
  }
  StreamFacts out = *context.input;
  const auto& fields = out.schema.fields();
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const v1::Field& one) { return one.name() == body.name(); });
  if (found == fields.end()) {
    v1::Type timestamp;
    timestamp.set_kind(v1::Type::KIND_TIMESTAMP);
    timestamp.set_precision(3);
    if (body.id() == 0) body.set_id(LargestId(out.schema) + 1);
    AddField(out.schema, body.id(), body.name(), timestamp, true);
  } else if (found->type().kind() == v1::Type::KIND_TIMESTAMP) {
    body.set_id(found->id());
  } else {
    context.Error(
        "MR1403", ".processing_time.name",
        Concat("column '", body.name(), "' is ", TypeText(found->type()), ", not a TIMESTAMP"),
        "choose a name that is not taken");
    return std::nullopt;
  }
  out.event_times.erase(body.id());
  out.window_ends.erase(body.id());
  out.processing_times.insert(body.id());
  if (body.gives_watermark()) {
    out.event_times = {body.id()};
    out.window_ends.clear();
    out.has_watermark = true;
    out.chain_source.clear();
  }
  return out;
}

}  // namespace

const NodeKind kProcessingTimeNode = {
    .body = v1::Node::kProcessingTime,
    .name = "processing time",
    .compile = &CompileProcessingTime,
    .text =
        [](const v1::Node& node, const v1::Schema&) {
          const v1::ProcessingTime& body = node.processing_time();
          return Concat("processing time AS ", body.name(),
                        body.gives_watermark() ? ", watermark by the clock" : "");
        },
    .reads = [](const v1::Node&, FieldIds&) {},
    .passes_columns = true,
    .adds = [](const v1::Node& node, FieldIds& out) { out.insert(node.processing_time().id()); },
};

}  // namespace millrace
