// One consumer group of the classic protocol: its members, its generation, its state. A machine
// without a kernel: whoever owns it tells it the time, gives it the requests in order, and appends
// what it wants recorded. Lives on the core that leads its partition of __consumer_offsets.
//
//   Empty -> PreparingRebalance -> CompletingRebalance -> Stable
//
// PreparingRebalance gathers JoinGroups until all known members have joined or their time is over;
// then a new generation begins and all are answered. CompletingRebalance gathers SyncGroups until
// the leader's brings the assignments and these are recorded; then all are answered. A member that
// comes, goes or changes its subscription leads back to PreparingRebalance. Rules and answers are
// those of Kafka 4.1 (KIP-62, KIP-134, KIP-345, KIP-394, KIP-814).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/error.h"
#include "engine/base/types.h"
#include "server/group/group_records.h"
#include "server/group/group_types.h"
#include "server/group/pending.h"

namespace ringtail::group {

enum class GroupState : uint8_t {
  kEmpty,
  kPreparingRebalance,
  kCompletingRebalance,
  kStable,
  kDead,  // removed, or its partition was: all requests are refused
};

// As DescribeGroups and ListGroups say it.
absl::string_view StateName(GroupState state);

using JoinPending = Pending<JoinReply>;
using SyncPending = Pending<SyncReply>;

struct GroupCounters {
  uint64_t rebalances = 0;       // generations that began
  uint64_t members_expired = 0;  // by their session, or by not coming back in time
};

// A group's members and what they have, as it goes from one protocol to the other.
struct GroupImage {
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    int32_t rebalance_timeout_ms = 0;
    int32_t session_timeout_ms = 0;
    std::vector<std::pair<std::string, std::string>> protocols;  // name and metadata, as preferred
    std::string subscription;  // the metadata of the group's protocol
    std::string assignment;
  };
  std::string protocol_type;
  int32_t generation = 0;
  std::vector<Member> members;
};

class Group {
 public:
  // A state that is to be recorded; its owner answers with Stored, in the order of TakeStore.
  struct Store {
    enum class What : uint8_t { kAssignments, kEmpty, kStaticMember, kAdopted };
    What what = What::kEmpty;
    GroupRecord record;
    // kStaticMember: whose JoinGroup waits for it.
    std::string member_id;
    std::string leader;  // as the group's leader is to be told
    bool skips_assignment = false;
  };

  // `limits`, `budget` and `counters` outlive it.
  Group(std::string id, const GroupLimits& limits, Budget& budget, GroupCounters& counters,
        Instant at);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // --- Requests. Join and Sync are answered at once or later.
  void Join(const JoinRequest& request, JoinPending* pending, Instant at);
  void Sync(const SyncRequest& request, SyncPending* pending, Instant at);
  base::Error Heartbeat(const HeartbeatRequest& request, Instant at);
  base::Error Leave(const MemberName& member, Instant at);
  // Whether this member may commit now; counts as a heartbeat.
  base::Error AdmitCommit(const CommitRequest& request, Instant at);
  DescribedGroup Describe() const;

  // --- Its owner's.
  // What is recorded of it, at a start. Members have a session from now on.
  void Restore(GroupRecord record, Instant at);
  // A new one takes over what was a group of the other protocol: its members are to join again, so
  // that one of them assigns. What is recorded of that has no leader: with such a record Restore
  // has them join, too.
  void Adopt(GroupImage image, Instant at);
  GroupImage Image() const;
  // What is to be appended now, one after the other.
  std::optional<Store> TakeStore();
  // Of a store taken before: it is durable, or was not appended.
  void Stored(const Store& store, base::Error error, Instant at);
  // What is due by now. To be called again at next_deadline() at the latest.
  void Tick(Instant at);
  base::Nanos next_deadline() const;
  // Nobody may use it any more; all that wait are answered.
  void Die(base::Error error);

  const std::string& id() const { return id_; }
  GroupState state() const { return state_; }
  int32_t generation() const { return generation_; }
  const std::string& protocol_type() const { return protocol_type_; }
  size_t member_count() const { return members_.size(); }
  // Nobody is in it or about to be.
  bool unused() const {
    return state_ == GroupState::kEmpty && members_.empty() && announced_.empty();
  }
  // Since when it is in its state, as far as that is recorded; -1: never said.
  int64_t state_time_ms() const { return state_time_ms_; }
  // What its members subscribe to; nullopt: that is not known, or it is no consumer group.
  std::optional<std::set<std::string>> SubscribedTopics() const;

 private:
  struct Protocol {
    std::string name;
    std::string metadata;
  };
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    int32_t session_timeout_ms = 0;
    int32_t rebalance_timeout_ms = 0;
    std::vector<Protocol> protocols;
    std::string assignment;
    base::Nanos session_end = base::kNever;
    bool is_new = false;  // not yet of any generation
    bool joining = false;
    JoinPending* join = nullptr;  // of a joining member whose peer is still there
    bool syncing = false;
    SyncPending* sync = nullptr;
    bool sync_owed = false;  // of this generation
    size_t bytes = 0;        // charged
  };
  using Announced = std::map<std::string, base::Nanos, std::less<>>;
  // What one of them is charged: a prefix of 255 bytes at most, and the map's node.
  static constexpr size_t kAnnouncedBytes = 384;
  using Members = std::map<std::string, std::unique_ptr<Member>, std::less<>>;

  // --- group.cc: what requests ask for.
  void JoinNew(const JoinRequest& request, JoinPending* pending, Instant at);
  void JoinKnown(const JoinRequest& request, JoinPending* pending, Instant at);
  void JoinStatic(const JoinRequest& request, JoinPending* pending, Instant at);
  void Withdraw(Announced::iterator announced);
  bool HasRoomFor(const JoinRequest& request) const;
  bool SupportsProtocols(const JoinRequest& request) const;
  base::Error CheckMember(const MemberName& member) const;
  void AddMember(const JoinRequest& request, std::string member_id, JoinPending* pending,
                 Instant at);
  void UpdateMember(const JoinRequest& request, Member* member, JoinPending* pending, Instant at);
  JoinReply CurrentGeneration(const Member& member, bool as_leader) const;

  // --- group_rebalance.cc: what follows from them.
  Member* Find(absl::string_view member_id) const;
  Member* FindStatic(absl::string_view instance_id) const;
  void SetProtocols(const JoinRequest& request, Member* member);
  void StartJoining(Member* member, JoinPending* pending);
  void AnswerJoin(Member* member, JoinReply reply);
  void AnswerSync(Member* member, base::Error error);
  SyncReply SyncReplyOf(const Member& member, base::Error error) const;
  void ExtendSession(Member* member, Instant at);
  void RemoveMember(const std::string& member_id);
  void RemoveAndRebalance(const std::string& member_id, Instant at);
  void MoveTo(GroupState state, Instant at);
  void RebalanceOrComplete(Instant at);
  void PrepareRebalance(Instant at);
  void MaybeCompleteJoin(Instant at);
  bool AllJoined() const;
  void EndInitialDelay(Instant at);
  void CompleteJoin(Instant at);
  bool ElectJoinedLeader();
  void BeginGeneration(Instant at);
  void ExpireSync(Instant at);
  void ForgetSyncs(base::Error error, Instant at);
  std::optional<std::string> ChooseProtocol() const;
  int64_t RebalanceTimeoutMs() const;
  std::vector<JoinedMember> JoinedMembers() const;
  const std::string& MetadataOf(const Member& member, absl::string_view protocol) const;
  GroupRecord ToRecord() const;
  void Charge(Member* member);

  const std::string id_;
  const GroupLimits& limits_;
  Budget& budget_;
  GroupCounters& counters_;
  size_t own_bytes_ = 0;

  GroupState state_ = GroupState::kEmpty;
  int64_t state_time_ms_ = -1;
  int32_t generation_ = 0;
  std::string protocol_type_;  // empty: of offsets alone so far
  std::optional<std::string> protocol_;
  std::string leader_;  // a member's id, or empty
  Members members_;
  std::map<std::string, std::string, std::less<>> static_members_;  // instance id -> member id
  // Ids that were given out (MEMBER_ID_REQUIRED) until they are used, and when they lapse.
  Announced announced_;

  base::Nanos join_deadline_ = base::kNever;
  bool initial_delay_ = false;  // join_deadline_ ends it
  int64_t initial_left_ms_ = 0;
  bool joined_meanwhile_ = false;
  base::Nanos sync_deadline_ = base::kNever;
  int32_t storing_generation_ = -1;  // whose assignments are being recorded
  std::vector<Store> stores_;
};

}  // namespace ringtail::group
