#include "operators/connectors/kafka/message_padding.h"

#include <cstring>

namespace millrace {
namespace {

// Records of one fetched block lie one behind the other with a few bytes of framing and a key
// between them. When the next value begins this close after `value`, every byte up to its end is
// mapped: a gap smaller than a page between two readable bytes cannot hold an unmapped page.
constexpr std::ptrdiff_t kGapMax = 1024;

bool ReadableUpTo(const Message& message, const Message& next) {
  const char* end = message.value.data() + message.value.size();
  const char* next_end = next.value.data() + next.value.size();
  const auto gap =
      reinterpret_cast<std::intptr_t>(next.value.data()) - reinterpret_cast<std::intptr_t>(end);
  const auto readable =
      reinterpret_cast<std::intptr_t>(next_end) - reinterpret_cast<std::intptr_t>(end);
  return gap >= 0 && gap <= kGapMax && readable >= static_cast<std::intptr_t>(kMessagePadding);
}

}  // namespace

void MessagePadding::Pad(std::span<Message> messages) {
  to_copy_.clear();
  size_t bytes = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].is_null) continue;
    if (!kCopiesAll && i + 1 < messages.size() && !messages[i + 1].is_null &&
        ReadableUpTo(messages[i], messages[i + 1])) {
      continue;
    }
    to_copy_.push_back(i);
    bytes += messages[i].value.size() + kMessagePadding;
  }
  copied_ = to_copy_.size();
  if (bytes > arena_.size()) arena_.resize(bytes);
  char* out = arena_.data();
  for (const size_t i : to_copy_) {
    const size_t size = messages[i].value.size();
    if (size != 0) std::memcpy(out, messages[i].value.data(), size);
    std::memset(out + size, 0, kMessagePadding);
    messages[i].value = {out, size};
    out += size + kMessagePadding;
  }
}

}  // namespace millrace
