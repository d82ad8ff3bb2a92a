#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace ringtail::offline {

// The first `bytes` of `from` as a new file `to`, synced; by the kernel where it can, which shares
// the blocks where the file system can. Unavailable: `from` is shorter.
absl::Status CopyFile(const std::string& from, const std::string& to, int64_t bytes);

}  // namespace ringtail::offline
