// ringtail lab
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/base/result.h"
#include "perf/lab/comparison.h"
#include "perf/lab/html_report.h"
#include "perf/lab/json.h"
#include "perf/lab/report_files.h"
#include "perf/lab/rule.h"
#include "perf/lab/runner.h"
#include "perf/lab/text_report.h"
#include "perf/lib/os.h"
#include "server/host.h"
#include "tools/cli/cli.h"

namespace ringtail::cli {
namespace {

constexpr size_t kColumns = 100;

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

lab::LabResult Measure(const LabOptions& options) {
  const std::string parent = options.directory.empty() ? perf::ScratchParent() : options.directory;
  lab::RunOptions run;
  run.selection.space_bytes = lab::SpaceFor(parent);
  run.selection.quick = options.quick;
  run.selection.size_bytes.assign(options.sizes.begin(), options.sizes.end());
  run.only = options.only;
  run.seconds = options.seconds;
  run.rounds = options.rounds;
  lab::LabResult result;
  result.version = server::VersionWithBuildId();
  lab::DescribeMachine(parent, &result);
  CatchInterrupts();
  const perf::ScratchDir scratch(parent);
  run.selection.directory = scratch.path();
  ProgressLine line;
  const lab::Hooks hooks = {
      .progress = [&line](double done, double seconds_left,
                          const std::string& what) { line.Show(done, seconds_left, what); },
      .stop = Interrupted};
  lab::Run(run, lab::ChooseGroups(run), hooks, &result);
  return result;
}

std::string RuleText(const lab::LabResult& result) {
  const lab::Rule rule = lab::RuleOf(result);
  const std::vector<std::string> flags = lab::FlagsOf(rule);
  std::string text = "The broker here\n";
  for (const std::string& reason : rule.reasons) absl::StrAppend(&text, "  ", reason, "\n");
  if (flags.empty()) return text + "  Its defaults are as good as anything that was measured.\n";
  return absl::StrCat(text, "  ringtaild ", absl::StrJoin(flags, " "), "\n");
}

absl::Status Lab(const LabOptions& options) {
  RT_RETURN_IF_ERROR(CheckOutput("--json", options.json_file));
  RT_RETURN_IF_ERROR(CheckOutput("--html", options.html_file));
  try {
    std::optional<lab::LabResult> before;
    if (!options.compare_file.empty()) before = lab::ReadResult(options.compare_file);
    const lab::LabResult result =
        options.from_file.empty() ? Measure(options) : lab::ReadResult(options.from_file);
    const size_t columns = Columns();
    std::string text = lab::TextReport(result, columns);
    absl::StrAppend(&text, "\n", RuleText(result));
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
  command->callback(
      [options, &context] { context.command = [options](Context&) { return Lab(*options); }; });
}

}  // namespace ringtail::cli
