// How rows of state are written, in segments and in the cold store. Frozen: format 1 of state.
//
// Row key: table id (4 bytes BE), key group (2 bytes BE), then for a pane table: pane (8 bytes,
// ordered), key, incarnation (4 bytes BE); for a keyed table: key. The order of memcmp is the order
// of rows.
//
// Records of a segment: tables first, then drops, then rows in strictly ascending key order:
//   1 table: id (4 BE), kind (1), width (4 LE), name     2 drop: id (4 BE), pane (8, ordered)
//   3 put: key length (4 LE), key, value                 4 delete: key length (4 LE), key
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace millrace {

enum class TableKind : uint8_t { kPane = 1, kKeyed = 2 };
enum class StateOp : uint8_t { kTable = 1, kDrop = 2, kPut = 3, kDelete = 4 };

// What identifies a table in a store; the id is a part of the hash of the name.
struct TableIdentity {
  uint32_t id = 0;
  TableKind kind = TableKind::kPane;
  uint32_t width = 0;  // 0 for keyed tables.
  std::string name;
  bool operator==(const TableIdentity&) const = default;
};

uint32_t TableIdOf(std::string_view name);

inline constexpr size_t kTablePrefixBytes = 4;
inline constexpr size_t kGroupPrefixBytes = 6;
inline constexpr size_t kPanePrefixBytes = 14;
inline constexpr size_t kIncarnationBytes = 4;

void AppendBigEndian32(uint32_t value, std::string& out);
uint32_t ReadBigEndian32(std::string_view bytes);
void AppendGroupPrefix(uint32_t table, uint32_t key_group, std::string& out);
void AppendPanePrefix(uint32_t table, uint32_t key_group, int64_t pane, std::string& out);

// The smallest string that is larger than all with this prefix; the prefix is not all 0xFF.
std::string PrefixSuccessor(std::string prefix);

// Parts of a row key; the caller has checked the length by ParseStateRecord.
inline uint32_t TableOfRow(std::string_view key) { return ReadBigEndian32(key); }
uint32_t KeyGroupOfRow(std::string_view key);
int64_t PaneOfRow(std::string_view key);
uint32_t IncarnationOfRow(std::string_view key);
inline std::string_view KeyOfPaneRow(std::string_view key) {
  return key.substr(kPanePrefixBytes, key.size() - kPanePrefixBytes - kIncarnationBytes);
}

// One decoded record; the views point into its bytes.
struct StateRecord {
  StateOp op = StateOp::kPut;
  TableIdentity table;     // kTable.
  uint32_t table_id = 0;   // kDrop, kPut, kDelete.
  int64_t pane = 0;        // kDrop.
  std::string_view key;    // kPut, kDelete.
  std::string_view value;  // kPut.
};

// kDataLoss: malformed. A row is checked against its table by CheckRow.
absl::StatusOr<StateRecord> ParseStateRecord(std::string_view bytes);

// kDataLoss: `row` (kPut or kDelete) does not fit its table.
absl::Status CheckRow(const TableIdentity& table, const StateRecord& row);

// Replace `out`.
void EncodeTable(const TableIdentity& table, std::string& out);
void EncodeDrop(uint32_t table, int64_t pane, std::string& out);
void EncodeRow(StateOp op, std::string_view key, std::string_view value, std::string& out);

}  // namespace millrace
