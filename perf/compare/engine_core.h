// A core of the engine, without the server around it, for what is measured below the broker.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "engine/task/task.h"

namespace ringtail::compare {

// Runs `body` as a task of a core with a ring, on this thread, until it ends. Throws what it
// returns if that is an error.
void RunOnCore(const std::function<task::Task<absl::Status>()>& body);

}  // namespace ringtail::compare
