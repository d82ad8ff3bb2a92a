// A reply on its way out: memory and ranges of segment files, in order. Only the connection's
// transport knows how they leave; nothing here names a socket.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/types.h"
#include "engine/io/buffer_pool.h"
#include "engine/log/read_plan.h"

namespace ringtail::server {

// A run of bytes: of memory that the reply owns (file < 0), or of a file.
struct ReplyPiece {
  const uint8_t* data = nullptr;
  int64_t bytes = 0;
  int file = -1;
  int64_t position = 0;
};

// Reused from request to request, so that a steady load allocates nothing.
struct Reply {
  io::Buffer head;                 // what the pieces of memory point into
  std::vector<ReplyPiece> pieces;  // in order; empty: nothing is sent
  std::vector<log::ReadPin> pins;  // of the files; given back once the bytes have left
  bool close_after = false;        // the connection ends once this has been sent

  void AddMemory(const uint8_t* data, size_t bytes) {
    if (bytes > 0) pieces.push_back({.data = data, .bytes = static_cast<int64_t>(bytes)});
  }
  void AddFile(int file, int64_t position, int64_t bytes) {
    if (bytes > 0) pieces.push_back({.bytes = bytes, .file = file, .position = position});
  }
  size_t memory_bytes() const {
    return head.capacity() + pieces.capacity() * sizeof(ReplyPiece) +
           pins.capacity() * sizeof(log::ReadPin);
  }
  void Clear() {
    head.Reset();
    pieces.clear();
    pins.clear();
    // A rare large reply is not kept for.
    if (pieces.capacity() > kPiecesKept) pieces = std::vector<ReplyPiece>();
    if (pins.capacity() > kPiecesKept) pins = std::vector<log::ReadPin>();
    close_after = false;
  }

  static constexpr size_t kPiecesKept = 64;
};

}  // namespace ringtail::server
