// Raw fetch: the least work that sends a hot file over loopback TCP, chunk by chunk, from a server
// process with one epoll loop to a client that drains it. The limit that the broker's fetch is
// compared with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "perf/lib/drain.h"
#include "perf/lib/os.h"
#include "perf/lib/rounds.h"

namespace ringtail::raw {

enum class FetchMethod {
  kSendfile,  // sendfile on the non-blocking socket
  kReadSend,  // pread into one buffer, send from it
  kSplice,    // file -> 1 MiB pipe -> socket, both ends non-blocking
  kMapped,    // send from a mapping of the file
};

struct FetchOptions {
  FetchMethod method = FetchMethod::kSendfile;
  int64_t chunk_bytes = 256 << 10;  // asked of the kernel at a time
  bool on_request =
      false;          // one chunk per 64-byte request, instead of streaming without being asked
  bool cold = false;  // the file is not in the page cache: nothing is mapped in before it is sent
};

inline constexpr int64_t kFetchRequestBytes = 64;

std::string Name(const FetchOptions& options);

// A server process over one file, which must stay in the page cache. Serves one connection after
// the other.
class FetchServer {
 public:
  FetchServer(const std::string& file, const FetchOptions& options);

  pid_t pid() const { return child_.pid(); }
  uint16_t port() const { return port_; }

 private:
  perf::Child child_;
  uint16_t port_ = 0;
};

// Makes a file of `bytes` in the page cache, in `directory`, and returns its path.
std::string MakeHotFile(const std::string& directory, int64_t bytes);

// Writes back what is dirty of a file and takes it out of the page cache; nobody may map it.
void DropFromCache(const std::string& file);

// Runs one round of a fresh server: `warmup_s` unmeasured, then `seconds` measured. With
// `on_request`, the client keeps `window` requests outstanding. Figures: gb_per_s, cpu_s_per_gb (of
// the server process).
perf::Figures RunFetch(const std::string& file, const FetchOptions& options,
                       const perf::DrainOptions& drain, int window);

}  // namespace ringtail::raw
