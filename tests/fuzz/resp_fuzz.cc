// Any bytes as answers of Redis: reading ends with a reply that lies within them, or a status.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "operators/connectors/redis/resp.h"
#include "runtime/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;  // NOLINT: a fuzz target has one function.
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto is_within = [&](std::string_view text) {
    return text.empty() || (text.data() >= bytes.data() &&
                            text.data() + text.size() <= bytes.data() + bytes.size());
  };
  RespReply reply;
  while (true) {
    const auto taken = ReadRespReply(bytes, reply);
    if (!taken.ok() || *taken == 0) return 0;
    MILLRACE_CHECK(*taken <= bytes.size());
    MILLRACE_CHECK(is_within(reply.text));
    for (const auto& element : reply.elements) MILLRACE_CHECK(!element || is_within(*element));
    bytes.remove_prefix(*taken);
  }
}
