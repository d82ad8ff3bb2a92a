#include "engine/log/epoch_cache.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ringtail::log {

bool EpochCache::Assign(int32_t epoch, base::Offset start) {
  if (epoch < 0) return false;
  if (!entries_.empty() && entries_.back().epoch == epoch && entries_.back().start <= start) {
    return false;
  }
  while (!entries_.empty() && (entries_.back().epoch >= epoch || entries_.back().start >= start)) {
    entries_.pop_back();
  }
  entries_.push_back({epoch, start});
  return true;
}

bool EpochCache::TruncateFromEnd(base::Offset end) {
  const size_t before = entries_.size();
  while (!entries_.empty() && entries_.back().start >= end) entries_.pop_back();
  return entries_.size() != before;
}

bool EpochCache::TruncateFromStart(base::Offset start) {
  auto covering = std::upper_bound(
      entries_.begin(), entries_.end(), start,
      [](base::Offset offset, const EpochEntry& entry) { return offset < entry.start; });
  if (covering == entries_.begin()) return false;
  --covering;
  if (covering == entries_.begin() && covering->start == start) return false;
  covering->start = start;
  entries_.erase(entries_.begin(), covering);
  return true;
}

int32_t EpochCache::EpochAt(base::Offset offset) const {
  int32_t epoch = -1;
  for (const EpochEntry& entry : entries_) {
    if (entry.start > offset) break;
    epoch = entry.epoch;
  }
  return epoch;
}

EpochEntry EpochCache::EndOf(int32_t epoch, base::Offset log_end) const {
  EpochEntry answer{-1, base::Offset(-1)};
  if (entries_.empty() || epoch < 0) return answer;
  if (epoch == entries_.back().epoch) return {epoch, log_end};
  // An epoch from the future is as unknown as one from before the log's first.
  if (epoch > entries_.back().epoch) return answer;
  for (const EpochEntry& entry : entries_) {
    if (entry.epoch > epoch) {
      if (answer.epoch < 0) answer.epoch = epoch;
      answer.start = entry.start;
      return answer;
    }
    answer.epoch = entry.epoch;
  }
  return answer;
}

std::string EpochCache::Encode() const {
  std::string text = absl::StrCat("0\n", entries_.size(), "\n");
  for (const EpochEntry& entry : entries_) {
    absl::StrAppend(&text, entry.epoch, " ", entry.start.value(), "\n");
  }
  return text;
}

absl::StatusOr<EpochCache> EpochCache::Decode(absl::string_view text) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  size_t count = 0;
  if (lines.size() < 2 || lines[0] != "0" || !absl::SimpleAtoi(lines[1], &count) ||
      count != lines.size() - 2) {
    return absl::DataLossError("leader-epoch-checkpoint: not version 0 or entries missing");
  }
  EpochCache cache;
  for (size_t i = 2; i < lines.size(); ++i) {
    const std::vector<absl::string_view> fields = absl::StrSplit(lines[i], ' ');
    EpochEntry entry;
    int64_t start = 0;
    if (fields.size() != 2 || !absl::SimpleAtoi(fields[0], &entry.epoch) ||
        !absl::SimpleAtoi(fields[1], &start) || entry.epoch < 0 || start < 0) {
      return absl::DataLossError("leader-epoch-checkpoint: a line that is no entry");
    }
    entry.start = base::Offset(start);
    if (!cache.entries_.empty() && (cache.entries_.back().epoch >= entry.epoch ||
                                    cache.entries_.back().start >= entry.start)) {
      return absl::DataLossError("leader-epoch-checkpoint: entries out of order");
    }
    cache.entries_.push_back(entry);
  }
  return cache;
}

}  // namespace ringtail::log
