#include "operators/connectors/postgres/pgoutput.h"

#include <charconv>
#include <cstdio>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kColumnsMax = 1600;  // PostgreSQL's own limit.
constexpr size_t kRelationsMax = 1 << 16;
constexpr int64_t kPgEpochUs = 946'684'800'000'000;  // 2000-01-01.

// Reads big-endian numbers from the front; once it has failed, everything is 0.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T Number() {
    if (bytes_.size() < sizeof(T)) {
      failed_ = true;
      bytes_ = {};
      return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value = value << 8 | static_cast<uint8_t>(bytes_[i]);
    bytes_.remove_prefix(sizeof(T));
    return static_cast<T>(value);
  }
  std::string_view Bytes(size_t size) {
    if (bytes_.size() < size) {
      failed_ = true;
      bytes_ = {};
      return {};
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  std::string_view Name() {
    const size_t end = bytes_.find('\0');
    if (end == std::string_view::npos) {
      failed_ = true;
      bytes_ = {};
      return {};
    }
    const std::string_view name = bytes_.substr(0, end);
    bytes_.remove_prefix(end + 1);
    return name;
  }
  std::string_view rest() const { return bytes_; }
  bool ok() const { return !failed_; }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool failed_ = false;
};

absl::Status Malformed(std::string_view what) {
  return absl::DataLossError(Concat("malformed replication message: ", what));
}

bool ReadTuple(Reader& reader, PgTuple& tuple) {
  const auto columns = reader.Number<uint16_t>();
  if (!reader.ok() || columns > kColumnsMax) return false;
  tuple.clear();
  for (uint16_t i = 0; i < columns; ++i) {
    PgColumnValue& value = tuple.emplace_back();
    switch (reader.Number<uint8_t>()) {
      case 'n':
        break;
      case 'u':
        value.kind = PgColumnValue::Kind::kUnchanged;
        break;
      case 't':
        value.kind = PgColumnValue::Kind::kText;
        value.text = reader.Bytes(reader.Number<uint32_t>());
        break;
      default:
        return false;
    }
  }
  return reader.ok();
}

absl::StatusOr<PgMessage> ReadRelation(Reader& reader) {
  PgRelation relation;
  relation.oid = reader.Number<uint32_t>();
  relation.schema = std::string(reader.Name());
  relation.name = std::string(reader.Name());
  relation.replica_identity = static_cast<char>(reader.Number<uint8_t>());
  const auto columns = reader.Number<uint16_t>();
  if (!reader.ok() || columns > kColumnsMax) return Malformed("relation");
  for (uint16_t i = 0; i < columns; ++i) {
    PgRelation::Column& column = relation.columns.emplace_back();
    column.in_key = (reader.Number<uint8_t>() & 1) != 0;
    column.name = std::string(reader.Name());
    column.type_oid = reader.Number<uint32_t>();
    column.type_modifier = reader.Number<int32_t>();
  }
  if (!reader.ok() || !reader.at_end()) return Malformed("relation");
  return relation;
}

absl::StatusOr<PgMessage> ReadUpdate(Reader& reader) {
  PgUpdate update;
  update.relation = reader.Number<uint32_t>();
  auto part = static_cast<char>(reader.Number<uint8_t>());
  if (part == 'K' || part == 'O') {
    update.old_kind = part;
    if (!ReadTuple(reader, update.old_row)) return Malformed("old row of an update");
    part = static_cast<char>(reader.Number<uint8_t>());
  }
  if (part != 'N' || !ReadTuple(reader, update.row) || !reader.at_end()) {
    return Malformed("update");
  }
  return update;
}

}  // namespace

std::string PgLsnText(PgLsn lsn) {
  char text[24];
  std::snprintf(text, sizeof(text), "%X/%X", static_cast<uint32_t>(lsn >> 32),
                static_cast<uint32_t>(lsn));
  return text;
}

absl::StatusOr<PgLsn> ParsePgLsn(std::string_view text) {
  const size_t slash = text.find('/');
  uint32_t high = 0, low = 0;
  const auto parse = [](std::string_view digits, uint32_t& value) {
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
  };
  if (slash == std::string_view::npos || !parse(text.substr(0, slash), high) ||
      !parse(text.substr(slash + 1), low)) {
    return absl::DataLossError(Concat("not a position in the log: ", text));
  }
  return PgLsn{high} << 32 | low;
}

absl::StatusOr<std::variant<PgWalData, PgKeepalive>> ReadPgFrame(std::string_view frame) {
  using Frame = std::variant<PgWalData, PgKeepalive>;
  Reader reader(frame);
  switch (reader.Number<uint8_t>()) {
    case 'w': {
      PgWalData data;
      data.start = reader.Number<uint64_t>();
      data.end = reader.Number<uint64_t>();
      (void)reader.Number<uint64_t>();  // The server's clock.
      data.payload = reader.rest();
      if (!reader.ok()) return Malformed("WAL data");
      return Frame(data);
    }
    case 'k': {
      PgKeepalive keepalive;
      keepalive.end = reader.Number<uint64_t>();
      (void)reader.Number<uint64_t>();
      keepalive.reply_requested = reader.Number<uint8_t>() != 0;
      if (!reader.ok()) return Malformed("keepalive");
      return Frame(keepalive);
    }
    default:
      return Malformed("unknown frame");
  }
}

std::string PgStatusUpdate(PgLsn written, PgLsn flushed, int64_t unix_us) {
  std::string message = "r";
  const auto append = [&message](uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      message.push_back(static_cast<char>(value >> shift));
    }
  };
  append(written);
  append(flushed);
  append(flushed);  // Applied.
  append(static_cast<uint64_t>(unix_us - kPgEpochUs));
  message.push_back(0);  // No reply is asked for.
  return message;
}

absl::StatusOr<PgMessage> ReadPgMessage(std::string_view payload) {
  Reader reader(payload);
  switch (reader.Number<uint8_t>()) {
    case 'B': {
      PgBegin begin;
      begin.final_lsn = reader.Number<uint64_t>();
      (void)reader.Number<uint64_t>();  // Time of the commit.
      (void)reader.Number<uint32_t>();  // Transaction.
      if (!reader.ok()) return Malformed("begin");
      return begin;
    }
    case 'C': {
      PgCommit commit;
      (void)reader.Number<uint8_t>();
      commit.commit_lsn = reader.Number<uint64_t>();
      commit.end_lsn = reader.Number<uint64_t>();
      (void)reader.Number<uint64_t>();
      if (!reader.ok()) return Malformed("commit");
      return commit;
    }
    case 'R':
      return ReadRelation(reader);
    case 'I': {
      PgInsert insert;
      insert.relation = reader.Number<uint32_t>();
      if (reader.Number<uint8_t>() != 'N' || !ReadTuple(reader, insert.row) || !reader.at_end()) {
        return Malformed("insert");
      }
      return insert;
    }
    case 'U':
      return ReadUpdate(reader);
    case 'D': {
      PgDelete gone;
      gone.relation = reader.Number<uint32_t>();
      gone.old_kind = static_cast<char>(reader.Number<uint8_t>());
      if ((gone.old_kind != 'K' && gone.old_kind != 'O') || !ReadTuple(reader, gone.old_row) ||
          !reader.at_end()) {
        return Malformed("delete");
      }
      return gone;
    }
    case 'T': {
      PgTruncate truncate;
      const auto count = reader.Number<uint32_t>();
      (void)reader.Number<uint8_t>();  // CASCADE, RESTART IDENTITY.
      if (!reader.ok() || count > kRelationsMax) return Malformed("truncate");
      for (uint32_t i = 0; i < count && reader.ok(); ++i) {
        truncate.relations.push_back(reader.Number<uint32_t>());
      }
      if (!reader.ok()) return Malformed("truncate");
      return truncate;
    }
    case 'O':
    case 'Y':
    case 'M':
      return PgOther{};
    default:
      return Malformed("unknown kind");
  }
}

}  // namespace millrace
