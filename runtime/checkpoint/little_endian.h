// Fixed-width little-endian integers in our file formats.
#pragma once

#include <bit>
#include <concepts>
#include <cstring>
#include <string>

namespace millrace {

static_assert(std::endian::native == std::endian::little);

template <std::unsigned_integral T>
void AppendLittleEndian(T value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <std::unsigned_integral T>
T ReadLittleEndian(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

}  // namespace millrace
