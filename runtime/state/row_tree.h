// Rows of bytes in memory, found by key and read in the order of keys, per key group.
//
// An adaptive radix tree over rows in an arena: a node tells rows apart by the byte at one depth,
// with room for 4, 16, 48 or 256 of them, and skips all bytes that the rows below it share. So a
// row is found in a few steps whatever the number of rows, only its own key is compared, rows with
// a common beginning lie under one node, and order costs nothing when rows are written.
//
// Threading: one thread at a time. Ownership: the tree owns its rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/base/ids.h"
#include "runtime/state/slab_arena.h"

namespace millrace {

class RowTree {
 public:
  // Begins a piece of the arena; the key and the value follow.
  class Row {
   public:
    std::string_view key() const { return {bytes(), key_bytes_}; }
    std::string_view value() const { return {bytes() + key_bytes_, value_bytes_}; }
    uint32_t key_group() const { return key_group_; }

    // For the owner of the tree; of no meaning here, and they stay when the row moves.
    uint32_t mark = 0;
    uint8_t flags = 0;

   private:
    friend class RowTree;
    const char* bytes() const { return reinterpret_cast<const char*>(this + 1); }
    char* bytes() { return reinterpret_cast<char*>(this + 1); }
    void SetValue(std::string_view value) {
      value_bytes_ = static_cast<uint32_t>(value.size());
      if (!value.empty()) std::memcpy(bytes() + key_bytes_, value.data(), value.size());
    }

    uint8_t unused_ = 0;
    uint16_t key_group_ = 0;
    uint32_t key_bytes_ = 0;
    uint32_t value_bytes_ = 0;
    uint32_t room_ = 0;  // For both.
  };

  explicit RowTree(KeyGroupRange key_groups);

  // Null: there is none.
  Row* Find(uint32_t key_group, std::string_view key) const;
  // The row with this key, added when there is none, and its value replaced. A row that was there
  // may have moved to another address, with its mark and flags.
  struct Put {
    Row* row;
    bool added;
  };
  Put Upsert(uint32_t key_group, std::string_view key, std::string_view value);
  // The row with this key, as it is; added with the value when there is none.
  Put FindOrAdd(uint32_t key_group, std::string_view key, std::string_view value);
  // The row is not in the tree any more, but is still there: for Insert or Free. Null: there is
  // none.
  Row* Take(uint32_t key_group, std::string_view key);
  // Takes all rows whose key begins with `prefix`; each is the callee's, as by Take. It must not
  // use the tree but for Free.
  using TakenFn = absl::FunctionRef<void(Row* row)>;
  void TakeAll(uint32_t key_group, std::string_view prefix, TakenFn taken);
  // A row that was taken. False: there is another one with its key.
  bool Insert(Row* row);
  void Free(Row* row);

  // Calls `visit` for rows whose key begins with `prefix`, in the order of keys, until it returns
  // false. It must not change the tree.
  using VisitFn = absl::FunctionRef<bool(Row& row)>;
  void Visit(uint32_t key_group, std::string_view prefix, VisitFn visit) const;

  // Frees all rows, those that were taken too.
  void Clear();

  uint64_t rows() const { return rows_; }
  uint64_t memory_bytes() const { return arena_.bytes(); }
  KeyGroupRange key_groups() const { return key_groups_; }

 private:
  // A node, or a row when the lowest bit is set; 0: nothing.
  using Ref = uintptr_t;
  struct Node;
  struct Node4;
  struct Node16;
  struct Node48;
  struct Node256;

  static bool IsRow(Ref ref) { return (ref & 1) != 0; }
  static Row* RowOf(Ref ref) { return reinterpret_cast<Row*>(ref - 1); }
  static Node* NodeOf(Ref ref) { return reinterpret_cast<Node*>(ref); }
  static Ref RefOf(const Row* row) { return reinterpret_cast<Ref>(row) + 1; }

  Ref& Root(uint32_t key_group) { return roots_[key_group - key_groups_.first]; }
  static Ref* ChildOf(Node* node, uint8_t byte);
  // The child with the smallest byte from `byte` on, which is set to it. Null: there is none.
  static Ref* NextChild(Node* node, uint32_t& byte);
  // The child for the key's byte at the node's depth. Null: nothing is there.
  static Ref* StepTo(Node* node, std::string_view key);
  static Row* FirstRow(Ref ref);
  // Where the row with this key is, or its place in the tree, which is made and holds 0.
  Ref* PlaceFor(uint32_t key_group, std::string_view key);
  // Adds a child, which the node does not have, to the node at `at`.
  Ref* AddChild(Ref* at, std::string_view key);
  Ref* AddByte(Ref* at, uint8_t byte);
  void RemoveChild(Ref* at, std::string_view key);
  template <typename Kind>
  Kind* NewNode(uint32_t depth);
  template <typename To, typename From>
  To* Convert(From* from);
  // A row for an empty place.
  Row* AddRow(Ref* at, uint32_t key_group, std::string_view key, std::string_view value);
  Row* NewRow(uint32_t key_group, std::string_view key, size_t value_bytes);
  void ReleaseNode(Node* node);

  const KeyGroupRange key_groups_;
  std::vector<Ref> roots_;  // By key group.
  SlabArena arena_;
  uint64_t rows_ = 0;
};

}  // namespace millrace
