// What each format offers to the table in all_formats.cc.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "operators/formats/format.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<Decoder>> MakeJsonDecoder(const DecodedTable& table,
                                                         const FormatOptions& options);
absl::StatusOr<std::unique_ptr<Encoder>> MakeJsonEncoder(const SchemaPtr& schema,
                                                         const FormatOptions& options);
absl::StatusOr<std::unique_ptr<Decoder>> MakeCsvDecoder(const DecodedTable& table,
                                                        const FormatOptions& options);
absl::StatusOr<std::unique_ptr<Encoder>> MakeCsvEncoder(const SchemaPtr& schema,
                                                        const FormatOptions& options);
absl::StatusOr<std::unique_ptr<Decoder>> MakeRawDecoder(const DecodedTable& table,
                                                        const FormatOptions& options);
absl::StatusOr<std::unique_ptr<Decoder>> MakeDebeziumDecoder(const DecodedTable& table,
                                                             const FormatOptions& options);
absl::StatusOr<std::unique_ptr<Encoder>> MakeRawEncoder(const SchemaPtr& schema,
                                                        const FormatOptions& options);

}  // namespace millrace
