#include "tools/client/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/base/result.h"

namespace ringtail::client {
namespace {

constexpr size_t kStagedBytes = 64 << 10;

}  // namespace

std::string EncodeFrame(const google::protobuf::MessageLite& header, size_t payload_bytes) {
  const size_t header_bytes = header.ByteSizeLong();
  std::string frame(kFramePrefixBytes + header_bytes, '\0');
  auto* bytes = reinterpret_cast<uint8_t*>(frame.data());
  base::StoreLe<uint32_t>(bytes, static_cast<uint32_t>(header_bytes));
  base::StoreLe<uint32_t>(bytes + 4, static_cast<uint32_t>(payload_bytes));
  header.SerializeWithCachedSizesToArray(bytes + kFramePrefixBytes);
  return frame;
}

FrameReader::FrameReader(Limits limits, BufferPool* pool)
    : limits_(limits), pool_(pool), staged_(kStagedBytes) {}

absl::StatusOr<bool> FrameReader::Read(int fd) {
  if (begin_ == end_) begin_ = end_ = 0;
  const bool in_payload = in_frame_ && payload_filled_ > 0;
  if (!in_payload && begin_ > 0 && end_ == staged_.size()) {
    memmove(staged_.data(), staged_.data() + begin_, StagedBytes());
    end_ -= begin_;
    begin_ = 0;
  }
  // The rest of a payload goes where it belongs; what follows it is staged.
  iovec parts[2];
  int count = 0;
  size_t payload_want = 0;
  if (in_frame_ && StagedBytes() >= kFramePrefixBytes + header_bytes_) {
    payload_want = payload_.size() - payload_filled_;
  }
  if (payload_want > 0) {
    parts[count++] = {payload_.data() + payload_filled_, payload_want};
  }
  if (end_ < staged_.size()) parts[count++] = {staged_.data() + end_, staged_.size() - end_};
  ssize_t got;
  do {
    got = readv(fd, parts, count);
  } while (got < 0 && errno == EINTR);
  if (got == 0) return absl::UnavailableError("the broker closed the connection");
  if (got < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    return absl::UnavailableError(absl::StrCat("receive failed: ", strerror(errno)));
  }
  const size_t into_payload = std::min<size_t>(got, payload_want);
  payload_filled_ += into_payload;
  end_ += got - into_payload;
  return true;
}

absl::StatusOr<bool> FrameReader::BeginFrame() {
  if (StagedBytes() < kFramePrefixBytes) return false;
  const uint8_t* prefix = staged_.data() + begin_;
  header_bytes_ = base::LoadLe<uint32_t>(prefix);
  const uint32_t payload_bytes = base::LoadLe<uint32_t>(prefix + 4);
  if (header_bytes_ > limits_.header_bytes_max || payload_bytes > limits_.payload_bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame of ", header_bytes_, " + ", payload_bytes, " bytes: over the limits"));
  }
  const size_t needed = kFramePrefixBytes + header_bytes_;
  if (needed > staged_.size() - begin_) {
    std::vector<uint8_t> larger(std::max(needed, kStagedBytes));
    memcpy(larger.data(), prefix, StagedBytes());
    end_ -= begin_;
    begin_ = 0;
    staged_ = std::move(larger);
  }
  if (payload_bytes > 0) payload_ = pool_->Take(payload_bytes);
  payload_filled_ = 0;
  in_frame_ = true;
  return true;
}

absl::StatusOr<bool> FrameReader::NextFrame(base::ByteView* header, Buffer* payload) {
  if (!in_frame_) {
    RT_ASSIGN_OR_RETURN(const bool begun, BeginFrame());
    if (!begun) return false;
  }
  const size_t head = kFramePrefixBytes + header_bytes_;
  if (StagedBytes() < head) return false;
  // Bytes after the header, as long as the payload isn't whole, are the payload's.
  const size_t move = std::min(payload_.size() - payload_filled_, StagedBytes() - head);
  if (payload_filled_ < payload_.size() && payload_filled_ == 0) {
    memcpy(payload_.data(), staged_.data() + begin_ + head, move);
    payload_filled_ = move;
    // The header is needed once the payload is whole: what follows the payload closes the gap.
    memmove(staged_.data() + begin_ + head, staged_.data() + begin_ + head + move,
            StagedBytes() - head - move);
    end_ -= move;
  }
  if (payload_filled_ < payload_.size()) return false;
  *header = {staged_.data() + begin_ + kFramePrefixBytes, header_bytes_};
  *payload = std::move(payload_);
  payload_ = Buffer();
  begin_ += head;
  in_frame_ = false;
  return true;
}

}  // namespace ringtail::client
