#include "sql/graph_loader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/escaping.h"
#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"
#include "sql/diagnostics.h"
#include "sql/graph_shorthand.h"
#include "sql/node_kinds.h"
#include "sql/sql_text.h"
#include "sql/variables.h"

namespace millrace {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A scalar with its variables replaced.
struct Scalar {
  std::string text;
  std::string path;
};

// An entry of `inputs`; the edge is made when all uids are known.
struct Input {
  int to_node;
  uint32_t position;  // In the list.
  Scalar from;
};

class YamlReader {
 public:
  YamlReader(std::string_view source, const Variables& variables, SourcePositions& positions,
             Diagnostics& diagnostics)
      : source_(source), variables_(variables), positions_(positions), diagnostics_(diagnostics) {}

  void ReadGraph(const YAML::Node& root, v1::JobGraph& graph) {
    ReadMessage(root, graph, "");
    for (const Input& input : inputs_) AddEdge(input, graph);
  }

 private:
  void Error(std::string code, const std::string& path, std::string message,
             std::string hint = "") {
    diagnostics_.Error(std::move(code), "", path, std::move(message), std::move(hint));
  }

  // Notes where `node` stands. False: the file has too many values.
  bool Enter(const YAML::Node& node, const std::string& path) {
    if (values_ == kGraphValuesMax) Error("MR1006", path, "the file has too many values");
    if (++values_ > kGraphValuesMax) return false;
    const YAML::Mark mark = node.Mark();
    if (mark.is_null()) return true;
    SourcePositions::Entry entry;
    entry.begin = {static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
    const auto at = static_cast<size_t>(mark.pos);
    if (node.IsScalar() && at < source_.size()) {
      const std::string& text = node.Scalar();
      if (source_.substr(at, text.size()) == text) {
        entry.text_begin = entry.begin;
      } else if (source_.substr(at + 1, text.size()) == text) {
        entry.text_begin = {entry.begin.line, entry.begin.column + 1};
      } else if (source_[at] == '|') {
        const size_t line = std::min(source_.find('\n', at), source_.size() - 1) + 1;
        const size_t first = source_.find_first_not_of(' ', line);
        if (first != std::string_view::npos) {
          entry.block_indent = static_cast<uint32_t>(first - line);
        }
      }
    }
    positions_.Add(path, entry);
    return true;
  }

  std::optional<Scalar> ReadScalar(const YAML::Node& node, const std::string& path) {
    if (!node.IsScalar()) {
      Error("MR1003", path, node.IsNull() ? "a value is missing" : "expected a single value");
      return std::nullopt;
    }
    Scalar scalar{.text = {}, .path = path};
    SqlProblem problem;
    if (!ReplaceVariables(node.Scalar(), variables_, &scalar.text, &problem)) {
      diagnostics_.Error(problem, "", path, node.Scalar());
      return std::nullopt;
    }
    // Places within a text that has been replaced are not places of the file.
    if (scalar.text != node.Scalar()) {
      const TextPosition begin = positions_.Find(path);
      positions_.Add(path, {.begin = begin});
    }
    return scalar;
  }

  // ---- messages ----

  void ReadMessage(const YAML::Node& node, Message& message, const std::string& path) {
    if (!Enter(node, path) || node.IsNull()) return;
    if (node.IsScalar()) return ReadText(node, message, path);
    if (node.IsSequence()) return ReadSequenceForm(node, message, path);
    std::set<const FieldDescriptor*> seen;
    const FieldDescriptor* body = nullptr;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        Error("MR1003", path, "the name of a field must be plain text");
        continue;
      }
      ReadEntry(entry.first, entry.second, message, path, seen, body);
    }
  }

  void ReadEntry(const YAML::Node& key, const YAML::Node& value, Message& message,
                 const std::string& path, std::set<const FieldDescriptor*>& seen,
                 const FieldDescriptor*& oneof_field) {
    const std::string& name = key.Scalar();
    const Descriptor& type = *message.GetDescriptor();
    const std::string prefix = path.empty() ? "" : path + ".";
    if (&type == v1::Node::descriptor() && (name == "inputs" || name == "input")) {
      return ReadInputs(value, prefix + name);
    }
    bool with_unit = false;
    const FieldDescriptor* field = FindField(type, name, &with_unit);
    const std::string field_path = prefix + (field == nullptr ? name : field->name());
    if (field == nullptr) {
      Enter(key, field_path);
      return UnknownField(type, name, field_path);
    }
    if (!seen.insert(field).second) {
      Enter(key, field_path);
      return Error("MR1004", field_path, Concat("field '", name, "' is given twice"));
    }
    if (field->real_containing_oneof() != nullptr) {
      if (oneof_field != nullptr) {
        Enter(key, field_path);
        return Error(
            "MR1007", field_path,
            Concat("'", name, "' and '", oneof_field->name(), "' exclude each other"),
            &type == v1::Node::descriptor() ? "a node does one thing; write two nodes" : "");
      }
      oneof_field = field;
    }
    if (field->is_map()) {
      ReadMap(value, message, *field, field_path);
    } else if (field->is_repeated()) {
      ReadRepeated(value, message, *field, field_path);
    } else if (field->message_type() != nullptr) {
      ReadMessage(value, *message.GetReflection()->MutableMessage(&message, field), field_path);
    } else {
      ReadValue(value, message, *field, field_path, with_unit);
    }
  }

  // By its name, its lowerCamelCase name, or without the _ms at its end (`with_unit`).
  static const FieldDescriptor* FindField(const Descriptor& type, const std::string& name,
                                          bool* with_unit) {
    const FieldDescriptor* field = type.FindFieldByName(name);
    if (field == nullptr) field = type.FindFieldByCamelcaseName(name);
    if (field != nullptr) return field;
    *with_unit = true;
    field = type.FindFieldByName(name + "_ms");
    return field != nullptr ? field : type.FindFieldByCamelcaseName(name + "Ms");
  }

  void UnknownField(const Descriptor& type, const std::string& name, const std::string& path) {
    std::vector<std::string> known;
    for (int i = 0; i < type.field_count(); ++i) {
      std::string field = type.field(i)->name();
      if (field.ends_with("_ms")) field.resize(field.size() - 3);
      known.push_back(std::move(field));
    }
    if (&type == v1::Node::descriptor()) known.push_back("inputs");
    const std::vector<std::string_view> names(known.begin(), known.end());
    const std::string_view nearest = NearestName(name, names);
    Error("MR1002", path, Concat("field '", name, "' is unknown"),
          nearest.empty() ? Concat("fields here: ", Join(known, ", "))
                          : Concat("did you mean '", nearest, "'?"));
  }

  // A message written as one line of text.
  void ReadText(const YAML::Node& node, Message& message, const std::string& path) {
    std::string_view form;
    if (!HasTextForm(message, &form)) {
      return Error(
          "MR1003", path, "expected fields, found a single value",
          Concat("write 'name: value' lines for the fields of ", message.GetDescriptor()->name()));
    }
    const std::optional<Scalar> scalar = ReadScalar(node, path);
    SqlProblem problem;
    if (!TextFormPath(message).empty())
      positions_.AddAlias(path, Concat(path, TextFormPath(message)));
    if (scalar && !ReadTextForm(scalar->text, message, &problem)) {
      diagnostics_.Error(problem, "", path, scalar->text);
    }
  }

  // Messages that are little more than a list: columns of a schema, names of columns.
  void ReadSequenceForm(const YAML::Node& node, Message& message, const std::string& path) {
    const char* list = message.GetDescriptor() == v1::Schema::descriptor()    ? "fields"
                       : message.GetDescriptor() == v1::Fields::descriptor()  ? "names"
                       : message.GetDescriptor() == v1::Project::descriptor() ? "columns"
                                                                              : nullptr;
    if (list == nullptr) {
      return Error("MR1003", path, "expected fields, found a list");
    }
    ReadRepeated(node, message, *message.GetDescriptor()->FindFieldByName(list),
                 Concat(path, ".", list));
  }

  void ReadRepeated(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                    const std::string& path) {
    if (!Enter(node, path) || node.IsNull()) return;
    int index = 0;
    if (node.IsSequence()) {
      for (const YAML::Node& item : node) ReadItem(item, message, field, path, index++);
      return;
    }
    // One value stands for a list of one where it cannot be anything else.
    std::string_view form;
    const bool plain = field.message_type() == nullptr ||
                       HasTextForm(*MessagePrototype(*field.message_type()), &form);
    if (node.IsScalar() && plain) return ReadItem(node, message, field, path, 0);
    Error("MR1003", path, Concat("'", field.name(), "' is a list"),
          "write its values as '- value' lines");
  }

  static const Message* MessagePrototype(const Descriptor& type) {
    return google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type);
  }

  void ReadItem(const YAML::Node& item, Message& message, const FieldDescriptor& field,
                const std::string& path, int index) {
    const std::string item_path = Concat(path, "[", index, "]");
    if (field.message_type() == nullptr) return ReadValue(item, message, field, item_path, false);
    if (field.message_type() == v1::Node::descriptor()) node_ = index;
    ReadMessage(item, *message.GetReflection()->AddMessage(&message, &field), item_path);
  }

  void ReadMap(const YAML::Node& node, Message& message, const FieldDescriptor& field,
               const std::string& path) {
    if (!Enter(node, path) || node.IsNull()) return;
    if (!node.IsMap()) {
      return Error("MR1003", path, Concat("'", field.name(), "' are 'name: value' lines"));
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      const std::string entry_path = Concat(path, "['", name, "']");
      if (!Enter(entry.second.IsNull() ? entry.first : entry.second, entry_path)) return;
      if (!seen.insert(name).second) {
        Error("MR1004", entry_path, Concat("'", name, "' is given twice"));
        continue;
      }
      const std::optional<Scalar> value = ReadScalar(entry.second, entry_path);
      if (!value) continue;
      Message* pair = message.GetReflection()->AddMessage(&message, &field);
      const Descriptor& type = *pair->GetDescriptor();
      pair->GetReflection()->SetString(pair, type.FindFieldByName("key"), name);
      pair->GetReflection()->SetString(pair, type.FindFieldByName("value"), value->text);
    }
  }

  // ---- single values ----

  void ReadValue(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                 const std::string& path, bool with_unit) {
    if (!Enter(node, path)) return;
    const std::optional<Scalar> scalar = ReadScalar(node, path);
    if (!scalar) return;
    const std::string& text = scalar->text;
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return SetString(message, field, *scalar);
      case FieldDescriptor::CPPTYPE_BOOL:
        if (text != "true" && text != "false") {
          return Error("MR1003", path, Concat("expected true or false, found '", text, "'"));
        }
        return message.GetReflection()->SetBool(&message, &field, text == "true");
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double value = 0;
        if (!ParseNumber(text, value)) {
          return Error("MR1003", path, Concat("expected a number, found '", text, "'"));
        }
        if (field.is_repeated()) {
          return message.GetReflection()->AddDouble(&message, &field, value);
        }
        return message.GetReflection()->SetDouble(&message, &field, value);
      }
      case FieldDescriptor::CPPTYPE_ENUM:
        return SetEnum(message, field, *scalar);
      default:
        return SetWhole(message, field, *scalar, with_unit);
    }
  }

  void SetString(Message& message, const FieldDescriptor& field, const Scalar& scalar) {
    std::string value = scalar.text;
    if (field.type() == FieldDescriptor::TYPE_BYTES && !absl::Base64Unescape(scalar.text, &value)) {
      return Error("MR1003", scalar.path, "expected bytes in base64");
    }
    if (field.is_repeated()) {
      message.GetReflection()->AddString(&message, &field, value);
    } else {
      message.GetReflection()->SetString(&message, &field, value);
    }
  }

  void SetEnum(Message& message, const FieldDescriptor& field, const Scalar& scalar) {
    const EnumDescriptor& type = *field.enum_type();
    std::string wanted = UpperText(scalar.text);
    for (char& c : wanted) c = c == '-' ? '_' : c;
    const std::string& zero = type.value(0)->name();
    const std::string prefix = zero.substr(0, zero.size() - std::string("UNSPECIFIED").size());
    const EnumValueDescriptor* value = type.FindValueByName(wanted);
    if (value == nullptr) value = type.FindValueByName(prefix + wanted);
    if (value != nullptr) return message.GetReflection()->SetEnum(&message, &field, value);
    std::vector<std::string> known;
    for (int i = 1; i < type.value_count(); ++i) {
      std::string name = LowerAscii(type.value(i)->name().substr(prefix.size()));
      for (char& c : name) c = c == '_' ? '-' : c;
      known.push_back(std::move(name));
    }
    const std::vector<std::string_view> names(known.begin(), known.end());
    const std::string_view nearest = NearestName(LowerAscii(scalar.text), names);
    Error("MR1003", scalar.path, Concat("'", scalar.text, "' is no value of '", field.name(), "'"),
          Concat(nearest.empty() ? "" : Concat("did you mean '", nearest, "'? "),
                 "values: ", Join(known, ", ")));
  }

  void SetWhole(Message& message, const FieldDescriptor& field, const Scalar& scalar,
                bool with_unit) {
    int64_t value = 0;
    const bool is_duration = field.name().ends_with("_ms");
    const bool is_number = ParseNumber(scalar.text, value);
    const bool negative = scalar.text.starts_with("-");
    if (is_duration && !is_number) {
      const auto duration = ParseDuration(std::string_view(scalar.text).substr(negative ? 1 : 0));
      if (!duration.ok()) {
        return Error("MR1003", scalar.path,
                     Concat("expected a length of time, found '", scalar.text, "'"),
                     "write for example 500ms, 10s, 5 min, 1h");
      }
      value = absl::ToInt64Milliseconds(*duration) * (negative ? -1 : 1);
    } else if (!is_number) {
      return Error("MR1003", scalar.path,
                   Concat("expected a whole number, found '", scalar.text, "'"));
    } else if (is_duration && with_unit && value != 0) {
      return Error("MR1003", scalar.path, Concat("the unit of '", scalar.text, "' is missing"),
                   "write for example 500ms, 10s, 5 min, 1h");
    }
    SetNumber(message, field, scalar, value);
  }

  void SetNumber(Message& message, const FieldDescriptor& field, const Scalar& scalar,
                 int64_t value) {
    const auto* reflection = message.GetReflection();
    const bool is_small = field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32;
    const bool is_unsigned = is_small || field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
    if ((is_unsigned && value < 0) || (is_small && value > UINT32_MAX)) {
      return Error("MR1003", scalar.path, Concat("'", scalar.text, "' is out of range"));
    }
    if (field.is_repeated() && is_small) {
      reflection->AddUInt32(&message, &field, static_cast<uint32_t>(value));
    } else if (is_small) {
      reflection->SetUInt32(&message, &field, static_cast<uint32_t>(value));
    } else if (is_unsigned) {
      reflection->SetUInt64(&message, &field, static_cast<uint64_t>(value));
    } else {
      reflection->SetInt64(&message, &field, value);
    }
  }

  // ---- inputs ----

  void ReadInputs(const YAML::Node& node, const std::string& path) {
    if (!Enter(node, path)) return;
    uint32_t position = 0;
    const auto add = [&](const YAML::Node& item, const std::string& item_path) {
      std::optional<Scalar> scalar = ReadScalar(item, item_path);
      if (scalar) inputs_.push_back({node_, position++, *std::move(scalar)});
    };
    if (!node.IsSequence()) return add(node, path);
    int index = 0;
    for (const YAML::Node& item : node) {
      const std::string item_path = Concat(path, "[", index++, "]");
      if (Enter(item, item_path)) add(item, item_path);
    }
  }

  // "uid", or "uid.late": a uid itself may contain dots.
  void AddEdge(const Input& input, v1::JobGraph& graph) {
    struct Suffix {
      std::string_view text;
      v1::OutputPort port;
    };
    constexpr Suffix kSuffixes[] = {{".late", v1::OUTPUT_PORT_LATE},
                                    {".dead_letter", v1::OUTPUT_PORT_DEAD_LETTER},
                                    {".dead-letter", v1::OUTPUT_PORT_DEAD_LETTER},
                                    {".main", v1::OUTPUT_PORT_MAIN}};
    std::string from = input.from.text;
    v1::OutputPort port = v1::OUTPUT_PORT_MAIN;
    bool known = false;
    for (const v1::Node& node : graph.nodes()) known |= node.uid() == from;
    for (const Suffix& suffix : kSuffixes) {
      if (known || !from.ends_with(suffix.text)) continue;
      from.resize(from.size() - suffix.text.size());
      port = suffix.port;
      break;
    }
    const TextPosition place = positions_.Find(input.from.path);
    positions_.Add(Concat("edges[", graph.edges_size(), "]"), {.begin = place});
    v1::Edge& edge = *graph.add_edges();
    edge.set_from(from);
    edge.set_output(port);
    edge.set_to(graph.nodes(input.to_node).uid());
    // The two sides of a join; elsewhere all are one input.
    const NodeKind* const kind = FindNodeKind(graph.nodes(input.to_node).body_case());
    if (kind != nullptr && kind->inputs == 2) edge.set_to_input(input.position);
  }

  const std::string_view source_;
  const Variables& variables_;
  SourcePositions& positions_;
  Diagnostics& diagnostics_;
  int values_ = 0;
  int node_ = 0;  // Index of the node being read.
  std::vector<Input> inputs_;
};

class NoEvents : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// YAML::LoadAll would do, but on some malformed texts it finds documents without end.
bool HasSecondDocument(std::string_view yaml) {
  std::istringstream in{std::string(yaml)};
  YAML::Parser parser(in);
  NoEvents events;
  return parser.HandleNextDocument(events) && parser.HandleNextDocument(events);
}

void ReadText(std::string_view yaml, const Variables& variables, Diagnostics& diagnostics,
              LoadedGraph& out) {
  if (yaml.size() > kGraphTextBytesMax) {
    diagnostics.Error("MR1006", "", "",
                      Concat("the file is longer than ", kGraphTextBytesMax, " bytes"));
    return;
  }
  // yaml-cpp reports by exceptions; they end here.
  try {
    const YAML::Node document = YAML::Load(std::string(yaml));
    if (HasSecondDocument(yaml) || !document.IsMap()) {
      diagnostics.Error("MR1003", "", "",
                        "a job file is one YAML document with the fields of a job",
                        "it begins for example with 'name: my-job'");
      return;
    }
    YamlReader(yaml, variables, out.positions, diagnostics).ReadGraph(document, out.graph);
  } catch (const YAML::Exception& error) {
    if (!error.mark.is_null()) {
      out.positions.Add("", {.begin = {static_cast<uint32_t>(error.mark.line + 1),
                                       static_cast<uint32_t>(error.mark.column + 1)}});
    }
    diagnostics.Error("MR1001", "", "", Concat("this is not YAML: ", error.msg));
  }
}

}  // namespace

LoadedGraph LoadGraph(std::string_view yaml, const Variables& variables) {
  LoadedGraph out;
  Diagnostics diagnostics(&out.positions);
  ReadText(yaml, variables, diagnostics, out);
  out.diagnostics = diagnostics.Take();
  return out;
}

}  // namespace millrace
