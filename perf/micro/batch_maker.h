// Batches as producers send them, for what is measured with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/log/batch.h"

namespace ringtail::micro {

using Bytes = std::vector<uint8_t>;

// Text that compresses about threefold, as logs do.
std::string LogText(size_t bytes, uint32_t seed);

// One batch of records with such values.
Bytes MakeBatch(int64_t record_count, int64_t value_bytes, log::Codec codec = log::Codec::kNone);

}  // namespace ringtail::micro
