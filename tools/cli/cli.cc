#include "tools/cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace ringtail::cli {
namespace {

volatile sig_atomic_t interrupted = 0;

// The first 'quoted' word of a message, which names the topic.
std::string Quoted(absl::string_view message) {
  const size_t from = message.find('\'');
  if (from == absl::string_view::npos) return "NAME";
  const size_t to = message.find('\'', from + 1);
  if (to == absl::string_view::npos) return "NAME";
  return std::string(message.substr(from + 1, to - from - 1));
}

}  // namespace

absl::StatusOr<std::unique_ptr<client::Client>> Context::Connect(absl::Duration busy_poll) const {
  client::ClientOptions options;
  options.bootstrap = bootstrap;
  options.client_id = "ringtail-cli";
  options.request_timeout = absl::Seconds(timeout_s);
  options.connect_timeout = std::min(absl::Seconds(timeout_s), absl::Seconds(5));
  options.busy_poll = busy_poll;
  return client::Client::Connect(std::move(options));
}

std::string NextStep(const absl::Status& status) {
  const absl::string_view message = status.message();
  if (absl::StartsWith(message, "cannot connect")) {
    return "Is ringtaild running, and is that the port of its native listener? Name it with "
           "--bootstrap host:port\nor RINGTAIL_BOOTSTRAP; ringtaild writes its ports to "
           "--ports_file, and listens on 7092 unless told otherwise.";
  }
  switch (client::ErrorCodeOf(status)) {
    case client::wire::Error::UNKNOWN_TOPIC:
      return absl::StrCat(
          "See what there is with `ringtail topic list`, or make it with "
          "`ringtail topic create ",
          Quoted(message), " --partitions 1`.");
    case client::wire::Error::TOPIC_EXISTS:
      return absl::StrCat("Look at it with `ringtail topic describe ", Quoted(message), "`.");
    case client::wire::Error::OFFSET_OUT_OF_RANGE:
      return absl::StrCat("`ringtail topic describe ", Quoted(message),
                          "` shows the offsets there are; --from beginning takes the first.");
    case client::wire::Error::INVALID_TOPIC:
      return "A name has 1 to 249 letters, digits, dots, underscores and hyphens.";
    case client::wire::Error::BATCH_TOO_LARGE:
      return "Make batches smaller with --batch-bytes, or raise the topic's max.message.bytes.";
    case client::wire::Error::DISK_FULL:
      return "Free some space on the broker's disk, or lower the topics' retention; then repeat.";
    case client::wire::Error::OVERLOADED:
      return "The broker has all the work that it may hold. Send less at a time, or try later.";
    case client::wire::Error::STORAGE_ERROR:
      return "The broker's log says which file failed; it may need a restart after the repair.";
    default:
      break;
  }
  if (absl::IsDeadlineExceeded(status)) {
    return "The broker may be overloaded or gone. Look at its log, or allow more with --timeout.";
  }
  return "";
}

absl::StatusOr<client::StartAt> ParseFrom(const std::string& text) {
  int64_t number = 0;
  if (text == "beginning") return client::StartAt::Beginning();
  if (text == "end") return client::StartAt::End();
  if (absl::StartsWith(text, "offset:") && absl::SimpleAtoi(text.substr(7), &number) &&
      number >= 0) {
    return client::StartAt::Offset(number);
  }
  if (absl::StartsWith(text, "time:") && absl::SimpleAtoi(text.substr(5), &number) && number >= 0) {
    return client::StartAt::Timestamp(number);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--from ", text, ": use beginning, end, offset:N or time:MS (milliseconds since 1970)"));
}

absl::StatusOr<client::Acks> ParseAcks(const std::string& text) {
  if (text == "all" || text == "-1") return client::Acks::kAll;
  if (text == "leader" || text == "1") return client::Acks::kLeader;
  if (text == "none" || text == "0") return client::Acks::kNone;
  return absl::InvalidArgumentError(absl::StrCat("--acks ", text, ": use all, leader or none"));
}

absl::StatusOr<records::Compression> ParseCompression(const std::string& text) {
  records::Compression compression;
  for (uint8_t codec = 0; codec <= log::kCodecMax; ++codec) {
    compression.codec = static_cast<log::Codec>(codec);
    if (log::CodecName(compression.codec) == text) return compression;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--compression ", text, ": use none, gzip, snappy, lz4 or zstd"));
}

absl::StatusOr<std::pair<std::string, std::string>> ParseNameValue(absl::string_view option,
                                                                   const std::string& text,
                                                                   absl::string_view example) {
  const std::pair<std::string, std::string> pair = absl::StrSplit(text, absl::MaxSplits('=', 1));
  if (pair.first.empty() || text.find('=') == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, text, ": use NAME=VALUE, as in ", example));
  }
  return pair;
}

std::string WithCommas(uint64_t number) {
  std::string digits = absl::StrCat(number);
  for (size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string WithUnit(double bytes) {
  const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  return unit == 0 ? absl::StrFormat("%.0f bytes", bytes)
                   : absl::StrFormat("%.1f %s", bytes, units[unit]);
}

Progress::Progress(std::string what, uint64_t records_expected)
    : what_(std::move(what)),
      records_expected_(records_expected),
      on_terminal_(isatty(STDERR_FILENO) != 0),
      started_(client::Now()) {}

Progress::~Progress() {
  if (on_terminal_ && shown_ != 0) Show(true);
}

void Progress::Add(uint64_t records, uint64_t bytes) {
  records_ += records;
  bytes_ += bytes;
  if (!on_terminal_) return;
  const client::Nanos now = client::Now();
  const client::Nanos since = now - (shown_ == 0 ? started_ : shown_);
  if (since < 200 * base::kNanosPerMilli) return;
  shown_ = now;
  Show(false);
}

void Progress::Show(bool last) {
  const double seconds =
      static_cast<double>(client::Now() - started_) / static_cast<double>(base::kNanosPerSecond);
  std::string share;
  if (records_expected_ > 0) {
    share = absl::StrFormat(" (%.0f %%)", 100.0 * static_cast<double>(records_) /
                                              static_cast<double>(records_expected_));
  }
  fprintf(
      stderr, "\r\x1b[K%s: %s records%s, %s, %s/s%s", what_.c_str(), WithCommas(records_).c_str(),
      share.c_str(), WithUnit(static_cast<double>(bytes_)).c_str(),
      WithUnit(static_cast<double>(bytes_) / std::max(seconds, 0.001)).c_str(), last ? "\n" : "");
}

void CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  // The second one ends the program, should it hang.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool Interrupted() { return interrupted != 0; }

}  // namespace ringtail::cli
