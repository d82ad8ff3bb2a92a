#include "tools/tune/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tools/tune/rules.h"

namespace ringtail::tune {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kSchema = 1;
constexpr size_t kWidth = 100;

std::string GroupOf(const Finding& finding) { return finding.id.substr(0, finding.id.find('.')); }

const char* Heading(absl::string_view group) {
  constexpr std::pair<const char*, const char*> kHeadings[] = {
      {"cpu", "CPU and power"}, {"irq", "Interrupts"}, {"storage", "Storage"},
      {"memory", "Memory"},     {"limits", "Limits"},  {"cgroup", "Control group"},
      {"network", "Network"},   {"kernel", "Kernel"},
  };
  for (const auto& [name, heading] : kHeadings) {
    if (group == name) return heading;
  }
  return "";
}

bool IsToDo(Verdict verdict) { return verdict == Verdict::kAdvice || verdict == Verdict::kWarning; }

// Words behind `label` in lines of kWidth; a word that is longer has a line for itself.
void Wrap(absl::string_view label, absl::string_view words, std::string* out) {
  constexpr size_t kIndent = 21;
  std::string line = absl::StrFormat("%11s%-10s", "", label);
  bool first = true;
  for (const absl::string_view word : absl::StrSplit(words, ' ', absl::SkipEmpty())) {
    if (!first && line.size() + 1 + word.size() > kWidth) {
      absl::StrAppend(out, line, "\n");
      line = std::string(kIndent, ' ');
      first = true;
    }
    absl::StrAppend(&line, first ? "" : " ", word);
    first = false;
  }
  absl::StrAppend(out, line, "\n");
}

// Commands are not broken, so that they can be copied.
void Lines(absl::string_view label, const std::vector<std::string>& commands, std::string* out) {
  for (const std::string& command : commands) {
    absl::StrAppend(out, absl::StrFormat("%11s%-10s%s\n", "", label, command));
    label = "";
  }
}

void AppendFinding(const Finding& finding, bool explain, std::string* out) {
  absl::StrAppend(out, absl::StrFormat("  %-8s ", VerdictName(finding.verdict)), finding.title,
                  finding.found.empty() ? "" : ": ", finding.found, "\n");
  const bool to_do = IsToDo(finding.verdict);
  Wrap("from", finding.source, out);
  if (!finding.note.empty()) {
    Wrap(finding.verdict == Verdict::kUnknown ? "unread" : "note", finding.note, out);
  }
  if (to_do || explain) {
    Wrap("why", finding.why, out);
    Wrap("see", finding.reference, out);
  }
  Lines("now", finding.now, out);
  Lines("to last", finding.lasting, out);
  if (!finding.changes.empty()) Lines("", {"--apply does the first"}, out);
}

void AppendOutcomes(const std::vector<Outcome>& outcomes, std::string* out) {
  for (const Outcome& outcome : outcomes) {
    if (!outcome.status.ok()) {
      absl::StrAppend(out, "  failed   ", outcome.path, ": ", outcome.status.message(), "\n");
    } else if (outcome.left) {
      absl::StrAppend(out, "  left     ", outcome.path, ": ", outcome.after,
                      ", which is neither what was written nor what was there before\n");
    } else if (outcome.before == outcome.after) {
      absl::StrAppend(out, "  is so    ", outcome.path, ": ", outcome.after, "\n");
    } else {
      absl::StrAppend(out, "  changed  ", outcome.path, ": ", outcome.before, " -> ", outcome.after,
                      "\n");
    }
  }
  if (outcomes.empty()) absl::StrAppend(out, "  nothing to change\n");
  absl::StrAppend(out, "\n");
}

std::map<Verdict, int> Count(const Report& report) {
  std::map<Verdict, int> counts;
  for (const Verdict verdict :
       {Verdict::kFine, Verdict::kInfo, Verdict::kUnknown, Verdict::kAdvice, Verdict::kWarning}) {
    counts[verdict] = 0;
  }
  for (const Finding& finding : report.findings) ++counts[finding.verdict];
  return counts;
}

Json FindingJson(const Finding& finding) {
  Json json;
  json["id"] = finding.id;
  json["title"] = finding.title;
  json["verdict"] = std::string(VerdictName(finding.verdict));
  json["found"] = finding.found.empty() ? Json() : Json(finding.found);
  json["source"] = finding.source;
  json["note"] = finding.note;
  json["why"] = finding.why;
  json["reference"] = finding.reference;
  json["now"] = finding.now;
  json["lasting"] = finding.lasting;
  json["apply"] = Json::array();
  for (const Change& change : finding.changes) {
    json["apply"].push_back({{"file", change.path}, {"value", change.value}});
  }
  return json;
}

const char* ResultOf(const Outcome& outcome) {
  if (!outcome.status.ok()) return "failed";
  if (outcome.left) return "left";
  return outcome.before == outcome.after ? "unchanged" : "changed";
}

Json OutcomeJson(const Outcome& outcome) {
  return {{"file", outcome.path},
          {"before", outcome.before},
          {"after", outcome.after},
          {"result", ResultOf(outcome)},
          {"error", std::string(outcome.status.message())}};
}

}  // namespace

Report MakeReport(Machine machine, Profile profile) {
  Report report{.machine = std::move(machine), .profile = profile};
  report.findings = Judge(report.machine, profile);
  report.flags = ProposeFlags(report.machine, profile);
  return report;
}

std::vector<Change> ChangesOf(const Report& report) {
  std::vector<Change> changes;
  for (const Finding& finding : report.findings) {
    changes.insert(changes.end(), finding.changes.begin(), finding.changes.end());
  }
  return changes;
}

bool HasAdvice(const Report& report) {
  return std::any_of(report.findings.begin(), report.findings.end(),
                     [](const Finding& finding) { return IsToDo(finding.verdict); });
}

std::string ToText(const Report& report, bool explain) {
  std::string out;
  if (report.outcomes) AppendOutcomes(*report.outcomes, &out);
  absl::StrAppend(&out, "Profile ", ProfileName(report.profile), ", data directory ",
                  report.machine.storage.directory, "; limits are those of ",
                  report.machine.subject,
                  report.machine.subject_is_broker ? " (a running broker)" : "", "\n");
  std::string group;
  for (const Finding& finding : report.findings) {
    if (GroupOf(finding) != group) {
      group = GroupOf(finding);
      absl::StrAppend(&out, "\n", Heading(group), "\n");
    }
    AppendFinding(finding, explain, &out);
  }
  absl::StrAppend(&out, "\nThe broker on this machine\n  ",
                  BrokerCommand(report.machine, report.flags), "\n");
  for (const BrokerFlag& flag : report.flags) {
    absl::StrAppend(&out, "    ", flag.flag, "\n");
    Wrap("because", flag.why, &out);
  }
  if (report.flags.empty()) absl::StrAppend(&out, "    its defaults fit\n");
  std::vector<std::string> parts;
  for (const auto& [verdict, count] : Count(report)) {
    parts.push_back(absl::StrCat(count, " ", VerdictName(verdict)));
  }
  absl::StrAppend(&out, "\n", absl::StrJoin(parts, ", "), "\n");
  return out;
}

std::string ToJson(const Report& report) {
  Json json;
  json["schema"] = kSchema;
  json["profile"] = std::string(ProfileName(report.profile));
  json["data_dir"] = report.machine.storage.directory;
  json["limits_of"] = report.machine.subject;
  json["findings"] = Json::array();
  for (const Finding& finding : report.findings) json["findings"].push_back(FindingJson(finding));
  json["broker"]["command"] = BrokerCommand(report.machine, report.flags);
  json["broker"]["flags"] = Json::array();
  for (const BrokerFlag& flag : report.flags) {
    json["broker"]["flags"].push_back({{"flag", flag.flag}, {"why", flag.why}});
  }
  for (const auto& [verdict, count] : Count(report)) {
    json["summary"][std::string(VerdictName(verdict))] = count;
  }
  if (report.outcomes) {
    json["changes"] = Json::array();
    for (const Outcome& outcome : *report.outcomes) json["changes"].push_back(OutcomeJson(outcome));
  }
  // A file may hold any bytes.
  return absl::StrCat(json.dump(2, ' ', false, Json::error_handler_t::replace), "\n");
}

}  // namespace ringtail::tune
