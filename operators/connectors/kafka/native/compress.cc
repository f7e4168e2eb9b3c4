#include "operators/connectors/kafka/native/compress.h"

#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr int kGzipWindow = MAX_WBITS + 16;  // 16: gzip's header.
constexpr int kGzipMemory = 8;

absl::Status Failed(std::string_view codec, std::string_view why) {
  return absl::InternalError(Concat("cannot pack records by ", codec, ": ", why));
}

}  // namespace

struct Compressor::Contexts {
  Contexts(KafkaCodec codec, int level) {
    if (codec == KafkaCodec::kGzip) {
      const int known = level < 0 ? Z_DEFAULT_COMPRESSION : std::clamp(level, 0, 9);
      MILLRACE_CHECK(deflateInit2(&gzip, known, Z_DEFLATED, kGzipWindow, kGzipMemory,
                                  Z_DEFAULT_STRATEGY) == Z_OK);
      has_gzip = true;
    }
    if (codec == KafkaCodec::kZstd) {
      zstd = ZSTD_createCCtx();
      MILLRACE_CHECK(zstd != nullptr);
      const int known = level < 0 ? 0 : std::clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel());
      ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, known);
    }
  }
  ~Contexts() {
    if (has_gzip) deflateEnd(&gzip);
    ZSTD_freeCCtx(zstd);
  }

  z_stream gzip{};
  bool has_gzip = false;
  ZSTD_CCtx* zstd = nullptr;
};

Compressor::Compressor(KafkaCodec codec, int level)
    : codec_(codec), level_(level), contexts_(std::make_unique<Contexts>(codec, level)) {}
Compressor::~Compressor() = default;

absl::Status Compressor::Pack(std::string_view bytes, std::string& out) {
  const size_t begin = out.size();
  switch (codec_) {
    case KafkaCodec::kNone:
      break;
    case KafkaCodec::kGzip: {
      z_stream& gzip = contexts_->gzip;
      deflateReset(&gzip);
      out.resize(begin + deflateBound(&gzip, bytes.size()));
      gzip.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      gzip.avail_in = static_cast<uInt>(bytes.size());
      gzip.next_out = reinterpret_cast<Bytef*>(out.data() + begin);
      gzip.avail_out = static_cast<uInt>(out.size() - begin);
      if (deflate(&gzip, Z_FINISH) != Z_STREAM_END) return Failed("gzip", "no room");
      out.resize(out.size() - gzip.avail_out);
      return absl::OkStatus();
    }
    case KafkaCodec::kSnappy: {
      size_t size = snappy::MaxCompressedLength(bytes.size());
      out.resize(begin + size);
      snappy::RawCompress(bytes.data(), bytes.size(), out.data() + begin, &size);
      out.resize(begin + size);
      return absl::OkStatus();
    }
    case KafkaCodec::kLz4: {
      LZ4F_preferences_t preferences{};
      // Blocks that do not need each other are what every client reads.
      preferences.frameInfo.blockMode = LZ4F_blockIndependent;
      preferences.compressionLevel = std::clamp(level_, 0, LZ4F_compressionLevel_max());
      out.resize(begin + LZ4F_compressFrameBound(bytes.size(), &preferences));
      const size_t size = LZ4F_compressFrame(out.data() + begin, out.size() - begin, bytes.data(),
                                             bytes.size(), &preferences);
      if (LZ4F_isError(size)) return Failed("lz4", LZ4F_getErrorName(size));
      out.resize(begin + size);
      return absl::OkStatus();
    }
    case KafkaCodec::kZstd: {
      out.resize(begin + ZSTD_compressBound(bytes.size()));
      const size_t size = ZSTD_compress2(contexts_->zstd, out.data() + begin, out.size() - begin,
                                         bytes.data(), bytes.size());
      if (ZSTD_isError(size)) return Failed("zstd", ZSTD_getErrorName(size));
      out.resize(begin + size);
      return absl::OkStatus();
    }
  }
  return absl::InternalError("no codec to pack records by");
}

}  // namespace millrace
