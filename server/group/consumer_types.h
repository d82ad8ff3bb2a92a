// What members of a consumer group (KIP-848) ask and are answered, in plain terms: without the
// bytes. Requests hold views into the caller's frame; replies own what they hold, since they cross
// cores.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/error.h"
#include "server/cluster/image.h"
#include "server/group/assignor.h"
#include "server/group/consumer_records.h"
#include "server/group/group_types.h"
#include "server/group/partition_set.h"

namespace ringtail::group {

// What a member epoch says that is not above zero.
inline constexpr int32_t kJoinEpoch = 0;
inline constexpr int32_t kLeaveEpoch = -1;
inline constexpr int32_t kLeaveStaticEpoch = -2;  // for a while: its assignment stays

// A member's record must fit into a batch; of the rest of a request there is little.
inline constexpr size_t kSubscriptionBytesMax = 512u << 10;

// Ascending, and none twice.
inline void SortTopics(std::vector<std::string>* topics) {
  std::sort(topics->begin(), topics->end());
  topics->erase(std::unique(topics->begin(), topics->end()), topics->end());
}

// The time, and the topics as they are then.
struct Moment {
  Instant at;
  const server::Image& image;
};

// What is null in the request is not told: it is as it was.
struct ConsumerHeartbeat {
  absl::string_view group_id;
  absl::string_view member_id;
  int32_t member_epoch = 0;
  std::optional<absl::string_view> instance_id;
  std::optional<absl::string_view> rack_id;
  int32_t rebalance_timeout_ms = -1;  // -1: not told
  std::optional<std::span<const absl::string_view>> topics;
  std::optional<absl::string_view> regex;
  std::optional<absl::string_view> assignor;
  std::optional<PartitionSet> owned;
  absl::string_view client_id;
  absl::string_view client_host;
  bool names_itself = false;  // version 1: the client has made the member id
};

struct ConsumerHeartbeatReply {
  base::Error error = base::Error::kNone;
  std::string message;  // with an error: what is special about it, or empty
  std::string member_id;
  int32_t member_epoch = 0;
  std::optional<PartitionSet> assignment;  // nullopt: as it was
};

struct DescribedConsumer {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  int32_t epoch = 0;
  MemberState state = MemberState::kStable;
  std::string client_id;
  std::string client_host;
  std::vector<std::string> topics;
  std::optional<std::string> regex;
  PartitionSet assigned;
  PartitionSet target;
  bool classic = false;  // speaks the classic protocol
};

struct DescribedConsumerGroup {
  base::Error error = base::Error::kNone;
  std::string message;
  absl::string_view state;
  int32_t epoch = 0;
  int32_t target_epoch = 0;
  absl::string_view assignor;
  std::vector<DescribedConsumer> members;
};

}  // namespace ringtail::group
