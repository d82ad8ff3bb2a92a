// A core of the engine, without the server around it, for what is measured below the broker.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "engine/io/backend.h"
#include "engine/task/task.h"

namespace ringtail::perf {

// A backend as the broker makes it, for this thread. Unavailable, with the backend's words, where
// the kernel refuses it.
std::unique_ptr<io::Backend> MakeBackend();

// Runs `body` as a task of a core with a ring, on this thread, until it ends. Throws what it
// returns if that is an error.
void RunOnCore(const std::function<task::Task<absl::Status>()>& body);

}  // namespace ringtail::perf
