#include "operators/catalog/catalog.h"
#include "operators/formats/formats.h"

namespace millrace {

// Sorted by name.
std::span<const Format> AllFormats() {
  static constexpr Format kFormats[] = {
      {.name = "csv", .make_decoder = &MakeCsvDecoder, .make_encoder = &MakeCsvEncoder},
      {.name = "debezium-json", .make_decoder = &MakeDebeziumDecoder},
      {.name = "json", .make_decoder = &MakeJsonDecoder, .make_encoder = &MakeJsonEncoder},
      {.name = "raw", .make_decoder = &MakeRawDecoder, .make_encoder = &MakeRawEncoder},
  };
  return kFormats;
}

absl::StatusOr<const Format*> FindFormat(std::string_view name) {
  for (const Format& format : AllFormats()) {
    if (format.name == name) return &format;
  }
  const auto known = FindFormatSpec(name);
  if (!known.ok()) return known.status();
  return absl::NotFoundError("format '" + std::string(name) + "' is not part of this build");
}

}  // namespace millrace
