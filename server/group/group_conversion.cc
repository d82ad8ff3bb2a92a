#include "server/group/group_conversion.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ringtail::group {

using base::Error;
using base::Failure;

PartitionSet ToPartitions(const std::vector<NamedPartition>& partitions,
                          const server::Image& image) {
  PartitionSet found;
  for (const auto& [name, partition] : partitions) {
    const server::TopicImage* topic = image.FindByName(name);
    if (topic == nullptr || partition < 0 ||
        static_cast<size_t>(partition) >= topic->partitions.size()) {
      continue;
    }
    found.push_back({topic->id, partition});
  }
  Normalize(&found);
  return found;
}

std::string ToAssignment(const PartitionSet& partitions, absl::string_view metadata,
                         const server::Image& image) {
  std::vector<NamedPartition> named;
  ForEachTopic(partitions, [&](const base::Uuid& id, auto begin, auto end) {
    const server::TopicImage* topic = image.FindById(id);
    if (topic == nullptr) return;  // deleted, and not given up yet
    for (auto each = begin; each != end; ++each) named.emplace_back(topic->name, each->partition);
  });
  const auto subscription = DecodeSubscription(metadata);
  return EncodeAssignment(named, subscription.has_value() ? subscription->version : int16_t{0});
}

Failure ToConsumerGroup(absl::string_view group_id, const GroupImage& classic,
                        const ConsumerOptions& options, const server::Image& image,
                        ConsumerGroupImage* consumer) {
  const auto refused = [&](absl::string_view why) {
    return Failure{Error::kGroupNotFound, absl::StrCat("Cannot upgrade classic group ", group_id,
                                                       " to consumer group because ", why, ".")};
  };
  consumer->group = ConsumerGroupValue{.epoch = classic.generation};
  consumer->target_epoch = classic.generation;
  if (classic.members.empty()) return {};
  if (!MayUpgrade(options.migration_policy)) return refused("online upgrade is disabled");
  if (classic.protocol_type != kConsumerProtocolType) {
    return refused("the group does not use the consumer embedded protocol");
  }
  if (classic.members.size() > options.members_max) {
    return refused("the group size exceeds the consumer group maximum size");
  }
  for (const GroupImage::Member& each : classic.members) {
    auto subscription = DecodeSubscription(each.subscription);
    // One that has never had a SyncGroup answered has none.
    auto assignment =
        each.assignment.empty() ? EmbeddedAssignment() : DecodeAssignment(each.assignment);
    if (!subscription.has_value() || !assignment.has_value()) {
      return refused("the embedded consumer protocol is malformed");
    }
    if (assignment->has_user_data) {
      return refused(
          "an unsupported custom assignor is in use. Please refer to the documentation or switch "
          "to a default assignor before re-attempting the upgrade");
    }
    PartitionSet assigned = ToPartitions(assignment->partitions, image);
    SortTopics(&subscription->topics);
    consumer->members[each.id] = {
        .instance_id = each.instance_id,
        .rack_id = std::move(subscription->rack),
        .client_id = each.client_id,
        .client_host = each.client_host,
        .topics = std::move(subscription->topics),
        .rebalance_timeout_ms = each.rebalance_timeout_ms,
        .classic = ClassicMetadata{.session_timeout_ms = each.session_timeout_ms,
                                   .protocols = each.protocols}};
    consumer->targets[each.id] = assigned;
    consumer->current[each.id] = {.epoch = classic.generation,
                                  .previous_epoch = classic.generation,
                                  .assigned = std::move(assigned)};
  }
  return {};
}

GroupImage ToClassicGroup(const ConsumerGroupImage& consumer, const server::Image& image) {
  // Nobody has the group's epoch while it has no target assignment: it may begin anew.
  GroupImage classic{.protocol_type = std::string(kConsumerProtocolType),
                     .generation = consumer.target_epoch};
  for (const auto& [id, value] : consumer.members) {
    const auto& protocols = value.classic->protocols;
    classic.members.push_back({.id = id,
                               .instance_id = value.instance_id,
                               .client_id = value.client_id,
                               .client_host = value.client_host,
                               .rebalance_timeout_ms = value.rebalance_timeout_ms,
                               .session_timeout_ms = value.classic->session_timeout_ms,
                               .protocols = protocols,
                               .subscription = protocols.front().second,
                               .assignment = ToAssignment(consumer.current.at(id).assigned,
                                                          protocols.front().second, image)});
  }
  return classic;
}

}  // namespace ringtail::group
