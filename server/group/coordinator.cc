#include "server/group/coordinator.h"

#include <type_traits>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "server/cluster/internal_topics.h"
#include "server/group/partition_of.h"

namespace ringtail::group {

using base::Error;

// --- Where groups live.

Coordinator::Coordinator(server::Broker& broker, server::BrokerGroup& peers,
                         const GroupOptions& options)
    : broker_(broker), peers_(peers), options_(options), budget_(options.bytes_max) {
  const uint32_t cores = broker.core().group().count();
  if (peers_.coordinators.size() < cores) peers_.coordinators.resize(cores);
  peers_.coordinators[broker.core().id().value()] = this;
  broker_.set_on_image(&Coordinator::OnImage, this);
}

Coordinator::~Coordinator() = default;

task::Task<Error> Coordinator::EnsureTopic() {
  if (broker_.image()->FindByName(server::kOffsetsTopic) != nullptr) co_return Error::kNone;
  const server::ProposalResult made = co_await broker_.CreateTopic(server::OffsetsTopicProposal());
  if (broker_.image()->FindByName(server::kOffsetsTopic) != nullptr) co_return Error::kNone;
  RT_LOG_EVERY(10, kError, "{} cannot be made: {}", server::kOffsetsTopic, made.failure.message);
  co_return Error::kCoordinatorNotAvailable;
}

bool Coordinator::HasTopic() const {
  return broker_.image() != nullptr &&
         broker_.image()->FindByName(server::kOffsetsTopic) != nullptr;
}

Error Coordinator::Locate(absl::string_view group_id, base::CoreId* core) const {
  if (broker_.image() == nullptr) return Error::kCoordinatorNotAvailable;
  const server::TopicImage* topic = broker_.image()->FindByName(server::kOffsetsTopic);
  if (topic == nullptr) return Error::kCoordinatorNotAvailable;
  const int32_t partition = PartitionOf(group_id, static_cast<int32_t>(topic->partitions.size()));
  *core = broker_.CoreOf(topic->partitions[static_cast<size_t>(partition)]);
  return Error::kNone;
}

GroupShard* Coordinator::ShardOf(absl::string_view group_id, Error* error) const {
  const server::TopicImage* topic = broker_.image()->FindByName(server::kOffsetsTopic);
  *error = Error::kNotCoordinator;
  if (topic == nullptr) return nullptr;
  const int32_t partition = PartitionOf(group_id, static_cast<int32_t>(topic->partitions.size()));
  const auto found = shards_.find({topic->id, partition});
  if (found == shards_.end()) return nullptr;
  *error = found->second->ready();
  return *error == Error::kNone ? found->second.get() : nullptr;
}

void Coordinator::OnImage(void* self, const server::ImagePtr& before) {
  static_cast<Coordinator*>(self)->TakeImage(before);
}

// The broker serves what the image names, as far as it can.
void Coordinator::TakeImage(const server::ImagePtr& before) {
  const server::Image& image = *broker_.image();
  const server::TopicImage* topic = image.FindByName(server::kOffsetsTopic);
  for (const auto& [id, shard] : shards_) {
    if (topic == nullptr || topic->id != id.topic_id) shard->Close();
  }
  if (topic == nullptr) return;
  for (size_t i = 0; i < topic->partitions.size(); ++i) {
    const partition::PartitionId id{topic->id, static_cast<int32_t>(i)};
    if (broker_.CoreOf(topic->partitions[i]) != broker_.core().id() || shards_.contains(id)) {
      continue;
    }
    const ShardEnvironment environment{.core = broker_.core(),
                                       .partitions = broker_.partitions(),
                                       .broker = broker_,
                                       .options = options_,
                                       .budget = budget_,
                                       .counters = counters_,
                                       .group_count = group_count_,
                                       .on_first_group = &Coordinator::OnFirstGroup,
                                       .owner = this};
    const auto added = shards_.emplace(id, std::make_unique<GroupShard>(environment, id)).first;
    added->second->Load();
  }
  if (before == nullptr) return;
  std::vector<std::string> gone;
  for (const server::TopicImage& each : before->topics()) {
    if (image.FindByName(each.name) == nullptr) gone.push_back(each.name);
  }
  if (!gone.empty()) task::Spawn("group topics", ForgetTopics(std::move(gone)));
}

// --- Requests that may wait.

// A JoinGroup or SyncGroup on the owner's core, in the frame of whoever waits for it.
template <class Reply>
class Coordinator::Waiting final : public Pending<Reply> {
 public:
  explicit Waiting(partition::CancelToken* cancel) : wait_(cancel) {}
  // False: cancelled first.
  task::Task<bool> Wait() {
    while (!this->answered()) {
      if (!co_await wait_.WaitUntil(base::kNever)) break;
    }
    co_return this->answered();
  }

 private:
  void OnAnswer() override { wait_.Wake(); }
  partition::FetchWait wait_;
};

template <class Reply, class Request>
task::Task<Reply> Coordinator::AskHere(const Request& request, Start<Reply, Request> start,
                                       partition::CancelToken* cancel) {
  Error error;
  GroupShard* shard = ShardOf(request.group_id, &error);
  if (shard == nullptr) co_return Reply{.error = error};
  Waiting<Reply> waiting(cancel);
  (shard->*start)(request, &waiting);
  if (!co_await waiting.Wait()) co_return Reply{.error = Error::kCoordinatorNotAvailable};
  co_return std::move(waiting.reply());
}

template <class Reply, class Request>
task::Task<void> Coordinator::AskOn(base::CoreId core, const Request& request,
                                    Start<Reply, Request> start, Reply* reply,
                                    partition::CancelToken* cancel, partition::FetchWait* done,
                                    task::Latch* latch) {
  Coordinator* owner = &PeerOn(core);
  *reply = co_await core::CallOn(
      core, [owner, &request, start, cancel] { return owner->AskHere(request, start, cancel); });
  done->Wake();
  latch->Done();
}

template <class Reply, class Request>
task::Task<Reply> Coordinator::AskAnywhere(const server::RequestContext& context,
                                           const Request& request, Start<Reply, Request> start) {
  base::CoreId core;
  const Error error = Locate(request.group_id, &core);
  if (error != Error::kNone) co_return Reply{.error = error};
  if (core == broker_.core().id()) co_return co_await AskHere(request, start, context.cancel);
  // The peer's end is known here, and ends the wait over there.
  Reply reply;
  partition::CancelToken cancel;  // used on `core` only
  partition::FetchWait done(context.cancel);
  task::Latch latch;
  latch.Add();
  task::SpawnNow("group request", AskOn(core, request, start, &reply, &cancel, &done, &latch));
  if (!co_await done.WaitUntil(base::kNever)) {
    partition::CancelToken* token = &cancel;
    co_await core::CallOn(core, [token]() -> task::Task<void> {
      token->Cancel();
      co_return;
    });
  }
  co_await latch.Wait();
  co_return reply;
}

task::Task<JoinReply> Coordinator::Join(const server::RequestContext& context,
                                        const JoinRequest& request) {
  const auto refused = [&](Error error) {
    return JoinReply{.error = error, .member_id = std::string(request.member.member_id)};
  };
  if (request.group_id.empty()) co_return refused(Error::kInvalidGroupId);
  if (request.session_timeout_ms < options_.session_timeout_min_ms ||
      request.session_timeout_ms > options_.session_timeout_max_ms) {
    co_return refused(Error::kInvalidSessionTimeout);
  }
  co_return co_await AskAnywhere<JoinReply>(context, request, &GroupShard::Join);
}

task::Task<SyncReply> Coordinator::Sync(const server::RequestContext& context,
                                        const SyncRequest& request) {
  if (request.group_id.empty()) co_return SyncReply{.error = Error::kInvalidGroupId};
  co_return co_await AskAnywhere<SyncReply>(context, request, &GroupShard::Sync);
}

// --- Requests that are answered at once, or when their records are durable.

namespace {

// The answer of a request that no shard was asked.
template <class Reply>
Reply Refusal(Error error) {
  if constexpr (std::is_same_v<Reply, Error>) {
    return error;
  } else {
    return Reply{.error = error};
  }
}

void RefuseAll(std::span<OffsetToCommit> offsets, Error error) {
  for (OffsetToCommit& each : offsets) {
    if (each.error == Error::kNone) each.error = error;
  }
}

}  // namespace

template <class Reply, class Ask>
task::Task<Reply> Coordinator::OnShard(absl::string_view group_id, Ask ask) {
  base::CoreId core;
  const Error error = Locate(group_id, &core);
  if (error != Error::kNone) co_return Refusal<Reply>(error);
  Coordinator* owner = &PeerOn(core);
  co_return co_await core::CallOn(core, [owner, group_id, &ask]() -> task::Task<Reply> {
    Error refused;
    GroupShard* shard = owner->ShardOf(group_id, &refused);
    if (shard == nullptr) co_return Refusal<Reply>(refused);
    if constexpr (std::is_same_v<std::invoke_result_t<Ask&, GroupShard*>, Reply>) {
      co_return ask(shard);
    } else {
      co_return co_await ask(shard);
    }
  });
}

task::Task<Error> Coordinator::Heartbeat(const HeartbeatRequest& request) {
  if (request.group_id.empty()) co_return Error::kInvalidGroupId;
  co_return co_await OnShard<Error>(
      request.group_id, [&request](GroupShard* shard) { return shard->Heartbeat(request); });
}

task::Task<LeaveReply> Coordinator::Leave(const LeaveRequest& request) {
  if (request.group_id.empty()) co_return LeaveReply{.error = Error::kInvalidGroupId};
  co_return co_await OnShard<LeaveReply>(
      request.group_id, [&request](GroupShard* shard) { return shard->Leave(request); });
}

task::Task<void> Coordinator::Commit(const CommitRequest& request,
                                     std::span<OffsetToCommit> offsets) {
  const Error error = co_await OnShard<Error>(
      request.group_id, [&request, offsets](GroupShard* shard) -> task::Task<Error> {
        co_await shard->Commit(request, offsets);
        co_return Error::kNone;  // each offset has its own
      });
  if (error != Error::kNone) RefuseAll(offsets, error);
}

task::Task<FetchOffsetsReply> Coordinator::FetchOffsets(const FetchOffsetsRequest& request) {
  co_return co_await OnShard<FetchOffsetsReply>(
      request.group_id, [&request](GroupShard* shard) { return shard->FetchOffsets(request); });
}

task::Task<ConsumerHeartbeatReply> Coordinator::HeartbeatConsumer(
    const server::RequestContext& context, ConsumerHeartbeat request) {
  base::Failure failure = CheckHeartbeat(request, options_.consumer);
  if (!failure.ok()) {
    co_return ConsumerHeartbeatReply{.error = failure.error, .message = std::move(failure.message)};
  }
  std::string member_id(request.member_id);
  if (member_id.empty()) member_id = base::Uuid::Random().ToString();
  request.member_id = member_id;
  co_return co_await AskAnywhere<ConsumerHeartbeatReply>(context, request,
                                                         &GroupShard::HeartbeatConsumer);
}

task::Task<DescribedConsumerGroup> Coordinator::DescribeConsumer(absl::string_view group_id) {
  co_return co_await OnShard<DescribedConsumerGroup>(
      group_id, [group_id](GroupShard* shard) { return shard->DescribeConsumer(group_id); });
}

task::Task<DescribedGroup> Coordinator::Describe(absl::string_view group_id) {
  co_return co_await OnShard<DescribedGroup>(
      group_id, [group_id](GroupShard* shard) { return shard->Describe(group_id); });
}

task::Task<Error> Coordinator::DeleteGroup(absl::string_view group_id) {
  co_return co_await OnShard<Error>(group_id, [group_id](GroupShard* shard) {
    return shard->DeleteGroup(std::string(group_id));
  });
}

task::Task<Error> Coordinator::DeleteOffsets(absl::string_view group_id,
                                             std::span<OffsetToDelete> offsets) {
  co_return co_await OnShard<Error>(group_id, [group_id, offsets](GroupShard* shard) {
    return shard->DeleteOffsets(std::string(group_id), offsets);
  });
}

task::Task<Error> Coordinator::ListHere(std::vector<ListedGroup>* groups) const {
  for (const auto& [id, shard] : shards_) {
    if (shard->ready() == Error::kCoordinatorLoading) co_return shard->ready();
    // One that could not be read is told when one of its groups is asked for.
    if (shard->ready() != Error::kNone) continue;
    for (const std::string& name : shard->GroupIds()) {
      GroupSummary group = shard->Summarize(name);
      groups->push_back({.id = name,
                         .type = group.type,
                         .protocol_type = std::move(group.protocol_type),
                         .state = group.state});
    }
  }
  co_return Error::kNone;
}

task::Task<Error> Coordinator::List(bool all_cores, std::vector<ListedGroup>* groups) {
  if (!all_cores) co_return co_await ListHere(groups);
  for (Coordinator* each : peers_.coordinators) {
    const Error error = co_await core::CallOn(each->broker_.core().id(),
                                              [each, groups] { return each->ListHere(groups); });
    if (error != Error::kNone) co_return error;
  }
  co_return Error::kNone;
}

// --- Of this core.

std::vector<GroupShard*> Coordinator::Shards() const {
  std::vector<GroupShard*> shards;
  for (const auto& [id, shard] : shards_) shards.push_back(shard.get());
  return shards;
}

// Runs while there are groups; a core without any has no timer.
void Coordinator::OnFirstGroup(void* self) {
  auto* coordinator = static_cast<Coordinator*>(self);
  if (std::exchange(coordinator->expiring_, true)) return;
  task::Spawn("group expiry", coordinator->ExpiryLoop());
}

task::Task<void> Coordinator::ExpiryLoop() {
  while (group_count_ > 0) {
    core::Core& core = broker_.core();
    co_await core.scheduler().SleepUntil(core.now() +
                                         options_.offsets_check_ms * base::kNanosPerMilli);
    for (GroupShard* shard : Shards()) {
      if (shard->ready() == Error::kNone) co_await shard->Expire();
    }
  }
  expiring_ = false;
}

task::Task<void> Coordinator::ForgetTopics(std::vector<std::string> topics) {
  for (const std::string& topic : topics) {
    for (GroupShard* shard : Shards()) {
      if (shard->ready() == Error::kNone) co_await shard->ForgetTopic(topic);
    }
  }
}

size_t Coordinator::loading_count() const {
  size_t count = 0;
  for (const auto& [id, shard] : shards_) {
    count += shard->ready() == Error::kCoordinatorLoading ? 1 : 0;
  }
  return count;
}

size_t Coordinator::consumer_group_count() const {
  size_t count = 0;
  for (const auto& [id, shard] : shards_) count += shard->consumer_group_count();
  return count;
}

size_t Coordinator::member_count() const {
  size_t count = 0;
  for (const auto& [id, shard] : shards_) count += shard->member_count();
  return count;
}

std::vector<GroupStatus> Coordinator::Status(size_t offsets_max) const {
  std::vector<GroupStatus> all;
  for (const auto& [shard_id, shard] : shards_) {
    for (const std::string& name : shard->GroupIds()) {
      GroupSummary group = shard->Summarize(name);
      GroupStatus& status = all.emplace_back();
      status.id = name;
      status.type = group.type;
      status.protocol_type = std::move(group.protocol_type);
      status.state = group.state;
      status.generation = group.generation;
      status.members = group.members;
      for (const auto& [topic, partitions] : shard->FindOffsets(name)->topics()) {
        for (const auto& [partition, committed] : partitions) {
          if (offsets_max == 0) {
            ++status.offsets_omitted;
            continue;
          }
          --offsets_max;
          status.offsets.push_back({topic, partition, committed.offset});
        }
      }
    }
  }
  return all;
}

}  // namespace ringtail::group
