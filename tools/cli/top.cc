// ringtail top: what a running broker does, live in the terminal.
#include <httplib.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "tools/cli/cli.h"
#include "tools/top/view.h"

namespace ringtail::cli {
namespace {

struct TopOptions {
  std::string admin = "127.0.0.1:6092";
  double interval_s = 1;
  size_t partitions = 10;
  uint64_t count = 0;  // 0: until it is told to end
};

struct Sample {
  top::MetricsPage page;
  client::Nanos at = 0;
};

absl::StatusOr<Sample> Take(httplib::Client& http, const std::string& address) {
  const httplib::Result result = http.Get("/metrics");
  if (!result) {
    return absl::UnavailableError(absl::StrCat(
        "no answer from ", address, " (", httplib::to_string(result.error()),
        "); --admin names the broker's admin listener, which ringtaild writes to --ports_file"));
  }
  if (result->status != 200) {
    return absl::UnavailableError(
        absl::StrCat("http://", address, "/metrics: expected status 200, got ", result->status));
  }
  Sample sample;
  sample.at = client::Now();
  RT_ASSIGN_OR_RETURN(sample.page, top::MetricsPage::Parse(result->body));
  return sample;
}

// Keys come at once and are not shown, until it is destroyed. Nothing where there is no terminal.
class Terminal {
 public:
  Terminal() : shows_(isatty(STDOUT_FILENO) != 0) {
    if (!shows_ || isatty(STDIN_FILENO) == 0 || tcgetattr(STDIN_FILENO, &saved_) != 0) return;
    termios raw = saved_;
    raw.c_lflag &= static_cast<tcflag_t>(~(ICANON | ECHO));
    reads_keys_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~Terminal() {
    if (reads_keys_) tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Zeros: it has no end.
  winsize size() const {
    winsize size = {};
    if (!shows_ || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return {};
    if (size.ws_row > 1) --size.ws_row;
    return size;
  }
  void Show(const std::string& text) const {
    // Home, then what is there is written over and the rest cleared: nothing flickers.
    std::string screen = shows_ ? "\033[H" : "";
    for (const char c : text) {
      if (shows_ && c == '\n') screen += "\033[K";
      screen += c;
    }
    screen += shows_ ? "\033[J" : "\n";
    fwrite(screen.data(), 1, screen.size(), stdout);
    fflush(stdout);
  }
  // False: q was pressed, or it was interrupted.
  bool Wait(client::Nanos until) const {
    while (!Interrupted()) {
      const client::Nanos left = until - client::Now();
      if (left <= 0) return true;
      pollfd keys = {.fd = reads_keys_ ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0};
      const auto wait_ms = static_cast<int>(std::min<client::Nanos>(left / 1'000'000 + 1, 200));
      if (poll(&keys, 1, wait_ms) <= 0) continue;
      char key = 0;
      if (read(STDIN_FILENO, &key, 1) == 1 && (key == 'q' || key == 'Q')) return false;
    }
    return false;
  }

 private:
  const bool shows_;
  bool reads_keys_ = false;
  termios saved_ = {};
};

absl::Status Top(const TopOptions& options) {
  const size_t colon = options.admin.rfind(':');
  int port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(options.admin.substr(colon + 1), &port) ||
      port < 1 || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--admin ", options.admin, ": expected host:port"));
  }
  httplib::Client http(options.admin.substr(0, colon), port);
  http.set_connection_timeout(5);
  http.set_read_timeout(10);
  http.set_keep_alive(true);
  RT_ASSIGN_OR_RETURN(Sample before, Take(http, options.admin));
  CatchInterrupts();
  const Terminal terminal;
  const auto interval = static_cast<client::Nanos>(options.interval_s * 1e9);
  client::Nanos due = before.at;
  for (uint64_t shown = 0; options.count == 0 || shown < options.count; ++shown) {
    due = std::max(due + interval, client::Now());
    if (!terminal.Wait(due)) break;
    RT_ASSIGN_OR_RETURN(Sample now, Take(http, options.admin));
    const winsize size = terminal.size();
    terminal.Show(top::Render(before.page, now.page,
                              {.address = options.admin,
                               .seconds = static_cast<double>(now.at - before.at) / 1e9,
                               .partitions_max = options.partitions,
                               .rows_max = size.ws_row,
                               .columns_max = size.ws_col}));
    before = std::move(now);
  }
  return absl::OkStatus();
}

}  // namespace

void AddTopCommand(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("top", "Show what a running broker does, live");
  const auto options = std::make_shared<TopOptions>();
  command->add_option("--admin", options->admin, "host:port of the admin listener")
      ->envname("RINGTAIL_ADMIN")
      ->capture_default_str();
  command->add_option("--interval", options->interval_s, "seconds between two looks")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_option("--partitions", options->partitions, "the busiest ones, at most so many")
      ->capture_default_str();
  command->add_option("--count", options->count, "end after so many looks; 0: with q or Ctrl-C")
      ->capture_default_str();
  command->footer(
      "Rates are those between two looks; a latency is the upper bound of its histogram's bucket.\n"
      "All of it is on the broker's /metrics page. Where the output is no terminal, looks follow\n"
      "each other.\n\nExamples:\n  ringtail top\n  ringtail top --count 1 --interval 5\n");
  command->callback(
      [options, &context] { context.command = [options](Context&) { return Top(*options); }; });
}

}  // namespace ringtail::cli
