// Frames of the native protocol (proto/client.proto): u32le header length, u32le payload length,
// header, payload.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "google/protobuf/message_lite.h"
#include "tools/client/buffer.h"

namespace ringtail::client {

inline constexpr size_t kFramePrefixBytes = 8;

// Prefix and header of a frame with `payload_bytes` of payload to follow.
std::string EncodeFrame(const google::protobuf::MessageLite& header, size_t payload_bytes);

// Cuts the byte stream of a non-blocking socket into frames. Payloads are received straight into a
// buffer of their own; small frames are taken from a read of up to 64 KiB.
//
// Life: one connection. After an error (or the end of the stream) it is of no more use.
class FrameReader {
 public:
  struct Limits {
    uint32_t header_bytes_max = 16 << 20;
    uint32_t payload_bytes_max = 256 << 20;
  };

  FrameReader(Limits limits, BufferPool* pool);

  // Reads what the socket has, but stops after one read that yields a frame.
  // True: NextFrame has something to look at. False: the socket has nothing more for now.
  // kUnavailable: the peer closed, or the socket failed.
  absl::StatusOr<bool> Read(int fd);

  // The next whole frame that was read. `header` is valid until the next call of Read; `payload` is
  // the caller's. False: none. kInvalidArgument: lengths over the limits.
  absl::StatusOr<bool> NextFrame(base::ByteView* header, Buffer* payload);

 private:
  absl::StatusOr<bool> BeginFrame();
  size_t StagedBytes() const { return end_ - begin_; }

  const Limits limits_;
  BufferPool* const pool_;
  std::vector<uint8_t> staged_;  // [begin_, end_) is read and not yet handed out
  size_t begin_ = 0;
  size_t end_ = 0;
  bool in_frame_ = false;  // the prefix of the frame at begin_ is read and checked
  uint32_t header_bytes_ = 0;
  Buffer payload_;
  size_t payload_filled_ = 0;
};

}  // namespace ringtail::client
