#include "tools/client/error.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace ringtail::client {
namespace {

constexpr absl::string_view kPayloadUrl = "ringtail/proto.client.Error";

absl::StatusCode AbslCode(wire::Error::Code code, bool retriable) {
  switch (code) {
    case wire::Error::OK:
      return absl::StatusCode::kOk;
    case wire::Error::INVALID_REQUEST:
    case wire::Error::INVALID_CONFIG:
    case wire::Error::INVALID_TOPIC:
    case wire::Error::BATCH_TOO_LARGE:
      return absl::StatusCode::kInvalidArgument;
    case wire::Error::UNSUPPORTED_VERSION:
    case wire::Error::UNSUPPORTED_FORMAT:
      return absl::StatusCode::kUnimplemented;
    case wire::Error::UNKNOWN_TOPIC:
    case wire::Error::UNKNOWN_GROUP:
      return absl::StatusCode::kNotFound;
    case wire::Error::TOPIC_EXISTS:
    case wire::Error::DUPLICATE_SEQUENCE:
      return absl::StatusCode::kAlreadyExists;
    case wire::Error::NOT_LEADER:
    case wire::Error::FENCED_LEADER_EPOCH:
    case wire::Error::UNKNOWN_LEADER_EPOCH:
    case wire::Error::NOT_ENOUGH_REPLICAS:
    case wire::Error::SHUTTING_DOWN:
    case wire::Error::COORDINATOR_NOT_READY:
      return absl::StatusCode::kUnavailable;
    case wire::Error::OFFSET_OUT_OF_RANGE:
      return absl::StatusCode::kOutOfRange;
    case wire::Error::CORRUPT_BATCH:
      return absl::StatusCode::kDataLoss;
    case wire::Error::OUT_OF_ORDER_SEQUENCE:
    case wire::Error::UNKNOWN_PRODUCER:
    case wire::Error::NOT_DURABLE:
      return absl::StatusCode::kAborted;
    case wire::Error::PRODUCER_FENCED:
    case wire::Error::GROUP_NOT_EMPTY:
      return absl::StatusCode::kFailedPrecondition;
    case wire::Error::OVERLOADED:
    case wire::Error::DISK_FULL:
      return absl::StatusCode::kResourceExhausted;
    case wire::Error::TIMED_OUT:
      return absl::StatusCode::kDeadlineExceeded;
    case wire::Error::NOT_AUTHORIZED:
      return absl::StatusCode::kPermissionDenied;
    case wire::Error::STORAGE_ERROR:
    case wire::Error::INTERNAL:
      return absl::StatusCode::kInternal;
    default:
      return retriable ? absl::StatusCode::kUnavailable : absl::StatusCode::kUnknown;
  }
}

bool PayloadOf(const absl::Status& status, wire::Error* error) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  return payload.has_value() && error->ParseFromString(std::string(*payload));
}

}  // namespace

absl::Status ToStatus(const wire::Error& error, absl::string_view context) {
  if (error.code() == wire::Error::OK) return absl::OkStatus();
  std::string name = wire::Error::Code_Name(error.code());
  if (name.empty()) name = absl::StrCat("error ", static_cast<int>(error.code()));
  absl::Status status(AbslCode(error.code(), error.retriable()),
                      absl::StrCat(context, context.empty() ? "" : ": ",
                                   error.message().empty() ? name : error.message(),
                                   error.message().empty() ? "" : absl::StrCat(" (", name, ")")));
  wire::Error payload = error;
  payload.clear_message();
  const std::string bytes = payload.SerializeAsString();
  status.SetPayload(kPayloadUrl, absl::Cord(absl::string_view(bytes)));
  return status;
}

absl::Status OutsideLog(absl::string_view context, int64_t offset, int64_t log_start_offset,
                        int64_t high_watermark) {
  wire::Error error;
  error.set_code(wire::Error::OFFSET_OUT_OF_RANGE);
  error.set_message(absl::StrCat("offset ", offset, " is outside the log, which begins at ",
                                 log_start_offset, " and ends at ", high_watermark));
  return ToStatus(error, context);
}

wire::Error::Code ErrorCodeOf(const absl::Status& status) {
  if (status.ok()) return wire::Error::OK;
  wire::Error error;
  return PayloadOf(status, &error) ? error.code() : wire::Error::INTERNAL;
}

bool IsRetriable(const absl::Status& status) {
  wire::Error error;
  if (PayloadOf(status, &error)) return error.retriable();
  return absl::IsUnavailable(status);
}

uint32_t RetryAfterMillis(const absl::Status& status) {
  wire::Error error;
  return PayloadOf(status, &error) ? error.retry_after_ms() : 0;
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

}  // namespace ringtail::client
