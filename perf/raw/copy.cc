#include "perf/raw/copy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/os.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::Require;

constexpr int64_t kChunkBytes = 1 << 20;

perf::Fd OpenFile(const std::string& path, int flags) {
  perf::Fd file(
      CheckCall(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0644), "open"));
  unlink(path.c_str());
  return file;
}

void Fill(const perf::Fd& file, int64_t bytes, const perf::Buffer& chunk) {
  CheckCall(fallocate(file.get(), 0, 0, bytes), "fallocate");
  for (int64_t at = 0; at < bytes; at += kChunkBytes) {
    Require(CheckCall(pwrite(file.get(), chunk.data(), chunk.size(), at), "pwrite") == kChunkBytes,
            "pwrite wrote less");
  }
}

}  // namespace

perf::Figures RunCopy(const std::string& directory, int64_t bytes) {
  const perf::Buffer chunk(kChunkBytes);
  std::memset(chunk.data(), 'c', chunk.size());
  // Direct: it leaves nothing in the page cache, as a journal does.
  const perf::Fd from = OpenFile(directory + "/raw-copy-from", O_DIRECT);
  Fill(from, bytes, chunk);
  const perf::Fd to = OpenFile(directory + "/raw-copy-to", 0);
  Fill(to, bytes, chunk);
  CheckCall(fsync(from.get()), "fsync");
  const std::string again = "/proc/self/fd/" + std::to_string(from.get());
  const perf::Fd cold(CheckCall(open(again.c_str(), O_RDONLY | O_CLOEXEC), "open again"));
  const int64_t start_ns = perf::NowNs();
  for (int64_t at = 0; at < bytes; at += kChunkBytes) {
    Require(CheckCall(pread(cold.get(), chunk.data(), chunk.size(), at), "pread") == kChunkBytes,
            "pread read less");
    Require(CheckCall(pwrite(to.get(), chunk.data(), chunk.size(), at), "pwrite") == kChunkBytes,
            "pwrite wrote less");
  }
  CheckCall(fdatasync(to.get()), "fdatasync");
  const double seconds = static_cast<double>(perf::NowNs() - start_ns) / 1e9;
  const double gib = static_cast<double>(bytes) / (int64_t{1} << 30);
  return {{"seconds", seconds}, {"seconds_per_gib", seconds / gib}};
}

}  // namespace ringtail::raw
