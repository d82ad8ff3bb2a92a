#include "tests/server/kafka/group_members.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/endian.h"
#include "engine/io/run_until.h"
#include "server/kafka/errors.h"
#include "server/kafka/frame.h"
#include "tests/server/group/group_harness.h"
#include "tests/server/kafka/kafka_dialogue.h"

namespace ringtail::kafka {
namespace {

constexpr int32_t kSessionMs = 500;
constexpr int32_t kRebalanceMs = 1'000;
constexpr base::Nanos kBeat = 100 * base::kNanosPerMilli;
// More than a JoinGroup may take.
constexpr base::Nanos kPatience = 3 * base::kNanosPerSecond;

// One connection; every failure closes it.
class Link {
 public:
  Link(sim::SimNode& node, GroupsWorld& world) : node_(node), world_(world) {}
  ~Link() {
    if (node_.io().process().alive()) Close();
  }

  task::Task<bool> Ready() {
    if (fd_ >= 0) co_return true;
    if (world_.port == 0) co_return false;
    fd_ = *node_.io().StreamSocket(false);
    sockaddr_storage storage = {};
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(world_.port);
    inet_pton(AF_INET, "127.0.0.1", &address->sin_addr);
    io::Op connect{.code = io::OpCode::kConnect, .fd = fd_};
    connect.address = &storage;
    connect.address_length = sizeof(sockaddr_in);
    if (co_await io::RunUntil(node_.io(), &connect, Deadline()) == 0) co_return true;
    Close();
    co_return false;
  }

  // nullptr: the connection is gone, and whether the request was served is not known. `frame` is of
  // KafkaFrame with next_correlation_id().
  template <class Response>
  task::Task<std::unique_ptr<Decoded<Response>>> Ask(std::string frame, int16_t version) {
    if (!co_await Ready()) co_return nullptr;
    iovec out{frame.data(), frame.size()};
    io::Op send{.code = io::OpCode::kSend,
                .flags = io::kWaitAll,
                .fd = fd_,
                .vectors = &out,
                .vector_count = 1};
    auto decoded = std::make_unique<Decoded<Response>>();
    std::string prefix(4, '\0');
    const int32_t sent = co_await io::RunUntil(node_.io(), &send, Deadline());
    if (sent == static_cast<int32_t>(frame.size()) && co_await Receive(&prefix)) {
      const auto bytes = base::LoadBe<int32_t>(reinterpret_cast<const uint8_t*>(prefix.data()));
      decoded->frame.resize(static_cast<size_t>(bytes));
      if (co_await Receive(&decoded->frame)) {
        const absl::Status status =
            DecodeResponse(base::AsBytes(decoded->frame), version, *decoded->arena,
                           &decoded->correlation_id, &decoded->body);
        if (!status.ok() || decoded->correlation_id != correlation_id_) {
          world_.failure = absl::StrCat("not the reply of its request: ", status.ToString());
        }
        co_return decoded;
      }
    }
    Close();
    co_return nullptr;
  }
  int32_t next_correlation_id() { return ++correlation_id_; }
  void Close() {
    if (fd_ >= 0) node_.io().CloseInline(std::exchange(fd_, -1));
  }

 private:
  base::Nanos Deadline() { return node_.world().now() + kPatience; }
  task::Task<bool> Receive(std::string* into) {
    iovec in{into->data(), into->size()};
    io::Op receive{.code = io::OpCode::kReceive,
                   .flags = io::kWaitAll,
                   .fd = fd_,
                   .vectors = &in,
                   .vector_count = 1};
    co_return co_await io::RunUntil(node_.io(), &receive, Deadline()) ==
        static_cast<int32_t>(into->size());
  }

  sim::SimNode& node_;
  GroupsWorld& world_;
  int fd_ = -1;
  int32_t correlation_id_ = 0;
};

class Member {
 public:
  Member(sim::SimNode& node, GroupsWorld& world, std::string group, int number, bool is_static)
      : node_(node),
        world_(world),
        group_id_(std::move(group)),
        number_(number),
        subscription_(group::Subscription({kGroupsTopic})),
        link_(node, world) {
    if (is_static) instance_id_ = absl::StrCat("instance-", number);
  }
  ~Member() { GiveUp(); }

  task::Task<void> Run() {
    while (!world_.stop) {
      if (generation_ < 0) {
        if (!co_await JoinAndSync() || !co_await FetchOffsets()) {
          GiveUp();
          co_await Pause(20 * base::kNanosPerMilli);
        }
        continue;
      }
      co_await Pause(kBeat);
      if (!co_await Heartbeat()) continue;
      if (Chance(0.5)) co_await Commit();
      if (world_.misbehave && generation_ >= 0) co_await Misbehave();
    }
  }

 private:
  task::Task<void> Pause(base::Nanos duration) {
    co_await node_.scheduler().SleepUntil(node_.world().now() + duration);
  }
  bool Chance(double chance) { return node_.world().rng().Chance(chance); }
  GroupsWorld::Group& group() { return world_.groups[group_id_]; }
  std::optional<absl::string_view> instance_id() const {
    return instance_id_.has_value() ? std::optional<absl::string_view>(*instance_id_)
                                    : std::nullopt;
  }
  template <class Response, class Request>
  task::Task<std::unique_ptr<Decoded<Response>>> Ask(const Request& request, int16_t version) {
    return link_.Ask<Response>(KafkaFrame(request, version, link_.next_correlation_id()), version);
  }

  // SIM_TRACE=1 in the environment: to see what led to a failure.
  void Tell(const std::string& what) const {
    if (std::getenv("SIM_TRACE") == nullptr) return;
    std::fprintf(stderr, "%ld us: %s member %d (%s) generation %d: %s\n",
                 static_cast<long>(node_.world().now() / 1000), group_id_.c_str(), number_,
                 member_id_.c_str(), generation_, what.c_str());
  }

  // It owns nothing any more. Eager: so does a member that joins again.
  void GiveUp() {
    generation_ = -1;
    positions_.clear();
    group().now.erase(number_);
  }

  // Whether it is none. What a member meets in a broker that starts, stops or loads, and what its
  // own misbehaviour brings, is in order; anything else is not.
  bool IsNone(const char* what, int16_t code) {
    const auto error = static_cast<ErrorCode>(code);
    if (error != ErrorCode::kNone) Tell(absl::StrCat(what, ": ", ErrorName(error)));
    switch (error) {
      case ErrorCode::kNone:
        return true;
      case ErrorCode::kUnknownMemberId:
      case ErrorCode::kFencedInstanceId:
        member_id_.clear();
        GiveUp();
        return false;
      case ErrorCode::kIllegalGeneration:
      case ErrorCode::kRebalanceInProgress:
      case ErrorCode::kCoordinatorLoadInProgress:
      case ErrorCode::kCoordinatorNotAvailable:
      case ErrorCode::kNotCoordinator:
        GiveUp();
        return false;
      default:
        world_.failure = absl::StrCat(what, " of ", group_id_, ": ", ErrorName(error));
        GiveUp();
        return false;
    }
  }

  task::Task<bool> JoinAndSync() {
    Arena arena;
    JoinGroupRequest join;
    join.group_id = group_id_;
    join.session_timeout_ms = kSessionMs;
    join.rebalance_timeout_ms = kRebalanceMs;
    join.member_id = member_id_;
    join.group_instance_id = instance_id();
    join.protocol_type = "consumer";
    auto& protocol = join.protocols.Add(arena);
    protocol.name = "range";
    protocol.metadata = Bytes(base::AsBytes(subscription_));
    const auto joined = co_await Ask<JoinGroupResponse>(join, 9);
    if (joined == nullptr) co_return false;
    const JoinGroupResponse& reply = joined->body;
    if (static_cast<ErrorCode>(reply.error_code) == ErrorCode::kMemberIdRequired) {
      member_id_ = std::string(reply.member_id);
      co_return false;
    }
    if (!IsNone("JoinGroup", reply.error_code)) co_return false;
    member_id_ = std::string(reply.member_id);
    co_return co_await Sync(reply);
  }

  task::Task<bool> Sync(const JoinGroupResponse& joined) {
    Arena arena;
    SyncGroupRequest sync;
    sync.group_id = group_id_;
    sync.generation_id = joined.generation_id;
    sync.member_id = member_id_;
    sync.group_instance_id = instance_id();
    sync.protocol_type = "consumer";
    sync.protocol_name = "range";
    std::vector<std::string> shares(joined.members.size());
    if (joined.leader == member_id_ && !joined.skip_assignment) {
      for (int partition = 0; partition < kGroupsPartitions && !shares.empty(); ++partition) {
        std::string& share = shares[static_cast<size_t>(partition) % shares.size()];
        absl::StrAppend(&share, share.empty() ? "" : ",", partition);
      }
      size_t next = 0;
      for (const auto& each : joined.members) {
        auto& assignment = sync.assignments.Add(arena);
        assignment.member_id = each.member_id;
        assignment.assignment = Bytes(base::AsBytes(shares[next++]));
      }
    }
    const auto synced = co_await Ask<SyncGroupResponse>(sync, 5);
    if (synced == nullptr || !IsNone("SyncGroup", synced->body.error_code)) co_return false;
    generation_ = joined.generation_id;
    Own(base::AsText(synced->body.assignment));
    co_return true;
  }

  void Own(absl::string_view assignment) {
    auto& owners = group().owners;
    if (!owners.contains(generation_)) ++world_.generations;
    std::set<int> partitions;
    for (const absl::string_view text : absl::StrSplit(assignment, ',', absl::SkipEmpty())) {
      int partition = -1;
      if (!absl::SimpleAtoi(text, &partition)) {
        world_.failure = absl::StrCat("an assignment that nobody made: ", assignment);
        return;
      }
      const auto [owner, first] = owners[generation_].try_emplace(partition, number_);
      if (!first && owner->second != number_) {
        world_.failure =
            absl::StrCat(group_id_, ": partition ", partition, " belongs to members ",
                         owner->second, " and ", number_, " in generation ", generation_);
      }
      partitions.insert(partition);
    }
    Tell(absl::StrCat("has ", assignment));
    group().now[number_] = {generation_, partitions};
  }

  task::Task<bool> FetchOffsets() {
    Arena arena;
    OffsetFetchRequest fetch;
    fetch.group_id = group_id_;
    auto& topic = fetch.topics->Add(arena);
    topic.name = kGroupsTopic;
    const std::set<int> mine = group().now[number_].second;
    std::map<int, int64_t> least;
    for (const int partition : mine) {
      topic.partition_indexes.Add(arena) = partition;
      least[partition] = group().offsets[partition].acknowledged;
    }
    const auto fetched = co_await Ask<OffsetFetchResponse>(fetch, 7);
    if (fetched == nullptr || !IsNone("OffsetFetch", fetched->body.error_code)) co_return false;
    if (mine.empty()) co_return true;
    for (const auto& each : fetched->body.topics[0].partitions) {
      if (!IsNone("OffsetFetch", each.error_code)) co_return false;
      const int64_t offset = each.committed_offset;
      const int64_t tried = group().offsets[each.partition_index].tried;
      if (offset < least[each.partition_index] || offset > tried) {
        world_.failure =
            absl::StrCat(group_id_, ": partition ", each.partition_index, " is committed to ",
                         offset, ", acknowledged ", least[each.partition_index], ", tried ", tried);
      }
      positions_[each.partition_index] = offset;
      Tell(absl::StrCat("goes on in ", each.partition_index, " at ", offset));
    }
    co_return true;
  }

  task::Task<bool> Heartbeat() {
    HeartbeatRequest beat;
    beat.group_id = group_id_;
    beat.generation_id = generation_;
    beat.member_id = member_id_;
    beat.group_instance_id = instance_id();
    const auto reply = co_await Ask<HeartbeatResponse>(beat, 4);
    if (reply == nullptr) co_return false;
    // Commits what it has before it gives it up, as clients do.
    if (static_cast<ErrorCode>(reply->body.error_code) == ErrorCode::kRebalanceInProgress &&
        Chance(0.5)) {
      co_await Commit();
    }
    co_return IsNone("Heartbeat", reply->body.error_code);
  }

  task::Task<void> Commit() {
    if (positions_.empty()) co_return;
    Arena arena;
    OffsetCommitRequest commit;
    commit.group_id = group_id_;
    commit.generation_id_or_member_epoch = generation_;
    commit.member_id = member_id_;
    commit.group_instance_id = instance_id();
    auto& topic = commit.topics.Add(arena);
    topic.name = kGroupsTopic;
    std::map<int, int64_t> sent;
    for (auto& [partition, position] : positions_) {
      position += static_cast<int64_t>(1 + node_.world().rng().Below(5));
      sent[partition] = position;
      auto& each = topic.partitions.Add(arena);
      each.partition_index = partition;
      each.committed_offset = position;
      each.committed_metadata = "";
      int64_t& tried = group().offsets[partition].tried;
      tried = std::max(tried, position);
    }
    for (const auto& [partition, offset] : sent) {
      Tell(absl::StrCat("commits ", offset, " in ", partition));
    }
    const auto reply = co_await Ask<OffsetCommitResponse>(commit, 8);
    if (reply == nullptr) {
      // It may be served later, behind one that this generation makes on another connection: only a
      // new generation rules that out.
      GiveUp();
      co_return;
    }
    for (const auto& each : reply->body.topics[0].partitions) {
      if (!IsNone("OffsetCommit", each.error_code)) co_return;
      GroupsWorld::Committed& known = group().offsets[each.partition_index];
      const int64_t offset = sent[each.partition_index];
      // The answer may come late, when the next owner has gone on from there.
      Tell(absl::StrCat("has committed ", offset, " in ", each.partition_index));
      known.acknowledged = std::max(known.acknowledged, offset);
    }
    ++world_.commits;
  }

  task::Task<void> Misbehave() {
    const uint64_t what = node_.world().rng().Below(60);
    if (what == 0) {
      co_await Leave();
      co_await Pause(static_cast<base::Nanos>(node_.world().rng().Below(base::kNanosPerSecond)));
    } else if (what == 1) {
      Tell("stalls");
      // Stalls beyond its session, still thinking that it owns what it owned.
      co_await Pause(2 * kSessionMs * base::kNanosPerMilli);
    } else if (what == 2) {
      Tell("dies");
      // Dies; what starts in its place knows nothing. A static one has kept its partitions.
      link_.Close();
      GiveUp();
      member_id_.clear();
      co_await Pause(static_cast<base::Nanos>(node_.world().rng().Below(base::kNanosPerSecond)));
    }
  }

  task::Task<void> Leave() {
    Arena arena;
    LeaveGroupRequest leave;
    leave.group_id = group_id_;
    auto& self = leave.members.Add(arena);
    self.member_id = member_id_;
    self.group_instance_id = instance_id();
    GiveUp();
    const auto reply = co_await Ask<LeaveGroupResponse>(leave, 5);
    if (reply != nullptr && IsNone("LeaveGroup", reply->body.error_code)) {
      IsNone("LeaveGroup", reply->body.members[0].error_code);
    }
    member_id_.clear();
  }

  sim::SimNode& node_;
  GroupsWorld& world_;
  const std::string group_id_;
  const int number_;
  const std::string subscription_;
  std::optional<std::string> instance_id_;
  Link link_;
  std::string member_id_;
  int32_t generation_ = -1;
  std::map<int, int64_t> positions_;
};

}  // namespace

bool GroupsWorld::Settled(const std::string& group, int members) const {
  const auto found = groups.find(group);
  if (found == groups.end() || found->second.now.size() != static_cast<size_t>(members)) {
    return false;
  }
  std::set<int> all;
  for (const auto& [member, has] : found->second.now) {
    if (has.first != found->second.now.begin()->second.first) return false;
    all.insert(has.second.begin(), has.second.end());
  }
  return all.size() == kGroupsPartitions;
}

std::string GroupsWorld::Describe() const {
  std::string text;
  for (const auto& [id, group] : groups) {
    absl::StrAppend(&text, id, ":");
    for (const auto& [member, has] : group.now) {
      absl::StrAppend(&text, " member ", member, " generation ", has.first, " [",
                      absl::StrJoin(has.second, ","), "]");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

task::Task<void> RunGroupMember(sim::SimNode* node, std::shared_ptr<GroupsWorld> world,
                                std::string group, int number, bool is_static) {
  ++world->running;
  {
    Member member(*node, *world, std::move(group), number, is_static);
    co_await member.Run();
  }
  --world->running;
}

}  // namespace ringtail::kafka
