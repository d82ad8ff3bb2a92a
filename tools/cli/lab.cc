// ringtail lab
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/result.h"
#include "perf/lab/broker_groups.h"
#include "perf/lab/comparison.h"
#include "perf/lab/html_report.h"
#include "perf/lab/json.h"
#include "perf/lab/report_files.h"
#include "perf/lab/rule.h"
#include "perf/lab/runner.h"
#include "perf/lab/running_broker.h"
#include "perf/lab/text_report.h"
#include "perf/lib/os.h"
#include "server/host.h"
#include "tools/cli/cli.h"
#include "tools/client/address.h"

namespace ringtail::cli {
namespace {

constexpr size_t kColumns = 100;
constexpr uint16_t kNativePort = 7092;

constexpr const char* kBrokerFooter =
    "It starts brokers of its own, one for each value of a flag and each round, on ports that the\n"
    "kernel picks and with data in a directory that is removed, and puts a load of produce or "
    "fetch\n"
    "requests on them: durability, busy_poll_us, journal_depth, journal_bypass_bytes, write_path,\n"
    "send_path, cores, and sizes of batches. What the flag does to throughput, latency and the "
    "broker's CPU stands "
    "beside\n"
    "each other; --only takes flags.\n"
    "\n"
    "With --running it is the broker at --bootstrap, on this machine, whose settings are changed\n"
    "while it runs (ringtail broker alter), all but what needs a restart. They are put back at "
    "the\n"
    "end, also after Ctrl-C, and the topics that it makes (ringtail-lab-*) are deleted. Whoever\n"
    "else uses that broker feels it.\n"
    "\n"
    "Examples:\n"
    "  ringtail lab broker --quick\n"
    "  ringtail lab broker --only busy_poll_us --seconds 60\n"
    "  ringtail lab broker --flag cores=1 --flag journal_depth=4 --json broker.json\n"
    "  ringtail -b 127.0.0.1:7092 lab broker --running --only send_path";

constexpr const char* kFooter =
    "It measures, on this machine and the file system of --dir, the kernel's ways to write, send,\n"
    "receive and wake, and beside them the broker's own code, in turns: medians with their "
    "spread,\n"
    "and a difference within the spread is called none. It writes into a directory of its own, at\n"
    "most an eighth of what is free (1 GiB), and removes it. The machine should have nothing else\n"
    "to do.\n"
    "\n"
    "Families: write, send, receive, wake, ring. --only takes them and parts of paths' names.\n"
    "At the end: the broker's flags for this machine, where its defaults are not the best here.\n"
    "Ctrl-C stops it and reports what there is; its status is 130 then.\n"
    "\n"
    "Examples:\n"
    "  ringtail lab --quick\n"
    "  ringtail lab --dir /srv/ringtail --json lab.json --html lab.html\n"
    "  ringtail lab --only send --size 64KiB\n"
    "  ringtail lab --compare before.json        # measure, and say what has changed\n"
    "  ringtail lab --from lab.json --html lab.html   # nothing is measured";

struct LabOptions {
  bool quick = false;
  std::vector<std::string> only;
  std::vector<uint64_t> sizes;
  std::string directory;
  double seconds = 0;
  int rounds = 0;
  std::string json_file;
  std::string html_file;
  std::string compare_file;
  std::string from_file;
  bool broker = false;
  bool running = false;
  std::string bootstrap;  // of a running one
  std::string ringtaild;
  std::vector<std::string> broker_flags;
};

size_t Columns() {
  winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kColumns;
  return size.ws_col;
}

// A line that is written over and over, on a terminal only.
class ProgressLine {
 public:
  void Show(double done, double seconds_left, const std::string& what) {
    if (!on_terminal_) return;
    constexpr int kBar = 20;
    const int filled = static_cast<int>(done * kBar);
    const std::string bar = std::string(static_cast<size_t>(filled), '#') +
                            std::string(static_cast<size_t>(kBar - filled), '.');
    absl::FPrintF(stderr, "\r\033[K[%s] %3.0f %%, %.0f s left  %s", bar, done * 100, seconds_left,
                  what.substr(0, 50));
  }
  ~ProgressLine() {
    if (on_terminal_) fputs("\r\033[K", stderr);
  }

 private:
  const bool on_terminal_ = isatty(STDERR_FILENO) != 0;
};

// A file that could not be written would only be noticed after minutes.
absl::Status CheckOutput(const char* flag, const std::string& file) {
  if (file.empty()) return absl::OkStatus();
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::absolute(file, error).parent_path();
  if (error || access(parent.c_str(), W_OK | X_OK) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(flag, " ", file, ": ", parent.string(), " cannot be written to"));
  }
  if (std::filesystem::is_directory(file, error)) {
    return absl::FailedPreconditionError(absl::StrCat(flag, " ", file, ": is a directory"));
  }
  return absl::OkStatus();
}

// The program that was asked for, else the one beside this program, as tools/dev builds and
// packages install them, else whatever the shell would find.
absl::StatusOr<std::string> FindRingtaild(const std::string& asked) {
  std::vector<std::string> places = {asked};
  if (asked.empty()) {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
    places = {self / "ringtaild", self / "../server/ringtaild"};
    const char* path = getenv("PATH");
    for (const absl::string_view directory : absl::StrSplit(path == nullptr ? "" : path, ':')) {
      places.push_back(absl::StrCat(directory, "/ringtaild"));
    }
  }
  for (const std::string& place : places) {
    if (access(place.c_str(), X_OK) == 0) return place;
  }
  return absl::NotFoundError(
      asked.empty() ? "no ringtaild beside this program or in $PATH: name one with --ringtaild"
                    : absl::StrCat("--ringtaild ", asked, ": no program"));
}

// On this machine: its process is measured, and its load goes over loopback.
std::unique_ptr<lab::RunningBroker> FindRunning(const LabOptions& options) {
  const auto address = client::ParseAddress(options.bootstrap, kNativePort);
  if (!address.ok()) throw std::runtime_error(std::string(address.status().message()));
  if (address->host != "127.0.0.1" && address->host != "localhost") {
    throw std::runtime_error(absl::StrCat("--running: expected a broker at 127.0.0.1, came ",
                                          address->host, "; run this on the broker's machine"));
  }
  return std::make_unique<lab::RunningBroker>(address->port, lab::SweptSettings());
}

std::vector<lab::Group> GroupsOf(const LabOptions& options, const std::string& ringtaild,
                                 const lab::RunningBroker* running, const std::string& directory,
                                 int64_t space_bytes) {
  if (options.broker) {
    return lab::BrokerGroups(
        {ringtaild, options.broker_flags, directory, options.quick, space_bytes, running});
  }
  return lab::AllGroups(
      {directory, options.quick, {options.sizes.begin(), options.sizes.end()}, space_bytes});
}

lab::LabResult Measure(const LabOptions& options, const std::string& ringtaild) {
  const std::string parent = options.directory.empty() ? perf::ScratchParent() : options.directory;
  const int64_t space_bytes = lab::SpaceFor(parent);
  lab::LabResult result;
  result.version = server::VersionWithBuildId();
  lab::DescribeMachine(parent, &result);
  CatchInterrupts();
  const perf::ScratchDir scratch(parent);
  std::unique_ptr<lab::RunningBroker> running;
  if (options.running) running = FindRunning(options);
  ProgressLine line;
  const lab::Hooks hooks = {
      .progress = [&line](double done, double seconds_left,
                          const std::string& what) { line.Show(done, seconds_left, what); },
      .stop = Interrupted};
  std::vector<lab::Group> groups = lab::Choose(
      GroupsOf(options, ringtaild, running.get(), scratch.path(), space_bytes), options.only);
  lab::Run({options.quick, options.seconds, options.rounds}, std::move(groups), hooks, &result);
  return result;
}

std::string RuleText(const lab::LabResult& result) {
  const lab::Rule rule = lab::RuleOf(result);
  std::string text = "The broker here\n";
  for (const auto* reasons : {&rule.send_reasons, &rule.write_reasons}) {
    for (const std::string& reason : *reasons) absl::StrAppend(&text, "  ", reason, "\n");
  }
  const std::vector<lab::Flag> flags = lab::FlagsOf(rule);
  if (flags.empty()) return text + "  Its defaults are as good as anything that was measured.\n";
  text += "  ringtaild";
  for (const lab::Flag& flag : flags) absl::StrAppend(&text, " '", flag.text, "'");
  text += "\n  or, while it runs: ringtail broker alter";
  for (const lab::Flag& flag : flags) {
    absl::StrAppend(&text, " '", absl::StripPrefix(flag.text, "--"), "'");
  }
  return text + "\n";
}

absl::Status Lab(const LabOptions& options) {
  RT_RETURN_IF_ERROR(CheckOutput("--json", options.json_file));
  RT_RETURN_IF_ERROR(CheckOutput("--html", options.html_file));
  std::string ringtaild;
  if (options.broker && !options.running && options.from_file.empty()) {
    RT_ASSIGN_OR_RETURN(ringtaild, FindRingtaild(options.ringtaild));
  }
  try {
    std::optional<lab::LabResult> before;
    if (!options.compare_file.empty()) before = lab::ReadResult(options.compare_file);
    const lab::LabResult result = options.from_file.empty() ? Measure(options, ringtaild)
                                                            : lab::ReadResult(options.from_file);
    const size_t columns = Columns();
    std::string text = lab::TextReport(result, columns);
    if (!options.broker) absl::StrAppend(&text, "\n", RuleText(result));
    if (before.has_value()) {
      absl::StrAppend(&text, "\n", lab::ComparisonText(*before, result, columns));
    }
    fwrite(text.data(), 1, text.size(), stdout);
    if (!options.json_file.empty()) lab::WriteWhole(options.json_file, lab::ToJson(result));
    if (!options.html_file.empty()) lab::WriteWhole(options.html_file, lab::HtmlReport(result));
  } catch (const std::exception& error) {
    return absl::FailedPreconditionError(error.what());
  }
  return absl::OkStatus();
}

}  // namespace

void AddLabCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<LabOptions>();
  CLI::App* command =
      app.add_subcommand("lab", "Measure this machine's I/O paths, and the broker's beside them");
  command->add_flag("--quick", options->quick, "fewer sizes and rounds: under a minute");
  command->add_option("--only", options->only, "families, or parts of the names of paths")
      ->delimiter(',');
  command->add_option("--size", options->sizes, "sizes instead of each family's own")
      ->delimiter(',')
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(uint64_t{512}, uint64_t{16} << 20));
  command->add_option("--dir", options->directory,
                      "where files are written [$RINGTAIL_PERF_DIR, or /var/tmp]");
  command
      ->add_option("--seconds", options->seconds,
                   "about how long it may take [50 with --quick, else 600]")
      ->check(CLI::Range(1.0, 86400.0));
  command->add_option("--rounds", options->rounds, "of each path [3 with --quick, else 7]")
      ->check(CLI::Range(1, 1000));
  command->add_option("--json", options->json_file,
                      "also write the result to this file (perf/lab/README.md)");
  command->add_option("--html", options->html_file, "also write a report for a browser");
  command->add_option("--compare", options->compare_file,
                      "an older --json file: say what has changed");
  command->add_option("--from", options->from_file, "report this --json file, measure nothing");
  command->footer(kFooter);
  CLI::App* broker = command->add_subcommand(
      "broker", "Sweep a broker's flags under load, and see what each value does");
  broker->fallthrough();
  broker->add_option("--ringtaild", options->ringtaild,
                     "the broker's program [beside this one, or in $PATH]");
  broker->add_option_function<std::vector<std::string>>(
      "--flag",
      [options](const std::vector<std::string>& flags) {
        for (const std::string& flag : flags) {
          options->broker_flags.push_back(absl::StartsWith(flag, "--") ? flag : "--" + flag);
        }
      },
      "NAME=VALUE: a flag of every broker that is started; may be repeated");
  broker->add_flag("--running", options->running,
                   "the broker that runs at --bootstrap, instead of brokers of its own");
  broker->footer(kBrokerFooter);
  broker->callback([options] { options->broker = true; });
  command->callback([options, &context] {
    context.command = [options](Context& c) {
      options->bootstrap = c.bootstrap;
      return Lab(*options);
    };
  });
}

}  // namespace ringtail::cli
