// What is said about one subject: what was found, whether it is fine, why it matters, and what
// changes it.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ringtail::tune {

// What the machine is for.
//   latency     low and even answer times come before everything, power and shared use included
//   throughput  bytes per second and per CPU second
//   balanced    a server with other things to do: what costs nothing elsewhere
//   laptop      a developer's machine: what does not work is said, nothing is traded for power
enum class Profile { kLatency, kThroughput, kBalanced, kLaptop };

inline constexpr Profile kProfiles[] = {Profile::kLatency, Profile::kThroughput, Profile::kBalanced,
                                        Profile::kLaptop};
absl::string_view ProfileName(Profile profile);

enum class Verdict {
  kFine,
  kInfo,     // to know, nothing to do
  kUnknown,  // could not be read; the finding says why
  kAdvice,   // works, and would work better
  kWarning,  // records, or the broker's start, are in danger, or a limit is far too low
};
absl::string_view VerdictName(Verdict verdict);

// A file that may be written at run time, and written back: nothing is lost, whatever it held.
struct Change {
  std::string path;
  std::string value;
  // Files that the kernel may change with it and that have to be put back as well: vm.dirty_bytes
  // sets vm.dirty_ratio to 0, another scheduler brings its own nr_requests and settings.
  std::vector<std::string> also;
};

struct Finding {
  std::string id;  // "memory.swappiness"; what is before the dot is its group
  std::string title;
  std::string found;   // the value, as text; empty where it is unknown
  std::string source;  // the file or call it comes from
  Verdict verdict = Verdict::kFine;
  std::string note;                  // about this machine: why this verdict, or why it is unknown
  std::string why;                   // why it matters
  std::string reference;             // whose word that is
  std::vector<std::string> now;      // commands that change it until the next start of the machine
  std::vector<std::string> lasting;  // commands that make it last
  std::vector<Change> changes;       // what --apply writes; empty: it is not for a program to do
};

}  // namespace ringtail::tune
