// ringtail consume: records to lines
#include <stdio.h>
#include <string.h>

#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "tools/cli/cli.h"
#include "tools/cli/record_text.h"
#include "tools/client/consumer.h"
#include "tools/client/error.h"

namespace ringtail::cli {
namespace {

constexpr size_t kOutputBytes = 256 << 10;

struct ConsumeOptions {
  std::string topic;
  std::string from = "beginning";
  bool follow = false;
  uint64_t count = 0;
  int32_t partition = -1;
  std::string format = "value";
  std::string key_separator = "\t";
};

class Printer {
 public:
  Printer(RecordFormat format, std::string key_separator)
      : format_(format), key_separator_(std::move(key_separator)) {}

  absl::Status Print(const client::ConsumerRecord& record) {
    AppendRecordText(record, format_, key_separator_, &text_);
    return text_.size() < kOutputBytes ? absl::OkStatus() : Flush();
  }

  absl::Status Flush() {
    if (fwrite(text_.data(), 1, text_.size(), stdout) != text_.size() || fflush(stdout) != 0) {
      return absl::InternalError(absl::StrCat("standard output: ", strerror(errno)));
    }
    text_.clear();
    return absl::OkStatus();
  }

 private:
  const RecordFormat format_;
  const std::string key_separator_;
  std::string text_;
};

// Whether everything up to the ends that were found at the start has been read.
bool AtEnd(const client::Consumer& consumer, const std::string& topic,
           std::map<int32_t, int64_t>* ends) {
  std::erase_if(*ends,
                [&](const auto& end) { return consumer.Position(topic, end.first) >= end.second; });
  return ends->empty();
}

absl::Status Read(const ConsumeOptions& options, client::Consumer* consumer, Printer* printer,
                  std::map<int32_t, int64_t> ends) {
  Progress progress("received", options.count);
  uint64_t left = options.count == 0 ? UINT64_MAX : options.count;
  while (left > 0 && !Interrupted() &&
         (options.follow || !AtEnd(*consumer, options.topic, &ends))) {
    absl::StatusOr<std::span<const client::ConsumerRecord>> records =
        consumer->Poll(absl::ZeroDuration());
    if (records.ok() && records->empty()) {
      // Before it waits, what there is goes out.
      RT_RETURN_IF_ERROR(printer->Flush());
      records = consumer->Poll(absl::Milliseconds(200));
    }
    RT_RETURN_IF_ERROR(records.status());
    uint64_t bytes = 0;
    uint64_t count = 0;
    for (const client::ConsumerRecord& record : *records) {
      if (left == 0) break;
      // A follower's end moves; the end of the others is where it was at the start.
      if (!options.follow && !ends.empty()) {
        const auto end = ends.find(record.partition);
        if (end == ends.end() || record.offset >= end->second) continue;
      }
      RT_RETURN_IF_ERROR(printer->Print(record));
      bytes += record.value ? record.value->size() : 0;
      ++count;
      --left;
    }
    progress.Add(count, bytes);
  }
  RT_RETURN_IF_ERROR(printer->Flush());
  if (options.count != 0 && left > 0 && !Interrupted()) {
    fprintf(stderr, "ringtail: the log ended after %s of %s records; --follow waits for more\n",
            WithCommas(options.count - left).c_str(), WithCommas(options.count).c_str());
  }
  return absl::OkStatus();
}

// An offset must be within the log, or be its end.
absl::Status CheckStart(const std::string& topic, client::StartAt from,
                        const std::vector<int32_t>& partitions, const std::vector<int64_t>& ends,
                        client::Client* client) {
  if (from.kind != client::StartAt::Kind::kOffset) return absl::OkStatus();
  RT_ASSIGN_OR_RETURN(const std::vector<int64_t> starts,
                      client->ListOffsets(topic, partitions, client::StartAt::Beginning()));
  for (size_t i = 0; i < partitions.size(); ++i) {
    if (from.value >= starts[i] && from.value <= ends[i]) continue;
    return client::OutsideLog(absl::StrCat("topic '", topic, "' partition ", partitions[i]),
                              from.value, starts[i], ends[i]);
  }
  return absl::OkStatus();
}

absl::Status Consume(const Context& context, const ConsumeOptions& options) {
  RT_ASSIGN_OR_RETURN(const client::StartAt from, ParseFrom(options.from));
  RT_ASSIGN_OR_RETURN(const RecordFormat format, ParseRecordFormat(options.format));
  RT_ASSIGN_OR_RETURN(auto client, context.Connect());
  RT_ASSIGN_OR_RETURN(const int32_t count, client->PartitionCount(options.topic));
  std::vector<int32_t> partitions;
  for (int32_t partition = 0; partition < count; ++partition) {
    if (options.partition < 0 || options.partition == partition) partitions.push_back(partition);
  }
  if (partitions.empty()) {
    return absl::NotFoundError(absl::StrCat("topic '", options.topic, "' has ", count,
                                            " partitions, no partition ", options.partition));
  }
  std::map<int32_t, int64_t> ends;
  RT_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets,
                      client->ListOffsets(options.topic, partitions, client::StartAt::End()));
  RT_RETURN_IF_ERROR(CheckStart(options.topic, from, partitions, offsets, client.get()));
  std::vector<client::Assignment> assignments;
  for (size_t i = 0; i < partitions.size(); ++i) {
    ends[partitions[i]] = offsets[i];
    assignments.push_back({options.topic, partitions[i], from});
  }
  const std::unique_ptr<client::Consumer> consumer = client->NewConsumer({});
  RT_RETURN_IF_ERROR(consumer->Assign(assignments));
  CatchInterrupts();
  Printer printer(format, options.key_separator);
  return Read(options, consumer.get(), &printer, std::move(ends));
}

}  // namespace

void AddConsumeCommand(CLI::App& app, Context& context) {
  auto options = std::make_shared<ConsumeOptions>();
  CLI::App* consume = app.add_subcommand("consume", "Print records");
  consume->add_option("topic", options->topic, "the topic")->required();
  consume->add_option("--from", options->from, "beginning, end, offset:N or time:MS (since 1970)")
      ->capture_default_str();
  consume->add_flag("-f,--follow", options->follow,
                    "wait for new records; else stop at what was the end at the start");
  consume->add_option("-n,--count", options->count, "stop after this many records");
  consume->add_option("-p,--partition", options->partition, "this one; else all");
  consume->add_option("--format", options->format, "value, key-value or json")
      ->capture_default_str();
  consume->add_option("-k,--key-separator", options->key_separator,
                      "between key and value; a tab unless given");
  consume->footer(
      "Examples:\n  ringtail consume events\n"
      "  ringtail consume events --from end --follow --format json\n"
      "  ringtail consume events --partition 0 --from offset:1000 --count 10\n"
      "  ringtail consume events --from time:$(date -d yesterday +%s000) --format key-value");
  consume->callback([options, &context] {
    context.command = [options](Context& c) { return Consume(c, *options); };
  });
}

}  // namespace ringtail::cli
