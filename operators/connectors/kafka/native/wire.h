// Kafka's wire types: big-endian numbers, and texts and arrays in the classic or the flexible
// ("compact") encoding.
//
// Threading: as for any value. Errors: a WireReader remembers the first failure; callers look at
// ok() once, at the end, before they use what was read. What was read views the bytes given.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace millrace {

using KafkaUuid = std::array<char, 16>;  // All zero: none.

template <typename T>
T LoadBigEndian(const char* from) {
  std::make_unsigned_t<T> value;
  std::memcpy(&value, from, sizeof(T));
  if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
  return static_cast<T>(value);
}

template <typename T>
void PutBigEndian(std::string& out, T value) {
  for (size_t i = sizeof(T); i-- > 0;) {
    out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
  }
}

class WireReader {
 public:
  WireReader(std::string_view bytes, bool flexible) : rest_(bytes), flexible_(flexible) {}

  bool ok() const { return ok_; }
  size_t left() const { return rest_.size(); }

  template <typename T>
  T Number() {
    const std::string_view taken = Take(sizeof(T));
    return taken.empty() ? T{} : LoadBigEndian<T>(taken.data());
  }
  uint32_t UnsignedVarint() {
    uint32_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const std::string_view taken = Take(1);
      if (taken.empty()) return 0;
      const auto byte = static_cast<uint8_t>(taken[0]);
      if (shift == 28 && byte > 0x0f) break;
      value |= uint32_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    Fail();
    return 0;
  }
  // NULL is empty.
  std::string_view Text() { return Take(Length(/*wide=*/false)); }
  std::string_view Bytes() { return Take(Length(/*wide=*/true)); }
  KafkaUuid Uuid() {
    KafkaUuid id{};
    const std::string_view taken = Take(id.size());
    if (!taken.empty()) std::memcpy(id.data(), taken.data(), id.size());
    return id;
  }
  // How many elements follow; NULL is none. Fails where the rest cannot hold them at `bytes_min`
  // each, so that what is reserved for them is bounded by what was received.
  size_t Elements(size_t bytes_min) {
    const size_t count = Length(/*wide=*/true);
    if (count > rest_.size() / bytes_min) {
      Fail();
      return 0;
    }
    return count;
  }
  void SkipNumbers(size_t width) { Take(Elements(width) * width); }
  // Calls field(tag, reader of its bytes) for each tagged field; none in the classic encoding.
  template <typename Field>
  void Tags(Field&& field) {
    if (!flexible_) return;
    for (uint32_t count = UnsignedVarint(); count > 0 && ok_; --count) {
      const uint32_t tag = UnsignedVarint();
      field(tag, WireReader(Take(UnsignedVarint()), flexible_));
    }
  }
  void SkipTags() {
    Tags([](uint32_t, const WireReader&) {});
  }

 private:
  size_t Length(bool wide) {
    if (flexible_) {
      const uint32_t length = UnsignedVarint();
      return length == 0 ? 0 : length - 1;
    }
    const int32_t length = wide ? Number<int32_t>() : Number<int16_t>();
    if (length < -1) Fail();
    return length < 0 ? 0 : static_cast<size_t>(length);
  }
  std::string_view Take(size_t size) {
    if (size > rest_.size()) Fail();
    if (!ok_) return {};
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

  std::string_view rest_;
  const bool flexible_;
  bool ok_ = true;
};

class WireWriter {
 public:
  explicit WireWriter(bool flexible) : flexible_(flexible) {}

  template <typename T>
  void Number(T value) {
    PutBigEndian(out_, value);
  }
  void Text(std::string_view text) {
    Length(text.size(), /*wide=*/false);
    out_.append(text);
  }
  void Bytes(std::string_view bytes) {
    BytesLength(bytes.size());
    out_.append(bytes);
  }
  void NullText() {
    if (flexible_) {
      out_.push_back(0);
    } else {
      Number<int16_t>(-1);
    }
  }
  // The length of bytes that follow from elsewhere.
  void BytesLength(size_t length) { Length(length, /*wide=*/true); }
  void Uuid(const KafkaUuid& id) { out_.append(id.data(), id.size()); }
  void Elements(size_t count) { Length(count, /*wide=*/true); }
  void NoTags() {
    if (flexible_) out_.push_back(0);
  }
  std::string Take() { return std::exchange(out_, {}); }

 private:
  void Length(size_t length, bool wide) {
    if (flexible_) {
      uint64_t value = length + 1;
      for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
      out_.push_back(static_cast<char>(value));
    } else if (wide) {
      Number(static_cast<int32_t>(length));
    } else {
      Number(static_cast<int16_t>(length));
    }
  }

  const bool flexible_;
  std::string out_;
};

}  // namespace millrace
