// Ranges of one file sent on one socket by a system call of one kind, chunk by chunk.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "perf/lib/os.h"
#include "perf/raw/due_requests.h"
#include "perf/raw/fetch.h"

namespace ringtail::raw {

// The file must stay longer than a chunk; it is sent from its beginning again when it ends.
class RangeSender {
 public:
  // `socket` does not block. `options` outlives it.
  RangeSender(const FetchOptions& options, const std::string& file, int socket);
  ~RangeSender();
  RangeSender(const RangeSender&) = delete;
  RangeSender& operator=(const RangeSender&) = delete;

  // Where the next chunk begins; a multiple of the chunk's size.
  void StartAt(int64_t position) { position_ = position % size_; }
  // Sends until the current chunk is out (true) or the socket is full (false).
  bool SendChunk();

 private:
  void OpenPipe();
  ssize_t SendSome();
  ssize_t SpliceSome();

  const FetchOptions& options_;
  perf::Fd file_;
  int socket_;
  int64_t size_ = 0;
  int64_t position_ = 0;  // of the chunk in the file
  int64_t sent_ = 0;      // of the chunk
  int64_t loaded_ = 0;    // of the chunk, into the buffer or the pipe
  std::unique_ptr<perf::Buffer> buffer_;
  perf::Fd pipe_in_;
  perf::Fd pipe_out_;
  const char* mapping_ = nullptr;
};

// Takes requests and sends a chunk for each, until nothing is due or the socket is full; false when
// the peer is gone.
bool ServeRequests(int socket, DueRequests& due, RangeSender& sender);

}  // namespace ringtail::raw
