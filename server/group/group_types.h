// What is asked of a consumer group and what is answered: Kafka's classic protocol in plain terms,
// without its bytes. Requests hold views into the caller's frame; replies own what they hold, since
// they cross cores.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/error.h"
#include "engine/base/types.h"

namespace ringtail::group {

// Both clocks, as of the call: deadlines count in one, what is recorded in the other.
struct Instant {
  base::Nanos now = 0;
  int64_t wall_ms = 0;
};

inline base::Nanos After(Instant at, int64_t ms) { return at.now + ms * base::kNanosPerMilli; }

// Who a request says it is. KIP-345: a static member is known by its instance id, whatever member
// id it has at the moment.
struct MemberName {
  absl::string_view member_id;
  std::optional<absl::string_view> instance_id;
};

struct ProtocolView {
  absl::string_view name;
  absl::string_view metadata;
};

struct JoinRequest {
  absl::string_view group_id;
  MemberName member;
  absl::string_view client_id;
  absl::string_view client_host;
  int32_t session_timeout_ms = 0;
  int32_t rebalance_timeout_ms = 0;
  absl::string_view protocol_type;
  std::span<const ProtocolView> protocols;  // as preferred
  bool takes_member_id = false;             // knows MEMBER_ID_REQUIRED (KIP-394)
  bool skips_assignment = false;            // knows SkipAssignment (KIP-814)
  absl::string_view reason;
};

struct JoinedMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string metadata;  // of the chosen protocol
};

struct JoinReply {
  base::Error error = base::Error::kNone;
  int32_t generation = -1;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  std::string leader;
  std::string member_id;
  bool skip_assignment = false;
  std::vector<JoinedMember> members;  // for the leader alone
};

struct AssignmentView {
  absl::string_view member_id;
  absl::string_view assignment;
};

struct SyncRequest {
  absl::string_view group_id;
  MemberName member;
  int32_t generation = -1;
  std::optional<absl::string_view> protocol_type;
  std::optional<absl::string_view> protocol_name;
  std::span<const AssignmentView> assignments;  // from the leader alone
};

struct SyncReply {
  base::Error error = base::Error::kNone;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  std::string assignment;
};

struct HeartbeatRequest {
  absl::string_view group_id;
  MemberName member;
  int32_t generation = -1;
};

struct LeaveRequest {
  absl::string_view group_id;
  std::span<const MemberName> members;
};

struct LeaveReply {
  base::Error error = base::Error::kNone;
  std::vector<base::Error> members;  // as many as the request names
};

struct OffsetToCommit {
  absl::string_view topic;
  int32_t partition = 0;
  int64_t offset = -1;
  int32_t leader_epoch = -1;
  absl::string_view metadata;
  base::Error error = base::Error::kNone;  // set beforehand: it is not committed
};

struct CommitRequest {
  absl::string_view group_id;
  MemberName member;
  int32_t generation = -1;
  int64_t retention_ms = -1;         // of old clients; -1: the broker's
  bool knows_member_epochs = false;  // `generation` may be one (version 9 and later)
};

// A committed offset. `offset` -1: none.
struct CommittedOffset {
  int64_t offset = -1;
  int32_t leader_epoch = -1;
  std::string metadata;
  int64_t commit_time_ms = -1;
  int64_t expire_time_ms = -1;  // -1: by the broker's retention
  base::Offset record{-1};      // of the record that says so
};

struct OffsetToDelete {
  absl::string_view topic;
  int32_t partition = 0;
  base::Error error = base::Error::kNone;  // set beforehand: it is not looked at
};

struct OffsetQuery {
  absl::string_view topic;
  int32_t partition = 0;
};

struct FetchOffsetsRequest {
  absl::string_view group_id;
  // Of a member of a consumer group that wants to know if it still is one.
  std::optional<absl::string_view> member_id;
  int32_t member_epoch = -1;
  std::optional<std::span<const OffsetQuery>> queries;  // nullopt: all
};

struct FetchedOffset {
  std::string topic;
  int32_t partition = 0;
  CommittedOffset committed;
};

struct FetchOffsetsReply {
  base::Error error = base::Error::kNone;
  std::vector<FetchedOffset> offsets;  // as asked for, or all by topic and partition
};

struct DescribedMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::string metadata;    // while the group is stable
  std::string assignment;  // while the group is stable
};

struct DescribedGroup {
  base::Error error = base::Error::kNone;
  absl::string_view state;
  std::string protocol_type;
  std::string protocol;
  std::vector<DescribedMember> members;
};

// As ListGroups names the protocols.
inline constexpr absl::string_view kClassicType = "classic";
inline constexpr absl::string_view kConsumerType = "consumer";

struct ListedGroup {
  std::string id;
  absl::string_view type;
  std::string protocol_type;
  absl::string_view state;
};

struct GroupLimits {
  int64_t initial_rebalance_delay_ms = 3'000;  // group.initial.rebalance.delay.ms
  size_t members_max = 10'000;                 // group.max.size: of one group
};

enum class Assignor : uint8_t { kUniform, kRange };  // assignor.h

// Which way a group with members may change its protocol (group_conversion.h).
enum class MigrationPolicy : uint8_t { kBidirectional, kUpgrade, kDowngrade, kDisabled };

inline bool MayUpgrade(MigrationPolicy policy) {
  return policy == MigrationPolicy::kBidirectional || policy == MigrationPolicy::kUpgrade;
}
inline bool MayDowngrade(MigrationPolicy policy) {
  return policy == MigrationPolicy::kBidirectional || policy == MigrationPolicy::kDowngrade;
}

// Of groups of the next-generation protocol (KIP-848), whose members have no say in these.
struct ConsumerOptions {
  int32_t session_timeout_ms = 45'000;    // group.consumer.session.timeout.ms
  int32_t heartbeat_interval_ms = 5'000;  // group.consumer.heartbeat.interval.ms
  size_t members_max = 10'000;            // group.consumer.max.size
  // group.consumer.assignors: the first is that of groups whose members name none.
  std::vector<Assignor> assignors = {Assignor::kUniform, Assignor::kRange};
  // group.consumer.migration.policy
  MigrationPolicy migration_policy = MigrationPolicy::kBidirectional;
};

struct GroupOptions {
  GroupLimits limits;
  ConsumerOptions consumer;
  int32_t session_timeout_min_ms = 6'000;                        // group.min.session.timeout.ms
  int32_t session_timeout_max_ms = 1'800'000;                    // group.max.session.timeout.ms
  int64_t offsets_retention_ms = int64_t{7} * 24 * 3600 * 1000;  // offsets.retention.minutes
  int64_t offsets_check_ms = 600'000;       // offsets.retention.check.interval.ms
  size_t offset_metadata_bytes_max = 4096;  // offset.metadata.max.bytes
  size_t groups_max = 100'000;              // of a core
  size_t bytes_max = 256u << 20;            // of members and offsets, of a core
};

// Memory of all groups of a core: what members and offsets hold.
class Budget {
 public:
  explicit Budget(size_t bytes_max) : bytes_max_(bytes_max) {}
  bool Fits(size_t bytes) const { return bytes <= bytes_max_ && used_ <= bytes_max_ - bytes; }
  // What is recorded already must be held, whether it fits or not.
  void Take(size_t bytes) { used_ += bytes; }
  void Give(size_t bytes) { used_ -= bytes; }
  size_t used() const { return used_; }
  size_t bytes_max() const { return bytes_max_; }

 private:
  size_t bytes_max_;
  size_t used_ = 0;
};

}  // namespace ringtail::group
