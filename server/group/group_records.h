// What __consumer_offsets holds: Kafka's record formats of groups and of committed offsets, read
// and written. A record's key begins with its kind, its value with its version, an int16 each; the
// fields are those of OffsetCommitKey, OffsetCommitValue, GroupMetadataKey and GroupMetadataValue
// in the jar of Kafka's group coordinator (common/message/, 4.1). Written are the versions that
// Kafka 4.1 writes; read are all, flexible ones included.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "server/group/consumer_records.h"
#include "server/group/group_types.h"
#include "server/group/record_text.h"

namespace ringtail::group {

struct OffsetKey {
  std::string group;
  std::string topic;
  int32_t partition = 0;
  bool operator==(const OffsetKey&) const = default;
};

struct GroupKey {
  std::string group;
  bool operator==(const GroupKey&) const = default;
};

// Of a kind that is not known here: of share groups, of streams groups.
struct UnknownKey {
  int16_t kind = 0;
  bool operator==(const UnknownKey&) const = default;
};

using RecordKey = std::variant<OffsetKey, GroupKey, ConsumerKey, UnknownKey>;

struct MemberRecord {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  int32_t rebalance_timeout_ms = -1;  // -1 (version 0): as long as a session
  int32_t session_timeout_ms = 0;
  std::string subscription;
  std::string assignment;
  bool operator==(const MemberRecord&) const = default;
};

struct GroupRecord {
  std::string protocol_type;
  int32_t generation = 0;
  std::optional<std::string> protocol;
  std::optional<std::string> leader;
  int64_t state_time_ms = -1;
  std::vector<MemberRecord> members;
  bool operator==(const GroupRecord&) const = default;
};

std::string EncodeKey(const OffsetKey& key);
std::string EncodeKey(const GroupKey& key);
// Version 3; version 1, which alone has room for it, where the offset says when it expires.
std::string EncodeOffset(const CommittedOffset& committed);
// Version 3.
std::string EncodeGroup(const GroupRecord& group);

// DataLoss where the bytes are not what they say.
absl::StatusOr<RecordKey> DecodeKey(base::ByteView key);
// `record` is left as it is by default: the caller knows it.
absl::StatusOr<CommittedOffset> DecodeOffset(base::ByteView value);
absl::StatusOr<GroupRecord> DecodeGroup(base::ByteView value);

// --- What consumers tell each other inside the classic protocol, as protocol type "consumer".

inline constexpr absl::string_view kConsumerProtocolType = "consumer";

using NamedPartition = std::pair<std::string, int32_t>;

// ConsumerProtocolSubscription, all versions: a member's metadata.
struct EmbeddedSubscription {
  int16_t version = 0;
  std::vector<std::string> topics;
  std::vector<NamedPartition> owned;  // from version 1 on; of eager members none
  std::optional<std::string> rack;    // from version 3 on
};

// ConsumerProtocolAssignment, all versions.
struct EmbeddedAssignment {
  std::vector<NamedPartition> partitions;  // in its order
  bool has_user_data = false;              // of an assignor of its own kind
};

// nullopt: the bytes are something else.
std::optional<EmbeddedSubscription> DecodeSubscription(absl::string_view metadata);
std::optional<EmbeddedAssignment> DecodeAssignment(absl::string_view assignment);
// `partitions` has those of a topic one after the other. In the version of the member's
// subscription, as far as that is known.
std::string EncodeAssignment(const std::vector<NamedPartition>& partitions, int16_t version);

}  // namespace ringtail::group
