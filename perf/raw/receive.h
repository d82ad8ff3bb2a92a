// Raw receive and pwrite: the least work of a server that stores large messages. It receives 1 MB
// over loopback in chunks, writes each chunk to a preallocated file in the page cache, and
// acknowledges the message with 64 bytes. The limit that produce in large batches is compared with.
#pragma once

#include <cstdint>
#include <string>

#include "perf/lib/load.h"
#include "perf/lib/rounds.h"

namespace ringtail::raw {

inline constexpr int64_t kReceiveReplyBytes = 64;

struct ReceiveOptions {
  std::string directory;  // of the file, which is removed again
  int64_t message_bytes = 1'000'000;
  int64_t chunk_bytes = 64 << 10;
  bool fill_chunk = true;  // wait until a chunk is full (MSG_WAITALL); else write whatever has come
  int64_t file_bytes =
      1 << 30;  // then the file is emptied and begins again, so that pages are fresh
};

std::string Name(const ReceiveOptions& options);

// Runs one round against a fresh server process. Figures as RunLoad's, and gb_per_s, cpu_s_per_gb.
perf::Figures RunReceive(const ReceiveOptions& options, const perf::LoadOptions& load);

// Adds gb_per_s, cpu_s_per_gb and client_cpu_s_per_gb to RunLoad's figures of requests that carry
// `payload_bytes` each.
void AddPerGb(int64_t payload_bytes, perf::Figures& figures);

}  // namespace ringtail::raw
