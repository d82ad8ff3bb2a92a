#include "server/kafka/session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/endian.h"
#include "engine/base/logging.h"
#include "server/kafka/api_table.h"

namespace ringtail::kafka {

using base::Error;

namespace {

constexpr size_t kPrefixBytes = 4;
constexpr size_t kRequestBytesMin = 8;  // api key, version, correlation id

}  // namespace

Session::Session(server::Broker& broker, const server::Endpoints& endpoints, CoreState& core_state)
    : broker_(broker), endpoints_(endpoints), core_state_(core_state) {}

Session::~Session() = default;

absl::StatusOr<size_t> Session::FrameBytes(base::ByteView prefix) const {
  const auto bytes = base::LoadBe<int32_t>(prefix.data());
  if (bytes < static_cast<int32_t>(kRequestBytesMin) ||
      bytes > static_cast<int32_t>(kRequestBytesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a Kafka request: a length of ", bytes, ", expected ", kRequestBytesMin,
                     " to ", kRequestBytesMax, " (is this TLS or HTTP on a plain Kafka port?)"));
  }
  return kPrefixBytes + static_cast<size_t>(bytes);
}

void Session::Close(Call* call, const absl::Status& why) {
  RT_LOG_EVERY(1, kInfo, "connection {} ({}): closed: API {} version {}: {}",
               call->exchange->connection->peer(), client_id_, call->request.header.request_api_key,
               call->version, why.message());
  call->exchange->reply.close_after = true;
}

task::Task<void> Session::Handle(server::Exchange* exchange) {
  std::unique_ptr<Call> call = core_state_.calls.Take();
  call->exchange = exchange;
  const absl::Status decoded =
      DecodeRequestFrame(exchange->frame.bytes().subspan(kPrefixBytes), &call->request);
  const RequestHeader& header = call->request.header;
  call->version = header.request_api_version;
  const Api* api = FindApi(header.request_api_key);
  if (client_id_.empty() && header.client_id.has_value()) {
    client_id_ = std::string(header.client_id->substr(0, kClientIdBytesMax));
  }
  const bool version_known =
      api != nullptr && call->version >= api->version_first && call->version <= api->version_max;
  if (!decoded.ok()) {
    Close(call.get(), decoded);
  } else if (!version_known && header.request_api_key != ApiVersionsRequest::kApiKey) {
    Close(call.get(), absl::UnimplementedError("this API or version is not offered"));
  } else {
    co_await (this->*api->handler)(call.get());
  }
  core_state_.calls.Keep(std::move(call));
}

Error Session::FindTopic(absl::string_view name, const base::Uuid& id, bool by_id,
                         const server::TopicImage** topic) const {
  const server::Image& image = *broker_.image();
  *topic = by_id ? image.FindById(id) : image.FindByName(name);
  if (*topic != nullptr) return Error::kNone;
  return by_id ? Error::kUnknownTopicId : Error::kUnknownTopic;
}

}  // namespace ringtail::kafka
