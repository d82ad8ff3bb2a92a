// Produce over a connection: what is refused and how, producers and their sequences.
#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "engine/log/batch.h"
#include "gtest/gtest.h"
#include "tests/server/kafka/session_fixture.h"

namespace ringtail::kafka {
namespace {

using log::MakeBatch;

class KafkaProduceTest : public KafkaSessionTest {
 protected:
  struct Answer {
    ErrorCode error = ErrorCode::kUnknownServerError;
    int64_t base_offset = -2;
    std::string message;
    std::vector<int32_t> bad_records;
  };
  Answer Send(const std::string& batches, int32_t partition = 0, int16_t version = 9,
              const std::string& topic = "t") {
    const auto reply = Ask<ProduceResponse>(Produce(topic, partition, batches), version);
    Answer answer;
    if (reply->body.responses.size() != 1) return answer;
    const auto& out = reply->body.responses[0].partition_responses[0];
    answer.error = static_cast<ErrorCode>(out.error_code);
    answer.base_offset = out.base_offset;
    answer.message = std::string(out.error_message.value_or(""));
    for (const auto& error : out.record_errors) answer.bad_records.push_back(error.batch_index);
    return answer;
  }
  Answer SendSequence(int64_t id, int16_t epoch, int32_t sequence, int32_t records = 1) {
    return Send(MakeBatch({.records = records,
                           .timestamp_ms = world_.wall_ms(),
                           .producer_id = id,
                           .producer_epoch = epoch,
                           .base_sequence = sequence}));
  }
  // With a CRC that fits again.
  static std::string Patched(std::string batch, size_t at, uint8_t value) {
    batch[at] = static_cast<char>(value);
    const uint32_t crc = base::Crc32c(base::AsBytes(batch).subspan(log::kAttributesAt));
    base::StoreBe<uint32_t>(reinterpret_cast<uint8_t*>(batch.data()) + log::kCrcAt, crc);
    return batch;
  }
  int64_t HighWatermark(int32_t partition = 0, const std::string& topic = "t") {
    return server::FetchOne(*server_, 0, server_->IdOf(topic, partition), 0).high_watermark;
  }
};

TEST_F(KafkaProduceTest, OldFormatsAndControlBatchesAreInvalidRecords) {
  const std::string good = MakeBatch({});
  EXPECT_EQ(Send(Patched(good, log::kMagicAt, 1)).error, ErrorCode::kInvalidRecord);
  EXPECT_EQ(Send(Patched(good, log::kMagicAt, 0)).error, ErrorCode::kInvalidRecord);
  EXPECT_EQ(Send(Patched(good, log::kAttributesAt + 1, log::kControlBit)).error,
            ErrorCode::kInvalidRecord);
  EXPECT_EQ(Send(Patched(good, log::kAttributesAt + 1, log::kTransactionalBit)).error,
            ErrorCode::kTransactionalIdAuthorizationFailed);
  EXPECT_EQ(Send(Patched(good, log::kAttributesAt + 1, 5)).error,
            ErrorCode::kUnsupportedCompressionType);
  std::string corrupt = good;
  corrupt.back() ^= 1;
  EXPECT_EQ(Send(corrupt).error, ErrorCode::kCorruptMessage);
  EXPECT_EQ(HighWatermark(), 0);
}

TEST_F(KafkaProduceTest, ZstdWantsAVersionThatKnowsIt) {
  const std::string zstd = Patched(MakeBatch({}), log::kAttributesAt + 1, 4);
  EXPECT_EQ(Send(zstd, 0, 6).error, ErrorCode::kUnsupportedCompressionType);
  EXPECT_EQ(Send(zstd, 0, 7).error, ErrorCode::kNone);
}

TEST_F(KafkaProduceTest, TimestampsFromTheFutureAreNamed) {
  const int64_t now = world_.wall_ms();
  const Answer one = Send(MakeBatch({.timestamp_ms = now + 2 * 3'600'000}));
  EXPECT_EQ(one.error, ErrorCode::kInvalidTimestamp);
  EXPECT_EQ(one.base_offset, -1);
  EXPECT_EQ(one.bad_records, std::vector<int32_t>{0});
  EXPECT_NE(one.message.find("message.timestamp.after.max.ms"), std::string::npos) << one.message;
  // 5 records, half an hour apart: the last two are more than an hour ahead.
  const Answer some =
      Send(MakeBatch({.records = 5, .timestamp_ms = now, .timestamp_step_ms = 1'800'000}));
  EXPECT_EQ(some.error, ErrorCode::kInvalidTimestamp);
  EXPECT_EQ(some.bad_records, (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(Send(MakeBatch({.timestamp_ms = now + 3'590'000})).error, ErrorCode::kNone);
  EXPECT_EQ(Send(MakeBatch({.timestamp_ms = 1})).error, ErrorCode::kNone) << "as old as one likes";
  EXPECT_EQ(Send(MakeBatch({.timestamp_ms = INT64_MAX})).error, ErrorCode::kInvalidTimestamp);
}

TEST_F(KafkaProduceTest, ATopicSaysHowFarTimestampsMayLie) {
  ASSERT_EQ(server_
                ->CreateTopic("strict", 1,
                              {{"message.timestamp.before.max.ms", "1000"},
                               {"message.timestamp.after.max.ms", "0"}})
                .failure.error,
            base::Error::kNone);
  const int64_t now = world_.wall_ms();
  const auto send = [&](int64_t timestamp) {
    return Send(MakeBatch({.timestamp_ms = timestamp}), 0, 9, "strict").error;
  };
  EXPECT_EQ(send(now - 5'000), ErrorCode::kInvalidTimestamp);
  EXPECT_EQ(send(now + 60'000), ErrorCode::kInvalidTimestamp);
  EXPECT_EQ(send(now - 10), ErrorCode::kNone);
  EXPECT_EQ(send(-1), ErrorCode::kNone) << "no timestamp";
  ASSERT_EQ(server_
                ->CreateTopic("stamped", 1,
                              {{"message.timestamp.type", "LogAppendTime"},
                               {"message.timestamp.before.max.ms", "1000"}})
                .failure.error,
            base::Error::kNone);
  EXPECT_EQ(Send(MakeBatch({.timestamp_ms = 5}), 0, 9, "stamped").error, ErrorCode::kNone);
}

TEST_F(KafkaProduceTest, EachPartitionHasItsOwnAnswer) {
  ProduceRequest request = Produce("t", 0, MakeBatch({.records = 2}));
  const ProduceRequest more[] = {Produce("t", 1, "rubbish"), Produce("nowhere", 0, MakeBatch({})),
                                 Produce("t", 2, MakeBatch({.records = 3}))};
  for (const ProduceRequest& each : more) {
    request.topic_data.Add(arena_) = each.topic_data[0];
  }
  const auto reply = Ask<ProduceResponse>(request, 9);
  ASSERT_EQ(reply->body.responses.size(), 4u);
  const int16_t errors[] = {0, Wire(ErrorCode::kCorruptMessage),
                            Wire(ErrorCode::kUnknownTopicOrPartition), 0};
  for (size_t i = 0; i < 4; ++i) {
    const auto& out = reply->body.responses[i].partition_responses[0];
    EXPECT_EQ(out.error_code, errors[i]) << i;
    EXPECT_EQ(out.base_offset, errors[i] == 0 ? 0 : -1);
  }
  EXPECT_EQ(HighWatermark(0), 2);
  EXPECT_EQ(HighWatermark(1), 0);
  EXPECT_EQ(HighWatermark(2), 3);
}

// --- Idempotent producers (KIP-98, KIP-360).

TEST_F(KafkaProduceTest, FiveBatchesInFlightAndTheirRetries) {
  std::vector<std::string> frames;
  for (int32_t i = 0; i < 5; ++i) {
    frames.push_back(KafkaFrame(
        Produce("t", 0,
                MakeBatch(
                    {.records = 2, .producer_id = 9, .producer_epoch = 0, .base_sequence = i * 2})),
        9, i));
  }
  // Twice: the second time as after a lost connection.
  for (int round = 0; round < 2; ++round) {
    std::string all;
    for (const std::string& frame : frames) all += frame;
    ASSERT_TRUE(peer_->client().Send(all));
    for (int32_t i = 0; i < 5; ++i) {
      const auto reply = peer_->Next<ProduceResponse>(9);
      ASSERT_NE(reply, nullptr);
      EXPECT_EQ(reply->correlation_id, i);
      const auto& out = reply->body.responses[0].partition_responses[0];
      EXPECT_EQ(out.error_code, 0);
      EXPECT_EQ(out.base_offset, i * 2) << "the offsets of the first time";
    }
    peer_ = Connected();
  }
  EXPECT_EQ(HighWatermark(), 10);
}

TEST_F(KafkaProduceTest, ARetryAfterARestartIsWrittenOnce) {
  for (const bool clean : {true, false}) {
    SCOPED_TRACE(clean);
    const int64_t id = clean ? 11 : 12;
    const int64_t before = HighWatermark();
    EXPECT_EQ(SendSequence(id, 0, 0, 3).base_offset, before);
    EXPECT_EQ(SendSequence(id, 0, 3, 2).base_offset, before + 3);
    peer_.reset();
    if (clean) {
      EXPECT_TRUE(server_->Stop());
    } else {
      server_->Kill();
    }
    Start({.cores = 2});
    const Answer again = SendSequence(id, 0, 3, 2);
    EXPECT_EQ(again.error, ErrorCode::kNone);
    EXPECT_EQ(again.base_offset, before + 3);
    EXPECT_EQ(SendSequence(id, 0, 7).error, ErrorCode::kOutOfOrderSequenceNumber);
    EXPECT_EQ(SendSequence(id, 0, 5).base_offset, before + 5);
    EXPECT_EQ(HighWatermark(), before + 6);
  }
}

TEST_F(KafkaProduceTest, SequencesStartAgainAfterTheLargest) {
  EXPECT_EQ(SendSequence(3, 0, INT32_MAX - 1, 2).error, ErrorCode::kNone)
      << "an unknown producer is taken as it comes";
  EXPECT_EQ(SendSequence(3, 0, 1).error, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(SendSequence(3, 0, 0, 2).base_offset, 2);
  EXPECT_EQ(SendSequence(3, 0, 2).base_offset, 4);
  EXPECT_EQ(SendSequence(3, 0, INT32_MAX - 1, 2).base_offset, 0) << "still a duplicate";
  // A batch across the end.
  EXPECT_EQ(SendSequence(4, 0, INT32_MAX, 3).error, ErrorCode::kNone);
  EXPECT_EQ(SendSequence(4, 0, 2).error, ErrorCode::kNone);
}

TEST_F(KafkaProduceTest, AnEpochBeginsAtZeroAndFencesTheOlder) {
  EXPECT_EQ(SendSequence(7, 1, 0).error, ErrorCode::kNone);
  EXPECT_EQ(SendSequence(7, 2, 1).error, ErrorCode::kOutOfOrderSequenceNumber);
  EXPECT_EQ(SendSequence(7, 2, 0).error, ErrorCode::kNone);
  EXPECT_EQ(SendSequence(7, 1, 1).error, ErrorCode::kInvalidProducerEpoch);
  InitProducerIdRequest bump;
  bump.transactional_id = std::nullopt;
  bump.producer_id = 7;
  bump.producer_epoch = 2;
  const auto reply = Ask<InitProducerIdResponse>(bump, 4);
  EXPECT_EQ(reply->body.producer_id, 7);
  EXPECT_EQ(reply->body.producer_epoch, 3);
  EXPECT_EQ(SendSequence(7, 3, 0).error, ErrorCode::kNone);
  EXPECT_EQ(SendSequence(7, 2, 1).error, ErrorCode::kInvalidProducerEpoch);
}

// producer.id.expiration.ms
TEST_F(KafkaProduceTest, AfterADayOfSilenceAProducerIsForgotten) {
  EXPECT_EQ(SendSequence(5, 0, 0).error, ErrorCode::kNone);
  EXPECT_EQ(SendSequence(5, 0, 9).error, ErrorCode::kOutOfOrderSequenceNumber);
  peer_.reset();
  world_.RunFor(25 * 3600 * base::kNanosPerSecond);
  peer_ = Connected();
  EXPECT_EQ(SendSequence(6, 0, 0).error, ErrorCode::kNone) << "an append makes it look";
  EXPECT_EQ(SendSequence(5, 0, 9).error, ErrorCode::kNone);
}

}  // namespace
}  // namespace ringtail::kafka
