// What the targets that decode responses of a Kafka broker have in common.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "operators/connectors/kafka/native/messages.h"

namespace millrace {

// Ends the process where a view leads out of the bytes that were decoded.
inline void CheckWithin(std::string_view part, std::string_view whole) {
  if (part.empty()) return;
  if (part.data() < whole.data() || part.data() + part.size() > whole.data() + whole.size()) {
    std::abort();
  }
}

// A version of `range`, by any byte.
inline int16_t VersionIn(ApiRange range, uint8_t byte) {
  return static_cast<int16_t>(range.low + byte % (range.high - range.low + 1));
}

}  // namespace millrace
