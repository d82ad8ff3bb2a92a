// Batches of a shard's records. Private to GroupShard.
#pragma once

#include <optional>

#include "absl/strings/string_view.h"
#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/log/batch.h"
#include "engine/records/record_batch_builder.h"
#include "server/group/group_types.h"

namespace ringtail::group {

// As large as it takes: the partition refuses what is too large.
inline records::RecordBatchBuilder NewBatch() {
  return records::RecordBatchBuilder({.batch_bytes_max = log::kBatchBytesMax});
}

// nullopt: a tombstone.
inline void Add(absl::string_view key, std::optional<absl::string_view> value, Instant at,
                records::RecordBatchBuilder* batch) {
  records::RecordInput record{.key = base::AsBytes(key), .timestamp_ms = at.wall_ms};
  if (value.has_value()) record.value = base::AsBytes(*value);
  RT_CHECK(batch->Append(record) == records::AppendResult::kAppended);
}

}  // namespace ringtail::group
