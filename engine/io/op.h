// One asynchronous operation: what to do, and once it is done, its result. It lives in the frame of
// whoever waits (nothing is allocated) and must stay there, untouched, until it has completed.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <coroutine>
#include <cstdint>

#include "engine/base/bytes.h"

namespace ringtail::io {

class Backend;

enum class OpCode : uint8_t {
  kNop,
  // Files. Results: bytes, 0 or -errno.
  kRead,       // fd, vectors, position -> bytes; may be short
  kWrite,      // fd, vectors, position, flags kDataSync -> bytes; may be short
  kSync,       // fd -> 0: data and the metadata needed to read it (fdatasync)
  kSyncAll,    // fd -> 0: all metadata too (fsync); for directories
  kWriteback,  // fd, position, length -> 0: starts writing dirty pages, does not flush the device
  kAllocate,   // fd, position, length -> 0: fallocate mode 0, sets the size
  kDropCache,  // fd, position, length -> 0: clean pages leave the page cache
  kOpen,       // path, open_flags, mode -> fd
  kClose,      // fd -> 0
  kUnlink,     // path -> 0
  kRemoveDirectory,  // path -> 0
  kRename,           // path, path2 -> 0: replaces atomically
  kMakeDirectory,    // path, mode -> 0
  // Sockets, all non-blocking.
  kAccept,           // fd -> fd of the new connection
  kConnect,          // fd, address -> 0
  kReceive,          // fd, vectors[0]; flags kWaitAll -> bytes; 0 is the end of the stream
  kReceiveProvided,  // fd -> bytes, `provided` names the buffer; -ENOBUFS: none free, try later
  kSend,             // fd, vectors; flags kMore, kZeroCopy, kWaitAll -> bytes; may be short
  kPoll,             // fd, poll_events -> poll revents
  // Either way between a file or socket and a pipe. A position of -1: fd has none.
  kSplice,  // fd -> fd2; position, position2, length -> bytes; 0 at the end of the source
};

enum OpFlags : uint32_t {
  kDataSync = 1u << 0,   // RWF_DSYNC
  kDontCache = 1u << 1,  // RWF_DONTCACHE where the kernel has it (see Features)
  kWaitAll = 1u << 2,    // MSG_WAITALL
  kMore = 1u << 3,       // MSG_MORE: more bytes follow at once
  kZeroCopy = 1u << 4,   // SEND_ZC: completes when the memory may be reused
};

// A receive buffer that the backend lent to a connection. Give it back with ReleaseProvided soon.
struct ProvidedBuffer {
  uint16_t id = 0;
  uint8_t* data = nullptr;
};

struct Op {
  OpCode code = OpCode::kNop;
  uint32_t flags = 0;
  int fd = -1;
  int fd2 = -1;
  const struct iovec* vectors = nullptr;
  uint32_t vector_count = 0;
  uint32_t mode = 0;   // kOpen, kMakeDirectory
  int open_flags = 0;  // O_...; O_CLOEXEC is always added
  uint32_t poll_events = 0;
  int64_t position = 0;
  int64_t position2 = 0;
  int64_t length = 0;
  const char* path = nullptr;
  const char* path2 = nullptr;
  struct sockaddr_storage* address = nullptr;
  socklen_t address_length = 0;

  // Set by the backend when the operation has completed.
  int32_t result = 0;
  ProvidedBuffer provided;

  // Made ready on the current scheduler at completion, if set; else `on_complete` is called, from
  // the flat part of Backend::Poll (it must only note the result and make tasks ready).
  std::coroutine_handle<> waiter;
  void (*on_complete)(Op*) = nullptr;

  // For the backend alone.
  struct msghdr message = {};
  uint64_t backend_state = 0;
  void* backend_pointer = nullptr;
};

}  // namespace ringtail::io
