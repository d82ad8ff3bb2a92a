#include "engine/records/compressor.h"

#include <lz4frame.h>
#include <lz4hc.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/records/xerial.h"

namespace ringtail::records {

using base::ByteView;
using log::Codec;
using Bytes = std::vector<uint8_t>;

namespace {

constexpr int kZlibGzipWindowBits = 15 + 16;
constexpr int kZlibMemoryLevel = 8;  // zlib's default

void AppendSnappyBlock(ByteView plain, Bytes& out) {
  const size_t start = out.size();
  out.resize(start + snappy::MaxCompressedLength(plain.size()));
  size_t size = 0;
  snappy::RawCompress(reinterpret_cast<const char*>(plain.data()), plain.size(),
                      reinterpret_cast<char*>(out.data() + start), &size);
  out.resize(start + size);
}

void AppendXerial(ByteView plain, Bytes& out) {
  const size_t start = out.size();
  out.resize(start + kXerialHeaderBytes);
  std::copy(kXerialMagic.begin(), kXerialMagic.end(), out.begin() + static_cast<ptrdiff_t>(start));
  uint8_t* versions = out.data() + start + kXerialMagic.size();
  base::StoreBe<int32_t>(versions, kXerialVersion);      // written by
  base::StoreBe<int32_t>(versions + 4, kXerialVersion);  // readable from
  while (!plain.empty()) {
    const ByteView block = plain.first(std::min(plain.size(), kXerialBlockBytes));
    plain = plain.subspan(block.size());
    const size_t length_at = out.size();
    out.resize(length_at + sizeof(int32_t));
    AppendSnappyBlock(block, out);
    const size_t size = out.size() - length_at - sizeof(int32_t);
    base::StoreBe<int32_t>(out.data() + length_at, static_cast<int32_t>(size));
  }
}

absl::Status BadLevel(Codec codec, int level, int level_min, int level_max) {
  return absl::InvalidArgumentError(absl::StrCat("compression level ", level, " for ",
                                                 log::CodecName(codec), ": it has ", level_min,
                                                 " to ", level_max));
}

absl::Status Failed(Codec codec, absl::string_view what) {
  return absl::InternalError(absl::StrCat(log::CodecName(codec), " compression: ", what));
}

}  // namespace

struct Compressor::Contexts {
  ~Contexts() {
    if (gzip_ready) deflateEnd(&gzip);
    LZ4F_freeCompressionContext(lz4);
    ZSTD_freeCCtx(zstd);
  }

  z_stream gzip = {};
  bool gzip_ready = false;
  int gzip_level = Z_DEFAULT_COMPRESSION;
  LZ4F_cctx* lz4 = nullptr;
  ZSTD_CCtx* zstd = nullptr;
};

Compressor::Compressor() : contexts_(std::make_unique<Contexts>()) {}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;
Compressor& Compressor::operator=(Compressor&&) noexcept = default;

absl::Status Compressor::Compress(const Compression& how, ByteView plain, Bytes& out) {
  // A batch's length is an int32, and so are the lengths of zlib.
  if (plain.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError("more than 2 GiB of records in one batch");
  }
  switch (how.codec) {
    case Codec::kNone:
      out.insert(out.end(), plain.begin(), plain.end());
      return absl::OkStatus();
    case Codec::kGzip:
      return Gzip(how.level, plain, out);
    case Codec::kSnappy:
      if (how.snappy_framing == SnappyFraming::kXerial) {
        AppendXerial(plain, out);
      } else {
        AppendSnappyBlock(plain, out);
      }
      return absl::OkStatus();
    case Codec::kLz4:
      return Lz4(how.level, plain, out);
    case Codec::kZstd:
      return Zstd(how.level, plain, out);
  }
  return absl::InvalidArgumentError("unknown compression codec");
}

absl::Status Compressor::Gzip(std::optional<int> level, ByteView plain, Bytes& out) {
  if (level && (*level < Z_BEST_SPEED || *level > Z_BEST_COMPRESSION)) {
    return BadLevel(Codec::kGzip, *level, Z_BEST_SPEED, Z_BEST_COMPRESSION);
  }
  Contexts& own = *contexts_;
  const int wanted = level.value_or(Z_DEFAULT_COMPRESSION);
  if (own.gzip_ready && own.gzip_level != wanted) {
    deflateEnd(&own.gzip);
    own.gzip_ready = false;
  }
  if (own.gzip_ready) {
    deflateReset(&own.gzip);
  } else {
    own.gzip = {};
    if (deflateInit2(&own.gzip, wanted, Z_DEFLATED, kZlibGzipWindowBits, kZlibMemoryLevel,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
      return Failed(Codec::kGzip, "out of memory");
    }
    own.gzip_ready = true;
    own.gzip_level = wanted;
  }
  const size_t start = out.size();
  out.resize(start + deflateBound(&own.gzip, static_cast<uLong>(plain.size())));
  own.gzip.next_in = const_cast<uint8_t*>(plain.data());  // zlib only reads
  own.gzip.avail_in = static_cast<uInt>(plain.size());
  own.gzip.next_out = out.data() + start;
  own.gzip.avail_out = static_cast<uInt>(out.size() - start);
  const int result = deflate(&own.gzip, Z_FINISH);
  out.resize(start + own.gzip.total_out);
  return result == Z_STREAM_END ? absl::OkStatus() : Failed(Codec::kGzip, "zlib did not finish");
}

absl::Status Compressor::Lz4(std::optional<int> level, ByteView plain, Bytes& out) {
  if (level && (*level < 1 || *level > LZ4HC_CLEVEL_MAX)) {
    return BadLevel(Codec::kLz4, *level, 1, LZ4HC_CLEVEL_MAX);
  }
  LZ4F_cctx*& context = contexts_->lz4;
  if (context == nullptr && LZ4F_isError(LZ4F_createCompressionContext(&context, LZ4F_VERSION))) {
    context = nullptr;
    return Failed(Codec::kLz4, "out of memory");
  }
  LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  // Kafka's Java reader knows no others.
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  preferences.compressionLevel = level.value_or(0);
  preferences.autoFlush = 1;
  const size_t start = out.size();
  out.resize(start + LZ4F_HEADER_SIZE_MAX + LZ4F_compressBound(plain.size(), &preferences));
  size_t at = start;
  size_t size = LZ4F_compressBegin(context, out.data() + at, out.size() - at, &preferences);
  if (!LZ4F_isError(size)) {
    at += size;
    size = LZ4F_compressUpdate(context, out.data() + at, out.size() - at, plain.data(),
                               plain.size(), nullptr);
  }
  if (!LZ4F_isError(size)) {
    at += size;
    size = LZ4F_compressEnd(context, out.data() + at, out.size() - at, nullptr);
  }
  if (LZ4F_isError(size)) {
    out.resize(start);
    return Failed(Codec::kLz4, LZ4F_getErrorName(size));
  }
  out.resize(at + size);
  return absl::OkStatus();
}

absl::Status Compressor::Zstd(std::optional<int> level, ByteView plain, Bytes& out) {
  if (level && (*level < ZSTD_minCLevel() || *level > ZSTD_maxCLevel())) {
    return BadLevel(Codec::kZstd, *level, ZSTD_minCLevel(), ZSTD_maxCLevel());
  }
  ZSTD_CCtx*& context = contexts_->zstd;
  if (context == nullptr) context = ZSTD_createCCtx();
  if (context == nullptr) return Failed(Codec::kZstd, "out of memory");
  const size_t start = out.size();
  out.resize(start + ZSTD_compressBound(plain.size()));
  const size_t size =
      ZSTD_compressCCtx(context, out.data() + start, out.size() - start, plain.data(), plain.size(),
                        level.value_or(ZSTD_CLEVEL_DEFAULT));
  if (ZSTD_isError(size)) {
    out.resize(start);
    return Failed(Codec::kZstd, ZSTD_getErrorName(size));
  }
  out.resize(start + size);
  return absl::OkStatus();
}

}  // namespace ringtail::records
