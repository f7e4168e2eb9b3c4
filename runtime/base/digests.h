// Digests, and what authentication makes of them. Pure.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Lower-case hexadecimal; each replaces the contents of `out`.
void Md5Hex(std::string_view bytes, std::string& out);
void Sha1Hex(std::string_view bytes, std::string& out);
void Sha224Hex(std::string_view bytes, std::string& out);
void Sha256Hex(std::string_view bytes, std::string& out);
void Sha384Hex(std::string_view bytes, std::string& out);
void Sha512Hex(std::string_view bytes, std::string& out);

// As bytes.
std::string Md5(std::string_view bytes);
enum class ShaKind { kSha256, kSha512 };
std::string Sha(ShaKind kind, std::string_view bytes);
std::string Hmac(ShaKind kind, std::string_view key, std::string_view bytes);
// A key as long as the digest, by HMAC. `iterations` is at least 1.
std::string Pbkdf2(ShaKind kind, std::string_view password, std::string_view salt, int iterations);

}  // namespace millrace
