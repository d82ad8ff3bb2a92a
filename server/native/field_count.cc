#include "server/native/field_count.h"

#include "proto/client.pb.h"

namespace ringtail::native {
namespace {

using proto::client::RequestHeader;

// Source: Protocol Buffers, "Encoding".
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

bool TakeVarint(base::ByteView* bytes, uint64_t* value) {
  *value = 0;
  for (uint32_t shift = 0; shift < 64 && !bytes->empty(); shift += 7) {
    const uint8_t byte = bytes->front();
    *bytes = bytes->subspan(1);
    *value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

struct Field {
  uint64_t number = 0;
  uint64_t value = 0;  // of a varint
  base::ByteView bytes;
};

// What is inside a group, which no message here has, counts like what is around it.
bool TakeField(base::ByteView* bytes, Field* field) {
  uint64_t tag, size = 0;
  if (!TakeVarint(bytes, &tag)) return false;
  *field = {.number = tag >> 3};
  const uint64_t type = tag & 7;
  if (type == kVarint) return TakeVarint(bytes, &field->value);
  if (type == kBytes && !TakeVarint(bytes, &size)) return false;
  if (type == kFixed64) size = 8;
  if (type == kFixed32) size = 4;
  if (size > bytes->size()) return false;
  field->bytes = bytes->first(size);
  *bytes = bytes->subspan(size);
  return true;
}

}  // namespace

FieldCount CountFields(base::ByteView header) {
  FieldCount count;
  for (Field field; TakeField(&header, &field);) {
    ++count.fields;
    if (field.number == RequestHeader::kCorrelationIdFieldNumber) {
      count.correlation_id = field.value;
    }
    const bool is_body = field.number >= RequestHeader::kProduceFieldNumber &&
                         field.number <= RequestHeader::kAlterBrokerFieldNumber;
    if (!is_body) continue;
    base::ByteView body = field.bytes;
    for (Field inner; TakeField(&body, &inner);) ++count.fields;
  }
  return count;
}

}  // namespace ringtail::native
