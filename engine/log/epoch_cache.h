// Which leader epoch began at which offset: the content of leader-epoch-checkpoint (KIP-101).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/types.h"

namespace ringtail::log {

struct EpochEntry {
  int32_t epoch = 0;
  base::Offset start;

  bool operator==(const EpochEntry&) const = default;
};

// Epochs and offsets both rise strictly.
class EpochCache {
 public:
  // Notes that a batch at `start` carries `epoch`. True: the cache changed. An epoch below the
  // latest is not noted; entries at or past `start` make way.
  bool Assign(int32_t epoch, base::Offset start);
  // True: the cache changed.
  bool TruncateFromEnd(base::Offset end);
  // Entries below `start` go, the one that covers it starts there.
  bool TruncateFromStart(base::Offset start);
  void Clear() { entries_.clear(); }

  // -1 where there is none.
  int32_t latest() const { return entries_.empty() ? -1 : entries_.back().epoch; }
  // The epoch of the batch at `offset`; -1 where none is known.
  int32_t EpochAt(base::Offset offset) const;
  // What OffsetForLeaderEpoch answers (KIP-279): the largest known epoch <= `epoch` and its end,
  // the start of the next one or `log_end`. {-1, -1} where nothing is known.
  EpochEntry EndOf(int32_t epoch, base::Offset log_end) const;
  const std::vector<EpochEntry>& entries() const { return entries_; }

  // The bytes of the checkpoint file.
  std::string Encode() const;
  static absl::StatusOr<EpochCache> Decode(absl::string_view text);

 private:
  std::vector<EpochEntry> entries_;
};

}  // namespace ringtail::log
