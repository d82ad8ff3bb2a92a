// A file of pages that is read in no order, a page at a time. Each page says where it stands, so
// that a wrong one is noticed.
#pragma once

#include <cstdint>
#include <string>

#include "perf/lib/os.h"
#include "perf/lib/scattered.h"

namespace ringtail::raw {

inline constexpr int64_t kPageBytes = 4096;

class PageFile {
 public:
  // Writes the file, which has no name once it is open. `direct`: it is on the device, not in the
  // page cache, and opened with O_DIRECT; else it is in the page cache.
  PageFile(const std::string& directory, int64_t bytes, bool direct);

  int fd() const { return fd_.get(); }
  // Where to read next.
  int64_t NextPosition();
  // Throws where a read of `position` that ended with `result` did not bring that page.
  static void Check(int64_t result, const char* page, int64_t position);

 private:
  perf::Fd fd_;
  int64_t pages_;
  perf::Scattered scattered_;
};

}  // namespace ringtail::raw
