#include "runtime/base/digests.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "runtime/base/check.h"

namespace millrace {
namespace {

void HexDigest(const EVP_MD* algorithm, std::string_view bytes, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  MILLRACE_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, algorithm, nullptr) == 1);
  out.clear();
  for (unsigned int i = 0; i < size; ++i) {
    out.push_back(kHex[digest[i] >> 4]);
    out.push_back(kHex[digest[i] & 15]);
  }
}

const EVP_MD* Algorithm(ShaKind kind) {
  return kind == ShaKind::kSha256 ? EVP_sha256() : EVP_sha512();
}

const unsigned char* Unsigned(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

void Md5Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_md5(), bytes, out); }
void Sha1Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_sha1(), bytes, out); }
void Sha224Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_sha224(), bytes, out); }
void Sha256Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_sha256(), bytes, out); }
void Sha384Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_sha384(), bytes, out); }
void Sha512Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_sha512(), bytes, out); }

std::string Md5(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  MILLRACE_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_md5(), nullptr) == 1);
  return {reinterpret_cast<const char*>(digest), size};
}

std::string Sha(ShaKind kind, std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  MILLRACE_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, Algorithm(kind), nullptr) ==
                 1);
  return {reinterpret_cast<const char*>(digest), size};
}

std::string Hmac(ShaKind kind, std::string_view key, std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  MILLRACE_CHECK(HMAC(Algorithm(kind), key.data(), static_cast<int>(key.size()), Unsigned(bytes),
                      bytes.size(), digest, &size) != nullptr);
  return {reinterpret_cast<const char*>(digest), size};
}

std::string Pbkdf2(ShaKind kind, std::string_view password, std::string_view salt, int iterations) {
  unsigned char key[EVP_MAX_MD_SIZE];
  const int size = EVP_MD_get_size(Algorithm(kind));
  MILLRACE_CHECK(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                                   Unsigned(salt), static_cast<int>(salt.size()), iterations,
                                   Algorithm(kind), size, key) == 1);
  return {reinterpret_cast<const char*>(key), static_cast<size_t>(size)};
}

}  // namespace millrace
