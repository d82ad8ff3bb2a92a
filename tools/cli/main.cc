// ringtail: topics, producing, consuming, looking into log files and machines, and load.
#include <stdio.h>

#include "tools/cli/cli.h"

namespace {

constexpr const char* kExamples = R"(Examples:
  ringtail topic create events --partitions 4
  date | ringtail produce events
  ringtail consume events --from beginning
  ringtail consume events --from end --follow --format json
  ringtail bench latency events --rate 5000 --seconds 10
  ringtail top
  ringtail group describe billing
  ringtail log dump /var/lib/ringtail/events-0/00000000000000000000.log
  ringtail log verify /var/lib/ringtail
  ringtail import kafka-dir /var/lib/kafka --to /var/lib/ringtail
  ringtail tune --profile latency

The broker is at 127.0.0.1:7092 unless --bootstrap or RINGTAIL_BOOTSTRAP says otherwise.
`ringtail COMMAND --help` shows a command's options and examples.)";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("ringtail: the command line of the Ringtail log broker", "ringtail");
  ringtail::cli::Context context;
  app.footer(kExamples);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("-b,--bootstrap", context.bootstrap,
                 "host:port of a native listener; several with commas")
      ->envname("RINGTAIL_BOOTSTRAP")
      ->capture_default_str();
  app.add_option("--timeout", context.timeout_s, "seconds to wait for an answer of the broker")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
  ringtail::cli::AddTopicCommands(app, context);
  ringtail::cli::AddBrokerCommands(app, context);
  ringtail::cli::AddGroupCommands(app, context);
  ringtail::cli::AddProduceCommand(app, context);
  ringtail::cli::AddConsumeCommand(app, context);
  ringtail::cli::AddBenchCommands(app, context);
  ringtail::cli::AddTopCommand(app, context);
  ringtail::cli::AddLogCommands(app, context);
  ringtail::cli::AddImportCommands(app, context);
  ringtail::cli::AddTuneCommand(app, context);
  ringtail::cli::AddLabCommand(app, context);
  CLI11_PARSE(app, argc, argv);

  const absl::Status status = context.command(context);
  if (fflush(stdout) != 0) {
    perror("ringtail: standard output");
    return 1;
  }
  if (status.ok()) return ringtail::cli::Interrupted() ? 130 : context.exit_code;
  fprintf(stderr, "ringtail: %s\n", std::string(status.message()).c_str());
  const std::string next = ringtail::cli::NextStep(status);
  if (!next.empty()) fprintf(stderr, "%s\n", next.c_str());
  return context.exit_code != 0 ? context.exit_code : 1;
}
