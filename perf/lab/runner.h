// Runs the lab: warm-up, interleaved rounds, and what a reader should know of the machine.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "perf/lab/families.h"
#include "perf/lab/result.h"

namespace ringtail::lab {

struct RunOptions {
  bool quick = false;
  double seconds = 0;  // of all of it; 0: 50 if quick, 600 else
  int rounds = 0;      // of each cell; 0: 3 if quick, 7 else
};

struct Hooks {
  // Called before each measurement: how far it is (0 to 1), the seconds that are left, and what is
  // measured next.
  std::function<void(double done, double seconds_left, const std::string& what)> progress;
  // Whether to stop and keep what there is.
  std::function<bool()> stop;
};

// All families of the kernel's paths.
std::vector<Group> AllGroups(const Selection& selection);

// What of them is wanted: cells whose family, path or text of a parameter is named, or in whose
// path a name is part. Empty: all. Throws where nothing is left.
std::vector<Group> Choose(std::vector<Group> groups, const std::vector<std::string>& only);

// Each round of a group runs all its cells next to each other, in reversed order every other time;
// a round of all groups comes before the next one of any, so that what is stopped early has fewer
// rounds rather than missing groups. A cell that fails twice is left out, with its error as the
// reason. `result` has the machine and what was asked for already.
void Run(const RunOptions& options, std::vector<Group> groups, const Hooks& hooks,
         LabResult* result);

// What of the machine a result depends on; `notes` gets what makes figures doubtful.
void DescribeMachine(const std::string& directory, LabResult* result);

// What files of a run may take of the free space of `directory`: an eighth, at most 1 GiB. Throws
// where that is less than 64 MiB, or the directory cannot be written.
int64_t SpaceFor(const std::string& directory);

}  // namespace ringtail::lab
