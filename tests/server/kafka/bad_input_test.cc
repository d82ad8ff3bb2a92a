// Every API in every version that is offered, with requests that are damaged in every way that a
// length, a count, a version or a value can be: an error or the end of that connection, nothing
// left behind, others unharmed.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/kafka/session_fixture.h"
#include "tests/server/kafka/valid_frames.h"
#include "tests/sim/seeds.h"

namespace ringtail::kafka {
namespace {

class KafkaBadInputTest : public KafkaSessionTest {
 protected:
  void SetUp() override {
    server::SimServerOptions options{.cores = 1};
    options.server.groups = ShortLivedGroups();
    Start(options);
    // A connection that has nothing to do with it, with a request that waits the whole time.
    waiting_ = Connected();
    ASSERT_EQ(server_->CreateTopic("waits").failure.error, base::Error::kNone);
    FetchRequest waits = Fetch(arena_, IdOf("waits"), {{0, 0}});
    waits.topics[0].topic = "waits";
    waits.max_wait_ms = 600'000;
    ASSERT_TRUE(waiting_->client().Send(KafkaFrame(waits, 12, 99)));
    world_.RunFor(base::kNanosPerMilli);
    idle_work_bytes_ = server_->server(0).budget().work().used();
    idle_bytes_ = server_->server(0).budget().used();
  }

  std::vector<ValidFrame> Frames(bool nulls = false) { return ValidFrames(IdOf("t"), nulls); }

  // A client sends this and goes away.
  void Serve(absl::string_view bytes) {
    if (TooSlowHere(bytes)) return;
    ++served_;
    KafkaDialogue client(world_, "bad");
    ASSERT_TRUE(client.Open(server_->endpoints().cores[0].kafka));
    client.client().Send(bytes);
    world_.RunFor(base::kNanosPerMilli);
    const auto& budget = server_->server(0).budget();
    most_work_bytes_ = std::max(most_work_bytes_, budget.work().used());
    client.client().Close();
    ASSERT_TRUE(world_.RunUntil([&] { return server_->server(0).connection_count() == 2; }));
    ASSERT_EQ(budget.used(), idle_bytes_);
    ASSERT_EQ(budget.work().used(), idle_work_bytes_);
  }

  void TearDown() override {
    if (HasFatalFailure()) return;
    EXPECT_GT(served_, 0);
    EXPECT_LT(most_work_bytes_, 8u << 20) << "what a small request is made into";
    // The ones who did nothing wrong.
    EXPECT_GE(Ask<MetadataResponse>(MetadataRequest(), 9)->body.brokers.size(), 1u);
    EXPECT_EQ(ErrorOf(Produce("waits", 0, log::MakeBatch({}))), ErrorCode::kNone);
    const auto reply = waiting_->Next<FetchResponse>(12);
    ASSERT_NE(reply, nullptr);
    EXPECT_EQ(reply->correlation_id, 99);
    EXPECT_GT(reply->body.responses[0].partitions[0].records->size(), 0u);
  }

  static void SetLength(std::string* frame) {
    base::StoreBe<int32_t>(reinterpret_cast<uint8_t*>(frame->data()),
                           static_cast<int32_t>(frame->size() - 4));
  }

  std::unique_ptr<KafkaDialogue> waiting_;
  size_t idle_bytes_ = 0;
  size_t idle_work_bytes_ = 0;
  size_t most_work_bytes_ = 0;
  int served_ = 0;
};

// What DeleteTopics and the like do to "t" is not what these tests are about.
bool Destroys(const ValidFrame& frame) { return frame.key == DeleteTopicsRequest::kApiKey; }

TEST_F(KafkaBadInputTest, BodiesThatEndEarly) {
  for (const bool nulls : {false, true}) {
    for (const ValidFrame& frame : Frames(nulls)) {
      SCOPED_TRACE(absl::StrCat("API ", frame.key, " version ", frame.version));
      for (size_t size = 12; size < frame.bytes.size(); ++size) {
        std::string cut = frame.bytes.substr(0, size);
        SetLength(&cut);
        Serve(cut);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(KafkaBadInputTest, StreamsThatEndInsideAFrame) {
  for (const ValidFrame& frame : Frames()) {
    for (size_t size = 1; size < frame.bytes.size(); ++size) {
      Serve(frame.bytes.substr(0, size));
      if (HasFatalFailure()) return;
    }
  }
}

// Cut in two anywhere, a request is answered as in one piece.
TEST_F(KafkaBadInputTest, FramesThatComeInTwoPieces) {
  served_ = 1;
  for (const ValidFrame& frame : Frames()) {
    if (Destroys(frame)) continue;
    SCOPED_TRACE(absl::StrCat("API ", frame.key, " version ", frame.version));
    auto peer = Connected();
    for (size_t at = 1; at < frame.bytes.size(); ++at) {
      ASSERT_TRUE(peer->client().Send(frame.bytes.substr(0, at)));
      world_.RunFor(base::kNanosPerMilli / 10);
      ASSERT_TRUE(peer->client().Send(frame.bytes.substr(at)));
      const std::string prefix = peer->client().Receive(8);
      ASSERT_EQ(prefix.size(), 8u) << "split at " << at;
      EXPECT_EQ(prefix[7], 7) << "the correlation id";
      const auto bytes = base::LoadBe<int32_t>(reinterpret_cast<const uint8_t*>(prefix.data()));
      ASSERT_EQ(peer->client().Receive(static_cast<size_t>(bytes) - 4).size(),
                static_cast<size_t>(bytes) - 4);
    }
  }
}

// Lengths, counts, enums and values at their ends, wherever one may stand: also where none does.
// Sanitizers make a connection ten times as slow: with them each place has every fifth number.
TEST_F(KafkaBadInputTest, NumbersOutOfRange) {
  using namespace std::string_literals;
  const std::vector<std::string> numbers = {"\x00"s,
                                            "\x01"s,
                                            "\x7f"s,
                                            "\x80"s,
                                            "\xff"s,
                                            "\x7f\xff"s,
                                            "\xff\xff"s,
                                            "\x80\x00"s,
                                            "\x00\x00\x00\x00"s,
                                            "\x7f\xff\xff\xff"s,
                                            "\xff\xff\xff\xff"s,
                                            "\x80\x00\x00\x00"s,
                                            "\x00\x0f\xff\xff"s,
                                            "\xff\xff\xff\xff\x07"s,
                                            "\xff\xff\xff\xff\x0f"s};
  const size_t stride = sim::kSanitized ? 5 : 1;
  for (const bool nulls : {false, true}) {
    for (const ValidFrame& frame : Frames(nulls)) {
      SCOPED_TRACE(absl::StrCat("API ", frame.key, " version ", frame.version));
      // Not the length, the key and the version: those have tests of their own.
      for (size_t at = 8; at < frame.bytes.size(); ++at) {
        for (size_t i = at % stride; i < numbers.size(); i += stride) {
          const std::string& number = numbers[i];
          std::string damaged = frame.bytes;
          damaged.replace(at, number.size(), number);
          SetLength(&damaged);
          Serve(damaged);
          if (HasFatalFailure()) return;
          // Some damage makes a deletion of it that is right in all parts.
          if (server_->broker(0).image()->FindByName("t") == nullptr) server_->CreateTopic("t", 3);
        }
      }
    }
  }
}

TEST_F(KafkaBadInputTest, VersionsThatAreNotOffered) {
  for (const ValidFrame& frame : ValidFrames(IdOf("t"), false)) {
    const Api* api = FindApi(frame.key);
    if (frame.key == ApiVersionsRequest::kApiKey) continue;
    for (const int version : {api->version_first - 1, api->version_max + 1, 32'767, -32'768}) {
      std::string damaged = frame.bytes;
      base::StoreBe<int16_t>(reinterpret_cast<uint8_t*>(damaged.data()) + 6,
                             static_cast<int16_t>(version));
      KafkaDialogue client(world_, "bad");
      ASSERT_TRUE(client.Open(server_->endpoints().cores[0].kafka));
      client.client().Send(damaged);
      EXPECT_TRUE(client.Closed()) << "API " << frame.key << " version " << version;
    }
    served_ = 1;
  }
}

}  // namespace
}  // namespace ringtail::kafka
