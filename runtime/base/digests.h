// MD5 and SHA-256 as lower-case hexadecimal. Pure.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Both replace the contents of `out`.
void Md5Hex(std::string_view bytes, std::string& out);
void Sha256Hex(std::string_view bytes, std::string& out);

}  // namespace millrace
