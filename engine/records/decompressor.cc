#include "engine/records/decompressor.h"

#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/base/result.h"
#include "engine/records/xerial.h"

namespace ringtail::records {

using base::ByteView;
using base::MutableByteView;
using log::Codec;

namespace {

constexpr size_t kFirstBufferBytes = 16 * 1024;
constexpr int kZlibGzipOrZlibWindowBits = 15 + 32;
// The densest element of the raw format copies 64 bytes and takes 3.
constexpr size_t kSnappyRatioMax = 22;

absl::Status Damaged(Codec codec, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("damaged ", log::CodecName(codec), " records: ", what));
}

absl::Status OutOfMemory() { return absl::ResourceExhaustedError("no memory for a decompressor"); }

bool StartsWithXerialMagic(ByteView bytes) {
  return bytes.size() >= kXerialHeaderBytes &&
         std::equal(kXerialMagic.begin(), kXerialMagic.end(), bytes.begin());
}

}  // namespace

struct Decompressor::Contexts {
  ~Contexts() {
    if (gzip_ready) inflateEnd(&gzip);
    LZ4F_freeDecompressionContext(lz4);
    ZSTD_freeDCtx(zstd);
  }

  z_stream gzip = {};
  bool gzip_ready = false;
  LZ4F_dctx* lz4 = nullptr;
  ZSTD_DCtx* zstd = nullptr;
};

Decompressor::Decompressor(size_t plain_bytes_max)
    : plain_bytes_max_(plain_bytes_max), contexts_(std::make_unique<Contexts>()) {}
Decompressor::~Decompressor() = default;
Decompressor::Decompressor(Decompressor&&) noexcept = default;
Decompressor& Decompressor::operator=(Decompressor&&) noexcept = default;

absl::StatusOr<ByteView> Decompressor::Decompress(Codec codec, ByteView packed) {
  plain_bytes_ = 0;
  if (codec == Codec::kNone && packed.size() <= plain_bytes_max_) return packed;
  if (packed.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError("no batch has more than 2 GiB of records");
  }
  absl::Status status;
  switch (codec) {
    case Codec::kNone:
      status = absl::ResourceExhaustedError("the records are larger than allowed");
      break;
    case Codec::kGzip:
      status = Gzip(packed);
      break;
    case Codec::kSnappy:
      status = Snappy(packed);
      break;
    case Codec::kLz4:
      status = Lz4(packed);
      break;
    case Codec::kZstd:
      status = Zstd(packed);
      break;
    default:
      status = absl::InvalidArgumentError("unknown compression codec");
  }
  RT_RETURN_IF_ERROR(status);
  if (plain_bytes_ > plain_bytes_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the records unpack to more than ", plain_bytes_max_, " bytes"));
  }
  return ByteView(plain_).first(plain_bytes_);
}

absl::StatusOr<MutableByteView> Decompressor::Room() {
  if (plain_bytes_ == plain_.size()) {
    // One byte more than allowed tells a full buffer from too much.
    if (plain_bytes_ > plain_bytes_max_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the records unpack to more than ", plain_bytes_max_, " bytes"));
    }
    const size_t doubled = std::max(2 * plain_.size(), kFirstBufferBytes);
    plain_.resize(std::min(doubled, plain_bytes_max_ + 1));
  }
  return MutableByteView(plain_).subspan(plain_bytes_);
}

absl::Status Decompressor::Gzip(ByteView packed) {
  Contexts& own = *contexts_;
  z_stream& stream = own.gzip;
  if (own.gzip_ready) {
    inflateReset(&stream);
  } else {
    if (inflateInit2(&stream, kZlibGzipOrZlibWindowBits) != Z_OK) return OutOfMemory();
    own.gzip_ready = true;
  }
  stream.next_in = const_cast<uint8_t*>(packed.data());  // zlib only reads
  stream.avail_in = static_cast<uInt>(packed.size());
  for (;;) {
    RT_ASSIGN_OR_RETURN(const MutableByteView room, Room());
    const auto room_bytes = static_cast<uInt>(
        std::min(room.size(), static_cast<size_t>(std::numeric_limits<uInt>::max())));
    stream.next_out = room.data();
    stream.avail_out = room_bytes;
    const int result = inflate(&stream, Z_NO_FLUSH);
    plain_bytes_ += room_bytes - stream.avail_out;
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) return absl::OkStatus();
      inflateReset(&stream);
    } else if (result == Z_BUF_ERROR) {  // there is room, so it lacks input
      return Damaged(Codec::kGzip, "they end early");
    } else if (result != Z_OK) {
      return Damaged(Codec::kGzip, stream.msg != nullptr ? stream.msg : "not a gzip stream");
    }
  }
}

absl::Status Decompressor::Snappy(ByteView packed) {
  if (!StartsWithXerialMagic(packed)) return SnappyBlock(packed);
  while (!packed.empty()) {
    // Again in the middle where streams were joined; no block is as long as the magic's first
    // bytes.
    if (StartsWithXerialMagic(packed)) {
      packed = packed.subspan(kXerialHeaderBytes);
      continue;
    }
    if (packed.size() < sizeof(int32_t)) return Damaged(Codec::kSnappy, "they end early");
    const auto size = base::LoadBe<uint32_t>(packed.data());
    packed = packed.subspan(sizeof(int32_t));
    if (size > packed.size()) return Damaged(Codec::kSnappy, "they end early");
    RT_RETURN_IF_ERROR(SnappyBlock(packed.first(size)));
    packed = packed.subspan(size);
  }
  return absl::OkStatus();
}

absl::Status Decompressor::SnappyBlock(ByteView packed) {
  const auto* from = reinterpret_cast<const char*>(packed.data());
  size_t size = 0;
  if (!snappy::GetUncompressedLength(from, packed.size(), &size) ||
      size > kSnappyRatioMax * packed.size()) {
    return Damaged(Codec::kSnappy, "wrong length");
  }
  if (size > plain_bytes_max_ - plain_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the records unpack to more than ", plain_bytes_max_, " bytes"));
  }
  if (plain_.size() < plain_bytes_ + size) {
    plain_.resize(std::min(std::max(2 * plain_.size(), plain_bytes_ + size), plain_bytes_max_));
  }
  if (!snappy::RawUncompress(from, packed.size(),
                             reinterpret_cast<char*>(plain_.data() + plain_bytes_))) {
    return Damaged(Codec::kSnappy, "not a snappy block");
  }
  plain_bytes_ += size;
  return absl::OkStatus();
}

absl::Status Decompressor::Lz4(ByteView packed) {
  LZ4F_dctx*& context = contexts_->lz4;
  if (context == nullptr && LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) {
    context = nullptr;
    return OutOfMemory();
  }
  LZ4F_resetDecompressionContext(context);
  size_t wanted = 1;  // 0 between frames
  while (wanted != 0 || !packed.empty()) {
    RT_ASSIGN_OR_RETURN(const MutableByteView room, Room());
    size_t made = room.size();
    size_t taken = packed.size();
    wanted = LZ4F_decompress(context, room.data(), &made, packed.data(), &taken, nullptr);
    if (LZ4F_isError(wanted)) return Damaged(Codec::kLz4, LZ4F_getErrorName(wanted));
    if (made == 0 && taken == 0) return Damaged(Codec::kLz4, "they end early");
    plain_bytes_ += made;
    packed = packed.subspan(taken);
  }
  return absl::OkStatus();
}

absl::Status Decompressor::Zstd(ByteView packed) {
  ZSTD_DCtx*& context = contexts_->zstd;
  if (context == nullptr) context = ZSTD_createDCtx();
  if (context == nullptr) return OutOfMemory();
  // Frames with a window over 128 MiB are refused by the library's default.
  ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
  ZSTD_inBuffer in = {packed.data(), packed.size(), 0};
  size_t wanted = 1;  // 0 between frames
  while (wanted != 0 || in.pos < in.size) {
    RT_ASSIGN_OR_RETURN(const MutableByteView room, Room());
    ZSTD_outBuffer out = {room.data(), room.size(), 0};
    const size_t in_before = in.pos;
    wanted = ZSTD_decompressStream(context, &out, &in);
    if (ZSTD_isError(wanted)) return Damaged(Codec::kZstd, ZSTD_getErrorName(wanted));
    if (out.pos == 0 && in.pos == in_before) return Damaged(Codec::kZstd, "they end early");
    plain_bytes_ += out.pos;
  }
  return absl::OkStatus();
}

}  // namespace ringtail::records
