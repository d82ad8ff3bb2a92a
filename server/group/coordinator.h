// The groups of one core: a shard for each partition of __consumer_offsets that lives on it.
// Requests may come to any core's coordinator, which passes them to the owner of the group. One per
// core, beside its Broker, which outlives it; a peer's is reached by core::CallOn alone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/task/sync.h"
#include "server/broker.h"
#include "server/group/group_shard.h"
#include "server/request_context.h"

namespace ringtail::group {

// What the admin pages show of a committed offset.
struct OffsetStatus {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = -1;
};

struct GroupStatus {
  std::string id;
  absl::string_view type;
  std::string protocol_type;
  absl::string_view state;
  int32_t generation = 0;
  size_t members = 0;
  size_t offsets_omitted = 0;  // because there are too many
  std::vector<OffsetStatus> offsets;
};

class Coordinator {
 public:
  // All outlive it. Registers itself in `peers`.
  Coordinator(server::Broker& broker, server::BrokerGroup& peers, const GroupOptions& options);
  ~Coordinator();
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Makes __consumer_offsets where it is missing.
  task::Task<base::Error> EnsureTopic();
  // Without it there are no groups.
  bool HasTopic() const;
  // The core that serves the group. kCoordinatorNotAvailable: there is no __consumer_offsets yet.
  base::Error Locate(absl::string_view group_id, base::CoreId* core) const;

  // --- Requests. Join and Sync may wait for other members, until context.cancel is set.
  task::Task<JoinReply> Join(const server::RequestContext& context, const JoinRequest& request);
  task::Task<SyncReply> Sync(const server::RequestContext& context, const SyncRequest& request);
  task::Task<base::Error> Heartbeat(const HeartbeatRequest& request);
  task::Task<LeaveReply> Leave(const LeaveRequest& request);
  // Sets the errors of those that were not committed.
  task::Task<void> Commit(const CommitRequest& request, std::span<OffsetToCommit> offsets);
  task::Task<FetchOffsetsReply> FetchOffsets(const FetchOffsetsRequest& request);
  task::Task<DescribedGroup> Describe(absl::string_view group_id);
  // Waits until what it led to is durable, or context.cancel is set.
  task::Task<ConsumerHeartbeatReply> HeartbeatConsumer(const server::RequestContext& context,
                                                       ConsumerHeartbeat request);
  task::Task<DescribedConsumerGroup> DescribeConsumer(absl::string_view group_id);
  // Of this core or of all. kCoordinatorLoading while one of the partitions is being read.
  task::Task<base::Error> List(bool all_cores, std::vector<ListedGroup>* groups);
  task::Task<base::Error> DeleteGroup(absl::string_view group_id);
  task::Task<base::Error> DeleteOffsets(absl::string_view group_id,
                                        std::span<OffsetToDelete> offsets);

  // --- Of this core.
  // With at most `offsets_max` offsets in all.
  std::vector<GroupStatus> Status(size_t offsets_max) const;
  const GroupOptions& options() const { return options_; }
  const CoordinatorCounters& counters() const { return counters_; }
  size_t group_count() const { return group_count_; }
  size_t consumer_group_count() const;  // of KIP-848's protocol
  size_t member_count() const;
  size_t memory_bytes() const { return budget_.used(); }
  size_t loading_count() const;

 private:
  template <class Reply>
  class Waiting;

  Coordinator& PeerOn(base::CoreId core) const { return *peers_.coordinators[core.value()]; }
  // The group's shard if it is this core's and ready; else why not.
  GroupShard* ShardOf(absl::string_view group_id, base::Error* error) const;
  template <class Reply, class Request>
  using Start = void (GroupShard::*)(const Request&, Pending<Reply>*);
  // On the owner's core; ends early when cancelled.
  template <class Reply, class Request>
  task::Task<Reply> AskHere(const Request& request, Start<Reply, Request> start,
                            partition::CancelToken* cancel);
  template <class Reply, class Request>
  task::Task<void> AskOn(base::CoreId core, const Request& request, Start<Reply, Request> start,
                         Reply* reply, partition::CancelToken* cancel, partition::FetchWait* done,
                         task::Latch* latch);
  template <class Reply, class Request>
  task::Task<Reply> AskAnywhere(const server::RequestContext& context, const Request& request,
                                Start<Reply, Request> start);
  // What `ask` answers, at once or as a task, for the group's shard on its core; or why that cannot
  // be asked.
  template <class Reply, class Ask>
  task::Task<Reply> OnShard(absl::string_view group_id, Ask ask);
  task::Task<base::Error> ListHere(std::vector<ListedGroup>* groups) const;

  static void OnImage(void* self, const server::ImagePtr& before);
  void TakeImage(const server::ImagePtr& before);
  static void OnFirstGroup(void* self);
  std::vector<GroupShard*> Shards() const;
  task::Task<void> ExpiryLoop();
  task::Task<void> ForgetTopics(std::vector<std::string> topics);

  server::Broker& broker_;
  server::BrokerGroup& peers_;
  const GroupOptions options_;
  Budget budget_;
  CoordinatorCounters counters_;
  size_t group_count_ = 0;
  // By partition. A shard stays until the end: tasks that append may refer to it.
  std::map<partition::PartitionId, std::unique_ptr<GroupShard>> shards_;
  bool expiring_ = false;
};

}  // namespace ringtail::group
