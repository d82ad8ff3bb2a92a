// Records on the line and in librdkafka. ../../README.md has their form.
#ifndef RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_RECORD_H_
#define RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_RECORD_H_

#include <librdkafka/rdkafka.h>

#include <string>

#include "tests/compat/clients/librdkafka/client.h"

namespace compat {

std::string Decode(const Json& text);

// A part of a record; the pointer is null for null and not for empty.
struct Part {
  explicit Part(const Json& text) : null(text.is_null()), bytes(null ? "" : Decode(text)) {}
  void* data() { return null ? nullptr : bytes.data(); }
  bool null;
  std::string bytes;
};

// Of a list of [name, value]; librdkafka takes them with the record.
rd_kafka_headers_t* Headers(const Json& wanted);

// What `consume` and `group_poll` answer for one record.
Json RecordOf(const rd_kafka_message_t* message);

}  // namespace compat

#endif  // RINGTAIL_TESTS_COMPAT_CLIENTS_LIBRDKAFKA_RECORD_H_
