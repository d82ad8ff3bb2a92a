// Deletions that the last run did not finish.
#pragma once

#include <string>

#include "engine/io/backend.h"
#include "engine/task/task.h"
#include "server/cluster/local_catalog.h"

namespace ringtail::server {

// At start, before any partition is opened: removes what is left of deleted topics and forgets
// them. What cannot be removed is logged, and tried again by the next start.
task::Task<void> FinishDeletions(io::Backend& io, std::string data_directory,
                                 LocalCatalog& catalog);

}  // namespace ringtail::server
