// The records of consumer groups (KIP-848) in __consumer_offsets, in Kafka's formats: the messages
// ConsumerGroup*Key and ConsumerGroup*Value in the jar of Kafka's group coordinator
// (common/message/, 4.1). A record's key begins with its kind, its value with its version, an int16
// each; all values are of version 0, which is flexible.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "server/group/partition_set.h"

namespace ringtail::group {

enum class ConsumerRecord : int16_t {
  kGroup = 3,              // ConsumerGroupMetadata
  kPartitionMetadata = 4,  // ConsumerGroupPartitionMetadata: until Kafka 4.0; never written here
  kMember = 5,             // ConsumerGroupMemberMetadata
  kTargetEpoch = 6,        // ConsumerGroupTargetAssignmentMetadata
  kTargetMember = 7,       // ConsumerGroupTargetAssignmentMember
  kCurrent = 8,            // ConsumerGroupCurrentMemberAssignment
  kRegex = 16,             // ConsumerGroupRegularExpression
};

bool IsConsumerRecord(int16_t kind);
// Whether its key names a member or an expression besides the group.
bool HasName(ConsumerRecord kind);

struct ConsumerKey {
  ConsumerRecord kind = ConsumerRecord::kGroup;
  std::string group;
  std::string name;  // the member's id, or the expression; else empty
  bool operator==(const ConsumerKey&) const = default;
};

struct ConsumerGroupValue {
  int32_t epoch = 0;
  // Of all topics that the group subscribes to, as they were then. Whoever wrote it may have
  // another way to hash: then the first look at the topics begins an epoch.
  int64_t metadata_hash = 0;
  bool operator==(const ConsumerGroupValue&) const = default;
};

// Of a member that speaks the classic protocol (online upgrade).
struct ClassicMetadata {
  int32_t session_timeout_ms = 0;
  std::vector<std::pair<std::string, std::string>> protocols;  // name and metadata, as preferred
  bool operator==(const ClassicMetadata&) const = default;
};

struct ConsumerMemberValue {
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  std::string client_id;
  std::string client_host;
  std::vector<std::string> topics;  // ascending
  std::optional<std::string> regex;
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::string> assignor;
  std::optional<ClassicMetadata> classic;
  bool operator==(const ConsumerMemberValue&) const = default;
};

enum class MemberState : int8_t {
  kStable = 0,                // has its target assignment
  kUnrevokedPartitions = 1,   // is to give up partitions, and has not said that it did
  kUnreleasedPartitions = 2,  // waits for partitions that others still own
};

struct CurrentAssignmentValue {
  int32_t epoch = 0;
  int32_t previous_epoch = 0;
  MemberState state = MemberState::kStable;
  PartitionSet assigned;
  PartitionSet revoking;  // still owned, and to be given up
  bool operator==(const CurrentAssignmentValue&) const = default;
};

struct RegexValue {
  std::vector<std::string> topics;  // that it matches, ascending
  int64_t version = 0;              // of the catalog then
  int64_t time_ms = -1;
  bool operator==(const RegexValue&) const = default;
};

std::string EncodeKey(const ConsumerKey& key);
std::string EncodeConsumerGroup(const ConsumerGroupValue& group);
std::string EncodeConsumerMember(const ConsumerMemberValue& member);
std::string EncodeTargetEpoch(int32_t epoch);
std::string EncodeTargetMember(const PartitionSet& partitions);
std::string EncodeCurrentAssignment(const CurrentAssignmentValue& current);
std::string EncodeRegex(const RegexValue& regex);

// DataLoss where the bytes are not what they say.
absl::StatusOr<ConsumerGroupValue> DecodeConsumerGroup(base::ByteView value);
absl::StatusOr<ConsumerMemberValue> DecodeConsumerMember(base::ByteView value);
absl::StatusOr<int32_t> DecodeTargetEpoch(base::ByteView value);
absl::StatusOr<PartitionSet> DecodeTargetMember(base::ByteView value);
absl::StatusOr<CurrentAssignmentValue> DecodeCurrentAssignment(base::ByteView value);
absl::StatusOr<RegexValue> DecodeRegex(base::ByteView value);

// What the records of one group say, taken one after the other.
struct ConsumerGroupImage {
  std::optional<ConsumerGroupValue> group;
  int32_t target_epoch = 0;
  std::map<std::string, ConsumerMemberValue, std::less<>> members;
  std::map<std::string, PartitionSet, std::less<>> targets;
  std::map<std::string, CurrentAssignmentValue, std::less<>> current;
  std::map<std::string, RegexValue, std::less<>> regexes;

  // nullopt: a tombstone. DataLoss: the value cannot be read.
  absl::Status Apply(const ConsumerKey& key, std::optional<base::ByteView> value);
};

}  // namespace ringtail::group
