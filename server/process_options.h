// From the configuration to what the parts of the broker take.
#pragma once

#include <cstddef>

#include "server/config.h"
#include "server/process.h"

namespace ringtail::server {

// `descriptors` is how many files and sockets this process may have open; the cores share them.
ProcessOptions ToProcessOptions(const LoadedConfig& loaded, size_t descriptors);

}  // namespace ringtail::server
