#include "tools/client/client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"
#include "tests/tools/client/fake_broker.h"

namespace ringtail::client {
namespace {

std::unique_ptr<Client> Connect(const std::string& bootstrap,
                                absl::Duration timeout = absl::Seconds(20)) {
  ClientOptions options;
  options.bootstrap = bootstrap;
  options.request_timeout = timeout;
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(options);
  EXPECT_TRUE(client.ok()) << client.status();
  return std::move(client).value();
}

// A port of the kernel's choice that nobody listens on.
class ClosedPort {
 public:
  ClosedPort() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port = ntohs(address.sin_port);
  }
  ~ClosedPort() { close(fd_); }
  std::string Name() const { return "127.0.0.1:" + std::to_string(port); }
  uint16_t port = 0;

 private:
  int fd_;
};

TEST(ClientTest, CreatesDescribesAndDeletesTopics) {
  FakeBroker broker(2);
  const auto client = Connect(broker.bootstrap());
  ASSERT_TRUE(client->CreateTopic("b", {.partitions = 3}).ok());
  ASSERT_TRUE(client->CreateTopic("a", {.partitions = 1, .configs = {{"x", "y"}}}).ok());
  EXPECT_EQ(client->PartitionCount("b").value(), 3);
  const absl::StatusOr<ClusterDescription> cluster = client->DescribeCluster();
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(cluster->cluster_id, "fake");
  ASSERT_EQ(cluster->nodes.size(), 2u);
  EXPECT_EQ(cluster->nodes[1].address.port, broker.core_port(1));
  ASSERT_EQ(cluster->topics.size(), 2u);
  EXPECT_EQ(cluster->topics[0].name, "a");
  const absl::StatusOr<TopicDescription> topic = client->DescribeTopic("b");
  ASSERT_TRUE(topic.ok()) << topic.status();
  EXPECT_EQ(topic->partitions.size(), 3u);
  EXPECT_EQ(topic->configs[0].name, "retention.ms");
  EXPECT_TRUE(client->DeleteTopic("b").ok());
  EXPECT_TRUE(absl::IsNotFound(client->DescribeTopic("b").status()));
  EXPECT_TRUE(absl::IsNotFound(client->PartitionCount("b").status()));
}

TEST(ClientTest, TellsTheBrokersErrors) {
  FakeBroker broker;
  const auto client = Connect(broker.bootstrap());
  ASSERT_TRUE(client->CreateTopic("a", {}).ok());
  const absl::Status status = client->CreateTopic("a", {}).status();
  EXPECT_TRUE(absl::IsAlreadyExists(status));
  EXPECT_EQ(ErrorCodeOf(status), wire::Error::TOPIC_EXISTS);
  EXPECT_EQ(status.message(), "create topic 'a': the topic exists (TOPIC_EXISTS)");
}

TEST(ClientTest, TakesTheFirstAddressThatAnswers) {
  FakeBroker broker;
  const ClosedPort closed;
  const auto client = Connect(closed.Name() + "," + broker.bootstrap());
  EXPECT_TRUE(client->DescribeCluster().ok());
}

TEST(ClientTest, SaysThatNobodyListens) {
  const ClosedPort closed;
  ClientOptions options;
  options.bootstrap = closed.Name();
  const absl::Status status = Client::Connect(options).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_NE(status.message().find(closed.Name() + ": Connection refused"), std::string::npos)
      << status;
}

TEST(ClientTest, RepeatsQuestionsOverALostConnection) {
  FakeBroker broker;
  const auto client = Connect(broker.bootstrap());
  broker.SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.count < 2) verdict.act = FakeBroker::Act::kCloseBefore;
    return verdict;
  });
  EXPECT_TRUE(client->DescribeCluster().ok());
  EXPECT_EQ(broker.Requests(-1, wire::RequestHeader::kMetadata), 3);
}

TEST(ClientTest, DoesNotRepeatAChangeThatMayHaveHappened) {
  FakeBroker broker;
  const auto client = Connect(broker.bootstrap());
  broker.SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_create_topic()) verdict.act = FakeBroker::Act::kCloseAfter;
    return verdict;
  });
  EXPECT_TRUE(absl::IsUnavailable(client->CreateTopic("a", {}).status()));
  EXPECT_EQ(broker.Requests(-1, wire::RequestHeader::kCreateTopic), 1);
  EXPECT_EQ(client->PartitionCount("a").value(), 1);
}

TEST(ClientTest, KeepsTheDeadlineOfACallThatIsNeverAnswered) {
  FakeBroker broker;
  const auto client = Connect(broker.bootstrap(), absl::Milliseconds(50));
  broker.SetHook([](const FakeBroker::Request&) {
    FakeBroker::Verdict verdict;
    verdict.act = FakeBroker::Act::kStopAfter;
    return verdict;
  });
  EXPECT_TRUE(absl::IsDeadlineExceeded(client->DescribeCluster().status()));
}

TEST(ClientTest, ReadsRepliesThatComeAByteAtATime) {
  FakeBroker broker;
  broker.SetDribble(true);
  const auto client = Connect(broker.bootstrap());
  EXPECT_TRUE(client->CreateTopic("a", {.partitions = 200}).ok());
  EXPECT_EQ(client->PartitionCount("a").value(), 200);
}

TEST(ClientTest, ListsOffsetsAtTheOwners) {
  FakeBroker broker(2);
  broker.CreateTopic("a", 4);
  const auto client = Connect(broker.bootstrap());
  EXPECT_EQ(client->ListOffsets("a", {0, 1, 2, 3}, StartAt::End()).value(),
            (std::vector<int64_t>{0, 0, 0, 0}));
  EXPECT_EQ(broker.Requests(0, wire::RequestHeader::kListOffsets), 1);
  EXPECT_EQ(broker.Requests(1, wire::RequestHeader::kListOffsets), 1);
  EXPECT_TRUE(absl::IsNotFound(client->ListOffsets("a", {4}, StartAt::End()).status()));
}

TEST(ClientTest, SaysWhatIsWrongWithAPortThatSpeaksSomethingElse) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  std::thread server([listener] {
    const int fd = accept(listener, nullptr, nullptr);
    const std::string text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    EXPECT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    char drain[1024];
    while (recv(fd, drain, sizeof(drain), 0) > 0) {
    }
    close(fd);
  });
  ClientOptions options;
  options.bootstrap = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  const absl::Status status = Client::Connect(options).status();
  server.join();
  close(listener);
  EXPECT_NE(status.message().find("is this the port of Ringtail's native protocol"),
            std::string::npos)
      << status;
}

}  // namespace
}  // namespace ringtail::client
