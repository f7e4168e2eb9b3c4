#include "runtime/state/row_tree.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "runtime/base/check.h"

namespace millrace {
namespace {

constexpr uint32_t kNoByte = 256;

size_t SharedBytes(std::string_view a, std::string_view b) {
  const size_t size = std::min(a.size(), b.size());
  size_t at = 0;
  while (at + 8 <= size) {
    uint64_t x, y;
    std::memcpy(&x, a.data() + at, 8);
    std::memcpy(&y, b.data() + at, 8);
    if (x != y) break;
    at += 8;
  }
  while (at < size && a[at] == b[at]) ++at;
  return at;
}

}  // namespace

enum class NodeKind : uint8_t { k4, k16, k48, k256 };

// All keys below share their first `depth` bytes. `end`: the row whose key has no more than those.
struct RowTree::Node {
  uint32_t depth;
  uint16_t count;  // Of children, without `end`.
  NodeKind kind;
  Ref end;

  size_t size() const { return count + (end != 0 ? 1 : 0); }
};
// Bytes ascending.
struct RowTree::Node4 : Node {
  static constexpr NodeKind kKind = NodeKind::k4;
  static constexpr size_t kMax = 4;
  uint8_t bytes[4];
  Ref children[4];
};
struct RowTree::Node16 : Node {
  static constexpr NodeKind kKind = NodeKind::k16;
  static constexpr size_t kMax = 16;
  uint8_t bytes[16];
  Ref children[16];
};
// By byte, 1 + the place among the children.
struct RowTree::Node48 : Node {
  static constexpr NodeKind kKind = NodeKind::k48;
  static constexpr size_t kMax = 48;
  uint8_t places[256];
  Ref children[48];
};
struct RowTree::Node256 : Node {
  static constexpr NodeKind kKind = NodeKind::k256;
  static constexpr size_t kMax = 256;
  Ref children[256];
};

namespace {

// Children of the small nodes. Templates, because the kinds of nodes are private.
template <typename Kind>
auto* SmallChild(Kind* node, uint8_t byte) {
  for (size_t i = 0; i < node->count; ++i) {
    if (node->bytes[i] == byte) return &node->children[i];
  }
  return static_cast<decltype(&node->children[0])>(nullptr);
}

template <typename Kind>
auto* AddSmallChild(Kind* node, uint8_t byte) {
  size_t at = node->count++;
  for (; at > 0 && node->bytes[at - 1] > byte; --at) {
    node->bytes[at] = node->bytes[at - 1];
    node->children[at] = node->children[at - 1];
  }
  node->bytes[at] = byte;
  node->children[at] = 0;
  return &node->children[at];
}

template <typename Kind>
void RemoveSmallChild(Kind* node, uint8_t byte) {
  size_t at = 0;
  while (node->bytes[at] != byte) ++at;
  --node->count;
  for (; at < node->count; ++at) {
    node->bytes[at] = node->bytes[at + 1];
    node->children[at] = node->children[at + 1];
  }
}

}  // namespace

RowTree::RowTree(KeyGroupRange key_groups)
    : key_groups_(key_groups), roots_(key_groups.last - key_groups.first + 1, 0) {}

RowTree::Ref* RowTree::ChildOf(Node* any, uint8_t byte) {
  switch (any->kind) {
    case NodeKind::k4:
      return SmallChild(static_cast<Node4*>(any), byte);
    case NodeKind::k16:
      return SmallChild(static_cast<Node16*>(any), byte);
    case NodeKind::k48: {
      auto* const node = static_cast<Node48*>(any);
      const uint8_t place = node->places[byte];
      return place == 0 ? nullptr : &node->children[place - 1];
    }
    case NodeKind::k256: {
      Ref* const child = &static_cast<Node256*>(any)->children[byte];
      return *child == 0 ? nullptr : child;
    }
  }
  return nullptr;
}

RowTree::Ref* RowTree::NextChild(Node* any, uint32_t& byte) {
  const auto small = [&byte](auto* node) -> Ref* {
    for (size_t i = 0; i < node->count; ++i) {
      if (node->bytes[i] < byte) continue;
      byte = node->bytes[i];
      return &node->children[i];
    }
    return nullptr;
  };
  switch (any->kind) {
    case NodeKind::k4:
      return small(static_cast<Node4*>(any));
    case NodeKind::k16:
      return small(static_cast<Node16*>(any));
    case NodeKind::k48: {
      auto* const node = static_cast<Node48*>(any);
      for (; byte < 256; ++byte) {
        if (node->places[byte] != 0) return &node->children[node->places[byte] - 1];
      }
      return nullptr;
    }
    case NodeKind::k256: {
      auto* const node = static_cast<Node256*>(any);
      for (; byte < 256; ++byte) {
        if (node->children[byte] != 0) return &node->children[byte];
      }
      return nullptr;
    }
  }
  return nullptr;
}

RowTree::Ref* RowTree::StepTo(Node* node, std::string_view key) {
  if (key.size() > node->depth) return ChildOf(node, static_cast<uint8_t>(key[node->depth]));
  return key.size() == node->depth && node->end != 0 ? &node->end : nullptr;
}

RowTree::Row* RowTree::FirstRow(Ref ref) {
  while (!IsRow(ref)) {
    Node* const node = NodeOf(ref);
    uint32_t byte = 0;
    ref = node->end != 0 ? node->end : *NextChild(node, byte);
  }
  return RowOf(ref);
}

RowTree::Row* RowTree::Find(uint32_t key_group, std::string_view key) const {
  if (!key_groups_.Contains(key_group)) return nullptr;
  Ref ref = roots_[key_group - key_groups_.first];
  if (ref == 0) return nullptr;
  while (!IsRow(ref)) {
    const Ref* const child = StepTo(NodeOf(ref), key);
    if (child == nullptr) return nullptr;
    ref = *child;
  }
  Row* const row = RowOf(ref);
  return row->key() == key ? row : nullptr;
}

RowTree::Ref* RowTree::PlaceFor(uint32_t key_group, std::string_view key) {
  Ref* at = &Root(key_group);
  if (*at == 0) return at;
  // To a row that shares as many bytes with the key as any does.
  while (!IsRow(*at)) {
    Ref* const child = StepTo(NodeOf(*at), key);
    if (child == nullptr) break;
    at = child;
  }
  const std::string_view other = FirstRow(*at)->key();
  const size_t shared = SharedBytes(key, other);
  if (IsRow(*at) && shared == key.size() && shared == other.size()) return at;
  if (IsRow(*at) || NodeOf(*at)->depth != shared) {
    // The way begins anew, and ends where keys part.
    at = &Root(key_group);
    while (!IsRow(*at) && NodeOf(*at)->depth < shared) at = StepTo(NodeOf(*at), key);
  }
  if (IsRow(*at) || NodeOf(*at)->depth > shared) {
    const Ref below = *at;
    *at = reinterpret_cast<Ref>(NewNode<Node4>(static_cast<uint32_t>(shared)));
    *AddChild(at, other) = below;
  }
  return AddChild(at, key);
}

template <typename Kind>
Kind* RowTree::NewNode(uint32_t depth) {
  auto* const node = new (arena_.Allocate(sizeof(Kind))) Kind;
  std::memset(static_cast<void*>(node), 0, sizeof(Kind));
  node->depth = depth;
  node->kind = Kind::kKind;
  return node;
}

template <typename To, typename From>
To* RowTree::Convert(From* from) {
  To* const to = NewNode<To>(from->depth);
  to->end = from->end;
  Ref ref = reinterpret_cast<Ref>(to);
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const Ref* const child = NextChild(from, byte);
    if (child == nullptr) break;
    *AddByte(&ref, static_cast<uint8_t>(byte)) = *child;
  }
  arena_.Release(reinterpret_cast<uint8_t*>(from), sizeof(From));
  return to;
}

void RowTree::ReleaseNode(Node* node) {
  const size_t bytes = node->kind == NodeKind::k4    ? sizeof(Node4)
                       : node->kind == NodeKind::k16 ? sizeof(Node16)
                       : node->kind == NodeKind::k48 ? sizeof(Node48)
                                                     : sizeof(Node256);
  arena_.Release(reinterpret_cast<uint8_t*>(node), bytes);
}

RowTree::Ref* RowTree::AddChild(Ref* at, std::string_view key) {
  Node* const node = NodeOf(*at);
  if (key.size() == node->depth) return &node->end;
  return AddByte(at, static_cast<uint8_t>(key[node->depth]));
}

RowTree::Ref* RowTree::AddByte(Ref* at, uint8_t byte) {
  switch (NodeOf(*at)->kind) {
    case NodeKind::k4: {
      auto* const node = reinterpret_cast<Node4*>(*at);
      if (node->count < Node4::kMax) return AddSmallChild(node, byte);
      *at = reinterpret_cast<Ref>(Convert<Node16>(node));
      return AddByte(at, byte);
    }
    case NodeKind::k16: {
      auto* const node = reinterpret_cast<Node16*>(*at);
      if (node->count < Node16::kMax) return AddSmallChild(node, byte);
      *at = reinterpret_cast<Ref>(Convert<Node48>(node));
      return AddByte(at, byte);
    }
    case NodeKind::k48: {
      auto* const node = reinterpret_cast<Node48*>(*at);
      if (node->count < Node48::kMax) {
        // Places are dense: RemoveChild fills the gap.
        node->places[byte] = static_cast<uint8_t>(++node->count);
        return &node->children[node->count - 1];
      }
      *at = reinterpret_cast<Ref>(Convert<Node256>(node));
      return AddByte(at, byte);
    }
    case NodeKind::k256: {
      auto* const node = reinterpret_cast<Node256*>(*at);
      ++node->count;
      return &node->children[byte];
    }
  }
  return nullptr;
}

// A node that has lost many children becomes a smaller kind, with a margin so that it does not
// change to and fro; one with a single child gives way to it.
void RowTree::RemoveChild(Ref* at, std::string_view key) {
  Node* const any = NodeOf(*at);
  const auto byte = key.size() > any->depth ? static_cast<uint8_t>(key[any->depth]) : uint8_t{0};
  if (key.size() == any->depth) {
    any->end = 0;
  } else if (any->kind == NodeKind::k4) {
    RemoveSmallChild(static_cast<Node4*>(any), byte);
  } else if (any->kind == NodeKind::k16) {
    RemoveSmallChild(static_cast<Node16*>(any), byte);
  } else if (any->kind == NodeKind::k48) {
    auto* const node = static_cast<Node48*>(any);
    const uint8_t place = node->places[byte];
    node->places[byte] = 0;
    if (place != node->count) {
      node->children[place - 1] = node->children[node->count - 1];
      *std::find(node->places, node->places + 256, static_cast<uint8_t>(node->count)) = place;
    }
    node->children[--node->count] = 0;
  } else {
    static_cast<Node256*>(any)->children[byte] = 0;
    --any->count;
  }
  if (any->kind == NodeKind::k256 && any->count <= 36) {
    *at = reinterpret_cast<Ref>(Convert<Node48>(static_cast<Node256*>(any)));
  } else if (any->kind == NodeKind::k48 && any->count <= 12) {
    *at = reinterpret_cast<Ref>(Convert<Node16>(static_cast<Node48*>(any)));
  } else if (any->kind == NodeKind::k16 && any->count <= 3) {
    *at = reinterpret_cast<Ref>(Convert<Node4>(static_cast<Node16*>(any)));
  } else if (any->kind == NodeKind::k4 && any->size() == 1) {
    *at = any->end != 0 ? any->end : static_cast<Node4*>(any)->children[0];
    arena_.Release(reinterpret_cast<uint8_t*>(any), sizeof(Node4));
  }
}

RowTree::Row* RowTree::NewRow(uint32_t key_group, std::string_view key, size_t value_bytes) {
  const size_t bytes = SlabArena::RoomFor(sizeof(Row) + key.size() + value_bytes);
  Row* const row = new (arena_.Allocate(bytes)) Row;
  row->key_group_ = static_cast<uint16_t>(key_group);
  row->key_bytes_ = static_cast<uint32_t>(key.size());
  row->room_ = static_cast<uint32_t>(bytes - sizeof(Row));
  if (!key.empty()) std::memcpy(row->bytes(), key.data(), key.size());
  return row;
}

RowTree::Row* RowTree::AddRow(Ref* at, uint32_t key_group, std::string_view key,
                              std::string_view value) {
  Row* const row = NewRow(key_group, key, value.size());
  row->SetValue(value);
  *at = RefOf(row);
  ++rows_;
  return row;
}

RowTree::Put RowTree::FindOrAdd(uint32_t key_group, std::string_view key, std::string_view value) {
  Ref* const at = PlaceFor(key_group, key);
  if (*at != 0) return {RowOf(*at), false};
  return {AddRow(at, key_group, key, value), true};
}

RowTree::Put RowTree::Upsert(uint32_t key_group, std::string_view key, std::string_view value) {
  Ref* const at = PlaceFor(key_group, key);
  if (*at == 0) return {AddRow(at, key_group, key, value), true};
  Row* row = RowOf(*at);
  if (key.size() + value.size() > row->room_) {
    Row* const bigger = NewRow(key_group, key, value.size());
    bigger->mark = row->mark;
    bigger->flags = row->flags;
    Free(row);
    row = bigger;
    *at = RefOf(row);
  }
  row->SetValue(value);
  return {row, false};
}

RowTree::Row* RowTree::Take(uint32_t key_group, std::string_view key) {
  if (!key_groups_.Contains(key_group)) return nullptr;
  Ref* at = &Root(key_group);
  Ref* above = nullptr;
  if (*at == 0) return nullptr;
  while (!IsRow(*at)) {
    Ref* const child = StepTo(NodeOf(*at), key);
    if (child == nullptr) return nullptr;
    above = std::exchange(at, child);
  }
  Row* const row = RowOf(*at);
  if (row->key() != key) return nullptr;
  if (above == nullptr) {
    *at = 0;
  } else {
    RemoveChild(above, key);
  }
  --rows_;
  return row;
}

void RowTree::TakeAll(uint32_t key_group, std::string_view prefix, TakenFn taken) {
  if (!key_groups_.Contains(key_group)) return;
  Ref* at = &Root(key_group);
  Ref* above = nullptr;
  if (*at == 0) return;
  while (!IsRow(*at) && NodeOf(*at)->depth < prefix.size()) {
    Ref* const child = StepTo(NodeOf(*at), prefix);
    if (child == nullptr) return;
    above = std::exchange(at, child);
  }
  if (!FirstRow(*at)->key().starts_with(prefix)) return;
  const Ref top = *at;
  if (above == nullptr) {
    *at = 0;
  } else {
    RemoveChild(above, prefix);
  }
  std::vector<Ref> left = {top};
  while (!left.empty()) {
    const Ref ref = left.back();
    left.pop_back();
    if (IsRow(ref)) {
      --rows_;
      taken(RowOf(ref));
      continue;
    }
    Node* const node = NodeOf(ref);
    for (uint32_t byte = 0; byte < kNoByte; ++byte) {
      const Ref* const child = NextChild(node, byte);
      if (child == nullptr) break;
      left.push_back(*child);
    }
    if (node->end != 0) left.push_back(node->end);
    ReleaseNode(node);
  }
}

bool RowTree::Insert(Row* row) {
  Ref* const at = PlaceFor(row->key_group_, row->key());
  if (*at != 0) return false;
  *at = RefOf(row);
  ++rows_;
  return true;
}

void RowTree::Free(Row* row) {
  arena_.Release(reinterpret_cast<uint8_t*>(row), sizeof(Row) + row->room_);
}

void RowTree::Visit(uint32_t key_group, std::string_view prefix, VisitFn visit) const {
  if (!key_groups_.Contains(key_group)) return;
  Ref ref = roots_[key_group - key_groups_.first];
  if (ref == 0) return;
  while (!IsRow(ref) && NodeOf(ref)->depth < prefix.size()) {
    const Ref* const child = StepTo(NodeOf(ref), prefix);
    if (child == nullptr) return;
    ref = *child;
  }
  // Rows of a node share more bytes than the prefix has: the first one speaks for all.
  if (!FirstRow(ref)->key().starts_with(prefix)) return;
  if (IsRow(ref)) {
    visit(*RowOf(ref));
    return;
  }
  struct Step {
    Node* node;
    uint32_t next;  // Byte.
  };
  absl::InlinedVector<Step, 24> way;
  const auto enter = [&](Ref below) {
    if (IsRow(below)) return visit(*RowOf(below));
    Node* const node = NodeOf(below);
    way.push_back({node, 0});
    return node->end == 0 || visit(*RowOf(node->end));
  };
  if (!enter(ref)) return;
  while (!way.empty()) {
    Step& step = way.back();
    const Ref* const child = step.next >= kNoByte ? nullptr : NextChild(step.node, step.next);
    if (child == nullptr) {
      way.pop_back();
      continue;
    }
    ++step.next;
    if (!enter(*child)) return;
  }
}

void RowTree::Clear() {
  std::fill(roots_.begin(), roots_.end(), Ref{0});
  arena_.Clear();
  rows_ = 0;
}

}  // namespace millrace
