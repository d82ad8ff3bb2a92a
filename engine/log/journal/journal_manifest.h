// journal/MANIFEST: which run this is. Replaced whole, so it is old or new.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/io/backend.h"
#include "engine/log/journal/journal_format.h"
#include "engine/task/task.h"

namespace ringtail::log {

// NotFound where there is none (nor a journal/ directory); DataLoss, FailedPrecondition as
// DecodeManifest.
task::Task<absl::StatusOr<Manifest>> ReadManifest(io::Backend& io, std::string data_dir);
// Makes journal/ where it is missing. Durable when it ends.
task::Task<absl::Status> WriteManifest(io::Backend& io, std::string data_dir, Manifest manifest);

// The last act of a clean stop: the run that it names has ended, and all is in its place.
task::Task<absl::Status> MarkManifestClean(io::Backend& io, std::string data_dir);

}  // namespace ringtail::log
