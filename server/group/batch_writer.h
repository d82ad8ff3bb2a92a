// Makes the one batch in which a change of groups is appended: records without headers,
// uncompressed, in Kafka's format (engine/log/batch.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"

namespace ringtail::group {

class BatchWriter {
 public:
  explicit BatchWriter(int64_t timestamp_ms);

  // nullopt: a tombstone.
  void Add(absl::string_view key, std::optional<absl::string_view> value);
  int32_t record_count() const { return count_; }
  size_t size_bytes() const { return bytes_.size(); }
  // There is a record. The writer is used up.
  std::vector<uint8_t> Finish();

 private:
  int64_t timestamp_ms_;
  int32_t count_ = 0;
  std::vector<uint8_t> bytes_;
};

}  // namespace ringtail::group
