// The windows of each row, without an aggregate.
#include "runtime/base/text.h"
#include "sql/node_compiler.h"

namespace millrace {
namespace {

std::optional<StreamFacts> CompileAssignWindows(const NodeContext& context) {
  v1::AssignWindows& body = *context.node.mutable_assign_windows();
  const std::string at = ".assign_windows.window";
  if (!CompileWindow(context, at, *body.mutable_window())) return std::nullopt;
  const v1::Window::Kind kind = body.window().kind();
  if (kind == v1::Window::KIND_SESSION || kind == v1::Window::KIND_ATTACHED) {
    context.Error("MR1406", at,
                  kind == v1::Window::KIND_SESSION
                      ? "the session of a row is not known before it ends"
                      : "the rows have a window already",
                  "windows that can be assigned: tumble, hop, cumulate");
    return std::nullopt;
  }
  StreamFacts out = *context.input;
  v1::Type timestamp = FieldById(out.schema, body.window().time().ids(0))->type();
  if (body.window_start_name().empty()) body.set_window_start_name("window_start");
  if (body.window_end_name().empty()) body.set_window_end_name("window_end");
  if (body.window_start_id() == 0) body.set_window_start_id(LargestId(out.schema) + 1);
  AddField(out.schema, body.window_start_id(), body.window_start_name(), timestamp, true);
  if (body.window_end_id() == 0) body.set_window_end_id(LargestId(out.schema) + 1);
  AddField(out.schema, body.window_end_id(), body.window_end_name(), timestamp, true);
  if (!CheckNames(context, ".assign_windows", out.schema)) return std::nullopt;
  out.window_ends.insert(body.window_end_id());
  out.chain_source.clear();
  // Of HOP and CUMULATE a row comes more than once, each time with another window.
  if (!out.key.empty() && kind != v1::Window::KIND_TUMBLE) out.key.push_back(body.window_end_id());
  return out;
}

}  // namespace

const NodeKind kAssignWindowsNode = {
    .body = v1::Node::kAssignWindows,
    .name = "assign windows",
    .compile = &CompileAssignWindows,
    .text =
        [](const v1::Node& node, const v1::Schema& input) {
          return Concat("assign windows ", WindowText(node.assign_windows().window(), input));
        },
    .reads = [](const v1::Node& node,
                FieldIds& out) { AddFields(node.assign_windows().window().time(), out); },
    .passes_columns = true,
    .adds =
        [](const v1::Node& node, FieldIds& out) {
          out.insert(node.assign_windows().window_start_id());
          out.insert(node.assign_windows().window_end_id());
        },
    .has_late_output = true,
};

}  // namespace millrace
