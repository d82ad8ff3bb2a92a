// Fetch and ListOffsets.
#include <algorithm>
#include <utility>

#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr int32_t kFetchWaitMsMax = 600'000;
constexpr int64_t kEarliestTimestamp = -2;
constexpr int64_t kLatestTimestamp = -1;
constexpr int64_t kMaxTimestamp = -3;
constexpr int64_t kEarliestLocalTimestamp = -4;  // KIP-405: nothing is tiered, so the log start

void FillPartition(const partition::FetchResult& result, uint32_t hole,
                   FetchResponse::PartitionData* out) {
  out->error_code = Wire(ToErrorCode(result.error));
  out->high_watermark = result.high_watermark.value();
  out->last_stable_offset = result.high_watermark.value();
  out->log_start_offset = result.log_start.value();
  out->records = result.plan.bytes > 0
                     ? Records::Hole(static_cast<uint32_t>(result.plan.bytes), hole)
                     : Records();
}

}  // namespace

task::Task<void> Session::HandleFetch(Call* call) {
  FetchRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  FetchResponse response;
  if (request.session_id != 0) {
    // Fetch sessions (KIP-227) are not kept: clients then send whole requests.
    response.error_code = Wire(ErrorCode::kFetchSessionIdNotFound);
    Respond(call, response);
    co_return;
  }
  const int32_t wait_ms = std::clamp(request.max_wait_ms, 0, kFetchWaitMsMax);
  server::FetchLimits limits{
      .bytes_min = request.min_bytes,
      .bytes_max = std::clamp<int64_t>(request.max_bytes, 0, kRequestBytesMax),
      .wait_until = broker_.core().now() + wait_ms * base::kNanosPerMilli};
  const bool by_id = call->version >= 13;
  const bool from_replica =
      call->version >= 15 ? request.replica_state.replica_id >= 0 : request.replica_id >= 0;
  response.responses.Reserve(arena, request.topics.size());
  for (const FetchRequest::FetchTopic& wanted : request.topics) {
    const server::TopicImage* topic;
    const Error error = from_replica ? Error::kInvalidRequest
                                     : FindTopic(wanted.topic, wanted.topic_id, by_id, &topic);
    auto& topic_out = response.responses.Add(arena);
    topic_out.topic = wanted.topic;
    topic_out.topic_id = wanted.topic_id;
    topic_out.partitions.Reserve(arena, wanted.partitions.size());
    for (const FetchRequest::FetchPartition& each : wanted.partitions) {
      auto& out = topic_out.partitions.Add(arena);
      out.partition_index = each.partition;
      if (error != Error::kNone) {
        FillPartition({.error = error}, 0, &out);
        limits.wait_until = 0;
        continue;
      }
      call->fetch_items.push_back({.id = {topic->id, each.partition},
                                   .offset = base::Offset(each.fetch_offset),
                                   .bytes_max = std::max(each.partition_max_bytes, 0),
                                   .leader_epoch = each.current_leader_epoch});
    }
  }
  auto& items = call->fetch_items;
  if (!items.empty()) co_await broker_.Fetch(call->exchange->context, limits, items);
  uint32_t next = 0;
  for (auto& topic_out : response.responses) {
    for (auto& out : topic_out.partitions) {
      if (out.error_code != 0) continue;
      FillPartition(items[next].result, next, &out);
      ++next;
    }
  }
  Respond(call, response);
  server::Reply& reply = call->exchange->reply;
  if (call->holes.empty()) co_return;
  size_t from = 0;
  for (const RecordsHole& hole : call->holes) {
    log::ReadPlan& plan = items[hole.id].result.plan;
    reply.AddMemory(reply.head.data() + from, hole.buffer_position - from);
    reply.AddFile(plan.fd, plan.position.value(), plan.bytes);
    reply.pins.push_back(std::move(plan.pin));
    from = hole.buffer_position;
  }
  reply.AddMemory(reply.head.data() + from, reply.head.size() - from);
}

task::Task<void> Session::HandleListOffsets(Call* call) {
  ListOffsetsRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  ListOffsetsResponse response;
  for (const ListOffsetsRequest::ListOffsetsTopic& wanted : request.topics) {
    const server::TopicImage* topic;
    const Error error = FindTopic(wanted.name, {}, false, &topic);
    auto& topic_out = response.topics.Add(arena);
    topic_out.name = wanted.name;
    for (const ListOffsetsRequest::ListOffsetsPartition& each : wanted.partitions) {
      auto& out = topic_out.partitions.Add(arena);
      out.partition_index = each.partition_index;
      if (error != Error::kNone) {
        out.error_code = Wire(ToErrorCode(error));
        continue;
      }
      server::OffsetPoint point = server::OffsetPoint::kTimestamp;
      if (each.timestamp == kLatestTimestamp) point = server::OffsetPoint::kLatest;
      if (each.timestamp == kMaxTimestamp) point = server::OffsetPoint::kMaxTimestamp;
      if (each.timestamp == kEarliestTimestamp || each.timestamp == kEarliestLocalTimestamp) {
        point = server::OffsetPoint::kEarliest;
      }
      if (point == server::OffsetPoint::kTimestamp && each.timestamp < 0) {
        out.error_code = Wire(ErrorCode::kUnsupportedVersion);
        continue;
      }
      call->offset_items.push_back({.id = {topic->id, each.partition_index},
                                    .point = point,
                                    .timestamp_ms = each.timestamp,
                                    .leader_epoch = each.current_leader_epoch});
    }
  }
  co_await broker_.ListOffsets(call->offset_items);
  size_t next = 0;
  for (auto& topic_out : response.topics) {
    for (auto& out : topic_out.partitions) {
      if (out.error_code != 0) continue;
      const partition::OffsetResult& found = call->offset_items[next++].result;
      out.error_code = Wire(ToErrorCode(found.error));
      out.offset = found.offset.value();
      out.timestamp = found.timestamp_ms;
      if (call->version >= 4) out.leader_epoch = found.leader_epoch;
    }
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
