// Servers that send one chunk of a file for each request, to many connections: by system calls on
// one epoll loop, or by a ring. The limits that the broker's send paths are compared with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lib/os.h"
#include "perf/raw/fetch.h"

namespace ringtail::raw {

enum class ChunkMethod {
  kSendfile,      // sendfile on the non-blocking socket
  kReadSend,      // pread into a buffer, send from it
  kSplice,        // file -> pipe -> socket by system calls
  kMapped,        // send from a mapping of the file
  kRingSplice,    // the same pipe, both halves linked in a ring
  kRingMapped,    // IORING_OP_SEND from a mapping
  kZeroCopy,      // IORING_OP_SEND_ZC from a mapping
  kZeroCopyFixed  // read into a registered buffer, IORING_OP_SEND_ZC from it
};

std::string Name(ChunkMethod method);

struct ChunkOptions {
  std::string file;
  ChunkMethod method = ChunkMethod::kSendfile;
  int64_t chunk_bytes = 64 << 10;
  int connections = 1;
  bool cold = false;  // the file is not in the page cache: nothing is mapped in before it is sent
};

// As many connections as there will be.
std::vector<perf::Fd> AcceptAll(const ChunkOptions& options, int listener);

// Accepts all connections and serves them in this process until all are closed. A request is 64
// bytes; the i-th connection begins in the i-th part of the file. Throws perf::Unavailable where
// the kernel lacks the path.
void ServeChunks(const ChunkOptions& options, int listener);

// Where connection `index` begins to read.
int64_t StartOf(const ChunkOptions& options, int64_t file_bytes, int index);

}  // namespace ringtail::raw
