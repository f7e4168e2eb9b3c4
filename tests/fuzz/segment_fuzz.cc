// Any bytes as a segment of state, and of rows in flight: reading and restoring end with a status,
// never a crash. The envelope is tried as it is; the bytes are also tried as records in a sound
// envelope, which gets past the checksum.
#include <cstddef>
#include <cstdint>
#include <string>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/check.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/segment_file.h"
#include "runtime/task/in_flight.h"
#include "tests/unit/exchange/test_batches.h"
#include "tests/unit/state/state_test_env.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;  // NOLINT: a fuzz target has one function.
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // Both ends with a status; which one is not asked here.
  (void)DecodeManifest("fuzz", bytes);

  StateTestEnv env;
  auto storage = OpenTestStorage(env.disk);
  v1::Segment identity;
  identity.set_name("fuzz");
  identity.set_kind(v1::Segment::KIND_STATE_DELTA);
  identity.set_key_group_last(255);
  {
    auto file = storage->Create("fuzz").value();
    MILLRACE_CHECK(file->Append(bytes).ok() && file->Publish().ok());
    (void)ReadSegment(*storage, identity, [](std::string_view) { return absl::OkStatus(); });
    MILLRACE_CHECK(storage->Remove({"fuzz"}).ok());
  }
  auto writer = SegmentWriter::Create(*storage, identity).value();
  for (size_t at = 0; at < size;) {
    const size_t length = std::min<size_t>(data[at], size - at - 1);
    MILLRACE_CHECK(writer->Append(bytes.substr(at + 1, length)).ok());
    at += 1 + length;
  }
  const v1::Segment segment = writer->Publish().value();
  MemoryBudget budget(1 << 16);
  (void)OpenStateStore({.uid = "",
                        .key_groups = {0, 255},
                        .storage = *storage,
                        .env = env.env,
                        .budget = budget,
                        .name_prefix = "f",
                        .restore = {segment}});
  const KeyedInput input{.input = 0, .key_columns = {0}, .columns = NumberSchema()};
  v1::InFlightRows rows = DescribeInFlight({.watermark = EventTime::Min()}, {input});
  *rows.mutable_segment() = segment;
  (void)ReadInFlight(*storage, rows, {input}, {0, 7}, 16);
  return 0;
}
