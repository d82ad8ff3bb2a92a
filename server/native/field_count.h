// What a request would take to parse, seen before it is parsed: an entry of two bytes becomes a
// message of a hundred.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/bytes.h"

namespace ringtail::native {

struct FieldCount {
  size_t fields = 0;  // of the RequestHeader and of its body
  uint64_t correlation_id = 0;
};

// Stops where the bytes are no message; parsing then fails as well.
FieldCount CountFields(base::ByteView header);

}  // namespace ringtail::native
