#include "runtime/base/digests.h"

#include <openssl/evp.h>

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

}  // namespace

void Md5Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_md5(), bytes, out); }
void Sha256Hex(std::string_view bytes, std::string& out) { HexDigest(EVP_sha256(), bytes, out); }

}  // namespace millrace
