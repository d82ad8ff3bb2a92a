#include <sys/socket.h>
#include <unistd.h>

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tools/client/address.h"
#include "tools/client/error.h"
#include "tools/client/frame.h"

namespace ringtail::client {
namespace {

TEST(AddressTest, ReadsHostAndPort) {
  EXPECT_EQ(ParseAddress("example.org:99", 7092).value(), (Address{"example.org", 99}));
  EXPECT_EQ(ParseAddress("127.0.0.1", 7092).value(), (Address{"127.0.0.1", 7092}));
  EXPECT_EQ(ParseAddress("[::1]:5", 7092).value(), (Address{"::1", 5}));
  EXPECT_EQ(ParseAddress("[::1]", 7092).value().ToString(), "[::1]:7092");
}

TEST(AddressTest, RefusesWhatIsNone) {
  for (const char* text : {"", ":1", "a:", "a:0", "a:65536", "a:b", "[::1", "[::1]x", "::1"}) {
    EXPECT_FALSE(ParseAddress(text, 7092).ok()) << text;
  }
  EXPECT_FALSE(ParseAddresses(" , ", 7092).ok());
  EXPECT_EQ(ParseAddresses("a:1, b", 7092).value().size(), 2u);
}

TEST(ErrorTest, KeepsCodeAndRetriable) {
  wire::Error error;
  error.set_code(wire::Error::NOT_LEADER);
  error.set_retriable(true);
  error.set_message("moved");
  error.set_retry_after_ms(7);
  const absl::Status status = Annotate(ToStatus(error, "topic 'a'"), "produce");
  EXPECT_EQ(status.message(), "produce: topic 'a': moved (NOT_LEADER)");
  EXPECT_EQ(ErrorCodeOf(status), wire::Error::NOT_LEADER);
  EXPECT_TRUE(IsRetriable(status));
  EXPECT_EQ(RetryAfterMillis(status), 7u);
}

TEST(ErrorTest, UnknownCodeFallsBackOnTheFlag) {
  wire::Error error;
  error.set_code(static_cast<wire::Error::Code>(9999));
  error.set_retriable(true);
  EXPECT_TRUE(IsRetriable(ToStatus(error, "")));
  error.set_retriable(false);
  EXPECT_FALSE(IsRetriable(ToStatus(error, "")));
  EXPECT_FALSE(ToStatus(error, "").ok());
}

// A pair of sockets; the reader's end doesn't block.
class FrameTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds_), 0);
    const int size = 4 << 20;
    setsockopt(fds_[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  }
  void TearDown() override {
    close(fds_[0]);
    if (fds_[1] >= 0) close(fds_[1]);
  }

  struct Frame {
    wire::ResponseHeader header;
    std::string payload;
  };

  // Reads what is there; false after an error.
  bool Drain(FrameReader* reader, std::vector<Frame>* frames) {
    while (true) {
      const absl::StatusOr<bool> read = reader->Read(fds_[1]);
      if (!read.ok()) return false;
      while (true) {
        base::ByteView header;
        Buffer payload;
        const absl::StatusOr<bool> next = reader->NextFrame(&header, &payload);
        if (!next.ok()) return false;
        if (!*next) break;
        Frame& frame = frames->emplace_back();
        EXPECT_TRUE(frame.header.ParseFromArray(header.data(), static_cast<int>(header.size())));
        frame.payload = std::string(base::AsText(payload.view()));
      }
      if (!*read) return true;
    }
  }

  int fds_[2];
  BufferPool pool_{1 << 20};
};

TEST_F(FrameTest, FindsFramesHoweverTheStreamIsCut) {
  const uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (int round = 0; round < 50; ++round) {
    std::string stream;
    std::vector<std::string> payloads;
    for (int i = 0; i < 20; ++i) {
      wire::ResponseHeader header;
      header.set_correlation_id(static_cast<uint64_t>(i));
      // Some headers are larger than what is read ahead.
      if (random() % 16 == 0) header.mutable_error()->set_message(std::string(100'000, 'm'));
      const size_t size = random() % 3 == 0 ? 0 : random() % (random() % 4 == 0 ? 200'000 : 2'000);
      payloads.emplace_back(size, static_cast<char>('a' + i));
      stream += EncodeFrame(header, size) + payloads.back();
    }
    FrameReader reader({}, &pool_);
    std::vector<Frame> frames;
    for (size_t at = 0; at < stream.size();) {
      const size_t piece = std::min<size_t>(stream.size() - at, 1 + random() % 150'000);
      const ssize_t sent = send(fds_[0], stream.data() + at, piece, 0);
      if (sent > 0) at += static_cast<size_t>(sent);
      ASSERT_TRUE(Drain(&reader, &frames));
    }
    ASSERT_EQ(frames.size(), payloads.size());
    for (size_t i = 0; i < frames.size(); ++i) {
      EXPECT_EQ(frames[i].header.correlation_id(), i);
      ASSERT_EQ(frames[i].payload, payloads[i]);
    }
  }
}

TEST_F(FrameTest, OneByteAtATime) {
  wire::ResponseHeader header;
  header.set_correlation_id(5);
  const std::string stream = EncodeFrame(header, 3) + "abc" + EncodeFrame(header, 0);
  FrameReader reader({}, &pool_);
  std::vector<Frame> frames;
  for (const char byte : stream) {
    ASSERT_EQ(send(fds_[0], &byte, 1, 0), 1);
    ASSERT_TRUE(Drain(&reader, &frames));
  }
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].payload, "abc");
  EXPECT_EQ(frames[1].payload, "");
}

TEST_F(FrameTest, RefusesLengthsOverTheLimits) {
  for (const std::string& stream : {std::string("HTTP/1.1 200 OK\r\n"), std::string(8, '\xff')}) {
    FrameReader reader({.header_bytes_max = 1 << 20, .payload_bytes_max = 1 << 20}, &pool_);
    ASSERT_EQ(send(fds_[0], stream.data(), stream.size(), 0), static_cast<ssize_t>(stream.size()));
    std::vector<Frame> frames;
    EXPECT_FALSE(Drain(&reader, &frames));
    EXPECT_TRUE(frames.empty());
  }
}

TEST_F(FrameTest, TellsTheEndOfTheStream) {
  shutdown(fds_[0], SHUT_WR);
  FrameReader reader({}, &pool_);
  EXPECT_TRUE(absl::IsUnavailable(reader.Read(fds_[1]).status()));
}

TEST(BufferPoolTest, ReusesWhatFits) {
  BufferPool pool(1 << 20);
  Buffer first = pool.Take(100'000);
  const uint8_t* bytes = first.data();
  pool.Give(std::move(first));
  Buffer small = pool.Take(100);
  EXPECT_NE(small.data(), bytes);
  Buffer again = pool.Take(90'000);
  EXPECT_EQ(again.data(), bytes);
  EXPECT_EQ(again.size(), 90'000u);
  pool.Give(Buffer(2 << 20));
  EXPECT_EQ(pool.Take(2 << 20).capacity(), size_t{2 << 20});
}

}  // namespace
}  // namespace ringtail::client
