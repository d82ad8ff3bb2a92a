// ringtail produce: lines to records
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/result.h"
#include "tools/cli/cli.h"

namespace ringtail::cli {
namespace {

constexpr size_t kReadBytes = 256 << 10;

struct ProduceOptions {
  std::string topic;
  std::string file = "-";
  std::string key_separator;
  std::vector<std::string> headers;
  size_t batch_bytes = 256 << 10;
  std::string acks = "all";
  std::string compression = "none";
  int32_t partition = -1;
  bool no_idempotence = false;
};

// Reads lines from a file, and serves the producer while there is nothing to read.
class LineSender {
 public:
  LineSender(client::Client* client, client::Producer* producer, const ProduceOptions& options)
      : client_(client), producer_(producer), options_(options), progress_("sent", 0) {
    for (const std::string& header : options_.headers) {
      const std::pair<absl::string_view, absl::string_view> pair =
          absl::StrSplit(header, absl::MaxSplits('=', 1));
      headers_.push_back({pair.first, pair.second});
    }
  }

  absl::Status Run(int fd) {
    while (!Interrupted()) {
      RT_RETURN_IF_ERROR(AwaitInput(fd));
      if (Interrupted()) break;
      const size_t kept = buffer_.size();
      buffer_.resize(kept + kReadBytes);
      const ssize_t got = read(fd, buffer_.data() + kept, kReadBytes);
      const int error = errno;
      buffer_.resize(kept + static_cast<size_t>(std::max<ssize_t>(got, 0)));
      if (got < 0 && (error == EINTR || error == EAGAIN)) continue;
      if (got < 0) return absl::InternalError(absl::StrCat("read: ", strerror(error)));
      if (got == 0) break;
      RT_RETURN_IF_ERROR(SendLines(kept));
    }
    // The last line needs no line end.
    if (!buffer_.empty() && !Interrupted()) RT_RETURN_IF_ERROR(SendLine(buffer_));
    return absl::OkStatus();
  }

 private:
  absl::Status AwaitInput(int fd) {
    while (!Interrupted()) {
      const absl::Duration wake = std::min(client_->NextWake(), absl::Hours(1));
      pollfd fds[] = {{fd, POLLIN, 0}, {client_->fd(), POLLIN, 0}};
      const int timeout_ms =
          static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(wake, absl::Milliseconds(1))));
      const int ready = poll(fds, 2, timeout_ms);
      if (ready < 0 && errno != EINTR) {
        return absl::InternalError(absl::StrCat("poll: ", strerror(errno)));
      }
      if (fds[1].revents != 0 || ready == 0) producer_->Poll(absl::ZeroDuration());
      if (ready > 0 && fds[0].revents != 0) break;
    }
    return absl::OkStatus();
  }

  // `from`: where the bytes start that may hold the first line end.
  absl::Status SendLines(size_t from) {
    size_t begin = 0;
    while (true) {
      const void* end = memchr(buffer_.data() + from, '\n', buffer_.size() - from);
      if (end == nullptr) break;
      const size_t at = static_cast<size_t>(static_cast<const char*>(end) - buffer_.data());
      RT_RETURN_IF_ERROR(SendLine(absl::string_view(buffer_).substr(begin, at - begin)));
      begin = from = at + 1;
    }
    buffer_.erase(0, begin);
    return absl::OkStatus();
  }

  absl::Status SendLine(absl::string_view line) {
    ++line_;
    client::ProducerRecord record;
    record.topic = options_.topic;
    record.partition = options_.partition;
    record.value = line;
    if (!options_.key_separator.empty()) {
      const size_t at = line.find(options_.key_separator);
      if (at == absl::string_view::npos) {
        return absl::InvalidArgumentError(
            absl::StrCat("line ", line_, " has no key separator '", options_.key_separator, "'"));
      }
      record.key = line.substr(0, at);
      record.value = line.substr(at + options_.key_separator.size());
    }
    record.headers = headers_;
    const absl::StatusOr<uint64_t> sent = producer_->Send(record);
    if (!sent.ok()) return client::Annotate(sent.status(), absl::StrCat("line ", line_));
    progress_.Add(1, line.size());
    return absl::OkStatus();
  }

  client::Client* const client_;
  client::Producer* const producer_;
  const ProduceOptions& options_;
  std::vector<client::Header> headers_;
  std::string buffer_;
  uint64_t line_ = 0;
  Progress progress_;
};

absl::Status CheckOptions(const ProduceOptions& options) {
  for (const std::string& header : options.headers) {
    if (header.find('=') == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("--header ", header, ": use NAME=VALUE"));
    }
  }
  return absl::OkStatus();
}

absl::Status Produce(const Context& context, const ProduceOptions& options) {
  RT_RETURN_IF_ERROR(CheckOptions(options));
  client::ProducerOptions producer_options;
  RT_ASSIGN_OR_RETURN(producer_options.acks, ParseAcks(options.acks));
  RT_ASSIGN_OR_RETURN(producer_options.compression, ParseCompression(options.compression));
  producer_options.batch_bytes = options.batch_bytes;
  producer_options.buffer_bytes_max = std::max(options.batch_bytes * 8, size_t{64} << 20);
  producer_options.idempotent = !options.no_idempotence;
  producer_options.delivery_timeout = absl::Seconds(context.timeout_s);
  int fd = STDIN_FILENO;
  if (options.file != "-") {
    fd = open(options.file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      return absl::NotFoundError(absl::StrCat(options.file, ": ", strerror(errno)));
    }
  }
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  // A wrong topic is told before anything is read.
  RT_RETURN_IF_ERROR(client->PartitionCount(options.topic).status());
  RT_ASSIGN_OR_RETURN(auto producer, client->NewProducer(producer_options));
  if (fd == STDIN_FILENO && isatty(fd) != 0) {
    fprintf(stderr, "Each line becomes a record of %s; Ctrl-D ends it.\n", options.topic.c_str());
  }
  CatchInterrupts();
  LineSender sender(client.get(), producer.get(), options);
  const absl::Status sent = sender.Run(fd);
  const absl::Status flushed = producer->Flush();
  const uint64_t lost = producer->stats().records_failed;
  if (!flushed.ok()) {
    return client::Annotate(
        flushed, absl::StrCat(WithCommas(lost), " of ", WithCommas(producer->stats().records_sent),
                              " records failed"));
  }
  return sent;
}

}  // namespace

void AddProduceCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<ProduceOptions>();
  CLI::App* produce = app.add_subcommand("produce", "Send lines as records");
  produce->add_option("topic", options->topic, "the topic")->required();
  produce->add_option("file", options->file, "where the lines are; - is standard input")
      ->capture_default_str();
  produce->add_option("-k,--key-separator", options->key_separator,
                      "a line is KEY, this, VALUE; without it records have no key");
  produce->add_option("-H,--header", options->headers, "NAME=VALUE for each record; repeatable")
      ->allow_extra_args(false);
  produce
      ->add_option("--batch-bytes", options->batch_bytes, "a batch is sent when it is this large")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  produce->add_option("-a,--acks", options->acks, "all, leader or none")->capture_default_str();
  produce->add_option("-z,--compression", options->compression, "none, gzip, snappy, lz4 or zstd")
      ->capture_default_str();
  produce->add_option("-p,--partition", options->partition,
                      "this one; else by the key's hash, or in turns");
  produce->add_flag("--no-idempotence", options->no_idempotence,
                    "allow that a retried batch is stored twice");
  produce->footer(
      "Examples:\n  ringtail produce events < lines.txt\n"
      "  printf 'alice:hello\\nbob:hi\\n' | ringtail produce events -k :\n"
      "  ringtail produce events access.log --compression zstd --header host=web1");
  produce->callback([options, &context] {
    context.command = [options](Context& c) { return Produce(c, *options); };
  });
}

}  // namespace ringtail::cli
