// Reference meanings: JSON. A recursive reader of the grammar of RFC 8259.
#include <map>
#include <optional>

#include "runtime/expressions/interpreter.h"

namespace millrace::expressions::reference {
namespace {

using Result = absl::StatusOr<Datum>;
using In = CallInput;

// A value within the text of a document.
struct Node {
  enum class Kind { kNull, kText, kNumber, kBool, kObject, kArray } kind = Kind::kNull;
  std::string text;  // Of a scalar; of a structure as it stands.
  std::vector<std::pair<std::string, Node>> members;
  std::vector<Node> elements;
};

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  std::optional<Node> Document() {
    if (!IsUtf8()) return std::nullopt;
    Space();
    std::optional<Node> node = Value(1);
    Space();
    return at_ == text_.size() ? node : std::nullopt;
  }

 private:
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Take(char c) { return Peek() == c && at_ < text_.size() && (++at_, true); }
  bool Take(const std::string& word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  void Space() {
    while (Peek() == ' ' || Peek() == '\n' || Peek() == '\t' || Peek() == '\r') ++at_;
  }
  bool Digits() {
    const size_t begin = at_;
    while (Peek() >= '0' && Peek() <= '9') ++at_;
    return at_ > begin;
  }

  std::optional<Node> Value(int depth) {
    constexpr int kDepthMax = 1000;
    if (depth > kDepthMax) return std::nullopt;
    Node node;
    const size_t begin = at_;
    bool ok = false;
    if (Take(std::string("null"))) {
      ok = true;
    } else if (Take(std::string("true")) || Take(std::string("false"))) {
      node.kind = Node::Kind::kBool;
      node.text = text_.substr(begin, at_ - begin);
      ok = true;
    } else if (Peek() == '"') {
      node.kind = Node::Kind::kText;
      ok = String(node.text);
    } else if (Peek() == '{') {
      node.kind = Node::Kind::kObject;
      ok = Object(node, depth);
      node.text = text_.substr(begin, at_ - begin);
    } else if (Peek() == '[') {
      node.kind = Node::Kind::kArray;
      ok = Array(node, depth);
      node.text = text_.substr(begin, at_ - begin);
    } else {
      node.kind = Node::Kind::kNumber;
      (void)Take('-');
      ok = Take('0') || Digits();
      if (ok && Take('.')) ok = Digits();
      if (ok && (Take('e') || Take('E'))) {
        if (!Take('+')) (void)Take('-');
        ok = Digits();
      }
      node.text = text_.substr(begin, at_ - begin);
    }
    if (!ok) return std::nullopt;
    return node;
  }

  bool Object(Node& node, int depth) {
    (void)Take('{');
    Space();
    if (Take('}')) return true;
    do {
      Space();
      auto& [key, value] = node.members.emplace_back();
      if (Peek() != '"' || !String(key)) return false;
      Space();
      if (!Take(':')) return false;
      Space();
      std::optional<Node> inner = Value(depth + 1);
      if (!inner) return false;
      value = *std::move(inner);
      Space();
    } while (Take(','));
    return Take('}');
  }

  bool Array(Node& node, int depth) {
    (void)Take('[');
    Space();
    if (Take(']')) return true;
    do {
      Space();
      std::optional<Node> inner = Value(depth + 1);
      if (!inner) return false;
      node.elements.push_back(*std::move(inner));
      Space();
    } while (Take(','));
    return Take(']');
  }

  bool Hex(uint32_t& code) {
    code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = Peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return false;
      code = code * 16 + static_cast<uint32_t>(digit);
    }
    return true;
  }

  static void AppendCode(uint32_t code, std::string& out) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | code >> 6);
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | code >> 12);
      out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | code >> 18);
      out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
      out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  bool Escape(std::string& out) {
    static const std::map<char, char> plain = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},  {'b', '\b'},
                                               {'f', '\f'}, {'n', '\n'},  {'r', '\r'}, {'t', '\t'}};
    if (const auto found = plain.find(Peek()); found != plain.end()) {
      ++at_;
      out += found->second;
      return true;
    }
    uint32_t code = 0, low = 0;
    if (!Take('u') || !Hex(code)) return false;
    if (code >= 0xDC00 && code < 0xE000) return false;
    if (code >= 0xD800 && code < 0xDC00) {
      if (!Take(std::string("\\u")) || !Hex(low) || low < 0xDC00 || low >= 0xE000) return false;
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    AppendCode(code, out);
    return true;
  }

  bool String(std::string& out) {
    (void)Take('"');
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out += c;
      } else if (!Escape(out)) {
        return false;
      }
    }
    return false;
  }

  bool IsUtf8() const {
    for (size_t i = 0; i < text_.size();) {
      const auto lead = static_cast<unsigned char>(text_[i]);
      const size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
      if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || i + size > text_.size()) return false;
      uint32_t code = size == 1 ? lead : lead & (0xFF >> (size + 1));
      for (size_t k = 1; k < size; ++k) {
        const auto next = static_cast<unsigned char>(text_[i + k]);
        if ((next & 0xC0) != 0x80) return false;
        code = code << 6 | (next & 0x3F);
      }
      const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
      if (code < least[size] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
      i += size;
    }
    return true;
  }

  const std::string& text_;
  size_t at_ = 0;
};

// The value at the path; null: there is none. An error: the path is malformed.
absl::StatusOr<const Node*> At(const Node& document, std::string path) {
  const auto bad = [] {
    return RowError("malformed JSON path: it is $, then .name, ['name'] or [0]");
  };
  if (path.compare(0, 4, "lax ") == 0) path = path.substr(4);
  if (path.empty() || path[0] != '$') return bad();
  const Node* node = &document;
  size_t i = 1;
  int steps = 0;
  while (i < path.size()) {
    if (++steps > 100) return bad();
    std::string key;
    int64_t index = -1;
    if (path[i] == '.' && i + 1 < path.size() && path[i + 1] == '"') {
      const size_t end = path.find('"', i + 2);
      if (end == std::string::npos) return bad();
      key = path.substr(i + 2, end - i - 2);
      i = end + 1;
    } else if (path[i] == '.') {
      size_t end = i + 1;
      while (end < path.size() && (isalnum(static_cast<unsigned char>(path[end])) != 0 ||
                                   path[end] == '_' || (path[end] & 0x80) != 0)) {
        ++end;
      }
      if (end == i + 1) return bad();
      key = path.substr(i + 1, end - i - 1);
      i = end;
    } else if (path.compare(i, 2, "['") == 0) {
      const size_t end = path.find('\'', i + 2);
      if (end == std::string::npos || end + 1 >= path.size() || path[end + 1] != ']') return bad();
      key = path.substr(i + 2, end - i - 2);
      i = end + 2;
    } else if (path[i] == '[') {
      const size_t end = path.find(']', i);
      if (end == std::string::npos || end == i + 1 || end - i > 19) return bad();
      index = 0;
      for (size_t k = i + 1; k < end; ++k) {
        if (path[k] < '0' || path[k] > '9') return bad();
        index = index * 10 + (path[k] - '0');
      }
      i = end + 1;
    } else {
      return bad();
    }
    if (node == nullptr) continue;  // The rest of the path must be well formed all the same.
    const Node* next = nullptr;
    if (index >= 0 && node->kind == Node::Kind::kArray) {
      if (static_cast<size_t>(index) < node->elements.size()) {
        next = &node->elements[static_cast<size_t>(index)];
      }
    } else if (index < 0 && node->kind == Node::Kind::kObject) {
      for (const auto& [name, value] : node->members) {
        if (name == key && next == nullptr) next = &value;
      }
    }
    node = next;
  }
  return node;
}

// The node at the path of a document that is one.
absl::StatusOr<std::optional<Node>> Find(const In& in, const std::string& path) {
  const std::string& json = in[0].string_value;
  const std::optional<Node> document = Reader(json).Document();
  const Node root = document.value_or(Node());
  const absl::StatusOr<const Node*> node = At(root, path);
  if (!node.ok()) return node.status();
  if (!document || *node == nullptr) return std::nullopt;
  return **node;
}

bool IsStructure(const Node& node) {
  return node.kind == Node::Kind::kObject || node.kind == Node::Kind::kArray;
}

Result TextAt(const In& in, bool structures) {
  const auto node = Find(in, in[1].string_value);
  if (!node.ok()) return node.status();
  if (!*node || (*node)->kind == Node::Kind::kNull || IsStructure(**node) != structures) {
    return Null(in.result);
  }
  return Text(TypeKind::kString, (*node)->text);
}

Result Exists(const In& in, const std::string& path) {
  const auto node = Find(in, path);
  if (!node.ok()) return node.status();
  return Bool(node->has_value());
}

}  // namespace

FunctionRow FindJsonFunction(std::string_view name) {
  if (name == "json_value") return {[](const In& in) { return TextAt(in, false); }};
  if (name == "json_query") return {[](const In& in) { return TextAt(in, true); }};
  if (name == "json_exists") {
    return {[](const In& in) { return Exists(in, in[1].string_value); }};
  }
  if (name == "is_json") return {[](const In& in) { return Exists(in, "$"); }};
  return {};
}

}  // namespace millrace::expressions::reference
