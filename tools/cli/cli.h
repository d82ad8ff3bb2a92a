// What the commands of the ringtail program share: options, output, errors that say what to do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/client/client.h"
#include "tools/client/producer.h"

namespace ringtail::cli {

// Options before the command, and the command that was chosen.
struct Context {
  std::string bootstrap = "127.0.0.1:7092";
  double timeout_s = 30;
  std::function<absl::Status(Context&)> command;
  int exit_code = 0;  // where a command has more to say than 0 and, for errors, 1

  absl::StatusOr<std::unique_ptr<client::Client>> Connect(absl::Duration busy_poll = {}) const;
};

// Each adds its commands to the program.
void AddTopicCommands(CLI::App& app, Context& context);
void AddBrokerCommands(CLI::App& app, Context& context);
void AddGroupCommands(CLI::App& app, Context& context);
void AddProduceCommand(CLI::App& app, Context& context);
void AddConsumeCommand(CLI::App& app, Context& context);
void AddLogCommands(CLI::App& app, Context& context);
void AddLogToolCommands(CLI::App& log, Context& context);
void AddImportCommands(CLI::App& app, Context& context);
void AddBenchCommands(CLI::App& app, Context& context);
void AddTopCommand(CLI::App& app, Context& context);
void AddLabCommand(CLI::App& app, Context& context);
void AddTuneCommand(CLI::App& app, Context& context);

// What the user can do about it; empty if nothing comes to mind.
std::string NextStep(const absl::Status& status);

// "beginning", "end", "offset:N", "time:MS".
absl::StatusOr<client::StartAt> ParseFrom(const std::string& text);
absl::StatusOr<client::Acks> ParseAcks(const std::string& text);
absl::StatusOr<records::Compression> ParseCompression(const std::string& text);

// "NAME=VALUE"; an error begins with `option` and gives the example.
absl::StatusOr<std::pair<std::string, std::string>> ParseNameValue(absl::string_view option,
                                                                   const std::string& text,
                                                                   absl::string_view example);

// "1,234,567"; "1.2 MiB".
std::string WithCommas(uint64_t number);
std::string WithUnit(double bytes);

// A line that is written over and over, on a terminal only (stderr).
class Progress {
 public:
  Progress(std::string what, uint64_t records_expected);
  ~Progress();
  void Add(uint64_t records, uint64_t bytes);

 private:
  void Show(bool last);

  const std::string what_;
  const uint64_t records_expected_;
  const bool on_terminal_;
  const client::Nanos started_;
  client::Nanos shown_ = 0;
  uint64_t records_ = 0;
  uint64_t bytes_ = 0;
};

// From now on Ctrl-C and SIGTERM don't end the program, but make Interrupted() true.
void CatchInterrupts();
bool Interrupted();

}  // namespace ringtail::cli
