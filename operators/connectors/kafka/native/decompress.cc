#include "operators/connectors/kafka/native/decompress.h"

#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>

#include "operators/connectors/kafka/native/wire.h"
#include "runtime/base/check.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// The Java library's snappy: this, two version numbers, then blocks with their lengths.
constexpr std::string_view kSnappyBlocks("\x82SNAPPY\0", 8);
constexpr size_t kSnappyHeaderBytes = 16;
constexpr size_t kFirstGuess = size_t{64} << 10;

absl::Status Corrupt(std::string_view codec, std::string_view why) {
  return absl::DataLossError(Concat("records are not ", codec, ": ", why));
}

absl::Status TooLarge(size_t bytes_max) {
  return absl::FailedPreconditionError(
      Concat("a batch of records unpacks to more than ", bytes_max,
             " bytes; read it with option 'fetch' = 'librdkafka'"));
}

// Room for more at the end of what was unpacked so far.
absl::Status Grow(size_t used, size_t bytes_max, ByteBlock& out) {
  if (used >= bytes_max) return TooLarge(bytes_max);
  out.Resize(std::min(bytes_max, std::max(kFirstGuess, 2 * used)), used);
  return absl::OkStatus();
}

// step(in, in_size, out, out_size): consumes and produces some, sets both sizes to what it did, and
// says whether a frame has ended. Frames may follow each other, and one must end where `packed`
// does.
template <typename Step>
absl::Status Stream(std::string_view codec, std::string_view packed, size_t bytes_max,
                    ByteBlock& out, Step&& step) {
  size_t used = 0;
  out.Resize(std::min(bytes_max, std::max({kFirstGuess, out.capacity(), 4 * packed.size()})));
  bool ended = false;
  while (!packed.empty() || !ended) {
    if (used == out.size()) MILLRACE_RETURN_IF_ERROR(Grow(used, bytes_max, out));
    size_t in_size = packed.size();
    size_t out_size = out.size() - used;
    MILLRACE_ASSIGN_OR_RETURN(ended, step(packed.data(), in_size, out.data() + used, out_size));
    packed.remove_prefix(in_size);
    used += out_size;
    if (in_size == 0 && out_size == 0) return Corrupt(codec, "cut off");
  }
  out.Resize(used, used);
  return absl::OkStatus();
}

absl::Status Snappy(std::string_view packed, size_t bytes_max, ByteBlock& out) {
  size_t used = 0;
  const auto block = [&](std::string_view bytes) {
    size_t size = 0;
    if (!snappy::GetUncompressedLength(bytes.data(), bytes.size(), &size)) {
      return Corrupt("snappy", "no length");
    }
    if (size > bytes_max - used) return TooLarge(bytes_max);
    // A copy makes at most 64 bytes of 3.
    if (size / 32 > bytes.size()) return Corrupt("snappy", "impossible length");
    out.Resize(used + size > out.capacity() ? std::max(used + size, 2 * used) : used + size, used);
    if (!snappy::RawUncompress(bytes.data(), bytes.size(), out.data() + used)) {
      return Corrupt("snappy", "corrupt block");
    }
    used += size;
    return absl::OkStatus();
  };
  if (!packed.starts_with(kSnappyBlocks) || packed.size() < kSnappyHeaderBytes) {
    return block(packed);
  }
  out.Resize(0);
  packed.remove_prefix(kSnappyHeaderBytes);
  while (!packed.empty()) {
    if (packed.size() < 4) return Corrupt("snappy", "cut off");
    const size_t length = LoadBigEndian<uint32_t>(packed.data());
    if (length > packed.size() - 4) return Corrupt("snappy", "cut off");
    MILLRACE_RETURN_IF_ERROR(block(packed.substr(4, length)));
    packed.remove_prefix(4 + length);
  }
  out.Resize(used, used);
  return absl::OkStatus();
}

}  // namespace

struct Decompressor::Contexts {
  Contexts() {
    // 32: a header of gzip or zlib.
    MILLRACE_CHECK(inflateInit2(&gzip, MAX_WBITS + 32) == Z_OK);
    MILLRACE_CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&lz4, LZ4F_VERSION)));
    MILLRACE_CHECK(zstd != nullptr);
  }
  ~Contexts() {
    inflateEnd(&gzip);
    LZ4F_freeDecompressionContext(lz4);
    ZSTD_freeDCtx(zstd);
  }

  z_stream gzip{};
  LZ4F_dctx* lz4 = nullptr;
  ZSTD_DCtx* const zstd = ZSTD_createDCtx();
};

Decompressor::Decompressor() : contexts_(std::make_unique<Contexts>()) {}
Decompressor::~Decompressor() = default;

absl::Status Decompressor::Unpack(KafkaCodec codec, std::string_view packed, size_t bytes_max,
                                  ByteBlock& out) {
  using Done = absl::StatusOr<bool>;
  switch (codec) {
    case KafkaCodec::kNone:
      break;
    case KafkaCodec::kGzip: {
      z_stream& gzip = contexts_->gzip;
      inflateReset(&gzip);
      return Stream("gzip", packed, bytes_max, out,
                    [&](const char* in, size_t& in_size, char* to, size_t& out_size) -> Done {
                      gzip.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in));
                      gzip.avail_in = static_cast<uInt>(in_size);
                      gzip.next_out = reinterpret_cast<Bytef*>(to);
                      gzip.avail_out = static_cast<uInt>(out_size);
                      const int done = inflate(&gzip, Z_NO_FLUSH);
                      in_size -= gzip.avail_in;
                      out_size -= gzip.avail_out;
                      if (done == Z_STREAM_END) inflateReset(&gzip);
                      if (done == Z_OK || done == Z_STREAM_END || done == Z_BUF_ERROR) {
                        return done == Z_STREAM_END;
                      }
                      return Corrupt("gzip", gzip.msg == nullptr ? "corrupt" : gzip.msg);
                    });
    }
    case KafkaCodec::kSnappy:
      return Snappy(packed, bytes_max, out);
    case KafkaCodec::kLz4:
      LZ4F_resetDecompressionContext(contexts_->lz4);
      return Stream("lz4", packed, bytes_max, out,
                    [&](const char* in, size_t& in_size, char* to, size_t& out_size) -> Done {
                      const size_t left =
                          LZ4F_decompress(contexts_->lz4, to, &out_size, in, &in_size, nullptr);
                      if (LZ4F_isError(left)) return Corrupt("lz4", LZ4F_getErrorName(left));
                      return left == 0;
                    });
    case KafkaCodec::kZstd:
      ZSTD_DCtx_reset(contexts_->zstd, ZSTD_reset_session_only);
      return Stream("zstd", packed, bytes_max, out,
                    [&](const char* in, size_t& in_size, char* to, size_t& out_size) -> Done {
                      ZSTD_inBuffer source{in, in_size, 0};
                      ZSTD_outBuffer target{to, out_size, 0};
                      const size_t left = ZSTD_decompressStream(contexts_->zstd, &target, &source);
                      if (ZSTD_isError(left)) return Corrupt("zstd", ZSTD_getErrorName(left));
                      in_size = source.pos;
                      out_size = target.pos;
                      return left == 0;
                    });
  }
  return absl::DataLossError(Concat("unknown compression of records: ", static_cast<int>(codec)));
}

}  // namespace millrace
