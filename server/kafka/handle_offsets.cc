// Where offsets lie: ListOffsets, OffsetForLeaderEpoch.
#include <vector>

#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr int64_t kEarliestTimestamp = -2;
constexpr int64_t kLatestTimestamp = -1;
constexpr int64_t kMaxTimestamp = -3;
constexpr int64_t kEarliestLocalTimestamp = -4;  // KIP-405: nothing is tiered, so the log start

}  // namespace

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

task::Task<void> Session::HandleOffsetForLeaderEpoch(Call* call) {
  OffsetForLeaderEpochRequest request;
  if (!DecodeBody(call, &request)) co_return;
  OffsetForLeaderEpochResponse response;
  std::vector<server::EpochEndItem> items;
  for (const OffsetForLeaderEpochRequest::OffsetForLeaderTopic& wanted : request.topics) {
    const server::TopicImage* topic;
    const Error error = FindTopic(wanted.topic, {}, false, &topic);
    auto& topic_out = response.topics.Add(call->arena);
    topic_out.topic = wanted.topic;
    for (const auto& each : wanted.partitions) {
      auto& out = topic_out.partitions.Add(call->arena);
      out.partition = each.partition;
      out.error_code = Wire(ToErrorCode(error));
      if (error != Error::kNone) continue;
      items.push_back({.id = {topic->id, each.partition},
                       .current_leader_epoch = each.current_leader_epoch,
                       .leader_epoch = each.leader_epoch});
    }
  }
  co_await broker_.EpochEnds(items);
  size_t next = 0;
  for (auto& topic_out : response.topics) {
    for (auto& out : topic_out.partitions) {
      if (out.error_code != 0) continue;
      const partition::OffsetResult& found = items[next++].result;
      out.error_code = Wire(ToErrorCode(found.error));
      if (found.error != Error::kNone) continue;
      out.leader_epoch = found.leader_epoch;
      out.end_offset = found.offset.value();
    }
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
