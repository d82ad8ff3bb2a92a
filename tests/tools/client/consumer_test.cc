#include "tools/client/consumer.h"

#include <map>

#include "gtest/gtest.h"
#include "tests/tools/client/fake_broker.h"
#include "tools/client/producer.h"

namespace ringtail::client {
namespace {

constexpr int kFetch = wire::RequestHeader::kFetch;

class ConsumerTest : public ::testing::Test {
 protected:
  void Start(int cores, int partitions, ConsumerOptions options = {}) {
    broker_ = std::make_unique<FakeBroker>(cores);
    broker_->CreateTopic("t", partitions);
    ClientOptions client_options;
    client_options.bootstrap = broker_->bootstrap();
    client_ = std::move(Client::Connect(client_options)).value();
    ProducerOptions producer_options;
    producer_options.batch_bytes = 1024;
    producer_ = std::move(client_->NewProducer(producer_options)).value();
    consumer_ = client_->NewConsumer(options);
  }

  void Produce(int partition, int first, int end) {
    for (int i = first; i < end; ++i) {
      const std::string value = std::to_string(i);
      ASSERT_TRUE(
          producer_->Send({.topic = "t", .partition = partition, .key = "k", .value = value}).ok());
    }
    ASSERT_TRUE(producer_->Flush().ok());
  }

  // Reads until `count` records came and checks that each partition's are in order from `first` on.
  void ExpectRecords(int count, std::map<int32_t, int64_t> first = {}) {
    while (count > 0) {
      const absl::StatusOr<std::span<const ConsumerRecord>> records =
          consumer_->Poll(absl::Seconds(20));
      ASSERT_TRUE(records.ok()) << records.status();
      ASSERT_FALSE(records->empty());
      for (const ConsumerRecord& record : *records) {
        ASSERT_EQ(record.offset, first[record.partition]++);
        ASSERT_EQ(record.topic, "t");
        ASSERT_EQ(*record.key, "k");
        ASSERT_EQ(*record.value, std::to_string(record.offset));
        --count;
      }
    }
    ASSERT_EQ(count, 0);
  }

  std::unique_ptr<FakeBroker> broker_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<Consumer> consumer_;
};

TEST_F(ConsumerTest, ReadsFromTheBeginningTheEndAndAnOffset) {
  Start(1, 1);
  Produce(0, 0, 500);
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::Beginning()}}).ok());
  ExpectRecords(500);
  EXPECT_EQ(consumer_->Position("t", 0), 500);
  EXPECT_EQ(consumer_->HighWatermark("t", 0), 500);
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::Offset(321)}}).ok());
  ExpectRecords(179, {{0, 321}});
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::End()}}).ok());
  EXPECT_TRUE(consumer_->Poll(absl::ZeroDuration())->empty());
  Produce(0, 500, 510);
  ExpectRecords(10, {{0, 500}});
  ASSERT_TRUE(consumer_->Seek("t", 0, 5).ok());
  ExpectRecords(505, {{0, 5}});
}

TEST_F(ConsumerTest, ReadsManyPartitionsAtTheirOwners) {
  Start(3, 7);
  std::vector<Assignment> assignments;
  for (int partition = 0; partition < 7; ++partition) {
    Produce(partition, 0, 200);
    assignments.push_back({"t", partition, StartAt::Beginning()});
  }
  ASSERT_TRUE(consumer_->Assign(assignments).ok());
  ExpectRecords(1'400);
  EXPECT_EQ(broker_->Requests(-1, kFetch), 0);
  for (int core = 0; core < 3; ++core) EXPECT_GT(broker_->Requests(core, kFetch), 0);
  EXPECT_EQ(consumer_->stats().owner_fetches, consumer_->stats().fetches);
}

TEST_F(ConsumerTest, GoesRoundACoreThatCannotBeReached) {
  Start(1, 1);
  Produce(0, 0, 50);
  producer_.reset();
  broker_->Advertise(0, 1);
  ClientOptions options;
  options.bootstrap = broker_->bootstrap();
  const auto client = std::move(Client::Connect(options)).value();
  consumer_.reset();
  client_ = std::move(Client::Connect(options)).value();
  consumer_ = client_->NewConsumer({});
  // The first question goes to the owner, and fails.
  absl::Status assigned;
  do {
    assigned = consumer_->Assign({{"t", 0, StartAt::Beginning()}});
  } while (absl::IsUnavailable(assigned));
  ASSERT_TRUE(assigned.ok()) << assigned;
  ExpectRecords(50);
  EXPECT_GT(broker_->Requests(-1, kFetch), 0);
}

TEST_F(ConsumerTest, GoesOnAfterLostConnectionsAndPassingErrors) {
  ConsumerOptions options;
  options.fetch_bytes_max = 4096;
  options.prefetch_bytes = 4096;
  Start(1, 2, options);
  Produce(0, 0, 1'000);
  Produce(1, 0, 1'000);
  broker_->SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (!request.header->has_fetch()) return verdict;
    if (request.count % 5 == 1) verdict.act = FakeBroker::Act::kCloseBefore;
    if (request.count % 5 == 3) {
      verdict.partition_error = MakeError(wire::Error::NOT_LEADER, true);
    }
    return verdict;
  });
  ASSERT_TRUE(
      consumer_->Assign({{"t", 0, StartAt::Beginning()}, {"t", 1, StartAt::Beginning()}}).ok());
  ExpectRecords(2'000);
  EXPECT_GT(consumer_->stats().retries, 0u);
}

TEST_F(ConsumerTest, FetchesAheadButNotWithoutBound) {
  ConsumerOptions options;
  options.fetch_bytes_max = 2048;
  options.prefetch_bytes = 8192;
  Start(1, 1, options);
  Produce(0, 0, 5'000);
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::Beginning()}}).ok());
  ASSERT_FALSE(consumer_->Poll(absl::Seconds(20))->empty());
  // Whatever the network brings while the application does nothing is limited.
  const uint64_t end = consumer_->stats().bytes + 64 * 1024;
  for (int i = 0; i < 1'000; ++i) client_->Poll(absl::ZeroDuration());
  EXPECT_LT(consumer_->stats().bytes, end);
  EXPECT_LE(consumer_->stats().bytes, 8192u + 2u * 2048u);
}

TEST_F(ConsumerTest, AnOffsetOutOfRangeIsToldOrReset) {
  Start(1, 1);
  Produce(0, 0, 10);
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::Offset(99)}}).ok());
  const absl::Status status = consumer_->Poll(absl::Seconds(20)).status();
  EXPECT_TRUE(absl::IsOutOfRange(status)) << status;
  EXPECT_NE(status.message().find("which begins at 0 and ends at"), absl::string_view::npos)
      << status;
  EXPECT_TRUE(consumer_->Poll(absl::ZeroDuration())->empty());
  ASSERT_TRUE(consumer_->Seek("t", 0, 3).ok());
  ExpectRecords(7, {{0, 3}});

  ConsumerOptions options;
  options.out_of_range = ConsumerOptions::OutOfRange::kBeginning;
  consumer_ = client_->NewConsumer(options);
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::Offset(99)}}).ok());
  ExpectRecords(10);
}

TEST_F(ConsumerTest, RefusesUnknownPartitions) {
  Start(1, 1);
  EXPECT_TRUE(absl::IsNotFound(consumer_->Assign({{"t", 1, StartAt::Beginning()}})));
  EXPECT_TRUE(absl::IsNotFound(consumer_->Assign({{"x", 0, StartAt::Offset(1)}})));
  EXPECT_TRUE(absl::IsNotFound(consumer_->Seek("t", 0, 0)));
}

TEST_F(ConsumerTest, HandsOutWholeBatches) {
  Start(1, 1);
  Produce(0, 0, 500);
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::Beginning()}}).ok());
  std::string bytes;
  while (consumer_->Position("t", 0) < 500) {
    const absl::StatusOr<const ConsumerSlice*> slice = consumer_->PollSlice(absl::Seconds(20));
    ASSERT_TRUE(slice.ok()) << slice.status();
    ASSERT_NE(*slice, nullptr);
    bytes += std::string(base::AsText((*slice)->batches));
  }
  EXPECT_EQ(bytes, broker_->Log("t", 0));
}

TEST_F(ConsumerTest, ReadsHeadersAndNulls) {
  Start(1, 1);
  const Header headers[] = {{"a", "1"}, {"b", std::nullopt}};
  ASSERT_TRUE(producer_->Produce({.topic = "t", .headers = headers, .timestamp_ms = 42}).ok());
  ASSERT_TRUE(consumer_->Assign({{"t", 0, StartAt::Beginning()}}).ok());
  const absl::StatusOr<std::span<const ConsumerRecord>> records =
      consumer_->Poll(absl::Seconds(20));
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 1u);
  const ConsumerRecord& record = records->front();
  EXPECT_FALSE(record.key.has_value());
  EXPECT_FALSE(record.value.has_value());
  EXPECT_EQ(record.timestamp_ms, 42);
  log::HeaderCursor cursor(record.fields);
  ASSERT_TRUE(cursor.Next());
  EXPECT_EQ(base::AsText(cursor.header().key), "a");
  EXPECT_EQ(base::AsText(*cursor.header().value), "1");
  ASSERT_TRUE(cursor.Next());
  EXPECT_FALSE(cursor.header().value.has_value());
  EXPECT_FALSE(cursor.Next());
}

}  // namespace
}  // namespace ringtail::client
