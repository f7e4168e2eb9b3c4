// One record of a topic as its readers hand it on. Views live as long as the reader says.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace {

struct KafkaRecord {
  int64_t offset = 0;
  int64_t timestamp_ms = -1;  // -1: none.
  std::string_view key;
  std::string_view value;
  bool has_key = false;
  bool has_value = false;  // False: a tombstone.
};

}  // namespace millrace
