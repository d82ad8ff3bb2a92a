// Produce, and the producer ids of idempotent producers.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"
#include "server/kafka/session.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr int16_t kAcksAll = -1;
constexpr int16_t kAcksNone = 0;
constexpr int16_t kAcksLeader = 1;
constexpr int16_t kProducerEpochMax = INT16_MAX - 1;
// The timeout is for replicas; whoever allows them no time still waits for the append itself.
constexpr int32_t kTimeoutMsMin = 1'000;
constexpr int32_t kTimeoutMsMax = 600'000;

// The part of the frame that `view` shows; the broker may write to its own frame.
base::MutableByteView InFrame(server::Exchange* exchange, base::ByteView view) {
  const base::MutableByteView frame = exchange->frame.bytes();
  return frame.subspan(static_cast<size_t>(view.data() - frame.data()), view.size());
}

// zstd came with version 7 (KIP-110): who speaks less might hand such records to one who cannot
// read them.
constexpr int16_t kFirstVersionWithZstd = 7;

bool IsZstd(base::ByteView batch) {
  return batch.size() >= log::kBatchHeaderBytes &&
         (batch[log::kAttributesAt + 1] & log::kCodecMask) ==
             static_cast<uint8_t>(log::Codec::kZstd);
}

// Clients give up the records that are named and say of which batch the others were.
void NameBadTimestamps(const server::ProduceItem& item, Arena& arena,
                       ProduceResponse::PartitionProduceResponse* out) {
  constexpr size_t kNamedMax = 100;
  const partition::ProduceResult& result = item.result;
  out->error_message = arena.CopyText(absl::StrCat(
      "a timestamp is not within [", result.timestamp_min_ms, ", ", result.timestamp_max_ms,
      "], see message.timestamp.before.max.ms and message.timestamp.after.max.ms"));
  const auto parsed = log::ParseBatch(item.batches);
  if (!parsed.ok() || parsed.batch.compressed()) return;
  const log::BatchView& batch = parsed.batch;
  log::RecordCursor cursor(batch.records(), batch.record_count());
  for (int32_t index = 0; cursor.Next() && out->record_errors.size() < kNamedMax; ++index) {
    const int64_t timestamp = log::RecordTimestampMs(batch, cursor.record());
    if (timestamp >= result.timestamp_min_ms && timestamp <= result.timestamp_max_ms) continue;
    auto& error = out->record_errors.Add(arena);
    error.batch_index = index;
    error.batch_index_error_message = out->error_message;
  }
}

// What is wrong with the request as a whole, for each of its partitions.
Error CheckRequest(const ProduceRequest& request, ErrorCode* code) {
  if (request.acks != kAcksAll && request.acks != kAcksNone && request.acks != kAcksLeader) {
    *code = ErrorCode::kInvalidRequiredAcks;
    return Error::kInvalidRequest;
  }
  if (request.transactional_id.has_value()) {
    *code = ToErrorCode(Error::kTransactionsUnsupported);
    return Error::kTransactionsUnsupported;
  }
  return Error::kNone;
}

}  // namespace

task::Task<void> Session::HandleProduce(Call* call) {
  ProduceRequest request;
  if (!DecodeBody(call, &request)) co_return;
  Arena& arena = call->arena;
  ErrorCode refusal = ErrorCode::kNone;
  const Error refused = CheckRequest(request, &refusal);
  ProduceResponse response;
  response.responses.Reserve(arena, request.topic_data.size());
  for (const ProduceRequest::TopicProduceData& topic_data : request.topic_data) {
    const server::TopicImage* topic;
    Error error = FindTopic(topic_data.name, topic_data.topic_id, call->version >= 13, &topic);
    auto& topic_out = response.responses.Add(arena);
    topic_out.name = topic_data.name;
    topic_out.topic_id = topic_data.topic_id;
    topic_out.partition_responses.Reserve(arena, topic_data.partition_data.size());
    for (const ProduceRequest::PartitionProduceData& data : topic_data.partition_data) {
      auto& out = topic_out.partition_responses.Add(arena);
      out.index = data.index;
      out.base_offset = -1;
      if (refused != Error::kNone) {
        out.error_code = Wire(refusal);
      } else if (error != Error::kNone) {
        out.error_code = Wire(ToErrorCode(error));
      } else if (!data.records.has_value() || data.records->size() == 0) {
        out.error_code = Wire(ErrorCode::kInvalidRecord);
      } else if (call->version < kFirstVersionWithZstd && IsZstd(data.records->bytes())) {
        out.error_code = Wire(ErrorCode::kUnsupportedCompressionType);
      } else {
        call->produce_items.push_back({.id = {topic->id, data.index},
                                       .batches = InFrame(call->exchange, data.records->bytes())});
      }
    }
  }
  if (request.acks != kAcksNone) {
    const int32_t timeout_ms = std::clamp(request.timeout_ms, kTimeoutMsMin, kTimeoutMsMax);
    call->exchange->context.deadline = broker_.core().now() + timeout_ms * base::kNanosPerMilli;
  }
  const auto acks = request.acks == kAcksNone     ? partition::AckPolicy::kNone
                    : request.acks == kAcksLeader ? partition::AckPolicy::kLeader
                                                  : partition::AckPolicy::kAll;
  if (!call->produce_items.empty()) co_await broker_.Produce(acks, call->produce_items);
  size_t next = 0;
  bool failed = false;
  for (auto& topic_out : response.responses) {
    for (auto& out : topic_out.partition_responses) {
      if (out.error_code == 0) {
        const server::ProduceItem& item = call->produce_items[next++];
        const partition::ProduceResult& result = item.result;
        out.error_code = Wire(ToErrorCode(result.error));
        if (result.error != Error::kNone) out.error_message = base::ErrorText(result.error);
        if (result.error == Error::kInvalidTimestamp) NameBadTimestamps(item, arena, &out);
        out.base_offset = result.base_offset.value();
        out.log_append_time_ms = result.log_append_time_ms;
        out.log_start_offset = result.log_start.value();
      }
      failed |= out.error_code != 0;
    }
  }
  if (request.acks == kAcksNone) {
    // There is no response that could carry the error: the client learns by the lost connection.
    call->exchange->reply.close_after = failed;
    co_return;
  }
  Respond(call, response);
}

bool Session::FillTimedOut(server::Exchange* exchange, server::Reply* reply) {
  Call late;
  late.exchange = exchange;
  if (!DecodeRequestFrame(exchange->frame.bytes().subspan(prefix_bytes()), &late.request).ok() ||
      late.request.header.request_api_key != ProduceRequest::kApiKey) {
    return false;
  }
  late.version = late.request.header.request_api_version;
  ProduceRequest request;
  if (!Decode(late.request.body, late.version, late.arena, &request).ok()) return false;
  ProduceResponse response;
  for (const ProduceRequest::TopicProduceData& topic : request.topic_data) {
    auto& topic_out = response.responses.Add(late.arena);
    topic_out.name = topic.name;
    topic_out.topic_id = topic.topic_id;
    for (const ProduceRequest::PartitionProduceData& data : topic.partition_data) {
      auto& out = topic_out.partition_responses.Add(late.arena);
      out.index = data.index;
      out.base_offset = -1;
      out.error_code = Wire(ErrorCode::kRequestTimedOut);
    }
  }
  RespondInto(&late, response, reply);
  return true;
}

task::Task<void> Session::HandleInitProducerId(Call* call) {
  InitProducerIdRequest request;
  if (!DecodeBody(call, &request)) co_return;
  InitProducerIdResponse response;
  if (request.transactional_id.has_value()) {
    response.error_code = Wire(ToErrorCode(Error::kTransactionsUnsupported));
  } else if (request.producer_id >= 0 && request.producer_epoch >= 0 &&
             request.producer_epoch < kProducerEpochMax) {
    // KIP-360: a client that lost track of its sequences goes on under the next epoch.
    response.producer_id = request.producer_id;
    response.producer_epoch = static_cast<int16_t>(request.producer_epoch + 1);
  } else {
    int64_t producer_id = -1;
    const Error error = co_await broker_.NewProducerId(&producer_id);
    response.error_code = Wire(ToErrorCode(error));
    if (error == Error::kNone) response.producer_id = producer_id;
  }
  Respond(call, response);
}

}  // namespace ringtail::kafka
