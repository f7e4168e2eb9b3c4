// Messages of pgoutput as a server would write them.
//
// Threading: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

inline std::string BigEndian(uint64_t value, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
  return out;
}

// "u" is an unchanged value; nothing is NULL.
inline std::string TupleMessage(const std::vector<std::optional<std::string>>& values) {
  std::string out = BigEndian(values.size(), 2);
  for (const auto& value : values) {
    if (!value) {
      out += "n";
    } else if (*value == "u") {
      out += "u";
    } else {
      out += "t" + BigEndian(value->size(), 4) + *value;
    }
  }
  return out;
}

inline std::string BeginMessage(uint64_t final_lsn) {
  return "B" + BigEndian(final_lsn, 8) + BigEndian(1, 8) + BigEndian(733, 4);
}
inline std::string CommitMessage(uint64_t commit, uint64_t end) {
  return "C" + BigEndian(0, 1) + BigEndian(commit, 8) + BigEndian(end, 8) + BigEndian(1, 8);
}
inline std::string RelationMessage() {
  std::string out = "R" + BigEndian(16384, 4);
  out += std::string("public\0orders\0", 14) + "d" + BigEndian(2, 2);
  out += BigEndian(1, 1) + std::string("id\0", 3) + BigEndian(20, 4) + BigEndian(~0ull, 4);
  out += BigEndian(0, 1) + std::string("price\0", 6) + BigEndian(1700, 4) + BigEndian(655366, 4);
  return out;
}

// One well-formed message of each kind.
inline std::vector<std::string> AllMessages() {
  const std::string table = BigEndian(16384, 4);
  const std::string row = TupleMessage({"7", std::nullopt, "u", "a long text"});
  return {
      BeginMessage(0x16'B374D848),
      CommitMessage(0x16'B374D848, 0x16'B374D878),
      RelationMessage(),
      "I" + table + "N" + row,
      "U" + table + "N" + row,
      "U" + table + "K" + TupleMessage({"6"}) + "N" + row,
      "U" + table + "O" + row + "N" + row,
      "D" + table + "K" + TupleMessage({"6"}),
      "D" + table + "O" + row,
      "T" + BigEndian(2, 4) + BigEndian(1, 1) + table + BigEndian(16390, 4),
      "Y" + BigEndian(90000, 4) + std::string("public\0mood\0", 12),
      "O" + BigEndian(1, 8) + std::string("origin\0", 7),
      "M" + BigEndian(0, 1) + BigEndian(1, 8) + std::string("p\0", 2) + BigEndian(1, 4) + "x",
  };
}

}  // namespace millrace
