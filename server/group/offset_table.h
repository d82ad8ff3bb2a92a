// What one group has committed: by topic and partition, the newest that is durable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "server/group/group_types.h"

namespace ringtail::group {

class OffsetTable {
 public:
  using Partitions = std::map<int32_t, CommittedOffset>;
  using Topics = std::map<std::string, Partitions, std::less<>>;

  // `budget` outlives it.
  explicit OffsetTable(Budget& budget) : budget_(budget) {}
  ~OffsetTable() { budget_.Give(bytes_); }
  OffsetTable(const OffsetTable&) = delete;
  OffsetTable& operator=(const OffsetTable&) = delete;

  // What a commit of a partition takes at most.
  static size_t BytesOf(absl::string_view topic, size_t metadata_bytes) {
    return sizeof(CommittedOffset) + kNodeBytes + topic.size() + metadata_bytes;
  }

  // Of a record that is not older than what is known; an older one changes nothing.
  void Put(absl::string_view topic, int32_t partition, CommittedOffset committed) {
    auto found = topics_.find(topic);
    if (found == topics_.end()) found = topics_.emplace(std::string(topic), Partitions()).first;
    const auto [at, added] = found->second.try_emplace(partition);
    if (!added && at->second.record > committed.record) return;
    if (!added) Charge(BytesOf(topic, at->second.metadata.size()), 0);
    Charge(0, BytesOf(topic, committed.metadata.size()));
    at->second = std::move(committed);
    size_ += added ? 1 : 0;
  }
  // By the tombstone at `record`.
  void Remove(absl::string_view topic, int32_t partition, base::Offset record) {
    const auto found = topics_.find(topic);
    if (found == topics_.end()) return;
    const auto at = found->second.find(partition);
    if (at == found->second.end() || at->second.record > record) return;
    Charge(BytesOf(topic, at->second.metadata.size()), 0);
    found->second.erase(at);
    --size_;
    if (found->second.empty()) topics_.erase(found);
  }
  // nullptr: nothing is committed.
  const CommittedOffset* Find(absl::string_view topic, int32_t partition) const {
    const auto found = topics_.find(topic);
    if (found == topics_.end()) return nullptr;
    const auto at = found->second.find(partition);
    return at == found->second.end() ? nullptr : &at->second;
  }
  const Topics& topics() const { return topics_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  static constexpr size_t kNodeBytes = 64;  // of the maps

  void Charge(size_t less, size_t more) {
    bytes_ += more - less;
    budget_.Give(less);
    budget_.Take(more);
  }

  Budget& budget_;
  Topics topics_;
  size_t size_ = 0;
  size_t bytes_ = 0;
};

}  // namespace ringtail::group
