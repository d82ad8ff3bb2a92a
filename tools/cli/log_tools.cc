// ringtail log journal, verify, accept: a data directory without a broker.
#include <stdio.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "nlohmann/json.hpp"
#include "tools/cli/cli.h"
#include "tools/offline/accept.h"
#include "tools/offline/journal_dump.h"
#include "tools/offline/verify.h"

namespace ringtail::cli {
namespace {

using Json = nlohmann::ordered_json;
using offline::Verdict;

struct ToolOptions {
  std::string data_dir;
  std::vector<std::string> partitions;
  offline::JournalDumpOptions journal;
  int64_t core = -1;
  bool json = false;
  bool yes = false;
};

void PrintLine(absl::string_view line) {
  fwrite(line.data(), 1, line.size(), stdout);
  fputc('\n', stdout);
}

absl::Status Journal(Context&, ToolOptions options) {
  offline::BlockingBackend io;
  RT_ASSIGN_OR_RETURN(const auto dir, offline::ReadDataDir(io, options.data_dir));
  options.journal.json = options.json;
  if (options.core >= 0) options.journal.core = static_cast<uint32_t>(options.core);
  return offline::DumpJournal(dir, options.journal, PrintLine);
}

// --- verify

Json JsonOf(const offline::Finding& finding) {
  Json json = {{"file", finding.file}};
  if (finding.to > finding.from) json["bytes"] = {finding.from, finding.to};
  if (finding.next_offset > finding.first_offset) {
    json["offsets"] = {finding.first_offset, finding.next_offset};
  }
  json["what"] = finding.what;
  json["do"] = finding.advice;
  return json;
}

Json JsonOf(const offline::PartitionReport& report) {
  Json json = {{"partition", report.name}, {"verdict", offline::VerdictName(report.verdict)}};
  if (report.log) {
    json["start_offset"] = report.log->start;
    json["end_offset"] = report.log->end;
    json["segments"] = report.log->segments.size();
  }
  if (!report.reason.empty()) json["reason"] = report.reason;
  if (!report.advice.empty()) json["do"] = report.advice;
  json["findings"] = Json::array();
  for (const auto& finding : report.findings) json["findings"].push_back(JsonOf(finding));
  json["notes"] = report.notes;
  return json;
}

void PrintFinding(const offline::Finding& finding) {
  std::string line = absl::StrCat("  ", finding.file, ": ");
  if (finding.to > finding.from) {
    absl::StrAppend(&line, "bytes ", finding.from, " to ", finding.to, ": ");
  }
  absl::StrAppend(&line, finding.what);
  if (finding.next_offset > finding.first_offset) {
    absl::StrAppend(&line, "; offsets ", finding.first_offset, " to ", finding.next_offset - 1);
  }
  PrintLine(line);
  if (!finding.advice.empty()) PrintLine(absl::StrCat("    do: ", finding.advice));
}

void PrintReport(const offline::PartitionReport& report) {
  std::string line = absl::StrCat(report.name, ": ", offline::VerdictName(report.verdict));
  if (report.log) {
    absl::StrAppend(&line, ", offsets ", report.log->start, " to ", report.log->end,
                    " (exclusive) in ", report.log->segments.size(), " segments");
  }
  PrintLine(line);
  if (!report.reason.empty()) PrintLine(absl::StrCat("  ", report.reason));
  if (!report.advice.empty()) PrintLine(absl::StrCat("    do: ", report.advice));
  for (const auto& finding : report.findings) PrintFinding(finding);
  for (const std::string& note : report.notes) PrintLine(absl::StrCat("  note: ", note));
}

void PrintJournal(const offline::DataDir& dir, const offline::JournalReport& report) {
  if (!dir.has_journal() && report.findings.empty()) {
    return PrintLine("no journal: a directory of Kafka, or of a broker that has not started yet");
  }
  if (dir.has_journal()) {
    PrintLine(absl::StrCat("journal: run ", dir.manifest->run, ", ",
                           dir.clean() ? "stopped cleanly" : "not stopped cleanly", ", ",
                           dir.manifest->cores, " cores, ", report.frames, " frames to apply, ",
                           report.frames_cut, " never acknowledged"));
  }
  for (const auto& finding : report.findings) PrintFinding(finding);
}

const offline::PartitionFacts* Find(const offline::DataDir& dir, const std::string& name) {
  for (const auto& facts : dir.partitions) {
    if (facts.name == name) return &facts;
  }
  return nullptr;
}

absl::Status NoSuchPartition(const offline::DataDir& dir, const std::string& name) {
  return absl::InvalidArgumentError(
      absl::StrCat(dir.path, " has no partition ", name, ": they are named TOPIC-NUMBER, as ",
                   dir.partitions.empty() ? "events-0" : dir.partitions.front().name));
}

absl::StatusOr<bool> VerifyAll(const ToolOptions& options) {
  RT_ASSIGN_OR_RETURN(const auto lock,
                      offline::DirectoryLock::Take(options.data_dir, /*exclusive=*/false));
  offline::BlockingBackend io;
  RT_ASSIGN_OR_RETURN(const auto dir, offline::ReadDataDir(io, options.data_dir));
  for (const std::string& name : options.partitions) {
    if (Find(dir, name) == nullptr) return NoSuchPartition(dir, name);
  }
  const offline::JournalReport journal = offline::VerifyJournal(dir);
  bool whole = journal.findings.empty();
  uint64_t counts[4] = {};
  if (!options.json) PrintJournal(dir, journal);
  if (options.json) {
    Json json = {{"journal", dir.has_journal()}};
    if (dir.has_journal()) {
      json["run"] = dir.manifest->run;
      json["clean"] = dir.clean();
      json["frames"] = journal.frames;
      json["frames_cut"] = journal.frames_cut;
    }
    json["findings"] = Json::array();
    for (const auto& finding : journal.findings) json["findings"].push_back(JsonOf(finding));
    PrintLine(json.dump());
  }
  for (const auto& facts : dir.partitions) {
    const auto& names = options.partitions;
    if (!names.empty() && std::find(names.begin(), names.end(), facts.name) == names.end())
      continue;
    const offline::PartitionReport report = offline::VerifyPartition(io, dir, facts);
    whole = whole && report.verdict == Verdict::kWhole;
    ++counts[static_cast<int>(report.verdict)];
    if (options.json) {
      PrintLine(JsonOf(report).dump());
    } else {
      PrintReport(report);
    }
  }
  if (!options.json) {
    PrintLine(absl::StrCat(counts[0], " partitions whole, ", counts[1], " damaged, ", counts[2],
                           " refused, ", counts[3], " suspect"));
  }
  return whole;
}

absl::Status Verify(Context& context, const ToolOptions& options) {
  const auto whole = VerifyAll(options);
  if (!whole.ok()) {
    context.exit_code = 2;
    return whole.status();
  }
  context.exit_code = *whole ? 0 : 1;
  return absl::OkStatus();
}

// --- accept

void PrintPlan(const offline::PartitionFacts& facts, const offline::AcceptPlan& plan, bool done) {
  PrintLine(absl::StrCat(facts.name, done ? " ends" : " would end", " at offset ", plan.end.offset,
                         " (byte ", plan.end.position, " of segment ", plan.end.segment_base, ")"));
  if (plan.lost.empty()) PrintLine("nothing is lost");
  for (const auto& lost : plan.lost) {
    PrintLine(absl::StrCat(done ? "lost: offsets " : "would be lost: offsets ", lost.first, " to ",
                           lost.next - 1, ": ", lost.what));
  }
  if (plan.cuts) {
    PrintLine(absl::StrCat("the segments as they ", done ? "were" : "are", " from there on",
                           done ? ": " : " would be kept in ", plan.set_aside));
  }
}

absl::Status AcceptOne(const ToolOptions& options) {
  RT_ASSIGN_OR_RETURN(const auto lock,
                      offline::DirectoryLock::Take(options.data_dir, /*exclusive=*/true));
  offline::BlockingBackend io;
  RT_ASSIGN_OR_RETURN(const auto dir, offline::ReadDataDir(io, options.data_dir));
  const std::string& name = options.partitions.front();
  const offline::PartitionFacts* facts = Find(dir, name);
  if (facts == nullptr) return NoSuchPartition(dir, name);
  const offline::PartitionReport report = offline::VerifyPartition(io, dir, *facts);
  RT_ASSIGN_OR_RETURN(const auto plan, offline::PlanAccept(dir, *facts, report));
  if (!options.yes) {
    PrintPlan(*facts, plan, /*done=*/false);
    PrintLine("nothing is changed yet: the same command with --yes does it");
    return absl::OkStatus();
  }
  RT_RETURN_IF_ERROR(offline::Accept(io, dir, *facts, report, plan));
  PrintPlan(*facts, plan, /*done=*/true);
  return absl::OkStatus();
}

absl::Status Accept(Context& context, const ToolOptions& options) {
  const absl::Status status = AcceptOne(options);
  if (absl::IsInvalidArgument(status)) context.exit_code = 2;
  return status;
}

using Command = absl::Status (*)(Context&, const ToolOptions&);

void Finish(CLI::App* command, std::shared_ptr<ToolOptions> options, Context& context,
            Command run) {
  command->callback([options, run, &context] {
    context.command = [options, run](Context& context) { return run(context, *options); };
  });
}

CLI::App* AddTool(CLI::App& log, const char* name, const char* what,
                  const std::shared_ptr<ToolOptions>& options) {
  CLI::App* command = log.add_subcommand(name, what);
  command->add_option("data_dir", options->data_dir, "the broker's data directory")->required();
  return command;
}

}  // namespace

void AddLogToolCommands(CLI::App& log, Context& context) {
  auto options = std::make_shared<ToolOptions>();
  CLI::App* journal =
      AddTool(log, "journal", "Print MANIFEST, checkpoints and frames of the journals", options);
  journal->add_option("--core", options->core, "that core's journal alone");
  journal->add_flag("--entries", options->journal.entries, "each entry and record as well");
  journal->add_flag("--json", options->json, "JSON, an object a line");
  journal->footer(
      "Of a frame it says: live (a start applies it), done (in place already), torn (in flight\n"
      "when the run ended, never acknowledged). Stale frames are of an earlier lap or run.\n"
      "JSON lines are told by their first name: manifest, checkpoint, record, file, frame, entry,\n"
      "lost_from. What is damaged has \"damage\".\n"
      "It reads only, and ends with 1 if something that counts is damaged.\n"
      "Example:\n  ringtail log journal --core 0 --entries /var/lib/ringtail");
  Finish(journal, options, context,
         [](Context& context, const ToolOptions& given) { return Journal(context, given); });

  options = std::make_shared<ToolOptions>();
  CLI::App* verify =
      AddTool(log, "verify", "Check every byte of a stopped broker's directory, and say what to do",
              options);
  verify->add_option("partitions", options->partitions, "TOPIC-NUMBER; all if none is named");
  verify->add_flag("--json", options->json, "JSON, an object a line");
  verify->footer(
      "Checks each batch's CRC, indexes, epochs, names and ids, the journal's frames, and the\n"
      "checkpoints against the files. Changes nothing. A partition is\n"
      "  whole    nothing acknowledged is missing (notes say what the next start does by itself)\n"
      "  damaged  at the file, bytes and offsets that are named\n"
      "  refused  closed for appends by the broker, or about to be, for the reason given\n"
      "  suspect  the same: a part of the journal is lost that may have had records of it\n"
      "JSON: first the journal {journal, run, clean, frames, frames_cut, findings}, then a line\n"
      "for each partition {partition, verdict, start_offset, end_offset, segments, reason, do,\n"
      "findings, notes}; a finding is {file, bytes, offsets, what, do}, ranges exclude their end.\n"
      "It ends with 0 if all is whole, 1 if not, 2 if it could not look.\n"
      "Example:\n  ringtail log verify /var/lib/ringtail events-0");
  Finish(verify, options, context, Verify);

  options = std::make_shared<ToolOptions>();
  CLI::App* accept =
      AddTool(log, "accept", "Open a closed partition again, as far as it is whole", options);
  accept->add_option("partition", options->partitions, "TOPIC-NUMBER")->required()->expected(1);
  accept->add_flag("--yes", options->yes, "do it; without, it only says what would be lost");
  accept->footer(
      "For a partition that `ringtail log verify` calls refused, suspect or damaged, of a stopped\n"
      "broker. The log then ends where it is whole; what is readable behind that is kept in\n"
      "DATA_DIR/TOPIC-NUMBER.at-OFFSET.set-aside, for `ringtail log dump`.\n"
      "Example:\n  ringtail log accept /var/lib/ringtail events-0\n"
      "  ringtail log accept --yes /var/lib/ringtail events-0");
  Finish(accept, options, context, Accept);
}

}  // namespace ringtail::cli
