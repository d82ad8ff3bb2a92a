// Making changes, and putting them back.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/tune/finding.h"
#include "tools/tune/tree.h"

namespace ringtail::tune {

struct Outcome {
  std::string path;
  std::string before;
  std::string after;  // as read back
  absl::Status status;
  bool left = false;  // Revert: somebody else has changed it since, so it is not touched
};

struct ApplyOptions {
  std::string state_file;
  // Writes a value into a file of the machine. Tests put failures here.
  std::function<absl::Status(const std::string& path, const std::string& value)> write;

  ApplyOptions(const Tree& tree, std::string file)
      : state_file(std::move(file)),
        write([&tree](const std::string& path, const std::string& value) {
          return tree.Write(path, value);
        }) {}
};

// Records what each file holds, then writes, then reads back. A file that already has its value is
// not touched and has no outcome. What cannot be changed does not keep the rest from being changed.
// A file that was recorded before keeps its first record, so that Revert leads back to before the
// first Apply; but not one of an earlier run of the machine whose value is gone with that run.
//
// An error: nothing was changed, as the record could not be read or written.
absl::StatusOr<std::vector<Outcome>> Apply(const Tree& tree, const std::vector<Change>& changes,
                                           const ApplyOptions& options);

// Puts back what the record says, last change first, and removes it; what could not be put back
// stays in it. A file that holds neither what was written nor what was there before is left alone:
// somebody meant that value. NotFound: there is no record.
absl::StatusOr<std::vector<Outcome>> Revert(const Tree& tree, const ApplyOptions& options);

}  // namespace ringtail::tune
