// ringtail tune
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "perf/lab/report_files.h"
#include "perf/lab/rule.h"
#include "tools/cli/cli.h"
#include "tools/tune/gather.h"
#include "tools/tune/report.h"

namespace ringtail::cli {
namespace {

constexpr int kExitAdvice = 3;
constexpr const char* kStateDirectory = "/var/lib/ringtail-tune";

constexpr const char* kFooter =
    "Each finding is fine, info (nothing to do), unknown (with the reason), advice or warning, "
    "and\n"
    "has the file it comes from; advice has its reason, a source, and commands for now and for\n"
    "good. Below them: the broker's flags for this machine. Nothing is written without --apply.\n"
    "\n"
    "Profiles: latency gives up power and shared use for it, throughput is about bytes per "
    "second,\n"
    "balanced is a server with other things to do, laptop leaves power alone.\n"
    "\n"
    "--apply writes to /proc/sys and /sys what can be put back (the findings say which; no mount\n"
    "options, limits, interrupts or write caches), after it has recorded what was there. A second\n"
    "--apply keeps the first record. --revert puts all of it back; what somebody else has changed\n"
    "since is left, and stays in the record. The next start of the machine undoes it as well.\n"
    "\n"
    "It ends with 0 if there is nothing to advise, 3 if there is, 1 if something failed; after\n"
    "--apply with 3 if there is more to do by hand, after --revert with 0 if all is back.\n"
    "Examples:\n"
    "  ringtail tune\n"
    "  ringtail tune --profile latency --dir /srv/ringtail --explain\n"
    "  ringtail lab --json lab.json && ringtail tune --lab lab.json\n"
    "  ringtail tune --json | jq '.findings[] | select(.verdict == \"warning\")'\n"
    "  sudo ringtail tune --profile throughput --apply\n"
    "  sudo ringtail tune --revert";

struct TuneOptions {
  std::string profile = "balanced";
  std::string directory;
  std::string root = "/";
  std::string state_file;
  std::string lab_file;
  bool json = false;
  bool explain = false;
  bool apply = false;
  bool revert = false;
};

// As the broker chooses it (proto/config.proto, data_dir).
std::string DefaultDirectory() {
  const auto variable = [](const char* name) {
    const char* value = getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (geteuid() == 0) return "/var/lib/ringtail";
  const std::string data_home = variable("XDG_DATA_HOME");
  if (!data_home.empty() && data_home[0] == '/') return absl::StrCat(data_home, "/ringtail");
  return absl::StrCat(variable("HOME"), "/.local/share/ringtail");
}

absl::Status CheckOptions(const TuneOptions& options, const tune::Tree& tree) {
  if (options.directory[0] != '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("--dir ", options.directory, ": use a path from /"));
  }
  if (!tree.Exists("/proc") || !tree.Exists("/sys")) {
    return absl::NotFoundError(absl::StrCat("--root ", options.root, ": no proc and sys in it"));
  }
  // The record of one machine put back into another would be worse than none.
  if ((options.apply || options.revert) && !tree.is_this_machine() && options.state_file.empty()) {
    return absl::InvalidArgumentError(
        "--root with --apply or --revert writes below that directory: name the file for the record "
        "with --state, so that it is not taken for this machine's");
  }
  return absl::OkStatus();
}

// What `ringtail lab --json` has found out about this machine.
absl::StatusOr<std::vector<tune::BrokerFlag>> FlagsOfLab(const std::string& file) {
  try {
    std::vector<tune::BrokerFlag> flags;
    for (const lab::Flag& flag : lab::FlagsOf(lab::RuleOf(lab::ReadResult(file)))) {
      flags.push_back({flag.text, absl::StrCat("measured by ringtail lab: ", flag.why)});
    }
    return flags;
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("--lab: ", error.what()));
  }
}

absl::StatusOr<std::vector<tune::Outcome>> Change(const TuneOptions& options,
                                                  const tune::Tree& tree,
                                                  const tune::Report& report) {
  const bool usual = options.state_file.empty();
  const tune::ApplyOptions how(
      tree, usual ? absl::StrCat(kStateDirectory, "/revert.json") : options.state_file);
  absl::StatusOr<std::vector<tune::Outcome>> outcomes =
      options.apply ? tune::Apply(tree, tune::ChangesOf(report), how) : tune::Revert(tree, how);
  // It was made for the record alone, and stays as long as that does.
  if (usual) rmdir(kStateDirectory);
  if (absl::IsPermissionDenied(outcomes.status())) {
    return absl::PermissionDeniedError(
        absl::StrCat(outcomes.status().message(), "; --apply and --revert are for root"));
  }
  return outcomes;
}

absl::Status Tune(Context& context, const TuneOptions& given) {
  TuneOptions options = given;
  if (options.directory.empty()) options.directory = DefaultDirectory();
  const tune::Tree tree(options.root);
  RT_RETURN_IF_ERROR(CheckOptions(options, tree));
  const auto profile =
      *std::find_if(std::begin(tune::kProfiles), std::end(tune::kProfiles),
                    [&](tune::Profile each) { return tune::ProfileName(each) == options.profile; });
  std::vector<tune::BrokerFlag> measured;
  if (!options.lab_file.empty()) {
    RT_ASSIGN_OR_RETURN(measured, FlagsOfLab(options.lab_file));
  }
  const auto look = [&] {
    tune::Report report = tune::MakeReport(tune::Gather(tree, options.directory), profile);
    report.flags.insert(report.flags.end(), measured.begin(), measured.end());
    return report;
  };
  tune::Report report = look();
  bool failed = false;
  if (options.apply || options.revert) {
    RT_ASSIGN_OR_RETURN(std::vector<tune::Outcome> outcomes, Change(options, tree, report));
    for (const tune::Outcome& outcome : outcomes) {
      failed = failed || !outcome.status.ok() || (options.revert && outcome.left);
    }
    report = look();
    report.outcomes = std::move(outcomes);
  }
  const std::string text =
      options.json ? tune::ToJson(report) : tune::ToText(report, options.explain);
  fwrite(text.data(), 1, text.size(), stdout);
  if (failed) {
    context.exit_code = 1;
  } else if (!options.revert && tune::HasAdvice(report)) {
    context.exit_code = kExitAdvice;
  }
  return absl::OkStatus();
}

}  // namespace

void AddTuneCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<TuneOptions>();
  CLI::App* command =
      app.add_subcommand("tune", "Look at this machine, and say what to change for a broker");
  std::vector<std::string> profiles;
  for (const tune::Profile profile : tune::kProfiles) {
    profiles.emplace_back(tune::ProfileName(profile));
  }
  command->add_option("--profile", options->profile, "what the machine is for")
      ->check(CLI::IsMember(profiles))
      ->capture_default_str();
  command->add_option("--dir", options->directory,
                      "the broker's data directory; its default unless given");
  command->add_option("--lab", options->lab_file,
                      "a --json file of ringtail lab: its flags for the broker, too");
  command->add_flag("--json", options->json, "one JSON object (tools/tune/README.md)");
  command->add_flag("--explain", options->explain, "reasons and sources of what is fine, too");
  CLI::Option* apply = command->add_flag("--apply", options->apply, "change what can be put back");
  command->add_flag("--revert", options->revert, "put back what --apply has changed")
      ->excludes(apply);
  command->add_option(
      "--state", options->state_file,
      absl::StrCat("where the record of changes is [", kStateDirectory, "/revert.json]"));
  command
      ->add_option("--root", options->root,
                   "look at copies of another machine's /proc and /sys below this directory")
      ->capture_default_str();
  command->footer(kFooter);
  command->callback([options, &context] {
    context.command = [options](Context& context) { return Tune(context, *options); };
  });
}

}  // namespace ringtail::cli
