// Kernel constants and structures newer than Debian 12's headers. Values from the kernel's uapi.
#pragma once

#include <cstdint>

namespace ringtail::io::abi {

// include/uapi/linux/fs.h, Linux 6.14: drop the pages again once the data has been copied.
inline constexpr int kRwfDontCache = 0x00000080;
inline constexpr int kRwfNowait = 0x00000008;  // Linux 4.14
inline constexpr int kRwfDsync = 0x00000002;   // Linux 4.7

// include/uapi/asm-generic/unistd.h, Linux 6.5 (x86-64 and arm64 alike).
inline constexpr long kSysCachestat = 451;

// include/uapi/linux/mman.h
struct CachestatRange {
  uint64_t offset;
  uint64_t length;
};

struct Cachestat {
  uint64_t cached_pages;
  uint64_t dirty_pages;
  uint64_t writeback_pages;
  uint64_t evicted_pages;
  uint64_t recently_evicted_pages;
};

}  // namespace ringtail::io::abi
