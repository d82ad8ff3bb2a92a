// ringtail import kafka-dir
#include <stdio.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/result.h"
#include "tools/cli/cli.h"
#include "tools/offline/kafka_import.h"

namespace ringtail::cli {
namespace {

struct ImportOptions {
  std::vector<std::string> sources;
  offline::KafkaSelection selection;
  offline::ImportTarget target;
  bool dry_run = false;
};

void PrintLine(absl::string_view line) {
  fwrite(line.data(), 1, line.size(), stdout);
  fputc('\n', stdout);
}

void PrintPlan(const offline::KafkaDirs& dirs) {
  for (const offline::KafkaTopic& topic : dirs.topics) {
    int64_t bytes = 0;
    for (const auto& [number, partition] : topic.partitions) bytes += partition.bytes();
    PrintLine(absl::StrCat(
        topic.name, ": ", topic.partitions.size(), " partitions, ",
        WithUnit(static_cast<double>(bytes)), ", topic id ",
        topic.id_is_new ? "to be made, as the directory has none" : topic.id.ToString()));
  }
  for (const std::string& what : dirs.skipped) PrintLine(absl::StrCat("left out: ", what));
}

void PrintPartition(const offline::ImportedPartition& partition) {
  PrintLine(absl::StrCat(partition.name, ": offsets ", partition.log_start.value(), " to ",
                         partition.end.value(), " (exclusive) in ", partition.segments,
                         " segments, ", WithUnit(static_cast<double>(partition.bytes)),
                         partition.note.empty() ? "" : "; ", partition.note));
}

absl::Status Import(const ImportOptions& options) {
  offline::BlockingBackend io;
  RT_ASSIGN_OR_RETURN(const offline::KafkaDirs dirs,
                      offline::ReadKafkaDirs(io, options.sources, options.selection));
  PrintPlan(dirs);
  if (!dirs.problems.empty()) {
    std::string all = "nothing is imported:";
    for (const std::string& problem : dirs.problems) absl::StrAppend(&all, "\n  ", problem);
    return absl::FailedPreconditionError(all);
  }
  if (dirs.topics.empty()) return absl::NotFoundError("there is no topic to import");
  RT_RETURN_IF_ERROR(offline::CheckImportTarget(io, dirs, options.target));
  if (options.dry_run) {
    PrintLine("nothing is imported: --dry-run; batches are checked when they are copied");
    return absl::OkStatus();
  }
  RT_RETURN_IF_ERROR(offline::ImportKafka(io, dirs, options.target, PrintPartition));
  PrintLine(absl::StrCat(
      dirs.topics.size(), " topics, ", dirs.partition_count(), " partitions are in ",
      options.target.directory, "; start it with: ringtaild --data_dir=", options.target.directory,
      options.target.broker_id == 0 ? ""
                                    : absl::StrCat(" --broker_id=", options.target.broker_id)));
  PrintLine(
      "Kafka keeps topic configs in __cluster_metadata, which is not read: each topic has\n"
      "retention.ms=-1 (for ever) and else the defaults; change them with `ringtail topic alter`.\n"
      "Consumers' committed offsets are not imported.");
  return absl::OkStatus();
}

}  // namespace

void AddImportCommands(CLI::App& app, Context& context) {
  CLI::App* import = app.add_subcommand("import", "Take over what another broker has stored");
  import->require_subcommand(1);
  auto options = std::make_shared<ImportOptions>();
  CLI::App* kafka = import->add_subcommand(
      "kafka-dir", "Make a data directory with the topics of a stopped Kafka 4 broker");
  kafka->add_option("log_dirs", options->sources, "all log.dirs of one broker")->required();
  kafka->add_option("--to", options->target.directory, "the data directory, a new one")->required();
  kafka->add_option("--topic", options->selection.topics, "that topic alone; may be repeated")
      ->allow_extra_args(false);
  kafka->add_option("--except", options->selection.except, "not that topic; may be repeated")
      ->allow_extra_args(false);
  kafka->add_option("--broker_id", options->target.broker_id, "as ringtaild will be given")
      ->check(CLI::Range(0, 2147482))
      ->capture_default_str();
  kafka->add_flag("--dry-run", options->dry_run, "say what would be imported; write nothing");
  kafka->footer(
      "Records keep their offsets, times, codecs and bytes, topics their names and ids, producers\n"
      "their sequences. Each batch's CRC is checked, indexes are made anew. The log.dirs are only\n"
      "read. All or nothing: --to appears when it is whole; a run that was cut off is given "
      "again.\n"
      "\n"
      "Refused, with what was expected and what came: directories that Kafka has not closed\n"
      "(controlled shutdown), topics in tiered storage, partitions that are missing or damaged,\n"
      "topics with transactions (a consumer could not tell what was aborted). Leave single topics\n"
      "out with --except. Gaps that compaction left are fine.\n"
      "\n"
      "Not imported: topic configs (retention.ms is -1, so that nothing goes; the rest default),\n"
      "consumers' committed offsets, ACLs, Kafka's own topics, replicas of other brokers.\n"
      "Memory: some 10 MiB, and 4 MiB for each GiB of the largest partition.\n"
      "Examples:\n"
      "  ringtail import kafka-dir --dry-run /var/lib/kafka --to /var/lib/ringtail\n"
      "  ringtail import kafka-dir /disk1/kafka /disk2/kafka --to /var/lib/ringtail --topic "
      "events");
  kafka->callback([options, &context] {
    options->target.directory = std::string(absl::StripSuffix(options->target.directory, "/"));
    context.command = [options](Context&) { return Import(*options); };
  });
}

}  // namespace ringtail::cli
