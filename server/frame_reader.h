// Cuts a connection's byte stream into frames. Small frames are copied out of the backend's lent
// buffers, so that an idle connection holds no memory; the body of a large one is received straight
// into the buffer that is appended from. Memory is taken only once both the connection's and the
// core's byte budget have it to give: a connection that is over its budget is simply not read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/bytes.h"
#include "engine/core/core.h"
#include "engine/io/buffer_pool.h"
#include "engine/task/sync.h"
#include "server/receive_budget.h"

namespace ringtail::server {

// What a protocol knows of its frames.
class FrameFormat {
 public:
  virtual ~FrameFormat() = default;
  // Bytes at the start of a frame that tell its length; at most FrameReader::kPrefixBytesMax.
  virtual size_t prefix_bytes() const = 0;
  // Bytes of the whole frame, prefix included. InvalidArgument: not a frame of this protocol.
  virtual absl::StatusOr<size_t> FrameBytes(base::ByteView prefix) const = 0;
};

struct FrameTimeouts {
  base::Nanos idle_ns = 600 * base::kNanosPerSecond;  // between frames
  base::Nanos piece_ns = 10 * base::kNanosPerSecond;  // for each kPieceBytes of a begun frame
};

// A frame with its memory charged; gives the charge back when destroyed.
class Frame {
 public:
  Frame() = default;
  Frame(Frame&& other) noexcept { *this = std::move(other); }
  Frame& operator=(Frame&& other) noexcept;
  ~Frame() { Reset(); }

  base::MutableByteView bytes() { return buffer_.mutable_view(); }
  bool empty() const { return buffer_.empty(); }
  size_t size() const { return buffer_.size(); }
  void Reset();

 private:
  friend class FrameReader;
  io::Buffer buffer_;
  task::ByteSemaphore* connection_budget_ = nullptr;
  ReceiveBudget* core_budget_ = nullptr;
  size_t connection_charge_ = 0;
  ReceiveBudget::Charge core_charge_;
};

class FrameReader {
 public:
  static constexpr size_t kPrefixBytesMax = 16;
  // A body is received, and its peer's pace is judged, in pieces of this size.
  static constexpr size_t kPieceBytes = 1 << 20;

  FrameReader(core::Core& core, int socket, const FrameFormat& format,
              const FrameTimeouts& timeouts, task::ByteSemaphore& connection_budget,
              ReceiveBudget& core_budget);
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // The next frame. An empty one: the peer has ended the stream between two frames.
  // InvalidArgument: not this protocol. DeadlineExceeded: idle or too slow. Unavailable: the
  // connection broke, or ended inside a frame.
  task::Task<absl::StatusOr<Frame>> Next();
  // Gives back what is lent by the backend (keeping a copy of unread bytes). To be called before
  // the caller waits for anything but Next().
  void ReleaseLent();

  uint64_t bytes_received() const { return bytes_received_; }

 private:
  // Shuts the socket down when it fires, which ends the receive in flight.
  class Watchdog : public task::Timer {
   public:
    explicit Watchdog(FrameReader& reader) : Timer(&Fire), reader_(reader) {}
    bool fired = false;

   private:
    static void Fire(Timer* timer);
    FrameReader& reader_;
  };

  // Makes unread_ not empty. Ok(false): the stream ended.
  task::Task<absl::StatusOr<bool>> Refill(base::Nanos deadline);
  task::Task<absl::Status> TakeMemory(size_t bytes, Frame* frame);
  task::Task<absl::Status> ReceiveBody(Frame* frame, size_t have);
  absl::Status Broken(int64_t result, absl::string_view where) const;
  size_t Consume(uint8_t* to, size_t bytes_max);

  core::Core& core_;
  int socket_;
  const FrameFormat& format_;
  const FrameTimeouts& timeouts_;  // may change
  task::ByteSemaphore& connection_budget_;
  ReceiveBudget& core_budget_;
  Watchdog watchdog_;
  io::ProvidedBuffer lent_;
  bool holds_lent_ = false;
  std::vector<uint8_t> kept_;  // unread bytes copied by ReleaseLent
  base::ByteView unread_;      // into lent_ or kept_
  uint64_t bytes_received_ = 0;
};

}  // namespace ringtail::server
