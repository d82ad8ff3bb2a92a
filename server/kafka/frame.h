// Whole frames: int32 length, header, message. Which header goes with which message and version;
// decoding and encoding in one call each, for the broker's side and for a client's.
//
// On the broker's side:
//   DecodeRequestFrame(frame, &request)           -> api key, version, correlation id, body
//   Decode(request.body, version, arena, &message)
//   MeasureResponse(response, version)            -> EncodedSize; take a buffer of buffer_bytes
//   EncodeResponse(response, version, correlation_id, size, buffer, &holes)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "server/kafka/messages.h"
#include "server/kafka/wire.h"

namespace ringtail::kafka {

inline constexpr int16_t kApiVersionsKey = 18;

constexpr int16_t RequestHeaderVersion(int16_t version, int16_t first_flexible_version) {
  return version >= first_flexible_version ? 2 : 1;
}
// KIP-511: a client that does not know our versions yet must be able to read an ApiVersions
// response.
constexpr int16_t ResponseHeaderVersion(int16_t api_key, int16_t version,
                                        int16_t first_flexible_version) {
  return api_key != kApiVersionsKey && version >= first_flexible_version ? 1 : 0;
}

struct RequestFrame {
  RequestHeader header;  // request_api_key, request_api_version, correlation_id, client_id
  base::ByteView body;
};

// `frame` is what follows the length; *out views it. The version may be one that the schema lacks:
// the header of a known API is still readable, and ApiVersions must be answered. Unimplemented: the
// schema has no such API; key, version and correlation id are set all the same.
absl::Status DecodeRequestFrame(base::ByteView frame, RequestFrame* out);

// Decodes a message that fills `body`, or begins it (limits.bytes_may_follow). *out views body and
// arena.
template <class Message>
absl::Status Decode(base::ByteView body, int16_t version, Arena& arena, Message* out,
                    DecodeLimits limits = {}) {
  Reader reader(body, &arena, limits);
  Read(reader, version, out);
  return limits.bytes_may_follow ? reader.CurrentStatus(Message::kName, version)
                                 : reader.Finish(Message::kName, version);
}

// Encodes a message alone; `size` is what Measure said of it. Hole positions count from `out`.
template <class Message>
uint8_t* Encode(const Message& message, int16_t version, EncodedSize size, uint8_t* out,
                std::vector<RecordsHole>* holes = nullptr) {
  Writer writer(out, out, holes);
  Write(writer, version, message);
  RT_CHECK(writer.next() == out + size.buffer_bytes);
  return writer.next();
}

// The size of a response's whole frame, length included. Fails where the version cannot carry a
// value.
template <class Response>
absl::StatusOr<EncodedSize> MeasureResponse(const Response& response, int16_t version) {
  absl::StatusOr<EncodedSize> size = Measure(response, version);
  if (!size.ok()) return size;
  const bool flexible_header =
      ResponseHeaderVersion(Response::kApiKey, version, Response::kFirstFlexibleVersion) == 1;
  size->buffer_bytes += sizeof(int32_t) + sizeof(int32_t) + (flexible_header ? 1 : 0);
  if (size->total_bytes() - sizeof(int32_t) > kFrameBytesMax) {
    return absl::InvalidArgumentError("a response too large for a frame");
  }
  return size;
}

// Writes the frame of `size`, as MeasureResponse gave it, and returns its end. Appends to *holes
// the places where bytes from elsewhere belong, counted from `out`; the frame's length includes
// them.
template <class Response>
uint8_t* EncodeResponse(const Response& response, int16_t version, int32_t correlation_id,
                        EncodedSize size, uint8_t* out, std::vector<RecordsHole>* holes = nullptr) {
  Writer writer(out, out, holes);
  writer.I32(static_cast<int32_t>(size.total_bytes() - sizeof(int32_t)));
  ResponseHeader header;
  header.correlation_id = correlation_id;
  Write(writer, ResponseHeaderVersion(Response::kApiKey, version, Response::kFirstFlexibleVersion),
        header);
  Write(writer, version, response);
  RT_CHECK(writer.next() == out + size.buffer_bytes);
  return writer.next();
}

// A client's side: a request's whole frame, appended to *out. Records go in as they are, no holes.
template <class Request>
absl::Status AppendRequest(const Request& request, int16_t version, int32_t correlation_id,
                           std::optional<absl::string_view> client_id, std::vector<uint8_t>* out) {
  RequestHeader header;
  header.request_api_key = Request::kApiKey;
  header.request_api_version = version;
  header.correlation_id = correlation_id;
  header.client_id = client_id;
  const int16_t header_version = RequestHeaderVersion(version, Request::kFirstFlexibleVersion);
  const absl::StatusOr<EncodedSize> header_size = Measure(header, header_version);
  if (!header_size.ok()) return header_size.status();
  const absl::StatusOr<EncodedSize> size = Measure(request, version);
  if (!size.ok()) return size.status();
  const size_t frame_bytes = header_size->buffer_bytes + size->buffer_bytes;
  if (size->hole_bytes > 0 || frame_bytes > kFrameBytesMax) {
    return absl::InvalidArgumentError("a request too large, or with records from elsewhere");
  }
  const size_t start = out->size();
  out->resize(start + sizeof(int32_t) + frame_bytes);
  Writer writer(out->data() + start, out->data() + start, nullptr);
  writer.I32(static_cast<int32_t>(frame_bytes));
  Write(writer, header_version, header);
  Write(writer, version, request);
  RT_CHECK(writer.next() == out->data() + out->size());
  return absl::OkStatus();
}

// A client's side: `frame` is what follows the length.
template <class Response>
absl::Status DecodeResponse(base::ByteView frame, int16_t version, Arena& arena,
                            int32_t* correlation_id, Response* out, DecodeLimits limits = {}) {
  Reader reader(frame, &arena, limits);
  ResponseHeader header;
  Read(reader, ResponseHeaderVersion(Response::kApiKey, version, Response::kFirstFlexibleVersion),
       &header);
  *correlation_id = header.correlation_id;
  if (reader.ok()) Read(reader, version, out);
  return reader.Finish(Response::kName, version);
}

}  // namespace ringtail::kafka
