#include "runtime/checkpoint/segment_name.h"

#include <charconv>
#include <system_error>

#include "absl/strings/ascii.h"

#include "absl/strings/str_format.h"
#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

constexpr size_t kUidBytesMax = 72;

std::string_view KindName(int kind) {
  switch (kind) {
    case v1::Segment::KIND_STATE_DELTA:
      return "delta";
    case v1::Segment::KIND_STATE_BASE:
      return "base";
    case v1::Segment::KIND_OUTBOX:
      return "outbox";
    case v1::Segment::KIND_IN_FLIGHT:
      return "inflight";
    default:
      return "segment";
  }
}

// Characters that a file name cannot have are written as %XX. A long uid is cut and told apart by
// its checksum.
std::string EscapeUid(std::string_view uid) {
  std::string out;
  for (const char c : uid) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_') {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  if (out.size() > kUidBytesMax) {
    out.resize(kUidBytesMax);
    absl::StrAppendFormat(&out, "~%08x", Crc32c(uid));
  }
  return out;
}

}  // namespace

std::string SegmentName(const SegmentOwner& owner, int kind, Epoch epoch, uint64_t sequence) {
  return Concat(owner.prefix, ".", EscapeUid(owner.uid), ".", KindName(kind), ".e", epoch.number,
                ".n", sequence);
}

std::optional<Epoch> EpochOfStateSegment(std::string_view name) {
  for (const int kind : {v1::Segment::KIND_STATE_DELTA, v1::Segment::KIND_STATE_BASE}) {
    const std::string mark = Concat(".", KindName(kind), ".e");  // No uid has a dot here.
    const size_t at = name.find(mark);
    if (at == std::string_view::npos) continue;
    const char* const end = name.data() + name.size();
    Epoch epoch;
    const auto read = std::from_chars(name.data() + at + mark.size(), end, epoch.number);
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '.') return epoch;
  }
  return std::nullopt;
}

}  // namespace millrace
