// Text and bytes in other alphabets: digests, hexadecimal, Base64 (RFC 4648), URLs.
#include <simdjson.h>

#include <array>

#include "absl/strings/escaping.h"
#include "runtime/base/digests.h"
#include "runtime/expressions/text.h"
#include "runtime/expressions/text_kernels.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

constexpr std::string_view kHex = "0123456789ABCDEF";

// The value of a hexadecimal digit; -1 = it is none.
int DigitOf(char c) {
  const size_t at = kHex.find(UpperAscii(c));
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

// --- Digests -----------------------------------------------------------------------------------

using Digest = void (*)(std::string_view, std::string&);

BoundKernel HexDigest(Digest digest) {
  return TextToText(
      [digest, hex = std::string()](const Arguments& a, int64_t row, StringWriter& writer) mutable {
        digest(a[0].Text(row), hex);
        return Put(writer, hex);
      });
}

Digest Sha2OfBits(int64_t bits) {
  switch (bits) {
    case 224:
      return Sha224Hex;
    case 256:
      return Sha256Hex;
    case 384:
      return Sha384Hex;
    case 512:
      return Sha512Hex;
    default:
      return nullptr;
  }
}

Value RunSha2(const KernelInput& in) {
  const Argument text(in.arguments[0]), bits(in.arguments[1]);
  std::string hex;
  return StringLoop(in, TypeKind::kString,
                    [&](int64_t row, StringWriter& writer, std::string& error) {
                      const Digest digest = Sha2OfBits(bits.Int(row));
                      if (digest == nullptr) {
                        error = Text("sha2 has 224, 256, 384 or 512 bits, not ", bits.Int(row));
                        return RowOutcome::kError;
                      }
                      digest(text.Text(row), hex);
                      return Put(writer, hex);
                    });
}

// --- Numbers -----------------------------------------------------------------------------------

// In two's complement, without leading zeros; a digit has `kBits` bits.
template <int kBits>
RowOutcome Digits(const Arguments& a, int64_t row, StringWriter& writer) {
  std::array<char, 64> digits;
  auto begin = digits.end();
  auto rest = static_cast<uint64_t>(a[0].Int(row));
  do {
    *--begin = kHex[rest & ((1 << kBits) - 1)];
    rest >>= kBits;
  } while (rest != 0);
  return Put(writer, {begin, digits.end()});
}

// --- Bytes -------------------------------------------------------------------------------------

void AppendHex(char byte, StringWriter& writer) {
  const auto code = static_cast<uint8_t>(byte);
  writer.Append(kHex[code >> 4]);
  writer.Append(kHex[code & 15]);
}

RowOutcome Hex(const Arguments& a, int64_t row, StringWriter& writer) {
  for (const char byte : a[0].Text(row)) AppendHex(byte, writer);
  return RowOutcome::kValue;
}

Value RunUnhex(const KernelInput& in) {
  const Argument text(in.arguments[0]);
  return StringLoop(in, TypeKind::kBytes, [&](int64_t row, StringWriter& writer, std::string&) {
    const std::string_view digits = text.Text(row);
    if (digits.size() % 2 != 0) return RowOutcome::kNull;
    for (size_t i = 0; i < digits.size(); i += 2) {
      const int high = DigitOf(digits[i]), low = DigitOf(digits[i + 1]);
      if (high < 0 || low < 0) return RowOutcome::kNull;
      writer.Append(static_cast<char>(high << 4 | low));
    }
    return RowOutcome::kValue;
  });
}

RowOutcome ToBase64(const Arguments& a, int64_t row, StringWriter& writer) {
  const std::string_view bytes = a[0].Text(row);
  const std::string encoded = absl::Base64Escape({bytes.data(), bytes.size()});
  return Put(writer, encoded);
}

RowOutcome PutIfText(std::string_view text, StringWriter& writer) {
  return simdjson::validate_utf8(text.data(), text.size()) ? Put(writer, text) : RowOutcome::kNull;
}

RowOutcome FromBase64(const Arguments& a, int64_t row, StringWriter& writer) {
  const std::string_view text = a[0].Text(row);
  std::string decoded;
  // Abseil also takes text without padding, with spaces, or with dots for padding.
  if (text.size() % 4 != 0 || text.find_first_of(" \t\r\n\f\v.") != std::string_view::npos ||
      !absl::Base64Unescape({text.data(), text.size()}, &decoded)) {
    return RowOutcome::kNull;
  }
  return PutIfText(decoded, writer);
}

// --- URLs (application/x-www-form-urlencoded) --------------------------------------------------

RowOutcome UrlEncode(const Arguments& a, int64_t row, StringWriter& writer) {
  for (const char c : a[0].Text(row)) {
    if (IsLetter(c) || IsDigit(c) || c == '.' || c == '-' || c == '*' || c == '_') {
      writer.Append(c);
    } else if (c == ' ') {
      writer.Append('+');
    } else {
      writer.Append('%');
      AppendHex(c, writer);
    }
  }
  return RowOutcome::kValue;
}

RowOutcome UrlDecode(const Arguments& a, int64_t row, StringWriter& writer) {
  const std::string_view text = a[0].Text(row);
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? DigitOf(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? DigitOf(text[i + 2]) : -1;
    if (high < 0 || low < 0) return RowOutcome::kNull;
    decoded += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return PutIfText(decoded, writer);
}

}  // namespace

absl::StatusOr<BoundKernel> MakeEncodingKernel(const KernelRequest& request) {
  const std::string_view name = request.name;
  if (name == "md5") return HexDigest(Md5Hex);
  if (name == "sha1") return HexDigest(Sha1Hex);
  if (name == "sha224") return HexDigest(Sha224Hex);
  if (name == "sha256") return HexDigest(Sha256Hex);
  if (name == "sha384") return HexDigest(Sha384Hex);
  if (name == "sha512") return HexDigest(Sha512Hex);
  if (name == "sha2") return BoundKernel{RunSha2, true};
  if (name == "bin") return TextToText(Digits<1>);
  if (name == "hex" && request.types[0] == TypeKind::kInt64) return TextToText(Digits<4>);
  if (name == "hex") return TextToText(Hex);
  if (name == "unhex") return BoundKernel{RunUnhex};
  if (name == "to_base64") return TextToText(ToBase64);
  if (name == "from_base64") return TextToText(FromBase64);
  if (name == "url_encode") return TextToText(UrlEncode);
  if (name == "url_decode") return TextToText(UrlDecode);
  return BoundKernel{};
}

}  // namespace millrace::expressions
