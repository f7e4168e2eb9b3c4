// Gives message payloads the readable bytes after their end that decoders ask for, copying only
// where the client's buffer cannot be shown to have them.
//
// Threading: one thread. Ownership: copies live until the next call.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "operators/formats/format.h"

namespace millrace {

class MessagePadding {
 public:
  // An address sanitizer knows the ends of the client's buffers and would object to our reasoning.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kCopiesAll = true;
#else
  static constexpr bool kCopiesAll = false;
#endif

  // Replaces values that have no kMessagePadding readable bytes after them by copies that do.
  void Pad(std::span<Message> messages);
  size_t copied() const { return copied_; }  // Of the last call.

 private:
  std::vector<char> arena_;
  std::vector<size_t> to_copy_;
  size_t copied_ = 0;
};

}  // namespace millrace
