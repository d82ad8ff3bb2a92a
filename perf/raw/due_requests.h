// The requests for chunks that a connection has sent and not yet had answered.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "perf/raw/fetch.h"

namespace ringtail::raw {

class DueRequests {
 public:
  // Takes what has come on `socket`, without waiting. False at the end of the stream.
  bool Take(int socket) {
    const ssize_t received = recv(socket, bytes_, sizeof(bytes_), MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return true;
    if (received <= 0) return false;
    Received(received);
    return true;
  }

  // The same where a ring receives, into this memory.
  char* memory() { return bytes_; }
  static constexpr size_t memory_bytes() { return sizeof(bytes_); }
  void Received(int64_t bytes) {
    amid_bytes_ += bytes;
    count_ += amid_bytes_ / kFetchRequestBytes;
    amid_bytes_ %= kFetchRequestBytes;
  }

  int64_t count() const { return count_; }
  void Answered() { --count_; }

 private:
  char bytes_[4096];
  int64_t amid_bytes_ = 0;  // of a request that is not all there yet
  int64_t count_ = 0;
};

}  // namespace ringtail::raw
