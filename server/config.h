// The broker's configuration: made once at start, before any thread, from flags and a file. Which
// knobs there are, their defaults, ranges and help is said by the fields of proto/config.proto
// alone.
//
//   --name=value  --name value  --flag  --noflag  --config FILE  --help  --version
//
// A flag beats the file, the last of two equal flags wins, and a dash in a name is as good as an
// underscore. What is unknown or out of range is refused with the range, or the nearest known name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/config.pb.h"

namespace ringtail::server {

using Config = proto::config::Config;

// What defaults depend on. Tests make their own.
struct ConfigEnvironment {
  std::string home;           // $HOME
  std::string xdg_data_home;  // $XDG_DATA_HOME
  bool root = false;
  std::string host_name;
  std::vector<int> cpus;  // that this process may run on, ascending
  std::string version;    // what --version prints

  static ConfigEnvironment OfThisProcess(std::string version);
};

enum class ConfigSource : uint8_t {
  kDefault,
  kFile,
  kFlag,
  kSet,  // while the broker runs (live_config.h)
};

struct LoadedConfig {
  // Every field is set, to what holds; `config.cores()` is as given, or empty.
  Config config;
  // One core each, in this order; a CPU comes twice where there are more cores than CPUs.
  std::vector<int> cpus;
  // By field number (index 0 is not used).
  std::vector<ConfigSource> sources;
  // Not empty: --help or --version was asked for; print it to stdout and exit with 0.
  std::string answer;
  // Things worth a line in the log: what is legal, but seldom meant.
  std::vector<std::string> warnings;
};

// InvalidArgument: the flags or the file are wrong; NotFound, PermissionDenied: the file. The
// message says what to write instead. `arguments` are without the program's name.
absl::StatusOr<LoadedConfig> LoadConfig(absl::Span<const absl::string_view> arguments,
                                        const ConfigEnvironment& environment);
absl::StatusOr<LoadedConfig> LoadConfig(int argc, const char* const* argv,
                                        const ConfigEnvironment& environment);

// "name=value" of each knob that is not at its default, in one line; "all defaults" if there is
// none.
std::string ConfigSummary(const LoadedConfig& loaded);
// The whole configuration as a JSON array of {name, value, source, default, unit, live, help}.
std::string ConfigJson(const LoadedConfig& loaded);
// What --help prints.
std::string ConfigHelp();

}  // namespace ringtail::server
