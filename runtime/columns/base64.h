// Base64 (RFC 4648, with padding): the text form of BYTES in json and csv.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

void AppendBase64(std::string_view bytes, std::string& out);
// Replaces `out`; false when `text` is not base64.
bool DecodeBase64(std::string_view text, std::string& out);

}  // namespace millrace
