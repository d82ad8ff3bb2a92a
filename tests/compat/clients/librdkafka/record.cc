#include "tests/compat/clients/librdkafka/record.h"

#include <stdexcept>

#include "absl/strings/escaping.h"

namespace compat {
namespace {

Json Encode(const void* data, size_t bytes) {
  if (data == nullptr) return nullptr;
  return absl::Base64Escape(absl::string_view(static_cast<const char*>(data), bytes));
}

Json HeadersOf(const rd_kafka_message_t* message) {
  Json found = Json::array();
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return found;
  const char* name;
  const void* value;
  size_t bytes;
  for (size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &bytes) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    found.push_back({name, Encode(value, bytes)});
  }
  return found;
}

}  // namespace

std::string Decode(const Json& text) {
  std::string bytes;
  if (!absl::Base64Unescape(text.get<std::string>(), &bytes)) throw std::runtime_error("base64");
  return bytes;
}

rd_kafka_headers_t* Headers(const Json& wanted) {
  rd_kafka_headers_t* headers = rd_kafka_headers_new(wanted.size() + 1);
  for (const Json& one : wanted) {
    const auto name = one[0].get<std::string>();
    Part value(one[1]);
    rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()), value.data(),
                        static_cast<ssize_t>(value.bytes.size()));
  }
  return headers;
}

Json RecordOf(const rd_kafka_message_t* message) {
  return {{"p", message->partition},
          {"o", message->offset},
          {"t", rd_kafka_message_timestamp(message, nullptr)},
          {"k", Encode(message->key, message->key_len)},
          {"v", Encode(message->payload, message->len)},
          {"h", HeadersOf(message)}};
}

}  // namespace compat
