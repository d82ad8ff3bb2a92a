#include "server/kafka/frame.h"

#include "absl/strings/str_cat.h"

namespace ringtail::kafka {

absl::Status DecodeRequestFrame(base::ByteView frame, RequestFrame* out) {
  *out = RequestFrame();
  Reader start(frame, nullptr);
  out->header.request_api_key = start.I16("RequestHeader.RequestApiKey");
  out->header.request_api_version = start.I16("RequestHeader.RequestApiVersion");
  out->header.correlation_id = start.I32("RequestHeader.CorrelationId");
  if (!start.ok()) return start.CurrentStatus(RequestHeader::kName, 0);
  const MessageInfo* info = FindRequest(out->header.request_api_key);
  if (info == nullptr) {
    return absl::UnimplementedError(absl::StrCat("no API with key ", out->header.request_api_key));
  }
  const int16_t header_version =
      RequestHeaderVersion(out->header.request_api_version, info->first_flexible_version);
  Reader reader(frame, nullptr);
  Read(reader, header_version, &out->header);
  out->body = frame.subspan(reader.position());
  return reader.CurrentStatus(RequestHeader::kName, header_version);
}

}  // namespace ringtail::kafka
