// compare_idle_connections: what ten thousand connections that do nothing take in the broker, and
// what clients that come and go by the thousand cost a producer that does not.

#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "perf/lib/broker.h"
#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/load.h"
#include "perf/lib/native.h"
#include "perf/lib/program.h"
#include "perf/lib/report.h"

ABSL_FLAG(std::string, ringtaild, "bazel-bin/server/ringtaild", "the broker");
ABSL_FLAG(std::vector<std::string>, broker_flags, {},
          "further flags of the broker, for experiments");
ABSL_FLAG(int, connections, 10'000, "idle Kafka connections");
ABSL_FLAG(double, connects_per_s, 1000, "connections made, used once and closed, per second");
ABSL_FLAG(double, rate, 1000, "records per second of the producer beside them");
ABSL_FLAG(int64_t, requests, 5000, "records measured per round");
ABSL_FLAG(int, rounds, 5, "rounds per contender");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace ringtail::compare {
namespace {

constexpr int64_t kValueBytes = 1024;
constexpr double kSettleSeconds = 2;
constexpr rlim_t kOtherFiles = 1000;

// ApiVersions, version 0, correlation id 1, no client id: as every client begins.
constexpr char kApiVersions[] = {0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, '\xff', '\xff'};

void AskVersions(int fd) {
  perf::SendAll(fd, kApiVersions, sizeof(kApiVersions));
  uint8_t prefix[4];
  perf::Require(perf::ReceiveAll(fd, prefix, sizeof(prefix)), "the broker closed a connection");
  std::string reply(size_t{prefix[2]} << 8 | prefix[3], '\0');
  perf::Require(perf::ReceiveAll(fd, reply.data(), reply.size()), "a reply was cut");
}

// For this program and the broker that it starts, which gives connections half of its files.
int RaiseFileLimit(int connections) {
  const rlim_t wanted = 2 * static_cast<rlim_t>(connections) + kOtherFiles;
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit raised = {std::max(limit.rlim_cur, wanted), std::max(limit.rlim_max, wanted)};
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return connections;
  raised = {limit.rlim_max, limit.rlim_max};
  perf::Require(setrlimit(RLIMIT_NOFILE, &raised) == 0, "setrlimit failed");
  return static_cast<int>((limit.rlim_max - kOtherFiles) / 2);
}

void Sleep(double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); }

perf::Figures RunIdle(int connections) {
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), absl::GetFlag(FLAGS_broker_flags));
  std::vector<perf::Fd> open;
  const auto connect = [&] {
    open.push_back(perf::ConnectLoopback(broker.kafka_port()));
    AskVersions(open.back().get());
  };
  // What any load takes, whoever brings it.
  for (int i = 0; i < connections / 100; ++i) connect();
  Sleep(kSettleSeconds);
  const int64_t before = perf::ProcessMemory(broker.pid()).anonymous_bytes;
  const size_t first = open.size();
  while (open.size() < first + static_cast<size_t>(connections)) connect();
  Sleep(kSettleSeconds);
  const int64_t after = perf::ProcessMemory(broker.pid()).anonymous_bytes;
  const perf::Meter meter(broker.pid());
  Sleep(kSettleSeconds);
  return {{"bytes_each", static_cast<double>(after - before) / connections},
          {"cpu_percent", 100 * meter.CpuSeconds() / meter.WallSeconds()}};
}

// Connects, asks, closes, at a steady rate, until it is killed.
void Storm(uint16_t port, double connects_per_s) {
  const auto gap_ns = static_cast<int64_t>(1e9 / connects_per_s);
  for (int64_t next_ns = perf::NowNs();; next_ns += gap_ns) {
    const int64_t wait_ns = next_ns - perf::NowNs();
    if (wait_ns > 0) usleep(static_cast<useconds_t>(wait_ns / 1000));
    const perf::Fd fd = perf::ConnectLoopback(port);
    AskVersions(fd.get());
    // Reset, not closed: 1,000 a second would use up the ports with sockets that linger.
    const linger reset = {1, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
}

perf::Figures RunProducer(double connects_per_s) {
  const perf::Broker broker(absl::GetFlag(FLAGS_ringtaild), absl::GetFlag(FLAGS_broker_flags));
  const perf::PartitionAddress partition = perf::CreateTopicOnCore0(broker.native_port(), "paced");
  const perf::NativeConnection connection(partition.port);
  perf::ProduceWire wire(partition, perf::MakeSingleRecord(kValueBytes));
  perf::Child storm;
  if (connects_per_s > 0) {
    const uint16_t port = broker.kafka_port();
    storm = perf::Child::Fork([=] { Storm(port, connects_per_s); });
  }
  perf::LoadOptions load;
  load.rate_per_s = absl::GetFlag(FLAGS_rate);
  load.requests = absl::GetFlag(FLAGS_requests);
  return perf::RunLoad(connection.fd(), wire, broker.pid(), load);
}

int Main() {
  const int connections = RaiseFileLimit(absl::GetFlag(FLAGS_connections));
  const double connects_per_s = absl::GetFlag(FLAGS_connects_per_s);
  const int rounds = absl::GetFlag(FLAGS_rounds);
  perf::Report report("Very many connections");
  const auto idle =
      perf::RunInterleaved({{"broker", [=] { return RunIdle(connections); }}}, rounds, 0);
  report.Table(std::to_string(connections) + " idle Kafka connections", idle,
               {{"bytes_each", "bytes each", 0}, {"cpu_percent", "% of a core", 3}});
  const auto paced = perf::RunInterleaved(
      {{"producer alone", [] { return RunProducer(0); }},
       {"producer, clients come and go", [=] { return RunProducer(connects_per_s); }}},
      rounds, 0);
  report.Table(std::to_string(static_cast<int>(connects_per_s)) + " connects a second", paced,
               {{"p50_us", "p50 us", 1}, {"p99_us", "p99 us", 1}, {"p999_us", "p99.9 us", 1}});
  constexpr auto kAtMost = perf::Goal::Sense::kAtMost;
  report.Add({"an idle connection", idle.front().Of("bytes_each"), kAtMost, 8192, " bytes"});
  report.Add({"p99 while clients come and go / alone",
              perf::RatioOf(paced.back(), paced.front(), "p99_us"), kAtMost, 2, "x"});
  report.WriteJson(absl::GetFlag(FLAGS_json));
  return report.AllMet() ? 0 : 3;
}

}  // namespace
}  // namespace ringtail::compare

int main(int argc, char** argv) {
  return ringtail::perf::RunProgram(argc, argv, "Idle connections, and connects by the thousand.",
                                    ringtail::compare::Main);
}
