// Fetch: whole requests, and those of fetch sessions (fetch_session.h).
#include <algorithm>
#include <utility>

#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr int32_t kFetchWaitMsMax = 600'000;

// Of the decoded request, the broker's item and what waits for it (session.h), for what a session
// remembers in their stead.
constexpr size_t kSessionWorkPerPartition = 400;

// Above version 12 topics are named by id.
bool ById(const Call& call) { return call.version >= 13; }

bool FromReplica(const Call& call, const FetchRequest& request) {
  return call.version >= 15 ? request.replica_state.replica_id >= 0 : request.replica_id >= 0;
}

// A topic that its name did not lead to was asked for with no id.
Error ErrorOf(const Call& call, const server::FetchItem& item) {
  const Error error = item.result.error;
  return error == Error::kUnknownTopicId && !ById(call) ? Error::kUnknownTopic : error;
}

void FillPartition(const Call& call, uint32_t item, FetchResponse::PartitionData* out) {
  const partition::FetchResult& result = call.fetch_items[item].result;
  out->partition_index = call.fetch_items[item].id.partition;
  out->error_code = Wire(ToErrorCode(ErrorOf(call, call.fetch_items[item])));
  out->high_watermark = result.high_watermark.value();
  out->last_stable_offset = result.high_watermark.value();
  out->log_start_offset = result.log_start.value();
  out->records = result.plan.bytes > 0
                     ? Records::Hole(static_cast<uint32_t>(result.plan.bytes), item)
                     : Records();
}

bool Tell(const Call& call, uint32_t item, FetchSession* session, uint32_t slot) {
  const partition::FetchResult& result = call.fetch_items[item].result;
  return session->Tell(
      slot, result.error != Error::kNone,
      {.high_watermark = result.high_watermark.value(), .log_start = result.log_start.value()},
      result.plan.bytes > 0);
}

struct Extent {
  size_t name_bytes = 0;
  size_t partitions = 0;
};

Extent ExtentOf(const FetchRequest& request) {
  Extent extent;
  for (const FetchRequest::FetchTopic& topic : request.topics) {
    extent.name_bytes += topic.topic.size();
    extent.partitions += topic.partitions.size();
  }
  return extent;
}

FetchSession::Wanted WantedOf(const FetchRequest::FetchPartition& partition) {
  return {.fetch_offset = partition.fetch_offset,
          .bytes_max = std::max(partition.partition_max_bytes, 0),
          .leader_epoch = partition.current_leader_epoch};
}

server::FetchItem ItemOf(const base::Uuid& topic_id, int32_t partition,
                         const FetchSession::Wanted& wanted) {
  return {.id = {topic_id, partition},
          .offset = base::Offset(wanted.fetch_offset),
          .bytes_max = wanted.bytes_max,
          .leader_epoch = wanted.leader_epoch};
}

}  // namespace

task::Task<void> Session::HandleFetch(Call* call) {
  FetchRequest request;
  if (!DecodeBody(call, &request)) co_return;
  const bool all = request.session_epoch == FetchSession::kInitialEpoch ||
                   request.session_epoch == FetchSession::kFinalEpoch;
  co_await (all ? FetchAll(call, request) : FetchChanges(call, request));
}

server::FetchLimits Session::LimitsOf(const FetchRequest& request) const {
  const int32_t wait_ms = std::clamp(request.max_wait_ms, 0, kFetchWaitMsMax);
  return {.bytes_min = request.min_bytes,
          .bytes_max = std::clamp<int64_t>(request.max_bytes, 0, kRequestBytesMax),
          .wait_until = broker_.core().now() + wait_ms * base::kNanosPerMilli};
}

task::Task<void> Session::FetchAll(Call* call, const FetchRequest& request) {
  // Whoever names all gives up what was remembered before.
  core_state_.fetch_sessions.Remove(request.session_id);
  Arena& arena = call->arena;
  FetchResponse response;
  const bool from_replica = FromReplica(*call, request);
  for (const FetchRequest::FetchTopic& wanted : request.topics) {
    const server::TopicImage* topic;
    base::Uuid id = wanted.topic_id;
    if (!ById(*call)) {
      FindTopic(wanted.topic, {}, false, &topic);
      id = topic == nullptr ? base::Uuid() : topic->id;
    }
    for (const FetchRequest::FetchPartition& each : wanted.partitions) {
      call->fetch_items.push_back(ItemOf(id, each.partition, WantedOf(each)));
    }
  }
  if (from_replica) {
    // There are no followers that could ask; their protocol is another.
    for (server::FetchItem& item : call->fetch_items) item.result.error = Error::kInvalidRequest;
  } else if (!call->fetch_items.empty()) {
    co_await broker_.Fetch(call->exchange->context, LimitsOf(request), call->fetch_items);
  }
  uint32_t item = 0;
  response.responses.Reserve(arena, request.topics.size());
  for (const FetchRequest::FetchTopic& wanted : request.topics) {
    auto& topic_out = response.responses.Add(arena);
    topic_out.topic = wanted.topic;
    topic_out.topic_id = wanted.topic_id;
    topic_out.partitions.Reserve(arena, wanted.partitions.size());
    for (size_t i = 0; i < wanted.partitions.size(); ++i) {
      FillPartition(*call, item++, &topic_out.partitions.Add(arena));
    }
  }
  if (request.session_epoch == FetchSession::kInitialEpoch && !from_replica &&
      !call->fetch_items.empty()) {
    BeginSession(call, request, &response);
  }
  RespondWithRecords(call, response);
}

void Session::BeginSession(Call* call, const FetchRequest& request, FetchResponse* response) {
  FetchSessionCache& sessions = core_state_.fetch_sessions;
  const Extent extent = ExtentOf(request);
  FetchSession* session = sessions.Create(
      ById(*call), extent.partitions,
      FetchSession::BytesFor(request.topics.size(), extent.name_bytes, extent.partitions),
      broker_.core().now());
  if (session == nullptr) return;
  uint32_t item = 0;
  for (const FetchRequest::FetchTopic& wanted : request.topics) {
    for (const FetchRequest::FetchPartition& each : wanted.partitions) {
      const uint32_t slot = session->Want({.name = wanted.topic, .id = wanted.topic_id},
                                          each.partition, WantedOf(each));
      Tell(*call, item++, session, slot);
    }
  }
  sessions.Settle(*session);
  response->session_id = session->id();
}

ErrorCode Session::UpdateSession(Call* call, const FetchRequest& request) {
  FetchSessionCache& sessions = core_state_.fetch_sessions;
  FetchSession* session = sessions.Find(request.session_id);
  if (session == nullptr) return ErrorCode::kFetchSessionIdNotFound;
  if (session->by_id() != ById(*call)) return ErrorCode::kFetchSessionTopicIdError;
  if (session->epoch() != request.session_epoch) return ErrorCode::kInvalidFetchSessionEpoch;
  const Extent extent = ExtentOf(request);
  if (extent.partitions > 0) {
    if (!sessions.Grow(*session, request.topics.size(), extent.name_bytes, extent.partitions,
                       broker_.core().now())) {
      return ErrorCode::kFetchSessionIdNotFound;
    }
    for (const FetchRequest::FetchTopic& wanted : request.topics) {
      for (const FetchRequest::FetchPartition& each : wanted.partitions) {
        session->Want({.name = wanted.topic, .id = wanted.topic_id}, each.partition,
                      WantedOf(each));
      }
    }
  }
  for (const FetchRequest::ForgottenTopic& forgotten : request.forgotten_topics_data) {
    for (const int32_t partition : forgotten.partitions) {
      session->Forget({.name = forgotten.topic, .id = forgotten.topic_id}, partition);
    }
  }
  sessions.Settle(*session);
  session->NextEpoch();
  sessions.Touch(*session, broker_.core().now());
  return ErrorCode::kNone;
}

task::Task<void> Session::FetchChanges(Call* call, const FetchRequest& request) {
  FetchSessionCache& sessions = core_state_.fetch_sessions;
  FetchResponse response;
  response.error_code = Wire(UpdateSession(call, request));
  if (response.error_code != 0) {
    Respond(call, response);
    co_return;
  }
  FetchSession* session = sessions.Find(request.session_id);
  if (session->size() == 0) {
    // As in Kafka: nothing is left to remember, and the answer says so.
    sessions.Remove(session->id());
    Respond(call, response);
    co_return;
  }
  call->exchange->connection->ChargeWork(call->exchange,
                                         session->size() * kSessionWorkPerPartition);
  session->ForEach(
      [&](uint32_t slot, uint32_t topic, int32_t partition, const FetchSession::Wanted& wanted) {
        call->session_slots.push_back(slot);
        call->fetch_items.push_back(
            ItemOf(session->TopicId(topic, *broker_.image()), partition, wanted));
      });
  co_await broker_.Fetch(call->exchange->context, LimitsOf(request), call->fetch_items);
  session = sessions.Find(request.session_id);
  if (session == nullptr || session->epoch() != FetchSession::EpochAfter(request.session_epoch)) {
    // It was given up, or used by another request, while this one waited.
    response.error_code = Wire(session == nullptr ? ErrorCode::kFetchSessionIdNotFound
                                                  : ErrorCode::kInvalidFetchSessionEpoch);
    Respond(call, response);
    co_return;
  }
  response.session_id = session->id();
  uint32_t topic_before = 0;
  for (uint32_t item = 0; item < call->fetch_items.size(); ++item) {
    const uint32_t slot = call->session_slots[item];
    if (!Tell(*call, item, session, slot)) continue;
    const uint32_t topic = session->TopicIndexOf(slot);
    if (response.responses.empty() || topic != topic_before) {
      auto& topic_out = response.responses.Add(call->arena);
      topic_out.topic = session->TopicOf(topic).name;
      topic_out.topic_id = session->TopicOf(topic).id;
      topic_before = topic;
    }
    auto& partitions = response.responses[response.responses.size() - 1].partitions;
    FillPartition(*call, item, &partitions.Add(call->arena));
  }
  RespondWithRecords(call, response);
}

void Session::RespondWithRecords(Call* call, const FetchResponse& response) {
  Respond(call, response);
  server::Reply& reply = call->exchange->reply;
  if (call->holes.empty()) return;
  size_t from = 0;
  for (const RecordsHole& hole : call->holes) {
    log::ReadPlan& plan = call->fetch_items[hole.id].result.plan;
    reply.AddMemory(reply.head.data() + from, hole.buffer_position - from);
    reply.AddFile(plan.fd, plan.position.value(), plan.bytes);
    reply.pins.push_back(std::move(plan.pin));
    from = hole.buffer_position;
  }
  reply.AddMemory(reply.head.data() + from, reply.head.size() - from);
}

}  // namespace ringtail::kafka
