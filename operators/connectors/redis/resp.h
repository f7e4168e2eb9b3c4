// The part of Redis's protocol, RESP2, that lookups need: commands, and replies of one level.
//
// Threading: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

// Of a text of a reply, and of the whole reply; a larger one is refused before memory is taken.
inline constexpr int64_t kRespTextMax = int64_t{16} << 20;
inline constexpr int64_t kRespBytesMax = int64_t{32} << 20;
inline constexpr int64_t kRespElementsMax = 4096;

struct RespReply {
  enum class Kind : uint8_t { kText, kError, kInteger, kNull, kArray };
  Kind kind = Kind::kNull;
  std::string_view text;  // kText, kError; of kInteger its digits.
  // kArray; nothing: NULL.
  std::vector<std::optional<std::string_view>> elements;
};

void AppendRespCommand(std::span<const std::string_view> words, std::string& out);

// The reply at the begin of `bytes`, which `out` refers to; how many bytes it takes, 0 while it is
// not complete. kDataLoss: this is not such a reply; kInvalidArgument: it is beyond the limits.
absl::StatusOr<size_t> ReadRespReply(std::string_view bytes, RespReply& out);

}  // namespace millrace
