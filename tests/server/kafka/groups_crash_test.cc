// Groups over a broker that is stopped, killed and loses power at random moments, and starts again
// on another number of cores: what was committed stays so, what is fetched never goes back, a
// deleted group stays deleted, and members that were acknowledged are known again.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/group/coordinator.h"
#include "server/kafka/errors.h"
#include "tests/server/group/group_harness.h"
#include "tests/server/kafka/kafka_dialogue.h"
#include "tests/server/sim_server.h"
#include "tests/sim/seeds.h"

namespace ringtail::kafka {
namespace {

constexpr int kGroups = 5;
constexpr int kPartitions = 2;

class CrashRun {
 public:
  explicit CrashRun(uint64_t seed) : world_(seed) {}
  ~CrashRun() {
    peer_.reset();
    server_.reset();
  }

  void Run() {
    Start(2);
    if (testing::Test::HasFailure()) return;
    ASSERT_EQ(server_->CreateTopic("t", kPartitions).failure.error, base::Error::kNone);
    FindCoordinatorRequest find;
    find.key = "g";
    ASSERT_NE(peer_->Ask<FindCoordinatorResponse>(find, 3, 1), nullptr);
    for (int step = 0; step < 40 && !testing::Test::HasFailure(); ++step) Step();
    if (!testing::Test::HasFailure()) Crash();
  }

 private:
  struct Known {
    int64_t committed = -1;  // acknowledged, or fetched
    int64_t tried = -1;      // the newest that was sent
    std::string member_id;   // of a generation whose assignment was answered
    int32_t generation = -1;
  };

  void Start(uint32_t cores) {
    peer_.reset();
    server_.reset();
    server::SimServerOptions options{.cores = cores};
    options.server.groups.limits.initial_rebalance_delay_ms = 0;
    server_ = std::make_unique<server::SimServer>(world_, options);
    const absl::Status started = server_->Start();
    ASSERT_TRUE(started.ok()) << started;
    Connect();
    ASSERT_TRUE(world_.RunUntil([&] {
      size_t loading = 0;
      for (uint32_t core = 0; core < cores; ++core) {
        loading += server_->server(core).groups().loading_count();
      }
      return loading == 0;
    }));
  }
  void Connect() {
    peer_ = std::make_unique<KafkaDialogue>(world_);
    ASSERT_TRUE(peer_->Open(server_->endpoints().cores[0].kafka));
  }
  int Pick(int count) { return static_cast<int>(world_.rng().Below(static_cast<uint64_t>(count))); }

  void Step() {
    const int number = Pick(kGroups);
    const std::string id = absl::StrCat("group-", number);
    Known& known = known_[id];
    const int what = Pick(10);
    if (what == 0) {
      if (known.generation < 0) JoinAndSync(id, &known);
    } else if (what == 1 && known.generation < 0) {
      Delete(id, &known);
    } else {
      Commit(id, &known, /*wait=*/what != 2);
      if (what == 2) Crash();
    }
  }

  void Commit(const std::string& id, Known* known, bool wait) {
    Arena arena;
    OffsetCommitRequest request;
    request.group_id = id;
    request.member_id = known->member_id;
    request.generation_id_or_member_epoch = known->generation;
    auto& topic = request.topics.Add(arena);
    topic.name = "t";
    const int64_t offset = std::max(known->tried, known->committed) + 1;
    for (int32_t partition = 0; partition < kPartitions; ++partition) {
      auto& each = topic.partitions.Add(arena);
      each.partition_index = partition;
      each.committed_offset = offset;
      each.committed_metadata = "";
    }
    known->tried = offset;
    if (!wait) {
      ASSERT_TRUE(peer_->client().Send(KafkaFrame(request, 8, 1)));
      return;
    }
    const auto reply = peer_->Ask<OffsetCommitResponse>(request, 8, 1);
    ASSERT_NE(reply, nullptr);
    const auto error = static_cast<ErrorCode>(reply->body.topics[0].partitions[0].error_code);
    if (error == ErrorCode::kUnknownMemberId) {  // its session has ended
      known->member_id.clear();
      known->generation = -1;
      return;
    }
    ASSERT_EQ(error, ErrorCode::kNone) << ErrorName(error);
    known->committed = offset;
  }

  void JoinAndSync(const std::string& id, Known* known) {
    Arena arena;
    JoinGroupRequest join;
    join.group_id = id;
    join.session_timeout_ms = 60'000;
    join.rebalance_timeout_ms = 60'000;
    join.protocol_type = "consumer";
    const std::string subscription = group::Subscription({"t"});
    auto& protocol = join.protocols.Add(arena);
    protocol.name = "range";
    protocol.metadata = Bytes(base::AsBytes(subscription));
    const auto joined = peer_->Ask<JoinGroupResponse>(join, 3, 1);
    ASSERT_NE(joined, nullptr);
    ASSERT_EQ(joined->body.error_code, 0);
    const std::string member_id(joined->body.member_id);
    SyncGroupRequest sync;
    sync.group_id = id;
    sync.member_id = member_id;
    sync.generation_id = joined->body.generation_id;
    auto& given = sync.assignments.Add(arena);
    given.member_id = member_id;
    given.assignment = Bytes(base::AsBytes("all"));
    const auto synced = peer_->Ask<SyncGroupResponse>(sync, 3, 1);
    ASSERT_NE(synced, nullptr);
    ASSERT_EQ(synced->body.error_code, 0);
    known->member_id = member_id;
    known->generation = joined->body.generation_id;
  }

  void Delete(const std::string& id, Known* known) {
    Arena arena;
    DeleteGroupsRequest request;
    request.groups_names.Add(arena) = id;
    const auto reply = peer_->Ask<DeleteGroupsResponse>(request, 2, 1);
    ASSERT_NE(reply, nullptr);
    if (reply->body.results[0].error_code == 0) *known = {};
  }

  // Somewhere in what is going on; then all that was promised must hold.
  void Crash() {
    world_.RunFor(static_cast<base::Nanos>(world_.rng().Below(3 * base::kNanosPerMilli)));
    const int how = Pick(3);
    if (how == 0) {
      ASSERT_TRUE(server_->Stop());
    } else if (how == 1) {
      server_->Kill();
    } else {
      world_.PowerCut(
          {.kept = static_cast<sim::PowerCutPolicy::Kept>(Pick(sim::PowerCutPolicy::kSubset + 1))});
      server_->Kill();
    }
    Start(1 + static_cast<uint32_t>(Pick(3)));
    for (auto& [id, known] : known_) {
      if (testing::Test::HasFailure()) return;
      SCOPED_TRACE(absl::StrCat(id, " after ", how));
      Check(id, &known);
    }
  }

  void Check(const std::string& id, Known* known) {
    Arena arena;
    OffsetFetchRequest request;
    request.group_id = id;
    auto& topic = request.topics->Add(arena);
    topic.name = "t";
    for (int32_t partition = 0; partition < kPartitions; ++partition) {
      topic.partition_indexes.Add(arena) = partition;
    }
    const auto reply = peer_->Ask<OffsetFetchResponse>(request, 5, 1);
    ASSERT_NE(reply, nullptr);
    ASSERT_EQ(reply->body.error_code, 0);
    const auto& partitions = reply->body.topics[0].partitions;
    for (const auto& each : partitions) {
      EXPECT_GE(each.committed_offset, known->committed) << "what was committed has gone back";
      EXPECT_LE(each.committed_offset, known->tried) << "nobody has ever committed that";
      EXPECT_EQ(each.committed_offset, partitions[0].committed_offset) << "all or nothing";
    }
    known->committed = partitions[0].committed_offset;
    if (known->generation < 0) return;
    HeartbeatRequest heartbeat;
    heartbeat.group_id = id;
    heartbeat.member_id = known->member_id;
    heartbeat.generation_id = known->generation;
    const auto beat = peer_->Ask<HeartbeatResponse>(heartbeat, 4, 1);
    ASSERT_NE(beat, nullptr);
    EXPECT_EQ(beat->body.error_code, 0) << "a member that had its assignment";
  }

  sim::SimWorld world_;
  std::unique_ptr<server::SimServer> server_;
  std::unique_ptr<KafkaDialogue> peer_;
  std::map<std::string, Known> known_;
};

TEST(GroupsCrash, WhatWasCommittedStaysSo) {
  sim::ForSeeds(30, [](uint64_t seed) { CrashRun(seed).Run(); });
}

}  // namespace
}  // namespace ringtail::kafka
