// The pages over a real socket, with a source that answers what the test says.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "server/admin/admin_server.h"

namespace ringtail::server::admin {
namespace {

using nlohmann::json;

#define EXPECT_HAS(text, part) EXPECT_TRUE(absl::StrContains(text, part)) << text

class FakeSource : public SnapshotSource {
 public:
  std::vector<CoreSnapshot> cores;
  Answers<PartitionSnapshot> partitions;
  Answers<GroupSnapshot> groups;
  Answers<ConnectionSnapshot> connections;
  Answers<TaskSnapshot> tasks;
  std::string stuck;
  std::function<void()> on_cores = [] {};

  std::vector<CoreSnapshot> Cores(int64_t) override {
    on_cores();
    return cores;
  }
  Answers<PartitionSnapshot> Partitions(int64_t) override { return partitions; }
  Answers<GroupSnapshot> Groups(size_t, int64_t) override { return groups; }
  Answers<ConnectionSnapshot> Connections(int64_t) override { return connections; }
  Answers<TaskSnapshot> Tasks(int64_t) override { return tasks; }
  std::string ConfigJson() override { return "[\"in force\"]"; }
  std::string StuckReason() override { return stuck; }
};

class Socket {
 public:
  explicit Socket(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  // May fail where the server has closed already.
  void Send(absl::string_view bytes) { (void)send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void EndSending() { shutdown(fd_, SHUT_WR); }
  std::string ReadAll() {
    std::string all;
    char piece[4096];
    for (ssize_t got; (got = recv(fd_, piece, sizeof(piece), 0)) > 0;) {
      all.append(piece, static_cast<size_t>(got));
    }
    return all;
  }

 private:
  int fd_;
};

struct Response {
  int status = 0;
  std::string head;
  std::string body;
};

Response Parse(const std::string& raw) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(raw, absl::MaxSplits("\r\n\r\n", 1));
  Response response{0, parts.first, parts.second};
  if (raw.size() > 12) (void)absl::SimpleAtoi(raw.substr(9, 3), &response.status);
  return response;
}

class AdminTest : public testing::Test {
 protected:
  AdminTest() {
    auto started = AdminServer::Start(
        {.version = "0.1.0", .config_json = "[{\"name\":\"cores\"}]", .metrics_partitions_max = 3});
    EXPECT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    CoreSnapshot core;
    core.answered = true;
    core.cpu = 7;
    core.requests.produce_requests = 41;
    core.loop.busy_ns = 1'500'000'000;
    core.sender.bytes[static_cast<size_t>(io::SendPath::kSplice)] = 12345;
    core.log.writes_ring = 17;
    core.write_times.Add(100'000);
    core.latencies.push_back({"produce", {}});
    core.latencies[0].histogram.Record(1000);
    core.latencies[0].histogram.Record(5000);
    source_.cores.push_back(core);
    core.core = 1;
    source_.cores.push_back(core);
  }

  Response Send(absl::string_view request) {
    Socket socket(server_->port());
    socket.Send(request);
    return Parse(socket.ReadAll());
  }
  Response Get(absl::string_view path) {
    return Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  }

  FakeSource source_;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminTest, ReadyOnlyWhileServing) {
  Response response = Get("/readyz");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(json::parse(response.body)["reason"], "starting");
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_EQ(Get("/v1/cores").status, 503);
  server_->SetServing(&source_);
  response = Get("/readyz");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(json::parse(response.body)["status"], "ready");
  EXPECT_EQ(Get("/v1/cores").status, 200);
  server_->SetNotReady("stopping");
  EXPECT_EQ(json::parse(Get("/readyz").body)["reason"], "stopping");
  EXPECT_EQ(Get("/v1/cores").status, 503);
  EXPECT_EQ(Get("/healthz").status, 200);
}

TEST_F(AdminTest, AStuckCoreIsNotHealthy) {
  server_->SetServing(&source_);
  EXPECT_EQ(Get("/healthz").status, 200);
  source_.stuck = "core 1 has not come back to its loop for 12 s";
  const Response response = Get("/healthz");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(json::parse(response.body)["reason"], source_.stuck);
  source_.stuck.clear();
  EXPECT_EQ(Get("/healthz").status, 200);
}

TEST_F(AdminTest, CoresComeAsJson) {
  server_->SetServing(&source_);
  const Response response = Get("/v1/cores");
  EXPECT_HAS(response.head, "application/json");
  const json cores = json::parse(response.body)["cores"];
  ASSERT_EQ(cores.size(), 2u);
  EXPECT_EQ(cores[1]["core"], 1);
  EXPECT_EQ(cores[0]["cpu"], 7);
  EXPECT_EQ(cores[0]["requests"]["produce"], 41);
  EXPECT_EQ(cores[0]["sender"]["file_bytes"]["splice"], 12345);
  EXPECT_FALSE(cores[0]["sender"]["file_bytes"].contains("auto"));
  EXPECT_EQ(cores[0]["latencies"]["produce"]["count"], 2);
}

TEST_F(AdminTest, StalledCoreIsNamedAndThePageComesAllTheSame) {
  source_.cores[1].answered = false;
  source_.partitions.silent_cores = {1};
  source_.tasks.silent_cores = {1};
  server_->SetServing(&source_);
  EXPECT_EQ(json::parse(Get("/v1/cores").body)["cores"][1]["status"], "stalled");
  EXPECT_EQ(json::parse(Get("/v1/partitions").body)["stalled_cores"], json::array({1}));
  EXPECT_HAS(Get("/v1/tasks").body, "core 1\nstalled");
  const std::string metrics = Get("/metrics").body;
  EXPECT_HAS(metrics, "ringtail_core_up{core=\"0\"} 1");
  EXPECT_HAS(metrics, "ringtail_core_up{core=\"1\"} 0");
  EXPECT_FALSE(absl::StrContains(metrics, "ringtail_produce_requests_total{core=\"1\"}"));
}

// As it does where a core is stuck, which is when somebody looks.
TEST_F(AdminTest, APageMayTakeLongerThanItsRequest) {
  server_ = *AdminServer::Start({.request_ms = 20});
  source_.on_cores = [] { std::this_thread::sleep_for(std::chrono::milliseconds(40)); };
  server_->SetServing(&source_);
  EXPECT_EQ(Get("/v1/cores").status, 200);
}

TEST_F(AdminTest, PartitionsAreSortedAndBadTextIsReplaced) {
  source_.partitions.items = {{.topic = "b", .partition = 0, .log_end = 9},
                              {.topic = "a\xff", .partition = 10},
                              {.topic = "a\xff", .partition = 2, .offline_reason = "disk"}};
  source_.connections.items = {{.peer = "127.0.0.1:5", .client_id = "\xc3\x28\"\n"}};
  server_->SetServing(&source_);
  const json partitions = json::parse(Get("/v1/partitions").body)["partitions"];
  ASSERT_EQ(partitions.size(), 3u);
  EXPECT_EQ(partitions[0]["partition"], 2);
  EXPECT_EQ(partitions[0]["status"], "offline");
  EXPECT_EQ(partitions[0]["reason"], "disk");
  EXPECT_EQ(partitions[1]["topic"], "a\xef\xbf\xbd");
  EXPECT_EQ(partitions[2]["log_end"], 9);
  const json connections = json::parse(Get("/v1/connections").body)["connections"];
  EXPECT_EQ(connections[0]["peer"], "127.0.0.1:5");
}

TEST_F(AdminTest, ConfigAndTasksAreHandedThrough) {
  source_.tasks.items = {{0, "accept\n  core_server.cc:12\n"}};
  EXPECT_EQ(Get("/v1/config").body, "[{\"name\":\"cores\"}]");
  server_->SetServing(&source_);
  EXPECT_EQ(Get("/v1/config").body, "[\"in force\"]");
  EXPECT_HAS(Get("/v1/tasks").body, "core 0\naccept\n  core_server.cc:12\n");
}

TEST_F(AdminTest, MetricsAreInPrometheusText) {
  source_.partitions.items = {{.topic = "t\"1", .partition = 3, .high_watermark = 77}};
  server_->SetServing(&source_);
  const Response response = Get("/metrics");
  EXPECT_HAS(response.head, "text/plain; version=0.0.4");
  const std::string& text = response.body;
  EXPECT_HAS(text, "# HELP ringtail_produce_requests_total Produce requests.\n");
  EXPECT_HAS(text, "# TYPE ringtail_produce_requests_total counter\n");
  EXPECT_HAS(text, "ringtail_produce_requests_total{core=\"1\"} 41\n");
  EXPECT_HAS(text, "ringtail_core_busy_seconds_total{core=\"0\"} 1.5\n");
  EXPECT_HAS(text, "ringtail_send_file_bytes_total{core=\"0\",path=\"splice\"} 12345\n");
  EXPECT_HAS(text, "ringtail_log_writes_total{core=\"0\",path=\"ring\"} 17\n");
  EXPECT_HAS(text, "ringtail_latency_seconds_count{core=\"0\",operation=\"produce\"} 2\n");
  EXPECT_HAS(text, "le=\"+Inf\"} 2\n");
  EXPECT_HAS(text, "ringtail_log_write_seconds_sum{core=\"0\"} 0.0001\n");
  EXPECT_HAS(text, "ringtail_partition_high_watermark_offset{topic=\"t\\\"1\",partition=\"3\"} 77");
  EXPECT_HAS(text, "ringtail_build_info{version=\"0.1.0\"} 1\n");
  EXPECT_HAS(text, "process_resident_memory_bytes ");
}

TEST_F(AdminTest, EveryMetricHasHelpATypeAndAUnitInItsName) {
  server_->SetServing(&source_);
  std::string named;
  for (const absl::string_view line : absl::StrSplit(Get("/metrics").body, '\n')) {
    if (absl::StartsWith(line, "# HELP ")) {
      const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
      named = words[2];
      ASSERT_EQ(words.size(), 4u) << line;
    } else if (absl::StartsWith(line, "# TYPE ")) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      EXPECT_EQ(words[2], named);
      EXPECT_EQ(words[3] == "counter", absl::EndsWith(named, "_total")) << line;
    } else if (!line.empty()) {
      EXPECT_TRUE(absl::StartsWith(line, named)) << line;
    }
  }
}

TEST_F(AdminTest, TooManyPartitionsHaveNoSeriesOfTheirOwn) {
  for (int32_t index = 0; index < 4; ++index) {
    source_.partitions.items.push_back({.topic = "t", .partition = index});
  }
  server_->SetServing(&source_);
  const std::string text = Get("/metrics").body;
  EXPECT_HAS(text, "ringtail_partitions_omitted 4\n");
  EXPECT_FALSE(absl::StrContains(text, "ringtail_partition_log_end_offset"));
}

TEST_F(AdminTest, MetricsBeforeServingSayNotReady) {
  EXPECT_HAS(Get("/metrics").body, "ringtail_ready 0\n");
}

TEST_F(AdminTest, OnlyGetAndOnlyKnownPages) {
  EXPECT_EQ(Get("/nothing").status, 404);
  EXPECT_EQ(Get("/").status, 200);
  EXPECT_EQ(Get("/healthz?x=1").status, 200);
  for (const char* method : {"POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}) {
    const Response response =
        Send(absl::StrCat(method, " /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"));
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_HAS(response.head, "Allow: GET");
  }
}

TEST_F(AdminTest, RangesAndEncodingsAreIgnored) {
  const std::string whole = Get("/").body;
  for (const char* header :
       {"Range: bytes=0-1", "Range: bytes=5000000-6000000", "Range: bytes=-99999999999999",
        "Accept-Encoding: gzip, br", "Connection: keep-alive", "Expect: 100-continue"}) {
    const Response response = Send(absl::StrCat("GET / HTTP/1.1\r\n", header, "\r\n\r\n"));
    EXPECT_HAS(absl::StrCat(response.head, response.body), "/v1/partitions") << header;
  }
  EXPECT_EQ(Get("/").body, whole);
}

TEST_F(AdminTest, RequestsOverTheBoundCostTheirConnectionOnly) {
  std::string huge = "GET / HTTP/1.1\r\n";
  for (int line = 0; line < 20'000; ++line) absl::StrAppend(&huge, "X-", line, ": y\r\n");
  EXPECT_NE(Send(huge).status, 200);
  EXPECT_NE(Send(absl::StrCat("GET /", std::string(100'000, 'a'), " HTTP/1.1\r\n\r\n")).status,
            200);
  EXPECT_NE(Send(std::string(1 << 20, '\0')).status, 200);
  EXPECT_EQ(Get("/healthz").status, 200);
}

TEST_F(AdminTest, SilentConnectionsHoldUpNobody) {
  std::vector<Socket> silent;
  for (int index = 0; index < 50; ++index) silent.emplace_back(server_->port());
  EXPECT_EQ(Get("/healthz").status, 200);
  silent.clear();
  EXPECT_EQ(Get("/healthz").status, 200);
}

TEST_F(AdminTest, DamagedRequestsCostTheirConnectionOnly) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> pieces = {"GET ",
                                           "POST ",
                                           "/",
                                           "/healthz",
                                           "/v1/cores?a=%zz&%",
                                           " HTTP/1.1\r\n",
                                           " HTTP/9.9\r\n",
                                           "\r\n",
                                           "\r\n\r\n",
                                           "Range: bytes=99999999999999999999-\r\n",
                                           "Range: bytes=-\r\n",
                                           "Range: bytes=9-1,2-3\r\n",
                                           "Content-Length: -1\r\n",
                                           "Content-Length: 99999999999999999999\r\n",
                                           "Transfer-Encoding: chunked\r\n",
                                           "ffffffffffffffffff\r\n",
                                           "Content-Encoding: br\r\n",
                                           "Expect: 100-continue\r\n",
                                           "Connection: Upgrade\r\n",
                                           ":\r\n",
                                           "%u00ff%0",
                                           "\x16\x03\x01",
                                           std::string(1, '\0'),
                                           "Host: \xff\xfe\r\n",
                                           "Content-Type: multipart/form-data; boundary=\r\n"};
  for (int round = 0; round < 2000; ++round) {
    std::string request = random() % 2 == 0 ? "GET / HTTP/1.1\r\n" : "";
    for (uint64_t count = random() % 8; count > 0; --count) {
      request += pieces[random() % pieces.size()];
    }
    if (random() % 4 == 0 && !request.empty()) {
      request[random() % request.size()] = static_cast<char>(random());
    }
    Socket socket(server_->port());
    socket.Send(request);
    socket.EndSending();
    socket.ReadAll();
    if (HasFailure()) break;
  }
  EXPECT_EQ(Get("/healthz").status, 200);
}

TEST_F(AdminTest, NotReadyWaitsForThePageInProgress) {
  std::promise<void> entered, leave;
  std::atomic<bool> inside = false;
  source_.on_cores = [&] {
    inside = true;
    entered.set_value();
    leave.get_future().wait();
    inside = false;
  };
  server_->SetServing(&source_);
  Socket socket(server_->port());
  socket.Send("GET /v1/cores HTTP/1.1\r\n\r\n");
  entered.get_future().wait();
  std::thread stopper([&] {
    server_->SetNotReady("stopping");
    EXPECT_FALSE(inside);
  });
  leave.set_value();
  stopper.join();
  EXPECT_EQ(Parse(socket.ReadAll()).status, 200);
}

TEST_F(AdminTest, StopCutsARequestThatNeverEnds) {
  Socket slow(server_->port());
  slow.Send("GET / HT");
  server_->Stop();
  EXPECT_NE(Parse(slow.ReadAll()).status, 200);
}

TEST(AdminServer, TakenPortIsRefusedByName) {
  auto first = AdminServer::Start({});
  ASSERT_TRUE(first.ok());
  const auto second = AdminServer::Start({.port = (*first)->port()});
  ASSERT_FALSE(second.ok());
  EXPECT_HAS(second.status().message(), absl::StrCat("port ", (*first)->port()));
  EXPECT_FALSE(AdminServer::Start({.host = "localhost"}).ok());
}

TEST(AdminServer, ListensOnV6) {
  const auto server = AdminServer::Start({.host = "::1"});
  if (absl::IsInvalidArgument(server.status())) GTEST_FAIL() << server.status();
  if (!server.ok()) GTEST_SKIP() << "no IPv6 here: " << server.status();
  EXPECT_GT((*server)->port(), 0);
}

}  // namespace
}  // namespace ringtail::server::admin
