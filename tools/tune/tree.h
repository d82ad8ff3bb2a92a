// The files of a machine below a root: "/" is this machine, another directory a copy of what some
// machine shows. Paths are those of the machine, from "/"; links are followed as that machine
// would, so that none leads out of the root.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringtail::tune {

class Tree {
 public:
  explicit Tree(std::string root = "/");

  bool is_this_machine() const { return root_.empty(); }
  // Where `path` lies for this process.
  std::string OnDisk(const std::string& path) const;

  // At most 1 MiB of it. NotFound, PermissionDenied and so on; the message is the system's words
  // alone ("No such file or directory").
  absl::StatusOr<std::string> Read(const std::string& path) const;
  // The value as one would type it: blanks squeezed.
  absl::StatusOr<std::string> ReadValue(const std::string& path) const;
  bool Exists(const std::string& path) const;
  // Names in a directory, numbers in their order (cpu2 before cpu10); none if it cannot be read.
  std::vector<std::string> List(const std::string& path) const;
  // `path` without links, "." and ".."; what does not exist stays as it is written.
  std::string Resolve(const std::string& path) const;

  // One write(2) of `value` into a file that exists, as `echo` would.
  absl::Status Write(const std::string& path, const std::string& value) const;

 private:
  std::string root_;  // without a slash at its end; empty: this machine
};

}  // namespace ringtail::tune
