// load: one load on a broker through librdkafka, the same for every broker. Figures of the client
// and of the broker's process go to stdout as one JSON object; run.py says what to do and judges.
//
//   --do=bulk    --mb of records, linger 5 ms, as fast as they are taken
//   --do=paced   --rate records a second, each a request of its own; a consumer reads along
//   --do=read    the partition's first --mb, as fast as they come
//   --do=each    one record to each partition of the topic, twice

#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/latencies.h"
#include "perf/lib/os.h"
#include "perf/lib/program.h"
#include "perf/lib/rounds.h"

ABSL_FLAG(std::string, do, "", "bulk, paced, read or each");
ABSL_FLAG(std::string, brokers, "", "the broker's Kafka address");
ABSL_FLAG(int, pid, 0, "the broker's process, whose CPU time is measured");
ABSL_FLAG(std::string, topic, "", "the topic; partition 0 of it, but for `each`");
ABSL_FLAG(std::string, warm_topic, "", "each: a topic whose partitions get a record before");
ABSL_FLAG(int64_t, mb, 1000, "bulk, read: millions of bytes of values");
ABSL_FLAG(double, rate, 1000, "paced: records a second");
ABSL_FLAG(double, warmup_s, 1, "paced: seconds before it is measured");
ABSL_FLAG(double, seconds, 5, "paced: seconds measured");

namespace ringtail::peers {
namespace {

using perf::Require;

constexpr size_t kValueBytes = 1024;
constexpr int kDeadlineMs = 120'000;
constexpr int kPollMs = 50;

using Settings = std::vector<std::pair<const char*, const char*>>;

void RequireOk(rd_kafka_resp_err_t error, const std::string& what) {
  Require(error == RD_KAFKA_RESP_ERR_NO_ERROR, what + ": " + rd_kafka_err2name(error));
}

const std::string& Value() {
  static const std::string value(kValueBytes, 'v');
  return value;
}

// What the delivery reports of one producer said.
struct Acked {
  std::atomic<int64_t> count = 0;
  std::atomic<rd_kafka_resp_err_t> error = RD_KAFKA_RESP_ERR_NO_ERROR;
  perf::Latencies latencies;  // of records with an intended time; by the thread that polls
};

// A record's opaque pointer is the time at which it was due, in ns; null is not measured.
void OnDelivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto* acked = static_cast<Acked*>(opaque);
  const auto due_ns = reinterpret_cast<int64_t>(message->_private);
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) acked->error = message->err;
  if (due_ns != 0) acked->latencies.Add(perf::NowNs() - due_ns);
  acked->count.fetch_add(1, std::memory_order_release);
}

struct Destroy {
  void operator()(rd_kafka_t* client) const { rd_kafka_destroy(client); }
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
};
using Client = std::unique_ptr<rd_kafka_t, Destroy>;
using Topic = std::unique_ptr<rd_kafka_topic_t, Destroy>;

Client MakeClient(rd_kafka_type_t type, const Settings& settings, Acked* acked) {
  char error[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const auto set = [&](const char* name, const char* value) {
    Require(rd_kafka_conf_set(conf, name, value, error, sizeof(error)) == RD_KAFKA_CONF_OK, error);
  };
  set("bootstrap.servers", absl::GetFlag(FLAGS_brokers).c_str());
  // As Kafka's own client does; else a request waits until the one before is acknowledged by TCP.
  set("socket.nagle.disable", "true");
  for (const auto& [name, value] : settings) set(name, value);
  if (acked != nullptr) {
    rd_kafka_conf_set_dr_msg_cb(conf, &OnDelivery);
    rd_kafka_conf_set_opaque(conf, acked);
  }
  Client client(rd_kafka_new(type, conf, error, sizeof(error)));
  Require(client != nullptr, error);
  return client;
}

Topic OpenTopic(const Client& client, const std::string& name) {
  return Topic(rd_kafka_topic_new(client.get(), name.c_str(), nullptr));
}

Client MakeProducer(const char* linger_ms, const char* batch_records, Acked* acked) {
  return MakeClient(RD_KAFKA_PRODUCER,
                    {{"request.required.acks", "1"},
                     {"linger.ms", linger_ms},
                     {"batch.num.messages", batch_records}},
                    acked);
}

// Queues a record without copying it, waiting for room where there is none.
void Send(const Client& producer, const Topic& topic, int32_t partition, int64_t due_ns) {
  while (rd_kafka_produce(topic.get(), partition, 0, const_cast<char*>(Value().data()), kValueBytes,
                          nullptr, 0, reinterpret_cast<void*>(due_ns)) != 0) {
    const rd_kafka_resp_err_t error = rd_kafka_last_error();
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) RequireOk(error, "produce");
    rd_kafka_poll(producer.get(), kPollMs);
  }
}

void Flush(const Client& producer, const Acked& acked) {
  RequireOk(rd_kafka_flush(producer.get(), kDeadlineMs), "flush");
  RequireOk(acked.error, "a delivery report");
}

int64_t Records() {
  return absl::GetFlag(FLAGS_mb) * 1'000'000 / static_cast<int64_t>(kValueBytes);
}

perf::Figures PerGb(const perf::Meter& server, const perf::Meter& client, int64_t records) {
  const double gb = static_cast<double>(records * static_cast<int64_t>(kValueBytes)) / 1e9;
  return {{"gb_per_s", gb / server.WallSeconds()},
          {"cpu_s_per_gb", server.CpuSeconds() / gb},
          {"client_cpu_s_per_gb", client.CpuSeconds() / gb}};
}

// Fills as many pages of the page cache as the load will twice over, and frees them. A virtual
// machine's host takes free memory back (free page reporting, after two seconds) and gives it again
// on the first touch, which costs several times the write and would count as the broker's.
void TouchPages(int64_t bytes) {
  const std::string path = perf::ScratchParent() + "/pages-" + std::to_string(getpid());
  const perf::Fd file(
      perf::CheckCall(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), "open"));
  unlink(path.c_str());
  const perf::Buffer buffer(1 << 20);
  for (int64_t written = 0; written < 2 * bytes;) {
    written += perf::CheckCall(write(file.get(), buffer.data(), buffer.size()), "write");
  }
}

perf::Figures RunBulk() {
  constexpr int kRecordsAPoll = 1000;
  Acked acked;
  const Client producer = MakeProducer("5", "10000", &acked);
  const Topic topic = OpenTopic(producer, absl::GetFlag(FLAGS_topic));
  Send(producer, topic, 0, 0);
  Flush(producer, acked);
  const int64_t records = Records();
  TouchPages(records * static_cast<int64_t>(kValueBytes));
  const perf::Meter server(absl::GetFlag(FLAGS_pid));
  const perf::Meter client(getpid());
  for (int64_t i = 0; i < records; ++i) {
    Send(producer, topic, 0, 0);
    if (i % kRecordsAPoll == 0) rd_kafka_poll(producer.get(), 0);
  }
  Flush(producer, acked);
  return PerGb(server, client, records);
}

// Reads partition 0 from its start on.
class Reader {
 public:
  // What was fetched and not taken yet may be as large as the topic: fetching never pauses.
  Reader()
      : client_(MakeClient(
            RD_KAFKA_CONSUMER,
            {{"queued.min.messages", "10000000"}, {"queued.max.messages.kbytes", "2097151"}},
            nullptr)),
        topic_(OpenTopic(client_, absl::GetFlag(FLAGS_topic))),
        messages_(1000) {
    Require(rd_kafka_consume_start(topic_.get(), 0, RD_KAFKA_OFFSET_BEGINNING) == 0,
            "consuming does not start");
  }
  ~Reader() { rd_kafka_consume_stop(topic_.get(), 0); }

  // How many records came; waits for the first, not long.
  int64_t Take() {
    const ssize_t count =
        rd_kafka_consume_batch(topic_.get(), 0, kPollMs, messages_.data(), messages_.size());
    Require(count >= 0, "consume failed");
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t records = 0;
    for (ssize_t i = 0; i < count; ++i) {
      rd_kafka_message_t* message = messages_[static_cast<size_t>(i)];
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        ++records;
      } else {
        error = message->err;
      }
      rd_kafka_message_destroy(message);
    }
    RequireOk(error, "consume");
    return records;
  }

 private:
  Client client_;
  Topic topic_;
  std::vector<rd_kafka_message_t*> messages_;
};

// The first tenth is not measured: connections are made, buffers grow.
perf::Figures RunRead() {
  const int64_t records = Records();
  const int64_t deadline_ns = perf::NowNs() + kDeadlineMs * (perf::kNsPerSecond / 1000);
  const auto take_until = [&](Reader& reader, int64_t from, int64_t end) {
    while (from < end) {
      Require(perf::NowNs() < deadline_ns, "the records do not come");
      from += reader.Take();
    }
    return from;
  };
  Reader reader;
  const int64_t first = take_until(reader, 0, records / 10);
  const perf::Meter server(absl::GetFlag(FLAGS_pid));
  const perf::Meter client(getpid());
  const int64_t end = take_until(reader, first, records);
  return PerGb(server, client, end - first);
}

// Sends `count` records, each when it is due.
void SendPaced(const Client& producer, const Topic& topic, int64_t count, bool measured) {
  const int64_t begin_ns = perf::NowNs();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t due_ns =
        begin_ns + static_cast<int64_t>(static_cast<double>(i) * 1e9 / absl::GetFlag(FLAGS_rate));
    const timespec at = {due_ns / perf::kNsPerSecond, due_ns % perf::kNsPerSecond};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
    Send(producer, topic, 0, measured ? due_ns : 0);
  }
}

void WaitFor(const std::atomic<int64_t>& count, int64_t wanted, const char* what) {
  const int64_t deadline_ns = perf::NowNs() + kDeadlineMs * (perf::kNsPerSecond / 1000);
  while (count < wanted) {
    Require(perf::NowNs() < deadline_ns, what);
    timespec nap = {0, 1'000'000};
    nanosleep(&nap, nullptr);
  }
}

perf::Figures RunPaced() {
  prctl(PR_SET_TIMERSLACK, 1UL);  // the default lets the kernel send 50 us late
  const auto warmups =
      static_cast<int64_t>(absl::GetFlag(FLAGS_rate) * absl::GetFlag(FLAGS_warmup_s));
  const auto records =
      static_cast<int64_t>(absl::GetFlag(FLAGS_rate) * absl::GetFlag(FLAGS_seconds));
  Acked acked;
  const Client producer = MakeProducer("0", "1", &acked);
  const Topic topic = OpenTopic(producer, absl::GetFlag(FLAGS_topic));
  std::atomic<bool> done = false;
  std::atomic<int64_t> fetched = 0;
  Reader reader;
  std::thread polling([&] {
    while (!done) rd_kafka_poll(producer.get(), kPollMs);
  });
  std::thread fetching([&] {
    while (!done) fetched += reader.Take();
  });
  Send(producer, topic, 0, 0);
  WaitFor(fetched, 1, "the first record does not come back");
  SendPaced(producer, topic, warmups, false);
  WaitFor(acked.count, warmups + 1, "records are not acknowledged");
  const perf::Meter server(absl::GetFlag(FLAGS_pid));
  const perf::Meter client(getpid());
  SendPaced(producer, topic, records, true);
  WaitFor(acked.count, records + warmups + 1, "records are not acknowledged");
  WaitFor(fetched, records + warmups + 1, "records are not fetched");
  const auto count = static_cast<double>(records);
  perf::Figures figures = {{"records_per_s", count / server.WallSeconds()},
                           {"cpu_us_per_record", server.CpuSeconds() * 1e6 / count},
                           {"client_cpu_us_per_record", client.CpuSeconds() * 1e6 / count}};
  done = true;
  polling.join();
  fetching.join();
  RequireOk(acked.error, "a delivery report");
  figures["p50_us"] = acked.latencies.PercentileUs(0.5);
  figures["p99_us"] = acked.latencies.PercentileUs(0.99);
  figures["p999_us"] = acked.latencies.PercentileUs(0.999);
  return figures;
}

int Partitions(const Client& client, const Topic& topic) {
  const rd_kafka_metadata_t* metadata = nullptr;
  RequireOk(rd_kafka_metadata(client.get(), 0, topic.get(), &metadata, kDeadlineMs), "metadata");
  const int count = metadata->topics[0].partition_cnt;
  rd_kafka_metadata_destroy(metadata);
  return count;
}

// The first pass makes what a partition needs for its first record; the second finds it.
perf::Figures RunEach() {
  Acked acked;
  const Client producer = MakeProducer("0", "1", &acked);
  const Topic warm = OpenTopic(producer, absl::GetFlag(FLAGS_warm_topic));
  const Topic topic = OpenTopic(producer, absl::GetFlag(FLAGS_topic));
  const auto pass = [&](const Topic& to, int partitions) {
    for (int32_t partition = 0; partition < partitions; ++partition) {
      Send(producer, to, partition, 0);
    }
    Flush(producer, acked);
  };
  pass(warm, Partitions(producer, warm));
  const int partitions = Partitions(producer, topic);
  perf::Figures figures;
  for (const std::string name : {"first", "second"}) {
    const perf::Meter server(absl::GetFlag(FLAGS_pid));
    pass(topic, partitions);
    figures[name + "_pass_ms"] = server.WallSeconds() * 1e3;
    figures[name + "_pass_cpu_ms"] = server.CpuSeconds() * 1e3;
  }
  return figures;
}

int Main() {
  perf::PinToCpu(perf::kClientCpu);
  const std::string what = absl::GetFlag(FLAGS_do);
  perf::Figures figures;
  if (what == "bulk") {
    figures = RunBulk();
  } else if (what == "paced") {
    figures = RunPaced();
  } else if (what == "read") {
    figures = RunRead();
  } else {
    Require(what == "each", "--do takes bulk, paced, read or each");
    figures = RunEach();
  }
  std::printf("%s\n", nlohmann::json(figures).dump().c_str());
  return 0;
}

}  // namespace
}  // namespace ringtail::peers

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "A load on a broker, through librdkafka.",
                                    ringtail::peers::Main);
}
