#include "server/native/session.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "server/native/error_map.h"
#include "server/native/field_count.h"
#include "server/native/session_scratch.h"

namespace ringtail::native {

using base::Error;
using proto::client::RequestHeader;
using proto::client::ResponseHeader;

namespace {

constexpr size_t kPrefixBytes = 8;
constexpr uint32_t kDeadlineDefaultMs = 30'000;
constexpr size_t kSpareBytesMax = 64 << 10;  // kept by an idle connection
constexpr size_t kOtherFieldsMax = 100;      // of a request, beside its entries
constexpr size_t kWorkPerEntry = 768;        // message, item, and what the response says of it
constexpr size_t kClientIdBytesMax = 255;

struct FrameParts {
  base::ByteView header;
  base::MutableByteView payload;
};

FrameParts Split(base::MutableByteView frame) {
  const size_t header_bytes = base::LoadLe<uint32_t>(frame.data());
  const base::MutableByteView rest = frame.subspan(kPrefixBytes);
  return {.header = rest.first(header_bytes), .payload = rest.subspan(header_bytes)};
}

// Topics, partitions and configs that the request names.
size_t EntriesOf(const RequestHeader& request) {
  const auto& metadata = request.metadata();
  return static_cast<size_t>(request.produce().partitions_size()) +
         static_cast<size_t>(request.fetch().partitions_size()) +
         static_cast<size_t>(request.list_offsets().partitions_size()) +
         static_cast<size_t>(metadata.topics_size()) +
         static_cast<size_t>(metadata.topic_ids_size()) +
         static_cast<size_t>(request.create_topic().configs_size()) +
         static_cast<size_t>(request.alter_topic().set_size()) +
         static_cast<size_t>(request.alter_topic().reset_size()) +
         static_cast<size_t>(request.alter_broker().set_size()) +
         static_cast<size_t>(request.alter_broker().reset_size());
}

bool Parse(base::ByteView bytes, RequestHeader* header) {
  return header->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

Session::Session(server::Broker& broker, const server::Endpoints& endpoints,
                 const SessionOptions& options)
    : broker_(broker), endpoints_(endpoints), options_(options) {}

Session::~Session() = default;

absl::StatusOr<size_t> Session::FrameBytes(base::ByteView prefix) const {
  const size_t header_bytes = base::LoadLe<uint32_t>(prefix.data());
  const size_t payload_bytes = base::LoadLe<uint32_t>(prefix.data() + 4);
  if (header_bytes == 0 || header_bytes > kHeaderBytesMax || payload_bytes > kPayloadBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "not a frame of the native protocol: header of ", header_bytes, " bytes (1 to ",
        kHeaderBytesMax, "), payload of ", payload_bytes, " bytes (0 to ", kPayloadBytesMax, ")"));
  }
  return kPrefixBytes + header_bytes + payload_bytes;
}

void Session::Encode(const ResponseHeader& response, size_t payload_bytes,
                     server::Reply* reply) const {
  const size_t header_bytes = response.ByteSizeLong();
  reply->head = broker_.core().buffers().Take(kPrefixBytes + header_bytes);
  uint8_t* at = reply->head.data();
  base::StoreLe<uint32_t>(at, static_cast<uint32_t>(header_bytes));
  base::StoreLe<uint32_t>(at + 4, static_cast<uint32_t>(payload_bytes));
  response.SerializeWithCachedSizesToArray(at + kPrefixBytes);
  reply->AddMemory(at, kPrefixBytes + header_bytes);
}

void Session::Refuse(Error error, const std::string& message, server::Exchange* exchange,
                     ResponseHeader* response) {
  FillError(error, message, response->mutable_error());
  exchange->reply.close_after = true;
}

bool Session::FillTimedOut(server::Exchange* exchange, server::Reply* reply) {
  RequestHeader request;
  if (!Parse(Split(exchange->frame.bytes()).header, &request)) return false;
  if (request.has_produce() && request.produce().acks() == proto::client::ACKS_NONE) return true;
  ResponseHeader response;
  response.set_correlation_id(request.correlation_id());
  FillError(Error::kTimedOut, "", response.mutable_error());
  Encode(response, 0, reply);
  return true;
}

bool Session::FillRefused(const absl::Status& why, server::Reply* reply) {
  ResponseHeader response;
  FillError(Error::kInvalidRequest, std::string(why.message()), response.mutable_error());
  Encode(response, 0, reply);
  return true;
}

std::unique_ptr<Session::Scratch> Session::TakeScratch() {
  if (spare_.empty()) return std::make_unique<Scratch>();
  std::unique_ptr<Scratch> scratch = std::move(spare_.back());
  spare_.pop_back();
  spare_bytes_ -= scratch->memory_bytes();
  return scratch;
}

void Session::Keep(std::unique_ptr<Scratch> scratch) {
  scratch->End();
  const size_t bytes = scratch->memory_bytes();
  if (spare_bytes_ + bytes > kSpareBytesMax) return;
  spare_bytes_ += bytes;
  spare_.push_back(std::move(scratch));
}

void Session::RefuseEntries(size_t entries, server::Exchange* exchange, ResponseHeader* response) {
  Refuse(Error::kInvalidRequest,
         absl::StrCat("the request names ", entries, " topics and partitions, at most ",
                      kRequestEntriesMax, " are allowed; split it"),
         exchange, response);
}

bool Session::Admit(server::Exchange* exchange, Scratch* scratch) {
  const size_t entries = EntriesOf(*scratch->request);
  if (entries > kRequestEntriesMax) {
    RefuseEntries(entries, exchange, scratch->response);
    return false;
  }
  exchange->connection->ChargeWork(
      exchange, static_cast<size_t>(scratch->arena.SpaceUsed()) + entries * kWorkPerEntry);
  return true;
}

task::Task<void> Session::Handle(server::Exchange* exchange) {
  const FrameParts parts = Split(exchange->frame.bytes());
  std::unique_ptr<Scratch> scratch = TakeScratch();
  scratch->Begin();
  ResponseHeader* response = scratch->response;
  const FieldCount count = CountFields(parts.header);
  if (count.fields > kRequestEntriesMax + kOtherFieldsMax) {
    response->set_correlation_id(count.correlation_id);
    RefuseEntries(count.fields, exchange, response);
    Encode(*response, 0, &exchange->reply);
    co_return;
  }
  if (!Parse(parts.header, scratch->request)) {
    Refuse(Error::kInvalidRequest, "the frame's header is not a RequestHeader message", exchange,
           response);
    Encode(*response, 0, &exchange->reply);
    co_return;
  }
  const RequestHeader& request = *scratch->request;
  response->set_correlation_id(request.correlation_id());
  int64_t deadline_ms = request.deadline_ms();
  // A fetch that names no deadline may wait as long as it says.
  if (deadline_ms == 0) deadline_ms = kDeadlineDefaultMs + int64_t{request.fetch().max_wait_ms()};
  exchange->context.deadline = broker_.core().now() + deadline_ms * base::kNanosPerMilli;
  if (Admit(exchange, scratch.get())) {
    co_await Dispatch(exchange, parts.payload, scratch.get());
  } else {
    Encode(*response, 0, &exchange->reply);
  }
  Keep(std::move(scratch));
}

task::Task<void> Session::Dispatch(server::Exchange* exchange, base::MutableByteView payload,
                                   Scratch* scratch) {
  const RequestHeader& request = *scratch->request;
  ResponseHeader* response = scratch->response;
  if (request.has_produce() && greeted_) {
    co_await HandleProduce(exchange, payload, scratch);
    co_return;
  }
  if (request.has_fetch() && greeted_ && payload.empty()) {
    co_await HandleFetch(exchange, scratch);
    co_return;
  }
  if (request.has_hello()) {
    HandleHello(request.hello(), exchange, response);
  } else if (!greeted_) {
    Refuse(Error::kInvalidRequest, "the first request of a connection must be Hello", exchange,
           response);
    response->mutable_error()->set_code(proto::client::Error::UNSUPPORTED_VERSION);
  } else if (!payload.empty()) {
    Refuse(Error::kInvalidRequest, "only a ProduceRequest has a payload", exchange, response);
  } else if (request.has_metadata()) {
    HandleMetadata(scratch);
  } else if (request.has_list_offsets()) {
    co_await HandleListOffsets(scratch);
  } else if (request.has_init_producer()) {
    co_await HandleInitProducer(scratch);
  } else if (request.has_create_topic()) {
    co_await HandleCreateTopic(scratch);
  } else if (request.has_alter_topic()) {
    co_await HandleAlterTopic(scratch);
  } else if (request.has_delete_records()) {
    co_await HandleDeleteRecords(exchange, scratch);
  } else if (request.has_delete_topic()) {
    co_await HandleDeleteTopic(scratch);
  } else if (request.has_describe_topic()) {
    co_await HandleDescribeTopic(exchange, scratch);
  } else if (request.has_list_groups()) {
    co_await HandleListGroups(exchange, scratch);
  } else if (request.has_describe_group()) {
    co_await HandleDescribeGroup(exchange, scratch);
  } else if (request.has_commit_offsets()) {
    co_await HandleCommitOffsets(exchange, scratch);
  } else if (request.has_delete_group()) {
    co_await HandleDeleteGroup(scratch);
  } else if (request.has_describe_broker()) {
    HandleDescribeBroker(scratch);
  } else if (request.has_alter_broker()) {
    co_await HandleAlterBroker(scratch);
  } else {
    FillError(Error::kInvalidRequest, "no request body, or one that this broker does not know",
              response->mutable_error());
    response->mutable_error()->set_code(proto::client::Error::UNSUPPORTED_VERSION);
  }
  Encode(*response, 0, &exchange->reply);
}

void Session::HandleHello(const proto::client::HelloRequest& request, server::Exchange* exchange,
                          ResponseHeader* response) {
  if (request.proto_max() < kProtoMin || request.proto_min() > kProtoMax ||
      request.proto_min() > request.proto_max()) {
    Refuse(
        Error::kInvalidRequest,
        absl::StrCat("no protocol version in common: the broker speaks ", kProtoMin, " to ",
                     kProtoMax, ", the client ", request.proto_min(), " to ", request.proto_max()),
        exchange, response);
    response->mutable_error()->set_code(proto::client::Error::UNSUPPORTED_VERSION);
    return;
  }
  if (request.client_id().size() > kClientIdBytesMax) {
    Refuse(Error::kInvalidRequest,
           absl::StrCat("client_id has ", request.client_id().size(), " bytes, at most ",
                        kClientIdBytesMax, " are allowed"),
           exchange, response);
    return;
  }
  greeted_ = true;
  if (client_id_.empty()) client_id_ = request.client_id();
  const server::Image& image = *broker_.image();
  auto* hello = response->mutable_hello();
  hello->set_proto(std::min(kProtoMax, request.proto_max()));
  hello->set_cluster_id(image.cluster_id().ToString());
  hello->set_node_id(endpoints_.NodeOf(image.broker_id(), broker_.core().id()));
  hello->set_core(broker_.core().id().value());
  hello->set_software_version(options_.software_version);
  hello->set_proto_min(kProtoMin);
  hello->set_proto_max(kProtoMax);
  auto* limits = hello->mutable_limits();
  limits->set_header_bytes_max(kHeaderBytesMax);
  limits->set_payload_bytes_max(kPayloadBytesMax);
  limits->set_requests_in_flight_max(options_.exchanges_max);
  limits->set_connection_bytes_max(options_.connection_bytes_max);
}

Error Session::FindTopic(absl::string_view name, absl::string_view id,
                         const server::TopicImage** topic) const {
  if (name.empty() == id.empty()) return Error::kInvalidRequest;
  const server::Image& image = *broker_.image();
  if (!name.empty()) {
    *topic = image.FindByName(name);
    return *topic == nullptr ? Error::kUnknownTopic : Error::kNone;
  }
  base::Uuid uuid;
  if (!base::Uuid::FromBytes(base::AsBytes(id), &uuid)) return Error::kInvalidRequest;
  *topic = image.FindById(uuid);
  return *topic == nullptr ? Error::kUnknownTopic : Error::kNone;
}

Error Session::Resolve(absl::string_view name, absl::string_view id, uint32_t partition,
                       partition::PartitionId* out) const {
  const server::TopicImage* topic;
  const Error error = FindTopic(name, id, &topic);
  if (error != Error::kNone) return error;
  if (partition >= topic->partitions.size()) return Error::kUnknownTopic;
  *out = {topic->id, static_cast<int32_t>(partition)};
  return Error::kNone;
}

task::Task<void> Session::HandleProduce(server::Exchange* exchange, base::MutableByteView payload,
                                        Scratch* scratch) {
  const auto& request = scratch->request->produce();
  ResponseHeader* response = scratch->response;
  auto* produced = response->mutable_produce();
  auto& items = scratch->produce_items;
  size_t at = 0;
  bool whole = request.partitions_size() > 0;
  for (const auto& slice : request.partitions()) {
    if (slice.payload_bytes() > payload.size() - at) {
      whole = false;
      break;
    }
    auto* result = produced->add_partitions();
    partition::PartitionId id;
    const Error error = Resolve(slice.topic(), slice.topic_id(), slice.partition(), &id);
    result->set_base_offset(-1);
    if (error != Error::kNone) {
      FillError(error, "", result->mutable_error());
    } else {
      items.push_back({.id = id, .batches = payload.subspan(at, slice.payload_bytes())});
      scratch->produced.push_back(result);
    }
    at += slice.payload_bytes();
  }
  if (!whole || at != payload.size()) {
    response->Clear();
    response->set_correlation_id(scratch->request->correlation_id());
    Refuse(Error::kInvalidRequest, "the payload slices do not add up to the payload", exchange,
           response);
    Encode(*response, 0, &exchange->reply);
    co_return;
  }
  const auto acks = request.acks() == proto::client::ACKS_NONE     ? partition::AckPolicy::kNone
                    : request.acks() == proto::client::ACKS_LEADER ? partition::AckPolicy::kLeader
                                                                   : partition::AckPolicy::kAll;
  if (!items.empty()) co_await broker_.Produce(acks, items);
  bool failed = items.size() < static_cast<size_t>(request.partitions_size());
  for (size_t i = 0; i < items.size(); ++i) {
    const partition::ProduceResult& result = items[i].result;
    proto::client::PartitionProduced* out = scratch->produced[i];
    failed |= result.error != Error::kNone;
    if (result.error != Error::kNone) FillError(result.error, "", out->mutable_error());
    out->set_base_offset(result.base_offset.value());
    out->set_log_append_time_ms(std::max<int64_t>(result.log_append_time_ms, 0));
    out->set_log_start_offset(result.log_start.value());
  }
  if (acks == partition::AckPolicy::kNone) {
    exchange->reply.close_after = failed;
    co_return;
  }
  Encode(*response, 0, &exchange->reply);
}

task::Task<void> Session::HandleFetch(server::Exchange* exchange, Scratch* scratch) {
  const auto& request = scratch->request->fetch();
  auto* fetched = scratch->response->mutable_fetch();
  auto& items = scratch->fetch_items;
  server::FetchLimits limits{
      .bytes_min = request.min_bytes(),
      .bytes_max = std::min<int64_t>(request.max_bytes(), kPayloadBytesMax),
      .wait_until = std::min(
          broker_.core().now() + static_cast<int64_t>(request.max_wait_ms()) * base::kNanosPerMilli,
          exchange->context.deadline)};
  for (const auto& wanted : request.partitions()) {
    auto* result = fetched->add_partitions();
    partition::PartitionId id;
    const Error error = Resolve(wanted.topic(), wanted.topic_id(), wanted.partition(), &id);
    if (error != Error::kNone) {
      FillError(error, "", result->mutable_error());
      limits.wait_until = 0;
      continue;
    }
    items.push_back(
        {.id = id,
         .offset = base::Offset(wanted.offset()),
         .bytes_max = wanted.max_bytes() == 0 ? limits.bytes_max : int64_t{wanted.max_bytes()},
         .leader_epoch = wanted.has_leader_epoch() ? wanted.leader_epoch() : -1});
    scratch->fetched.push_back(result);
  }
  if (!items.empty()) co_await broker_.Fetch(exchange->context, limits, items);
  int64_t payload_bytes = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const partition::FetchResult& result = items[i].result;
    proto::client::PartitionFetched* out = scratch->fetched[i];
    if (result.error != Error::kNone) FillError(result.error, "", out->mutable_error());
    out->set_payload_bytes(static_cast<uint32_t>(result.plan.bytes));
    out->set_high_watermark(result.high_watermark.value());
    out->set_log_start_offset(result.log_start.value());
    out->set_log_end_offset(result.log_end.value());
    payload_bytes += result.plan.bytes;
  }
  server::Reply& reply = exchange->reply;
  Encode(*scratch->response, static_cast<size_t>(payload_bytes), &reply);
  for (server::FetchItem& item : items) {
    log::ReadPlan& plan = item.result.plan;
    if (plan.bytes == 0) continue;
    reply.AddFile(plan.fd, plan.position.value(), plan.bytes);
    reply.pins.push_back(std::move(plan.pin));
  }
}

}  // namespace ringtail::native
