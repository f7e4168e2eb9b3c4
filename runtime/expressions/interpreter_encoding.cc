// Reference meanings: digests, hexadecimal, Base64 and URLs. Bytes are written as bits, and bits
// are read.
#include <bitset>
#include <cstdlib>
#include <map>

#include <re2/re2.h>

#include "runtime/base/digests.h"
#include "runtime/expressions/interpreter.h"
#include "runtime/expressions/text.h"

namespace millrace::expressions::reference {
namespace {

using Result = absl::StatusOr<Datum>;
using In = CallInput;

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const std::string& Bytes(const In& in) { return in[0].string_value; }

Result DigestOf(const In& in, void (*digest)(std::string_view, std::string&)) {
  std::string hex;
  digest(Bytes(in), hex);
  return Str(hex);
}

Result Sha2(const In& in) {
  const int64_t bits = in[1].int_value;
  if (bits == 224) return DigestOf(in, Sha224Hex);
  if (bits == 256) return DigestOf(in, Sha256Hex);
  if (bits == 384) return DigestOf(in, Sha384Hex);
  if (bits == 512) return DigestOf(in, Sha512Hex);
  return RowError("SHA-2 does not have so many bits");
}

std::string BitsOf(const std::string& bytes) {
  std::string bits;
  for (const char byte : bytes) {
    bits += std::bitset<8>(static_cast<unsigned char>(byte)).to_string();
  }
  return bits;
}

// Bits behind the last whole byte are left out.
std::string BytesOf(const std::string& bits) {
  std::string bytes;
  for (size_t i = 0; i + 8 <= bits.size(); i += 8) {
    bytes += static_cast<char>(std::bitset<8>(bits.substr(i, 8)).to_ulong());
  }
  return bytes;
}

std::string HexOf(const std::string& bits) {
  std::string hex;
  for (size_t i = 0; i < bits.size(); i += 4) {
    hex += "0123456789ABCDEF"[std::bitset<4>(bits.substr(i, 4)).to_ulong()];
  }
  return hex;
}

std::string WithoutLeadingZeros(const std::string& digits) {
  return digits.substr(std::min(digits.find_first_not_of('0'), digits.size() - 1));
}

std::string Bits(const In& in) {
  return std::bitset<64>(static_cast<uint64_t>(in[0].int_value)).to_string();
}

Result Hex(const In& in) {
  if (in[0].type == TypeKind::kInt64) return Str(WithoutLeadingZeros(HexOf(Bits(in))));
  return Str(HexOf(BitsOf(Bytes(in))));
}

char FromHex(const std::string& two) {
  return static_cast<char>(std::strtol(two.c_str(), nullptr, 16));
}

Result Unhex(const In& in) {
  if (!RE2::FullMatch(Bytes(in), "(?:[0-9A-Fa-f]{2})*")) return Null(in.result);
  std::string bytes;
  for (size_t i = 0; i < Bytes(in).size(); i += 2) bytes += FromHex(Bytes(in).substr(i, 2));
  return Text(in.result, bytes);
}

Result ToBase64(const In& in) {
  std::string bits = BitsOf(Bytes(in)), text;
  while (bits.size() % 6 != 0) bits += '0';
  for (size_t i = 0; i < bits.size(); i += 6) {
    text += kBase64[std::bitset<6>(bits.substr(i, 6)).to_ulong()];
  }
  while (text.size() % 4 != 0) text += '=';
  return Str(text);
}

Result TextOrNull(const std::string& bytes) {
  const Result text = Convert(Text(TypeKind::kBytes, bytes), TypeKind::kString);
  return text.ok() ? *text : Null(TypeKind::kString);
}

Result FromBase64(const In& in) {
  static const RE2 form("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?");
  if (!RE2::FullMatch(Bytes(in), form)) return Null(in.result);
  std::string bits;
  for (const char c : Bytes(in)) {
    if (c != '=') bits += std::bitset<6>(kBase64.find(c)).to_string();
  }
  return TextOrNull(BytesOf(bits));
}

Result UrlEncode(const In& in) {
  std::string text;
  for (const char c : Bytes(in)) {
    const std::string one(1, c);
    const bool kept = RE2::FullMatch(one, "[A-Za-z0-9.*_-]");
    text += c == ' ' ? "+" : kept ? one : "%" + HexOf(BitsOf(one));
  }
  return Str(text);
}

Result UrlDecode(const In& in) {
  if (!RE2::FullMatch(Bytes(in), "(?:[^%]|%[0-9A-Fa-f]{2})*")) return Null(in.result);
  std::string bytes;
  for (size_t i = 0; i < Bytes(in).size(); ++i) {
    const char c = Bytes(in)[i];
    bytes += c == '+' ? ' ' : c == '%' ? FromHex(Bytes(in).substr(i + 1, 2)) : c;
    if (c == '%') i += 2;
  }
  return TextOrNull(bytes);
}

const std::map<std::string_view, FunctionRow>& Functions() {
  static const auto* functions = new std::map<std::string_view, FunctionRow>{
      {"md5", {[](const In& in) { return DigestOf(in, Md5Hex); }}},
      {"sha1", {[](const In& in) { return DigestOf(in, Sha1Hex); }}},
      {"sha224", {[](const In& in) { return DigestOf(in, Sha224Hex); }}},
      {"sha256", {[](const In& in) { return DigestOf(in, Sha256Hex); }}},
      {"sha384", {[](const In& in) { return DigestOf(in, Sha384Hex); }}},
      {"sha512", {[](const In& in) { return DigestOf(in, Sha512Hex); }}},
      {"sha2", {Sha2}},
      {"hex", {Hex}},
      {"bin", {[](const In& in) { return Str(WithoutLeadingZeros(Bits(in))); }}},
      {"unhex", {Unhex}},
      {"to_base64", {ToBase64}},
      {"from_base64", {FromBase64}},
      {"url_encode", {UrlEncode}},
      {"url_decode", {UrlDecode}},
  };
  return *functions;
}

}  // namespace

FunctionRow FindEncodingFunction(std::string_view name) {
  const auto found = Functions().find(name);
  return found == Functions().end() ? FunctionRow{} : found->second;
}

}  // namespace millrace::expressions::reference
