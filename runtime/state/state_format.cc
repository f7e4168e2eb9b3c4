#include "runtime/state/state_format.h"

#include "absl/status/status.h"
#include "runtime/checkpoint/little_endian.h"
#include "runtime/columns/keys.h"

namespace millrace {
namespace {

constexpr size_t kNameBytesMax = 1024;
constexpr uint32_t kWidthMax = 1 << 20;

absl::Status Malformed(std::string_view what) {
  return absl::DataLossError(std::string("a state record is malformed: ").append(what));
}

}  // namespace

uint32_t TableIdOf(std::string_view name) { return static_cast<uint32_t>(HashKey(name)); }

void AppendBigEndian32(uint32_t value, std::string& out) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

uint32_t ReadBigEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

void AppendGroupPrefix(uint32_t table, uint32_t key_group, std::string& out) {
  AppendBigEndian32(table, out);
  out += static_cast<char>(key_group >> 8);
  out += static_cast<char>(key_group);
}

void AppendPanePrefix(uint32_t table, uint32_t key_group, int64_t pane, std::string& out) {
  AppendGroupPrefix(table, key_group, out);
  AppendOrderedInt64(pane, out);
}

std::string PrefixSuccessor(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

uint32_t KeyGroupOfRow(std::string_view key) {
  return static_cast<uint32_t>(static_cast<uint8_t>(key[4])) << 8 | static_cast<uint8_t>(key[5]);
}

int64_t PaneOfRow(std::string_view key) {
  return ReadOrderedInt64(key.substr(kGroupPrefixBytes, 8));
}

uint32_t IncarnationOfRow(std::string_view key) {
  return ReadBigEndian32(key.substr(key.size() - kIncarnationBytes));
}

absl::StatusOr<StateRecord> ParseStateRecord(std::string_view bytes) {
  if (bytes.empty()) return Malformed("it is empty");
  StateRecord record;
  record.op = static_cast<StateOp>(bytes[0]);
  const std::string_view body = bytes.substr(1);
  switch (record.op) {
    case StateOp::kTable: {
      if (body.size() < 9 || body.size() > 9 + kNameBytesMax) return Malformed("table");
      record.table.id = ReadBigEndian32(body);
      record.table.kind = static_cast<TableKind>(body[4]);
      record.table.width = ReadLittleEndian<uint32_t>(body.data() + 5);
      record.table.name = body.substr(9);
      const bool pane = record.table.kind == TableKind::kPane;
      if ((!pane && record.table.kind != TableKind::kKeyed) ||
          record.table.width > (pane ? kWidthMax : 0) || record.table.width % 8 != 0 ||
          record.table.id != TableIdOf(record.table.name)) {
        return Malformed("table");
      }
      return record;
    }
    case StateOp::kDrop:
      if (body.size() != 12) return Malformed("drop");
      record.table_id = ReadBigEndian32(body);
      record.pane = ReadOrderedInt64(body.substr(4));
      return record;
    case StateOp::kPut:
    case StateOp::kDelete: {
      if (body.size() < 4) return Malformed("row");
      const auto length = ReadLittleEndian<uint32_t>(body.data());
      if (length > body.size() - 4 || length < kGroupPrefixBytes) return Malformed("key");
      record.key = body.substr(4, length);
      record.value = body.substr(4 + length);
      record.table_id = TableOfRow(record.key);
      if (record.op == StateOp::kDelete && !record.value.empty()) return Malformed("delete");
      return record;
    }
  }
  return Malformed("its operation is unknown");
}

absl::Status CheckRow(const TableIdentity& table, const StateRecord& row) {
  if (table.kind == TableKind::kKeyed) return absl::OkStatus();
  if (row.op != StateOp::kPut || row.key.size() < kPanePrefixBytes + kIncarnationBytes ||
      row.value.size() != table.width) {
    return Malformed("row of a pane table");
  }
  return absl::OkStatus();
}

void EncodeTable(const TableIdentity& table, std::string& out) {
  out.assign(1, static_cast<char>(StateOp::kTable));
  AppendBigEndian32(table.id, out);
  out += static_cast<char>(table.kind);
  AppendLittleEndian(table.width, out);
  out += table.name;
}

void EncodeDrop(uint32_t table, int64_t pane, std::string& out) {
  out.assign(1, static_cast<char>(StateOp::kDrop));
  AppendBigEndian32(table, out);
  AppendOrderedInt64(pane, out);
}

void EncodeRow(StateOp op, std::string_view key, std::string_view value, std::string& out) {
  out.assign(1, static_cast<char>(op));
  AppendLittleEndian(static_cast<uint32_t>(key.size()), out);
  out += key;
  out += value;
}

}  // namespace millrace
