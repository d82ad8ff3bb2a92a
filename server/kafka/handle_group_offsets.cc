// What groups have committed: OffsetCommit, OffsetFetch, OffsetDelete.
#include <optional>
#include <span>
#include <vector>

#include "server/group/coordinator.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

// An offset in a response, and what it was asked with.
constexpr size_t kWorkPerOffset = 256;
constexpr int16_t kWithMemberEpochs = 9;       // KIP-848, of OffsetCommit
constexpr int16_t kFetchOfSeveral = 8;         // groups
constexpr int16_t kFetchWithGroupError = 2;    // before, each partition had it
constexpr absl::string_view kNoMetadata = "";  // where nothing is committed

// For each partition that a request names its error, from `offsets`, which lie in that order.
template <class Requested, class Offset, class Topics>
void FillErrors(const Requested& requested, const std::vector<Offset>& offsets, Arena& arena,
                Topics* topics) {
  topics->Reserve(arena, requested.size());
  auto next = offsets.begin();
  for (const auto& topic : requested) {
    auto& topic_out = topics->Add(arena);
    topic_out.name = topic.name;
    topic_out.partitions.Reserve(arena, topic.partitions.size());
    for (const auto& each : topic.partitions) {
      auto& out = topic_out.partitions.Add(arena);
      out.partition_index = each.partition_index;
      out.error_code = Wire(ToErrorCode((next++)->error));
    }
  }
}

}  // namespace

// kNone, or why nothing can be committed for this partition.
Error Session::CheckPartition(absl::string_view topic, int32_t partition) const {
  const server::TopicImage* found = broker_.image()->FindByName(topic);
  if (found == nullptr || partition < 0) return Error::kUnknownTopic;
  return static_cast<size_t>(partition) < found->partitions.size() ? Error::kNone
                                                                   : Error::kUnknownTopic;
}

task::Task<void> Session::HandleOffsetCommit(Call* call) {
  OffsetCommitRequest request;
  if (!DecodeBody(call, &request)) co_return;
  std::vector<group::OffsetToCommit> offsets;
  for (const auto& topic : request.topics) {
    for (const auto& each : topic.partitions) {
      offsets.push_back({.topic = topic.name,
                         .partition = each.partition_index,
                         .offset = each.committed_offset,
                         .leader_epoch = each.committed_leader_epoch,
                         .metadata = each.committed_metadata.value_or(""),
                         .error = CheckPartition(topic.name, each.partition_index)});
    }
  }
  const group::CommitRequest commit{.group_id = request.group_id,
                                    .member = {request.member_id, request.group_instance_id},
                                    .generation = request.generation_id_or_member_epoch,
                                    .retention_ms = request.retention_time_ms,
                                    .knows_member_epochs = call->version >= kWithMemberEpochs};
  bool any = false;
  for (const group::OffsetToCommit& each : offsets) any |= each.error == Error::kNone;
  if (any) co_await broker_.groups().Commit(commit, offsets);
  OffsetCommitResponse response;
  FillErrors(request.topics, offsets, call->arena, &response.topics);
  Respond(call, response);
}

namespace {

// The topics of a response, in either of its two shapes, from offsets that lie by topic.
template <class Topics>
void FillOffsets(const group::FetchOffsetsReply& reply, Error error, Arena& arena, Topics* topics) {
  for (size_t i = 0; i < reply.offsets.size(); ++i) {
    const group::FetchedOffset& each = reply.offsets[i];
    if (i == 0 || each.topic != reply.offsets[i - 1].topic) {
      topics->Add(arena).name = arena.CopyText(each.topic);
    }
    auto& out = (*topics)[topics->size() - 1].partitions.Add(arena);
    out.partition_index = each.partition;
    out.committed_offset = each.committed.offset;
    out.committed_leader_epoch = each.committed.leader_epoch;
    out.metadata =
        each.committed.metadata.empty() ? kNoMetadata : arena.CopyText(each.committed.metadata);
    out.error_code = Wire(ToErrorCode(error));
  }
}

// Of all topics that are named, or none: all.
template <class Topics>
std::optional<std::vector<group::OffsetQuery>> QueriesOf(const std::optional<Topics>& topics) {
  if (!topics.has_value()) return std::nullopt;
  std::vector<group::OffsetQuery> queries;
  for (const auto& topic : *topics) {
    for (const int32_t partition : topic.partition_indexes) {
      queries.push_back({.topic = topic.name, .partition = partition});
    }
  }
  return queries;
}

}  // namespace

task::Task<group::FetchOffsetsReply> Session::FetchOffsets(
    Call* call, group::FetchOffsetsRequest request,
    const std::optional<std::vector<group::OffsetQuery>>& queries) {
  if (queries.has_value()) request.queries = *queries;
  group::FetchOffsetsReply reply = co_await broker_.groups().FetchOffsets(request);
  // All offsets of a group, as often as a request names it: it may be a lot.
  size_t work = reply.offsets.size() * kWorkPerOffset;
  for (const group::FetchedOffset& each : reply.offsets) {
    work += each.topic.size() + each.committed.metadata.size();
  }
  call->exchange->connection->ChargeWork(call->exchange, work);
  co_return reply;
}

task::Task<void> Session::HandleOffsetFetch(Call* call) {
  OffsetFetchRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  OffsetFetchResponse response;
  if (call->version < kFetchOfSeveral) {
    const auto queries = QueriesOf(request.topics);
    group::FetchOffsetsReply reply =
        co_await FetchOffsets(call, {.group_id = request.group_id}, queries);
    response.error_code = Wire(ToErrorCode(reply.error));
    if (reply.error != Error::kNone && queries.has_value() &&
        call->version < kFetchWithGroupError) {
      for (const group::OffsetQuery& query : *queries) {
        reply.offsets.push_back({.topic = std::string(query.topic), .partition = query.partition});
      }
    }
    FillOffsets(reply, reply.error, arena, &response.topics);
    co_return Respond(call, response);
  }
  for (const auto& wanted : request.groups) {
    // ChargeWork may have ended the connection.
    if (call->exchange->context.cancel->cancelled()) break;
    const auto queries = QueriesOf(wanted.topics);
    const group::FetchOffsetsRequest asked{.group_id = wanted.group_id,
                                           .member_id = wanted.member_id,
                                           .member_epoch = wanted.member_epoch};
    const group::FetchOffsetsReply reply = co_await FetchOffsets(call, asked, queries);
    auto& out = response.groups.Add(arena);
    out.group_id = wanted.group_id;
    out.error_code = Wire(ToErrorCode(reply.error));
    FillOffsets(reply, reply.error, arena, &out.topics);
  }
  Respond(call, response);
}

task::Task<void> Session::HandleOffsetDelete(Call* call) {
  OffsetDeleteRequest request;
  if (!DecodeBody(call, &request)) co_return;
  std::vector<group::OffsetToDelete> offsets;
  for (const auto& topic : request.topics) {
    for (const auto& each : topic.partitions) {
      offsets.push_back({.topic = topic.name,
                         .partition = each.partition_index,
                         .error = CheckPartition(topic.name, each.partition_index)});
    }
  }
  const Error error = co_await broker_.groups().DeleteOffsets(request.group_id, offsets);
  OffsetDeleteResponse response;
  response.error_code = Wire(ToErrorCode(error));
  if (error == Error::kNone) FillErrors(request.topics, offsets, call->arena, &response.topics);
  Respond(call, response);
}

}  // namespace ringtail::kafka
