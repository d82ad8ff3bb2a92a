// ringtail bench produce|consume|latency: load, and what it measured.
//
// Where a rate is given the load is open loop: each record has a time at which it is meant to be
// sent, and its latency counts from that time, however late it was really sent. So a broker that
// stalls is charged for every record that should have been sent meanwhile.
#include <stdio.h>
#include <sys/resource.h>

#include <deque>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/base/result.h"
#include "nlohmann/json.hpp"
#include "tools/cli/cli.h"
#include "tools/cli/samples.h"
#include "tools/client/consumer.h"

namespace ringtail::cli {
namespace {

using client::Nanos;
using client::Now;

constexpr double kPercentiles[] = {50, 90, 99, 99.9, 99.99};

struct BenchOptions {
  std::string topic;
  double rate = 0;  // records a second; 0: as many as go
  double seconds = 10;
  uint64_t records = 0;
  size_t record_bytes = 1024;
  size_t batch_bytes = 256 << 10;
  std::string acks = "all";
  std::string compression = "none";
  std::string from = "beginning";
  uint32_t fetch_bytes = 4 << 20;
  int busy_poll_us = 0;
  bool no_idempotence = false;
  bool decode = false;
  bool json = false;
};

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Report {
  uint64_t records = 0;
  uint64_t bytes = 0;
  uint64_t failed = 0;
  double seconds = 0;
  double cpu_seconds = 0;
  double rate = 0;       // asked for
  double latest_us = 0;  // how much later than meant a record was sent, at most
  Samples* latency = nullptr;
};

void PrintJson(const Report& report) {
  nlohmann::ordered_json json;
  json["records"] = report.records;
  json["bytes"] = report.bytes;
  json["failed"] = report.failed;
  json["seconds"] = report.seconds;
  json["records_per_second"] = static_cast<double>(report.records) / report.seconds;
  json["bytes_per_second"] = static_cast<double>(report.bytes) / report.seconds;
  json["client_cpu_seconds"] = report.cpu_seconds;
  if (report.rate > 0) {
    json["rate"] = report.rate;
    json["sent_late_max_us"] = report.latest_us;
  }
  if (report.latency != nullptr) {
    nlohmann::ordered_json& latency = json["latency_us"];
    latency["count"] = report.latency->count();
    latency["mean"] = report.latency->Mean();
    for (const double percent : kPercentiles) {
      latency[absl::StrCat("p", percent)] = report.latency->Percentile(percent);
    }
    latency["max"] = report.latency->Percentile(100);
  }
  printf("%s\n", json.dump().c_str());
}

void PrintText(const Report& report) {
  printf("%s records, %s in %.2f s: %s records/s, %.1f MB/s, client CPU %.2f s\n",
         WithCommas(report.records).c_str(), WithUnit(static_cast<double>(report.bytes)).c_str(),
         report.seconds,
         WithCommas(static_cast<uint64_t>(static_cast<double>(report.records) / report.seconds))
             .c_str(),
         static_cast<double>(report.bytes) / report.seconds / 1e6, report.cpu_seconds);
  if (report.failed > 0) printf("%s records failed\n", WithCommas(report.failed).c_str());
  if (report.latency != nullptr && report.latency->count() > 0) {
    printf("latency us: mean %.0f", report.latency->Mean());
    for (const double percent : kPercentiles) {
      printf("  p%g %.0f", percent, report.latency->Percentile(percent));
    }
    printf("  max %.0f\n", report.latency->Percentile(100));
  }
  if (report.rate > 0) {
    printf("meant rate %.0f records/s; sent at most %.0f us late\n", report.rate, report.latest_us);
  }
}

// Values that compress about as badly as they can, without making them anew each time.
class Values {
 public:
  explicit Values(size_t record_bytes)
      : record_bytes_(record_bytes), bytes_(record_bytes * 2 + 65536) {
    std::mt19937_64 random(1);
    for (char& byte : bytes_) byte = static_cast<char>(random());
  }
  absl::string_view Next() {
    at_ = (at_ + 4099) % (bytes_.size() - record_bytes_);
    return {bytes_.data() + at_, record_bytes_};
  }

 private:
  const size_t record_bytes_;
  std::vector<char> bytes_;
  size_t at_ = 0;
};

// Sends to all partitions in turn, and times each record from when it was meant to go.
class Load {
 public:
  Load(const BenchOptions& options, int32_t partitions)
      : options_(options), values_(options.record_bytes), meant_(static_cast<size_t>(partitions)) {}

  void OnDelivery(const client::Delivery& delivery) {
    const Nanos now = Now();
    std::deque<Nanos>& meant = meant_[static_cast<size_t>(delivery.partition)];
    for (uint32_t i = 0; i < delivery.count && !meant.empty(); ++i) {
      if (delivery.status.ok()) latency_.Add(now - meant.front());
      meant.pop_front();
    }
    if (!delivery.status.ok() && error_.ok()) error_ = delivery.status;
  }

  absl::Status Run(client::Producer* producer, Report* report) {
    const Nanos start = Now();
    const Nanos end = options_.records > 0 ? base::kNever : start + ToNanos(options_.seconds);
    const double cpu = CpuSeconds();
    Progress progress("sent", options_.records);
    uint64_t sent = 0;
    for (; !Interrupted() && (options_.records == 0 || sent < options_.records); ++sent) {
      Nanos meant = Now();
      if (options_.rate > 0) {
        meant = start + ToNanos(static_cast<double>(sent) / options_.rate);
        if (meant >= end) break;
        for (Nanos now = Now(); now < meant; now = Now()) {
          producer->Poll(absl::Nanoseconds(meant - now));
        }
        report->latest_us = std::max(report->latest_us, static_cast<double>(Now() - meant) / 1000);
      }
      if (meant >= end) break;
      const auto partition = static_cast<int32_t>(sent % meant_.size());
      meant_[static_cast<size_t>(partition)].push_back(meant);
      const absl::StatusOr<uint64_t> queued = producer->Send(
          {.topic = options_.topic, .partition = partition, .value = values_.Next()});
      if (!queued.ok()) return queued.status();
      progress.Add(1, options_.record_bytes);
    }
    const absl::Status flushed = producer->Flush();
    report->seconds = static_cast<double>(Now() - start) / 1e9;
    report->cpu_seconds = CpuSeconds() - cpu;
    report->records = producer->stats().records_acked;
    report->failed = producer->stats().records_failed;
    report->bytes = report->records * options_.record_bytes;
    report->rate = options_.rate;
    report->latency = options_.acks == "none" ? nullptr : &latency_;
    return flushed.ok() ? error_ : flushed;
  }

 private:
  static Nanos ToNanos(double seconds) { return static_cast<Nanos>(seconds * 1e9); }

  const BenchOptions& options_;
  Values values_;
  std::vector<std::deque<Nanos>> meant_;  // of a partition's records on the way
  Samples latency_;
  absl::Status error_;
};

absl::Status BenchProduce(const Context& context, const BenchOptions& options) {
  client::ProducerOptions producer_options;
  RT_ASSIGN_OR_RETURN(producer_options.acks, ParseAcks(options.acks));
  RT_ASSIGN_OR_RETURN(producer_options.compression, ParseCompression(options.compression));
  producer_options.batch_bytes = options.batch_bytes;
  producer_options.idempotent = !options.no_idempotence;
  RT_ASSIGN_OR_RETURN(auto client, context.Connect(absl::Microseconds(options.busy_poll_us)));
  RT_ASSIGN_OR_RETURN(const int32_t partitions, client->PartitionCount(options.topic));
  Load load(options, partitions);
  producer_options.on_delivery = [&](const client::Delivery& delivery) {
    load.OnDelivery(delivery);
  };
  RT_ASSIGN_OR_RETURN(auto producer, client->NewProducer(producer_options));
  CatchInterrupts();
  Report report;
  const absl::Status status = load.Run(producer.get(), &report);
  if (options.json) {
    PrintJson(report);
  } else {
    PrintText(report);
  }
  return status;
}

absl::StatusOr<bool> ReadSome(client::Consumer* consumer, bool decode, Report* report) {
  if (!decode) {
    RT_ASSIGN_OR_RETURN(const client::ConsumerSlice* slice,
                        consumer->PollSlice(absl::Milliseconds(100)));
    if (slice == nullptr) return false;
    for (log::BatchWalker walker(slice->batches); walker.Next();) {
      report->records += static_cast<uint64_t>(walker.batch().record_count());
    }
    report->bytes += slice->batches.size();
    return true;
  }
  RT_ASSIGN_OR_RETURN(const auto records, consumer->Poll(absl::Milliseconds(100)));
  for (const client::ConsumerRecord& record : records) {
    report->bytes += record.value ? record.value->size() : 0;
  }
  report->records += records.size();
  return !records.empty();
}

absl::Status BenchConsume(const Context& context, const BenchOptions& options) {
  RT_ASSIGN_OR_RETURN(const client::StartAt from, ParseFrom(options.from));
  RT_ASSIGN_OR_RETURN(auto client, context.Connect(absl::Microseconds(options.busy_poll_us)));
  RT_ASSIGN_OR_RETURN(const int32_t partitions, client->PartitionCount(options.topic));
  std::vector<client::Assignment> assignments;
  for (int32_t i = 0; i < partitions; ++i) assignments.push_back({options.topic, i, from});
  client::ConsumerOptions consumer_options;
  consumer_options.fetch_bytes_max = options.fetch_bytes;
  consumer_options.partition_bytes_max = options.fetch_bytes;
  const std::unique_ptr<client::Consumer> consumer = client->NewConsumer(consumer_options);
  CatchInterrupts();
  Report report;
  const double cpu = CpuSeconds();
  const Nanos start = Now();
  const Nanos end = start + static_cast<Nanos>(options.seconds * 1e9);
  Nanos last = start;  // when the last records came
  RT_RETURN_IF_ERROR(consumer->Assign(assignments));
  {
    Progress progress("received", options.records);
    while (!Interrupted() && Now() < end &&
           (options.records == 0 || report.records < options.records)) {
      const Report before = report;
      RT_ASSIGN_OR_RETURN(const bool some, ReadSome(consumer.get(), options.decode, &report));
      if (!some && from.kind != client::StartAt::Kind::kEnd) break;  // all of it
      if (some) last = Now();
      progress.Add(report.records - before.records, report.bytes - before.bytes);
    }
  }
  report.seconds = std::max(static_cast<double>(last - start) / 1e9, 1e-9);
  report.cpu_seconds = CpuSeconds() - cpu;
  if (options.json) {
    PrintJson(report);
  } else {
    PrintText(report);
  }
  return absl::OkStatus();
}

void AddCommon(CLI::App* command, BenchOptions* options) {
  command->add_option("topic", options->topic, "the topic; all its partitions take part")
      ->required();
  command->add_option("-s,--seconds", options->seconds, "how long")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  command->add_option("-n,--records", options->records, "stop after this many instead");
  command->add_option("--busy-poll-us", options->busy_poll_us,
                      "spin so long before sleeping; costs CPU, saves latency");
  command->add_flag("--json", options->json, "the result as JSON");
}

void AddProducing(CLI::App* command, BenchOptions* options) {
  command->add_option("--record-bytes", options->record_bytes, "of each value")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_option("-a,--acks", options->acks, "all, leader or none")->capture_default_str();
  command->add_option("-z,--compression", options->compression, "none, gzip, snappy, lz4, zstd")
      ->capture_default_str();
  command
      ->add_option("--batch-bytes", options->batch_bytes, "a batch is sent when it is this large")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  command->add_flag("--no-idempotence", options->no_idempotence, "no producer id");
}

}  // namespace

void AddBenchCommands(CLI::App& app, Context& context) {
  CLI::App* bench = app.add_subcommand("bench", "Measure throughput and latency");
  bench->require_subcommand(1);
  auto options = std::make_shared<BenchOptions>();
  CLI::App* produce = bench->add_subcommand("produce", "As many records as go, or at a rate");
  AddCommon(produce, options.get());
  AddProducing(produce, options.get());
  produce->add_option("-r,--rate", options->rate, "records a second; 0: as many as go");
  produce->footer("Example:\n  ringtail bench produce events --seconds 10 --batch-bytes 1000000");
  produce->callback([options, &context] {
    context.command = [options](Context& c) { return BenchProduce(c, *options); };
  });
  CLI::App* latency = bench->add_subcommand(
      "latency",
      "Records at a fixed rate, timed from the intended send time to the acknowledgement");
  AddCommon(latency, options.get());
  AddProducing(latency, options.get());
  latency->add_option("-r,--rate", options->rate, "records a second; 1000 unless given")
      ->check(CLI::Range(0.001, 1e8));
  latency->footer("Example:\n  ringtail bench latency events --rate 5000 --seconds 30 --json");
  latency->callback([options, &context] {
    if (options->rate <= 0) options->rate = 1000;
    context.command = [options](Context& c) { return BenchProduce(c, *options); };
  });
  CLI::App* consume = bench->add_subcommand("consume", "Read as fast as it goes, to the end");
  AddCommon(consume, options.get());
  consume->add_option("--from", options->from, "beginning, end, offset:N or time:MS")
      ->capture_default_str();
  consume->add_option("--fetch-bytes", options->fetch_bytes, "of one answer")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  consume->add_flag("--decode", options->decode, "look at each record, not only at batches");
  consume->footer("Example:\n  ringtail bench consume events --from beginning --json");
  consume->callback([options, &context] {
    context.command = [options](Context& c) { return BenchConsume(c, *options); };
  });
}

}  // namespace ringtail::cli
