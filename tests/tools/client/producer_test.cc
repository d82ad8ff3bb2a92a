#include "tools/client/producer.h"

#include <latch>
#include <map>

#include "engine/log/batch.h"
#include "engine/records/record_reader.h"
#include "gtest/gtest.h"
#include "tests/tools/client/fake_broker.h"
#include "tools/client/partitioner.h"

namespace ringtail::client {
namespace {

constexpr int kProduce = wire::RequestHeader::kProduce;

class ProducerTest : public ::testing::Test {
 protected:
  void Start(int cores, int partitions, ProducerOptions options = {}) {
    broker_ = std::make_unique<FakeBroker>(cores);
    broker_->CreateTopic("t", partitions);
    ClientOptions client_options;
    client_options.bootstrap = broker_->bootstrap();
    client_ = std::move(Client::Connect(client_options)).value();
    absl::StatusOr<std::unique_ptr<Producer>> producer = client_->NewProducer(options);
    ASSERT_TRUE(producer.ok()) << producer.status();
    producer_ = std::move(*producer);
  }

  void Send(const std::string& value, int partition) {
    const absl::StatusOr<uint64_t> sent =
        producer_->Send({.topic = "t", .partition = partition, .value = value});
    ASSERT_TRUE(sent.ok()) << sent.status();
  }

  // The values of a partition's log.
  std::vector<std::string> Values(int partition) {
    const std::string log = broker_->Log("t", partition);
    std::vector<std::string> values;
    records::RecordReader reader;
    for (log::BatchWalker walker(base::AsBytes(log)); walker.Next();) {
      EXPECT_EQ(walker.batch().crc(), walker.batch().ComputeCrc());
      EXPECT_TRUE(reader.Open(walker.batch()).ok());
      while (reader.Next()) values.emplace_back(base::AsText(*reader.record().value()));
    }
    return values;
  }

  void ExpectInOrder(int partition, int count) {
    const std::vector<std::string> values = Values(partition);
    ASSERT_EQ(values.size(), static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], std::to_string(i));
  }

  std::unique_ptr<FakeBroker> broker_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Producer> producer_;
};

TEST_F(ProducerTest, SendsARecordAtOnceAndTellsItsOffset) {
  Start(1, 1);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(producer_->Produce({.topic = "t", .partition = 0, .value = "v"}).value(), i);
  }
  EXPECT_EQ(broker_->Requests(0, kProduce), 3);
}

TEST_F(ProducerTest, GathersWhatComesWhileABatchIsOnTheWay) {
  Start(1, 1);
  for (int i = 0; i < 10'000; ++i) Send(std::to_string(i), 0);
  ASSERT_TRUE(producer_->Flush().ok());
  ExpectInOrder(0, 10'000);
  EXPECT_LT(broker_->Requests(0, kProduce), 1'000);
}

TEST_F(ProducerTest, GoesToTheOwningCore) {
  Start(3, 6);
  for (int i = 0; i < 600; ++i) Send(std::to_string(i / 6), i % 6);
  ASSERT_TRUE(producer_->Flush().ok());
  for (int partition = 0; partition < 6; ++partition) ExpectInOrder(partition, 100);
  EXPECT_EQ(broker_->Requests(-1, kProduce), 0);
  for (int core = 0; core < 3; ++core) EXPECT_GT(broker_->Requests(core, kProduce), 0);
  EXPECT_EQ(producer_->stats().owner_requests, producer_->stats().requests);
}

TEST_F(ProducerTest, GoesRoundACoreThatCannotBeReached) {
  Start(2, 2);
  broker_->Advertise(1, 1);  // nobody listens on port 1
  for (int i = 0; i < 100; ++i) {
    Send(std::to_string(i), 0);
    Send(std::to_string(i), 1);
  }
  ASSERT_TRUE(producer_->Flush().ok());
  ExpectInOrder(0, 100);
  ExpectInOrder(1, 100);
  EXPECT_GT(broker_->Requests(-1, kProduce), 0);
  EXPECT_EQ(broker_->Requests(1, kProduce), 0);
}

TEST_F(ProducerTest, EveryRecordOnceThoughConnectionsAreLostBeforeAndAfter) {
  Start(2, 2);
  broker_->SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (!request.header->has_produce()) return verdict;
    if (request.count % 5 == 1) verdict.act = FakeBroker::Act::kCloseAfter;
    if (request.count % 5 == 3) verdict.act = FakeBroker::Act::kCloseBefore;
    return verdict;
  });
  for (int i = 0; i < 300; ++i) {
    Send(std::to_string(i), 0);
    Send(std::to_string(i), 1);
    if (i % 50 == 0) {
      ASSERT_TRUE(producer_->Flush().ok());
    }
  }
  ASSERT_TRUE(producer_->Flush().ok());
  ExpectInOrder(0, 300);
  ExpectInOrder(1, 300);
  EXPECT_GT(producer_->stats().retries, 0u);
}

// Requests that a lost connection took away fail one after the other; a batch that is sent
// meanwhile must not come before one whose failure has not been told yet.
TEST_F(ProducerTest, NothingOvertakesWhatALostConnectionTookAway) {
  ProducerOptions options;
  options.batch_bytes = 1024;
  options.requests_in_flight_max = 2;
  Start(1, 2, options);
  std::latch all_sent(1);
  broker_->SetHook([&all_sent](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (!request.header->has_produce() || request.count > 0) return verdict;
    all_sent.wait();
    verdict.act = FakeBroker::Act::kCloseBefore;
    return verdict;
  });
  Send("0", 0);
  for (int i = 0; i < 1'000; ++i) Send(std::to_string(i), 1);
  all_sent.count_down();
  const absl::Status flushed = producer_->Flush();
  ASSERT_TRUE(flushed.ok()) << flushed;
  ExpectInOrder(1, 1'000);
}

TEST_F(ProducerTest, OrderHoldsWhenOneOfSeveralBatchesOnTheWayFails) {
  ProducerOptions options;
  options.batch_bytes = 1024;
  Start(1, 1, options);
  broker_->SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_produce() && request.count % 7 == 2) {
      verdict.partition_error = MakeError(wire::Error::OVERLOADED, true);
    }
    return verdict;
  });
  for (int i = 0; i < 2'000; ++i) Send(std::to_string(i), 0);
  ASSERT_TRUE(producer_->Flush().ok());
  ExpectInOrder(0, 2'000);
}

TEST_F(ProducerTest, OrderHoldsWithoutIdempotence) {
  ProducerOptions options;
  options.batch_bytes = 1024;
  options.idempotent = false;
  Start(1, 1, options);
  broker_->SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_produce() && request.count % 3 == 1) {
      verdict.partition_error = MakeError(wire::Error::OVERLOADED, true);
    }
    return verdict;
  });
  for (int i = 0; i < 2'000; ++i) Send(std::to_string(i), 0);
  ASSERT_TRUE(producer_->Flush().ok());
  ExpectInOrder(0, 2'000);
  EXPECT_EQ(broker_->Requests(-1, wire::RequestHeader::kInitProducer), 0);
}

TEST_F(ProducerTest, TakesAnotherProducerIdWhenTheBrokerForgotIt) {
  Start(1, 2);
  Send("0", 0);
  Send("0", 1);
  ASSERT_TRUE(producer_->Flush().ok());
  broker_->SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_produce() && request.count == 2) {
      verdict.partition_error = MakeError(wire::Error::UNKNOWN_PRODUCER, false);
    }
    return verdict;
  });
  for (int i = 1; i < 50; ++i) {
    Send(std::to_string(i), 0);
    Send(std::to_string(i), 1);
  }
  ASSERT_TRUE(producer_->Flush().ok());
  ExpectInOrder(0, 50);
  ExpectInOrder(1, 50);
  EXPECT_EQ(broker_->Requests(-1, wire::RequestHeader::kInitProducer), 2);
}

TEST_F(ProducerTest, AFinalErrorConcernsItsBatchAlone) {
  std::vector<Delivery> deliveries;
  ProducerOptions options;
  options.on_delivery = [&](const Delivery& delivery) { deliveries.push_back(delivery); };
  Start(1, 1, options);
  broker_->SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_produce() && request.count == 1) {
      verdict.partition_error = MakeError(wire::Error::BATCH_TOO_LARGE, false, "too large");
    }
    return verdict;
  });
  EXPECT_TRUE(producer_->Produce({.topic = "t", .value = "0"}).ok());
  const absl::Status status = producer_->Produce({.topic = "t", .value = "1"}).status();
  EXPECT_EQ(ErrorCodeOf(status), wire::Error::BATCH_TOO_LARGE) << status;
  EXPECT_TRUE(producer_->Produce({.topic = "t", .value = "2"}).ok());
  EXPECT_EQ(Values(0), (std::vector<std::string>{"0", "2"}));
  ASSERT_EQ(deliveries.size(), 3u);
  EXPECT_TRUE(deliveries[0].status.ok());
  EXPECT_EQ(deliveries[1].first, 1u);
  EXPECT_FALSE(deliveries[1].status.ok());
  EXPECT_EQ(producer_->Flush().code(), status.code());  // told once
  EXPECT_TRUE(producer_->Flush().ok());
}

TEST_F(ProducerTest, DeliveriesNameEveryRecordOnce) {
  std::map<int, uint64_t> next;
  ProducerOptions options;
  options.on_delivery = [&](const Delivery& delivery) {
    EXPECT_TRUE(delivery.status.ok());
    EXPECT_EQ(delivery.first, next[delivery.partition]);
    EXPECT_EQ(delivery.base_offset, static_cast<int64_t>(delivery.first));
    next[delivery.partition] += delivery.count;
  };
  Start(2, 2, options);
  for (int i = 0; i < 1'000; ++i) Send(std::to_string(i), i % 2);
  ASSERT_TRUE(producer_->Flush().ok());
  EXPECT_EQ(next[0], 500u);
  EXPECT_EQ(next[1], 500u);
}

TEST_F(ProducerTest, GivesUpAfterTheDeliveryTimeout) {
  ProducerOptions options;
  options.delivery_timeout = absl::Milliseconds(200);
  Start(1, 1, options);
  broker_->SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_produce()) {
      verdict.partition_error = MakeError(wire::Error::NOT_LEADER, true, "moved");
    }
    return verdict;
  });
  const absl::Status status = producer_->Produce({.topic = "t", .value = "v"}).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_NE(status.message().find("moved"), std::string::npos) << status;
  broker_->SetHook(nullptr);
  EXPECT_TRUE(producer_->Produce({.topic = "t", .value = "w"}).ok());
  EXPECT_EQ(Values(0), std::vector<std::string>{"w"});
}

TEST_F(ProducerTest, SaysWhyItGotNoProducerId) {
  FakeBroker broker(1);
  broker.SetHook([](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_init_producer()) {
      verdict.error = MakeError(wire::Error::DISK_FULL, true, "no space for the catalog");
    }
    return verdict;
  });
  ClientOptions options;
  options.bootstrap = broker.bootstrap();
  const std::unique_ptr<Client> client = std::move(Client::Connect(options)).value();
  const auto producer = client->NewProducer({.delivery_timeout = absl::Milliseconds(30)});
  ASSERT_FALSE(producer.ok());
  EXPECT_NE(producer.status().message().find("no space for the catalog"), std::string::npos);
}

TEST_F(ProducerTest, WaitsForAFullDiskToHaveSpaceAgain) {
  Start(1, 1, {});
  int refusals = 5;
  broker_->SetHook([&refusals](const FakeBroker::Request& request) {
    FakeBroker::Verdict verdict;
    if (request.header->has_produce() && refusals-- > 0) {
      verdict.partition_error = MakeError(wire::Error::DISK_FULL, true, "no space");
    }
    return verdict;
  });
  for (int i = 0; i < 20; ++i) Send(std::to_string(i), 0);
  ASSERT_TRUE(producer_->Flush().ok());
  EXPECT_LE(refusals, 0);
  EXPECT_GT(producer_->stats().retries, 0u);
  ExpectInOrder(0, 20);
}

TEST_F(ProducerTest, AcksNoneSendsWithoutWaiting) {
  ProducerOptions options;
  options.acks = Acks::kNone;
  Start(1, 1, options);
  for (int i = 0; i < 1'000; ++i) Send(std::to_string(i), 0);
  ASSERT_TRUE(producer_->Flush().ok());
  // The broker handles a connection's requests in order; another connection's may come first.
  while (broker_->End("t", 0) < 1'000) client_->Poll(absl::Milliseconds(1));
  ExpectInOrder(0, 1'000);
}

TEST_F(ProducerTest, MemoryIsBounded) {
  ProducerOptions options;
  options.batch_bytes = 16 << 10;
  options.buffer_bytes_max = 64 << 10;
  Start(1, 1, options);
  const std::string value(1000, 'v');
  for (int i = 0; i < 1'000; ++i) {
    Send(value, 0);
    ASSERT_LE(producer_->outstanding(), 70u);
  }
  ASSERT_TRUE(producer_->Flush().ok());
  EXPECT_EQ(Values(0).size(), 1'000u);
}

TEST_F(ProducerTest, RefusesWhatCannotBeSent) {
  Start(1, 2);
  EXPECT_TRUE(absl::IsNotFound(producer_->Send({.topic = "none", .value = "v"}).status()));
  EXPECT_TRUE(
      absl::IsNotFound(producer_->Send({.topic = "t", .partition = 2, .value = "v"}).status()));
  const std::string large(2 << 20, 'v');
  EXPECT_TRUE(absl::IsInvalidArgument(producer_->Send({.topic = "t", .value = large}).status()));
  ProducerOptions options;
  options.batches_in_flight_max = 6;
  EXPECT_TRUE(absl::IsInvalidArgument(client_->NewProducer(options).status()));
}

TEST_F(ProducerTest, EveryCodecArrives) {
  for (const log::Codec codec : {log::Codec::kNone, log::Codec::kGzip, log::Codec::kSnappy,
                                 log::Codec::kLz4, log::Codec::kZstd}) {
    ProducerOptions options;
    options.compression.codec = codec;
    Start(1, 1, options);
    for (int i = 0; i < 500; ++i) Send(std::to_string(i), 0);
    ASSERT_TRUE(producer_->Flush().ok());
    ExpectInOrder(0, 500);
    producer_.reset();
    client_.reset();
  }
}

TEST(PartitionerTest, AgreesWithKafka) {
  // org.apache.kafka.common.utils.UtilsTest.testMurmur2
  const std::map<std::string, int32_t> cases = {
      {"21", -973932308},
      {"foobar", -790332482},
      {"a-little-bit-long-string", -985981536},
      {"a-little-bit-longer-string", -1486304829},
      {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
      {"abc", 479470107},
  };
  for (const auto& [key, hash] : cases) {
    EXPECT_EQ(static_cast<int32_t>(Murmur2(base::AsBytes(key))), hash) << key;
  }
}

}  // namespace
}  // namespace ringtail::client
