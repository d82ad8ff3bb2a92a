#include "perf/raw/read.h"

#include <fcntl.h>
#include <unistd.h>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/os.h"

namespace ringtail::raw {

perf::Figures RunRead(const std::string& file, int64_t chunk_bytes) {
  const perf::Fd fd(perf::CheckCall(open(file.c_str(), O_RDONLY | O_CLOEXEC), "open"));
  const perf::Buffer chunk(static_cast<size_t>(chunk_bytes));
  const perf::Meter meter(getpid());
  int64_t position = 0;
  while (true) {
    const ssize_t read =
        perf::CheckCall(pread(fd.get(), chunk.data(), chunk.size(), position), "pread");
    if (read == 0) break;
    position += read;
  }
  const double wall_s = meter.WallSeconds();
  const double gb = static_cast<double>(position) / perf::kBytesPerGb;
  return {{"gb_per_s", gb / wall_s}, {"cpu_s_per_gb", meter.CpuSeconds() / gb}};
}

}  // namespace ringtail::raw
