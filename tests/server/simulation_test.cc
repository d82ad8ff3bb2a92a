// Whole brokers under random trouble, in one thread: native clients produce and consume while
// connections are cut, networks stall, and the broker is killed, stopped and started again, also on
// another number of cores and after power cuts, which keep some of what was not synced or nothing.
// At the end every acknowledged record is in the log exactly once and in order, and no consumer has
// read anything else. Each run prints its seed where it fails (tests/sim/seeds.h);
// tests/soak/simulation.sh runs thousands.
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/server/broker_calls.h"
#include "tests/server/sim_server.h"
#include "tests/server/sim_traffic.h"
#include "tests/sim/seeds.h"

namespace ringtail::server {
namespace {

constexpr int kPartitions = 3;
constexpr int kProducers = 4;
constexpr int64_t kDiskBytes = int64_t{1} << 30;
// Of the disk, kept free by segments: a start on more cores makes their journals of it.
constexpr int64_t kDiskReserve = 12 << 20;

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : world_(seed), traffic_(std::make_shared<Traffic>()) {
    traffic_->consumed.resize(kPartitions);
    for (int i = 0; i < kProducers + kPartitions; ++i) {
      clients_.push_back(
          std::make_unique<sim::SimNode>(world_, world_.NewProcess(absl::StrCat("client", i))));
    }
  }
  ~Simulation() {
    server_.reset();
    clients_.clear();
  }

  void Run() {
    Start(2);
    if (testing::Test::HasFailure()) return;
    ASSERT_EQ(server_->CreateTopic("t", kPartitions, {{"segment.bytes", "16384"}}).failure.error,
              base::Error::kNone);
    for (int i = 0; i < kProducers; ++i) {
      traffic_->producers.push_back(std::make_unique<Traffic::Producer>());
      traffic_->producers.back()->partition = i % kPartitions;
      clients_[static_cast<size_t>(i)]->Start(
          "producer", RunProducer(clients_[static_cast<size_t>(i)].get(), traffic_, "t", i));
    }
    for (int p = 0; p < kPartitions; ++p) {
      sim::SimNode* node = clients_[static_cast<size_t>(kProducers + p)].get();
      node->Start("consumer", RunConsumer(node, traffic_, "t", p));
    }
    for (int step = 0; step < 25 && traffic_->failure.empty(); ++step) {
      world_.RunFor(world_.rng().Between(100'000, 20 * base::kNanosPerMilli));
      Trouble();
      if (testing::Test::HasFailure()) return;
    }
    world_.network().Heal();
    world_.faults().Clear();
    world_.disk().set_capacity_bytes(kDiskBytes);
    traffic_->stop = true;
    const bool ended =
        world_.RunUntil([&] { return traffic_->running == 0 || !traffic_->failure.empty(); });
    ASSERT_EQ(traffic_->failure, "") << world_.Report();
    ASSERT_TRUE(ended) << "the clients did not end\n" << server_->sim().DumpTasks();
    Check();
  }

 private:
  void Start(uint32_t cores) {
    SimServerOptions options{.cores = cores};
    options.server.log.reserve = {.directory = "/data", .bytes = kDiskReserve, .cores = cores};
    server_ = std::make_unique<SimServer>(world_, options);
    const absl::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started << "\n" << world_.Report();
    for (uint32_t core = 0; core < cores; ++core) {
      for (const PartitionStatus& status : server_->broker(core).LocalStatus()) {
        ASSERT_EQ(status.offline_reason, "") << world_.Report();
      }
    }
    // The clients meet partitions that live on either core.
    traffic_->port = server_->endpoints().cores[world_.rng().Below(cores)].native;
  }

  void Trouble() {
    const int victim = clients_[world_.rng().Below(clients_.size())]->process();
    switch (world_.rng().Below(13)) {
      case 0:
        world_.network().Reset(victim);
        return;
      case 1:
        world_.network().Cut(victim);
        return;
      case 2:
        world_.network().Heal();
        return;
      case 3:
        traffic_->port = 0;
        world_.faults().Clear();  // recovery needs the space for what it writes again
        server_->Kill();
        if (world_.rng().Chance(0.5)) CutPower();
        Start(2);
        return;
      case 4: {
        traffic_->port = 0;
        world_.network().Heal();
        ASSERT_TRUE(server_->Stop()) << world_.Report();
        Start(static_cast<uint32_t>(world_.rng().Between(1, 3)));
        return;
      }
      case 5:
        world_.faults().Add({.kind = sim::FaultKind::kShort,
                             .codes = {io::OpCode::kWrite},
                             .path = ".log",
                             .count = 2});
        return;
      case 6:
        // Full for some writes, and again later.
        world_.faults().Add({.kind = sim::FaultKind::kError,
                             .error = ENOSPC,
                             .codes = {io::OpCode::kWrite},
                             .path = ".log",
                             .skip = world_.rng().Below(20),
                             .count = 1 + world_.rng().Below(3)});
        return;
      case 7:
        // The kernel takes its time with some operations on files.
        world_.faults().Add({.kind = sim::FaultKind::kDelay,
                             .path = "/data/t-",
                             .skip = world_.rng().Below(20),
                             .count = 3,
                             .delay_ns = 50 * base::kNanosPerMilli});
        return;
      case 8:
        world_.disk().MakeCold("/data");
        return;
      case 9:
        AlterTopic();
        return;
      case 10:
        FillDisk();
        return;
      case 11:
        world_.disk().set_capacity_bytes(kDiskBytes);
        return;
      default:
        return;
    }
  }

  void AlterTopic() {
    const std::string bytes = world_.rng().Chance(0.5) ? "16384" : "40000";
    const auto altered =
        server_->AlterTopics({{.topic_id = server_->IdOf("t").topic_id,
                               .configs = {{.name = "segment.bytes", .value = bytes}}}});
    ASSERT_TRUE(altered.has_value() && (*altered)[0].failure.ok()) << world_.Report();
  }

  // By others; what is kept free of it, or most of that, is left.
  void FillDisk() {
    const io::DiskSpace space = world_.disk().Space();
    const int64_t used = space.total_bytes - space.available_bytes;
    world_.disk().set_capacity_bytes(used + world_.rng().Between(10 << 20, kDiskReserve));
  }

  void CutPower() {
    const auto kept = static_cast<sim::PowerCutPolicy::Kept>(
        world_.rng().Below(sim::PowerCutPolicy::kSubset + 1));
    const int64_t unit_bytes = world_.rng().Chance(0.5) ? sim::kSectorBytes : sim::kPageBytes;
    world_.disk().PowerCut({.kept = kept, .unit_bytes = unit_bytes});
  }

  void Check() {
    std::map<int, int64_t> numbers;
    int64_t acknowledged = 0;
    for (int32_t p = 0; p < kPartitions; ++p) {
      std::vector<std::string> values;
      for (int64_t next = 0;;) {
        const Fetched fetched = FetchOne(*server_, 0, server_->IdOf("t", p), next);
        ASSERT_EQ(fetched.error, base::Error::kNone);
        if (fetched.bytes.empty()) break;
        ASSERT_TRUE(DecodeValues(fetched.bytes, &next, &values));
      }
      for (const std::string& value : values) {
        const std::vector<std::string> parts = absl::StrSplit(value, ':');
        int producer = -1;
        int64_t number = -1;
        ASSERT_TRUE(parts.size() == 2 && absl::SimpleAtoi(parts[0], &producer) &&
                    absl::SimpleAtoi(parts[1], &number))
            << value;
        ASSERT_EQ(number, numbers[producer]++) << "partition " << p << "\n" << world_.Report();
      }
      const auto& read = traffic_->consumed[static_cast<size_t>(p)];
      ASSERT_LE(read.size(), values.size());
      for (size_t i = 0; i < read.size(); ++i) ASSERT_EQ(read[i], values[i]) << "offset " << i;
    }
    for (int i = 0; i < kProducers; ++i) {
      const int64_t acked = traffic_->producers[static_cast<size_t>(i)]->acknowledged;
      ASSERT_EQ(numbers[i], acked) << "producer " << i;
      acknowledged += acked;
    }
    EXPECT_GT(acknowledged, 0) << "nothing happened";
  }

  sim::SimWorld world_;
  std::shared_ptr<Traffic> traffic_;
  std::vector<std::unique_ptr<sim::SimNode>> clients_;
  std::unique_ptr<SimServer> server_;
};

TEST(SimulationTest, EveryAcknowledgedRecordIsReadBackOnceAndInOrder) {
  sim::ForSeeds(20, [](uint64_t seed) { Simulation(seed).Run(); });
}

}  // namespace
}  // namespace ringtail::server
