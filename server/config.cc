#include "server/config.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "engine/base/result.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "server/config_checks.h"
#include "server/config_knobs.h"

namespace ringtail::server {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;

struct CommandLine {
  std::vector<std::pair<const knobs::Field*, std::string>> values;
  std::string file;
  bool help = false;
  bool version = false;
};

std::vector<int> AllowedCpus() {
  std::vector<int> cpus;
  // The kernel refuses a set smaller than its own; 16 doublings are more CPUs than Linux knows.
  for (int count = 1024; count <= 1 << 20; count *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(count));
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(count));
    CPU_ZERO_S(bytes, set);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    for (int cpu = 0; known && cpu < count; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) cpus.push_back(cpu);
    }
    CPU_FREE(set);
    if (known) break;
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The first error of a parse, with its place (lines and columns from 1).
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (!message_.empty()) return;
    message_ = absl::StrCat(line + 1, ":", column + 1, ": ", Explain(message));
  }
  const std::string& message() const { return message_; }

 private:
  static std::string Explain(const std::string& message) {
    absl::string_view rest = message;
    const size_t named = rest.find("has no field named \"");
    if (named != absl::string_view::npos) {
      rest.remove_prefix(named + strlen("has no field named \""));
      const absl::string_view name = rest.substr(0, rest.find('"'));
      return absl::StrCat("unknown name \"", name, "\"", knobs::DidYouMean(name, ""));
    }
    if (absl::StartsWith(rest, "Expected string")) {
      return absl::StrCat(rest, " (text is written in quotes)");
    }
    if (absl::StartsWith(rest, "Expected integer") || absl::StartsWith(rest, "Need space")) {
      return absl::StrCat(rest, " (in a file a size is a plain number of bytes)");
    }
    return message;
  }

  std::string message_;
};

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  const auto failed = [&path] {
    return absl::ErrnoToStatus(errno, absl::StrCat("--config: cannot read ", path));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed();
  std::string text(kFileBytesMax + 1, '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = read(fd, text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const absl::Status status = failed();
      close(fd);
      return status;
    }
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  close(fd);
  if (filled > kFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("--config: ", path, " is larger than 1 MiB: not a configuration"));
  }
  text.resize(filled);
  return text;
}

absl::Status ReadFileInto(const std::string& path, LoadedConfig* loaded) {
  RT_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  FirstError error;
  google::protobuf::TextFormat::ParseInfoTree places;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.WriteLocationsTo(&places);
  Config from_file;
  if (!parser.ParseFromString(text, &from_file)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ":", error.message()));
  }
  for (const knobs::Field* field : knobs::All()) {
    if (!from_file.GetReflection()->HasField(from_file, field)) continue;
    if (const absl::Status checked = knobs::Check(field, from_file); !checked.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":",
                                                     places.GetLocation(field, -1).line + 1, ": ",
                                                     field->name(), ": ", checked.message()));
    }
    loaded->sources[static_cast<size_t>(field->number())] = ConfigSource::kFile;
  }
  loaded->config.MergeFrom(from_file);
  return absl::OkStatus();
}

absl::Status UnknownFlag(absl::string_view argument, absl::string_view name) {
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown flag ", argument, knobs::DidYouMean(name, "--"), " (--help lists all)"));
}

// One argument and, where it needs it, the next: advances *index past what it took.
absl::Status ParseFlag(absl::Span<const absl::string_view> arguments, size_t* index,
                       CommandLine* line) {
  const absl::string_view argument = arguments[(*index)++];
  absl::string_view name = argument;
  if (argument == "-h") name = "--help";
  if (!absl::ConsumePrefix(&name, "--")) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected --name=value, came \"", argument, "\" (--help lists all names)"));
  }
  const size_t equals = name.find('=');
  const bool has_value = equals != absl::string_view::npos;
  absl::string_view value = has_value ? name.substr(equals + 1) : absl::string_view();
  const std::string key = absl::StrReplaceAll(name.substr(0, equals), {{"-", "_"}});
  if (!has_value && (key == "help" || key == "version")) {
    (key == "help" ? line->help : line->version) = true;
    return absl::OkStatus();
  }
  const knobs::Field* field = knobs::Find(key);
  if (field == nullptr && !has_value && absl::StartsWith(key, "no")) {
    field = knobs::Find(key.substr(2));
    if (field == nullptr || !knobs::IsBool(field)) return UnknownFlag(argument, key);
    line->values.emplace_back(field, "false");
    return absl::OkStatus();
  }
  if (field == nullptr && key != "config") return UnknownFlag(argument, key);
  if (!has_value && field != nullptr && knobs::IsBool(field)) {
    line->values.emplace_back(field, "true");
    return absl::OkStatus();
  }
  if (!has_value) {
    if (*index == arguments.size() || absl::StartsWith(arguments[*index], "--")) {
      return absl::InvalidArgumentError(absl::StrCat("expected a value after ", argument));
    }
    value = arguments[(*index)++];
  }
  if (field == nullptr) {
    line->file = std::string(value);
    if (value.empty()) return absl::InvalidArgumentError("expected a file after --config");
  } else {
    line->values.emplace_back(field, value);
  }
  return absl::OkStatus();
}

absl::Status SetDefaults(LoadedConfig* loaded) {
  for (const knobs::Field* field : knobs::All()) {
    const proto::config::Knob& knob = knobs::OptionsOf(field);
    if (knob.default_().empty()) continue;
    if (const absl::Status set = knobs::Set(field, knob.default_(), &loaded->config); !set.ok()) {
      return absl::InternalError(absl::StrCat("default of ", field->name(), ": ", set.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

ConfigEnvironment ConfigEnvironment::OfThisProcess(std::string version) {
  ConfigEnvironment environment;
  environment.home = Variable("HOME");
  environment.xdg_data_home = Variable("XDG_DATA_HOME");
  environment.root = geteuid() == 0;
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) == 0) environment.host_name = host;
  environment.cpus = AllowedCpus();
  environment.version = std::move(version);
  return environment;
}

absl::StatusOr<LoadedConfig> LoadConfig(absl::Span<const absl::string_view> arguments,
                                        const ConfigEnvironment& environment) {
  CommandLine line;
  for (size_t index = 0; index < arguments.size();) {
    RT_RETURN_IF_ERROR(ParseFlag(arguments, &index, &line));
  }
  LoadedConfig loaded;
  for (const knobs::Field* field : knobs::All()) {
    const auto number = static_cast<size_t>(field->number());
    loaded.sources.resize(std::max(loaded.sources.size(), number + 1), ConfigSource::kDefault);
  }
  if (line.help || line.version) {
    loaded.answer =
        line.help ? ConfigHelp() : absl::StrCat("ringtaild ", environment.version, "\n");
    return loaded;
  }
  RT_RETURN_IF_ERROR(SetDefaults(&loaded));
  if (!line.file.empty()) RT_RETURN_IF_ERROR(ReadFileInto(line.file, &loaded));
  for (const auto& [field, value] : line.values) {
    if (const absl::Status set = knobs::Set(field, value, &loaded.config); !set.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--", field->name(), ": ", set.message()));
    }
    loaded.sources[static_cast<size_t>(field->number())] = ConfigSource::kFlag;
  }
  RT_RETURN_IF_ERROR(CompleteConfig(environment, &loaded));
  return loaded;
}

absl::StatusOr<LoadedConfig> LoadConfig(int argc, const char* const* argv,
                                        const ConfigEnvironment& environment) {
  std::vector<absl::string_view> arguments;
  for (int index = 1; index < argc; ++index) arguments.push_back(argv[index]);
  return LoadConfig(arguments, environment);
}

}  // namespace ringtail::server
