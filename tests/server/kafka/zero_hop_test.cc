// Clients that connect to the core of their partition cost the other cores nothing, however many
// there are. perf/compare/scaling.py runs this under callgrind and counts the instructions.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/kafka/session_fixture.h"

namespace ringtail::kafka {
namespace {

using log::MakeBatch;

int FromEnvironment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

class ZeroHopTest : public KafkaSessionTest {
 protected:
  void SetUp() override {}

  struct Client {
    std::unique_ptr<KafkaDialogue> peer;
    int32_t partition = 0;
    int64_t end = 0;
  };

  // One for each core, at that core's port.
  void Connect(uint32_t cores) {
    Start({.cores = cores});
    ASSERT_EQ(server_->CreateTopic("z", cores).failure.error, base::Error::kNone);
    for (uint32_t core = 0; core < cores; ++core) {
      Client client;
      client.peer = std::make_unique<KafkaDialogue>(world_, absl::StrCat("client ", core));
      ASSERT_TRUE(client.peer->Open(server_->endpoints().cores[core].kafka));
      while (server_->CoreOf(server_->IdOf("z", client.partition)) != core) ++client.partition;
      clients_.push_back(std::move(client));
    }
  }
  // A batch, durable when it is answered, and a fetch of it.
  void Exchange(Client* client) {
    peer_ = std::move(client->peer);
    EXPECT_EQ(ErrorOf(Produce("z", client->partition, MakeBatch({.records = 1}))),
              ErrorCode::kNone);
    const auto fetched =
        Ask<FetchResponse>(Fetch(arena_, IdOf("z"), {{client->partition, client->end++}}), 13);
    EXPECT_EQ(fetched->body.responses.size(), 1u);
    client->peer = std::move(peer_);
    arena_.Reset();
  }
  uint64_t Sum(uint64_t (*count)(server::CoreServer&)) {
    uint64_t sum = 0;
    for (uint32_t core = 0; core < clients_.size(); ++core) sum += count(server_->server(core));
    return sum;
  }
  uint64_t Messages() {
    return Sum([](server::CoreServer& server) { return server.core().counters().messages_sent; });
  }
  uint64_t Hops() {
    return Sum([](server::CoreServer& server) { return server.broker().counters().hops; });
  }

  std::vector<Client> clients_;
};

TEST_F(ZeroHopTest, NoMessageLeavesACore) {
  const auto cores = static_cast<uint32_t>(FromEnvironment("ZERO_HOP_CORES", 8));
  const int exchanges = FromEnvironment("ZERO_HOP_EXCHANGES", 80);
  Connect(cores);
  for (Client& client : clients_) Exchange(&client);  // connections and files are there then
  const uint64_t messages = Messages();
  const uint64_t hops = Hops();
  for (int i = 0; i < exchanges; ++i) Exchange(&clients_[static_cast<size_t>(i) % cores]);
  EXPECT_EQ(Messages(), messages);
  EXPECT_EQ(Hops(), hops);
}

// The same without looking where a partition is, which works and costs messages.
TEST_F(ZeroHopTest, AnotherCoresPartitionTakesAHop) {
  Connect(4);
  for (Client& client : clients_) Exchange(&client);
  std::swap(clients_[1].peer, clients_[2].peer);
  const uint64_t messages = Messages();
  const uint64_t hops = Hops();
  Exchange(&clients_[1]);
  EXPECT_EQ(Hops(), hops + 2) << "a produce and a fetch";
  EXPECT_GE(Messages(), messages + 4) << "there and back";
}

}  // namespace
}  // namespace ringtail::kafka
