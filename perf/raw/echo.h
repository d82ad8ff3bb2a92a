// Raw echo and pwrite: the least work of a server that stores one small record per request. It
// receives 1.2 KiB, writes 1 KiB of it to a preallocated file in the page cache, and replies 64
// bytes. The limit that produce-and-acknowledge of single records is compared with.
#pragma once

#include <string>

#include "perf/lib/load.h"
#include "perf/lib/rounds.h"

namespace ringtail::raw {

inline constexpr int64_t kEchoRequestBytes = 1228;
inline constexpr int64_t kEchoWriteBytes = 1024;
inline constexpr int64_t kEchoReplyBytes = 64;

enum class EchoLoop {
  kBlocking,  // recv blocks
  kEpoll,     // epoll_wait, then non-blocking recv: what a server of many connections has to do
  kRing,      // io_uring recv and send, pwrite by the system call
};

struct EchoOptions {
  std::string directory;  // of the file, which is removed again
  EchoLoop loop = EchoLoop::kBlocking;
  bool write = true;  // without: the echo alone
};

std::string Name(const EchoOptions& options);

// Runs one round against a fresh server process; figures as RunLoad's.
perf::Figures RunEcho(const EchoOptions& options, const perf::LoadOptions& load);

}  // namespace ringtail::raw
