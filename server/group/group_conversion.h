// A group with members goes from the classic protocol to that of KIP-848 and back, as its members
// do one by one: what is known of it in one shape, in the other.
//
// Upgrade: a member of KIP-848's protocol joins a classic group of consumers. The group becomes a
// consumer group, whose epoch is the generation, and the members that were there keep what they
// were assigned, and their protocol. Downgrade: the last member of KIP-848's protocol has gone. The
// group becomes a classic one whose generation is the epoch that its members have, and rebalances.
// Generations and epochs are one row of numbers, which never goes back.
//
// Rules and texts are those of Kafka 4.1 (group.consumer.migration.policy).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/error.h"
#include "server/cluster/image.h"
#include "server/group/consumer_records.h"
#include "server/group/consumer_types.h"
#include "server/group/group.h"
#include "server/group/group_records.h"

namespace ringtail::group {

// Those that exist, ascending.
PartitionSet ToPartitions(const std::vector<NamedPartition>& partitions,
                          const server::Image& image);
// Those that exist, for a member whose subscription is `metadata`.
std::string ToAssignment(const PartitionSet& partitions, absl::string_view metadata,
                         const server::Image& image);

// kGroupNotFound with the reason: the group stays what it is. An empty one never does.
base::Failure ToConsumerGroup(absl::string_view group_id, const GroupImage& classic,
                              const ConsumerOptions& options, const server::Image& image,
                              ConsumerGroupImage* consumer);
// All members of `consumer` speak the classic protocol.
GroupImage ToClassicGroup(const ConsumerGroupImage& consumer, const server::Image& image);

}  // namespace ringtail::group
