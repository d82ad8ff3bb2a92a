// The client library and the program against the real broker: what a user does first, with a kill
// of the broker in the middle.
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tools/client/client.h"
#include "tools/client/consumer.h"
#include "tools/client/producer.h"

namespace ringtail::cli {
namespace {

std::string Scratch(const std::string& name) {
  return std::string(getenv("TEST_TMPDIR")) + "/" + name;
}

// A port that is free now, with `more` free ones behind it, below those that the kernel hands out:
// a broker that is started again finds all of them as they were.
int FreePorts(int more) {
  for (int first = 10'000 + getpid() % 1'000 * 20;; first += more + 1) {
    int bound = 0;
    std::vector<int> sockets;
    for (; bound <= more; ++bound) {
      sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      address.sin_port = htons(static_cast<uint16_t>(first + bound));
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (bind(sockets.back(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) break;
    }
    for (const int each : sockets) close(each);
    if (bound > more) return first;
  }
}

// One ringtaild over a data directory; when it is started again, clients find it where it was.
class Broker {
 public:
  Broker(const std::string& name, int cores)
      : native_port(FreePorts(cores)), directory_(Scratch(name)), cores_(cores) {
    mkdir(directory_.c_str(), 0755);
    Start();
  }
  ~Broker() { Stop(SIGTERM); }

  void Start() {
    const std::string ports_file = directory_ + "/ports.json";
    unlink(ports_file.c_str());
    const int watch = inotify_init1(IN_CLOEXEC);
    ASSERT_GE(inotify_add_watch(watch, directory_.c_str(), IN_MOVED_TO | IN_CLOSE_WRITE), 0);
    const std::vector<std::string> flags = {"server/ringtaild",
                                            "--data_dir=" + directory_ + "/data",
                                            "--ports_file=" + ports_file,
                                            "--cores=" + std::to_string(cores_),
                                            "--kafka_port=0",
                                            "--admin_port=0",
                                            "--native_port=" + std::to_string(native_port)};
    pid_ = fork();
    if (pid_ == 0) {
      std::vector<char*> arguments;
      for (const std::string& flag : flags) arguments.push_back(const_cast<char*>(flag.c_str()));
      arguments.push_back(nullptr);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    // Written atomically once it serves.
    char event[4096];
    while (access(ports_file.c_str(), R_OK) != 0) {
      ASSERT_GT(read(watch, event, sizeof(event)), 0);
    }
    close(watch);
  }

  void Stop(int signal) {
    if (pid_ <= 0) return;
    kill(pid_, signal);
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    if (signal == SIGTERM) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    pid_ = -1;
  }

  std::string bootstrap() const { return "127.0.0.1:" + std::to_string(native_port); }
  const std::string& directory() const { return directory_; }

  const int native_port;

 private:
  const std::string directory_;
  const int cores_;
  pid_t pid_ = -1;
};

// What a command prints; fails the test unless it ends with 0.
std::string Shell(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string out;
  char bytes[65536];
  size_t got;
  while ((got = fread(bytes, 1, sizeof(bytes), pipe)) > 0) out.append(bytes, got);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return out;
}

TEST(RingtaildTest, TheExampleRuns) {
  const Broker broker("example", 2);
  std::string expected;
  for (int i = 0; i < 10; ++i) expected += std::to_string(i) + ": " + std::to_string(i + 1) + "\n";
  EXPECT_EQ(Shell("tools/client/example " + broker.bootstrap()), expected);
}

TEST(RingtaildTest, LinesThereAndBackAndInTheLog) {
  const Broker broker("lines", 2);
  const std::string ringtail = "tools/ringtail -b " + broker.bootstrap() + " ";
  std::string lines;
  for (int i = 0; i < 50'000; ++i) lines += "line " + std::to_string(i) + "\n";
  const std::string path = Scratch("lines.txt");
  std::ofstream(path) << lines;
  for (const std::string codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
    for (const std::string acks : {"all", "leader", "none"}) {
      const std::string topic = codec + "-" + acks;
      Shell(ringtail + "topic create " + topic + " --partitions 1");
      Shell(ringtail + "produce " + topic + " " + path + " -z " + codec + " -a " + acks);
      EXPECT_TRUE(Shell(ringtail + "consume " + topic + " --follow --count 50000") == lines)
          << topic;
    }
  }
  const std::string dump = Shell("tools/ringtail log dump " + broker.directory() +
                                 "/data/zstd-all-0/00000000000000000000.log");
  EXPECT_NE(dump.find("50,000 records"), std::string::npos);
  EXPECT_NE(Shell(ringtail + "topic list").find("gzip-leader"), std::string::npos);
}

TEST(RingtaildTest, NothingIsLostOrTwiceAcrossKillsOfTheBroker) {
  Broker broker("kills", 3);
  auto client = std::move(client::Client::Connect({.bootstrap = broker.bootstrap()})).value();
  ASSERT_TRUE(client->CreateTopic("t", {.partitions = 4}).ok());
  client::ProducerOptions options;
  options.batch_bytes = 4096;
  auto producer = std::move(client->NewProducer(options)).value();
  constexpr int kRecords = 40'000;
  for (int i = 0; i < kRecords; ++i) {
    const std::string value = std::to_string(i / 4);
    ASSERT_TRUE(producer->Send({.topic = "t", .partition = i % 4, .value = value}).ok());
    if (i % (kRecords / 3) != kRecords / 6) continue;
    broker.Stop(SIGKILL);
    broker.Start();
  }
  const absl::Status flushed = producer->Flush();
  ASSERT_TRUE(flushed.ok()) << flushed;
  auto consumer = client->NewConsumer({});
  std::vector<client::Assignment> assignments;
  for (int i = 0; i < 4; ++i) assignments.push_back({"t", i, client::StartAt::Beginning()});
  ASSERT_TRUE(consumer->Assign(assignments).ok());
  std::vector<int> next(4);
  for (int left = kRecords; left > 0;) {
    const auto records = consumer->Poll(absl::Seconds(20));
    ASSERT_TRUE(records.ok()) << records.status();
    ASSERT_FALSE(records->empty()) << left << " records are missing";
    for (const client::ConsumerRecord& record : *records) {
      ASSERT_EQ(*record.value, std::to_string(next[static_cast<size_t>(record.partition)]++));
      --left;
    }
  }
}

TEST(RingtaildTest, EveryRequestGoesToTheOwningCore) {
  const Broker broker("owners", 3);
  auto client = std::move(client::Client::Connect({.bootstrap = broker.bootstrap()})).value();
  ASSERT_TRUE(client->CreateTopic("t", {.partitions = 6}).ok());
  auto producer = std::move(client->NewProducer({})).value();
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(producer->Send({.topic = "t", .partition = i % 6, .value = "v"}).ok());
  }
  ASSERT_TRUE(producer->Flush().ok());
  EXPECT_EQ(producer->stats().owner_requests, producer->stats().requests);
  auto consumer = client->NewConsumer({});
  std::vector<client::Assignment> assignments;
  for (int i = 0; i < 6; ++i) assignments.push_back({"t", i, client::StartAt::Beginning()});
  ASSERT_TRUE(consumer->Assign(assignments).ok());
  for (size_t left = 600; left > 0;) {
    const auto records = consumer->Poll(absl::Seconds(20));
    ASSERT_TRUE(records.ok() && !records->empty()) << records.status();
    left -= records->size();
  }
  EXPECT_EQ(consumer->stats().owner_fetches, consumer->stats().fetches);
}

}  // namespace
}  // namespace ringtail::cli
