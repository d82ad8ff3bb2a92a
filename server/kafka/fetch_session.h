// Fetch sessions (KIP-227): what a consumer fetches is remembered between its requests, so that it
// names only what changed, and is told only of partitions that changed. A client that is told of no
// session, or whose session is gone, sends whole requests; nothing is lost with one.
//
// One cache per core, used by all its connections. A session outlives its connection, as in Kafka,
// until a client closes it, or another one needs its slot or its memory:
//
//   - one that nobody used for `evict_after_ns` gives way to any;
//   - else the smallest one that is at least that old gives way to one of more partitions.
//
// On another core the same id is unknown: the client then begins a new session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "engine/task/intrusive_list.h"
#include "server/cluster/image.h"

namespace ringtail::kafka {

struct FetchSessionLimits {
  size_t sessions_max = 1000;    // max.incremental.fetch.session.cache.slots
  size_t bytes_max = 32u << 20;  // of all sessions of the core
  base::Nanos evict_after_ns = 120 * base::kNanosPerSecond;
};

struct FetchSessionCounters {
  uint64_t created = 0;
  uint64_t evicted = 0;
  uint64_t refused = 0;    // no slot or no memory: the client goes on without a session
  uint64_t not_found = 0;  // requests that named a session which is not here
};

class FetchSession : public task::ListNode {
 public:
  static constexpr int32_t kNone = 0;          // the id of no session
  static constexpr int32_t kInitialEpoch = 0;  // of a request that begins one
  static constexpr int32_t kFinalEpoch = -1;   // of a request that ends one or wants none

  // How a topic is named in this session's requests: by name up to version 12, then by id.
  struct TopicKey {
    absl::string_view name;
    base::Uuid id;
  };
  // What the client asks of a partition.
  struct Wanted {
    int64_t fetch_offset = 0;
    int32_t bytes_max = 0;
    int32_t leader_epoch = -1;
  };
  // What it was told of it last.
  struct Told {
    int64_t high_watermark = -1;
    int64_t log_start = -1;
  };

  FetchSession(int32_t id, bool by_id, base::Nanos now)
      : id_(id), by_id_(by_id), created_at_(now) {}

  int32_t id() const { return id_; }
  bool by_id() const { return by_id_; }
  size_t size() const { return by_partition_.size(); }
  int32_t epoch() const { return epoch_; }
  // After the largest comes 1: 0 would begin a new session.
  static int32_t EpochAfter(int32_t epoch) { return epoch == INT32_MAX ? 1 : epoch + 1; }
  void NextEpoch() { epoch_ = EpochAfter(epoch_); }

  // Adds the partition or changes what is asked of it. Returns its slot.
  uint32_t Want(const TopicKey& topic, int32_t partition, const Wanted& wanted);
  void Forget(const TopicKey& topic, int32_t partition);
  // Notes what it is told now. Whether there is anything new to tell; an error always is.
  bool Tell(uint32_t slot, bool failed, const Told& told, bool has_records);

  // Visits (slot, topic, partition, wanted) in the order in which they are to be served: those that
  // were given records are behind those that were not, so that none is kept waiting for ever.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (uint32_t slot = first_; slot != kEnd; slot = slots_[slot].next) {
      const Slot& each = slots_[slot];
      visit(slot, each.topic, each.partition, each.wanted);
    }
  }
  uint32_t TopicIndexOf(uint32_t slot) const { return slots_[slot].topic; }
  // Valid until the topic is forgotten.
  TopicKey TopicOf(uint32_t topic) const { return {topics_[topic]->name, topics_[topic]->id}; }
  // By the catalog of `image`; zero: there is no such topic.
  const base::Uuid& TopicId(uint32_t topic, const server::Image& image);

  size_t memory_bytes() const;
  // What adding so much may come to at most.
  static size_t BytesFor(size_t topics, size_t name_bytes, size_t partitions);

 private:
  friend class FetchSessionCache;
  static constexpr uint32_t kEnd = UINT32_MAX;

  struct Topic {
    std::string name;
    base::Uuid id;               // by_id: as asked for; else as in the image of that version
    uint64_t image_version = 0;  // 0: not looked up
    uint32_t partitions = 0;     // 0: the entry is free
  };
  struct Slot {
    Wanted wanted;
    Told told;
    uint32_t topic = 0;
    int32_t partition = 0;
    uint32_t previous = kEnd;  // in the order of service
    uint32_t next = kEnd;
  };
  struct PartitionKey {
    uint32_t topic;
    int32_t partition;
    bool operator==(const PartitionKey&) const = default;
    template <class H>
    friend H AbslHashValue(H state, const PartitionKey& key) {
      return H::combine(std::move(state), key.topic, key.partition);
    }
  };

  uint32_t FindTopic(const TopicKey& topic) const;  // kEnd: none
  uint32_t AddTopic(const TopicKey& topic);
  void RemoveTopic(uint32_t topic);
  void LinkLast(uint32_t slot);
  void UnlinkSlot(uint32_t slot);

  const int32_t id_;
  const bool by_id_;
  const base::Nanos created_at_;
  base::Nanos used_at_ = 0;
  size_t charged_ = 0;  // of the cache's memory
  int32_t epoch_ = kInitialEpoch + 1;
  std::vector<std::unique_ptr<Topic>> topics_;
  std::vector<uint32_t> free_topics_;
  size_t name_bytes_ = 0;
  absl::flat_hash_map<absl::string_view, uint32_t> by_name_;  // keys in topics_
  absl::flat_hash_map<base::Uuid, uint32_t> by_topic_id_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  absl::flat_hash_map<PartitionKey, uint32_t> by_partition_;
  uint32_t first_ = kEnd;
  uint32_t last_ = kEnd;
};

class FetchSessionCache {
 public:
  explicit FetchSessionCache(const FetchSessionLimits& limits) : limits_(limits) {}

  // nullptr: not here. Valid until the next call of Create, Grow or Remove.
  FetchSession* Find(int32_t id);
  void Touch(FetchSession& session, base::Nanos now);
  // An empty session that is to hold `partitions`, some `bytes`. nullptr: no room.
  FetchSession* Create(bool by_id, size_t partitions, size_t bytes, base::Nanos now);
  // Makes room for what is to be added to `session`. False: there is none; the session is gone.
  bool Grow(FetchSession& session, size_t topics, size_t name_bytes, size_t partitions,
            base::Nanos now);
  // Counts again what it holds, after it was changed.
  void Settle(FetchSession& session);
  void Remove(int32_t id);

  size_t size() const { return sessions_.size(); }
  size_t partition_count() const;
  size_t memory_bytes() const { return bytes_; }
  const FetchSessionCounters& counters() const { return counters_; }

 private:
  bool EvictOne(size_t partitions, const FetchSession* but, base::Nanos now);
  void Recharge(FetchSession& session, size_t bytes);
  int32_t NewId() const;

  const FetchSessionLimits limits_;
  absl::flat_hash_map<int32_t, std::unique_ptr<FetchSession>> sessions_;
  task::IntrusiveList<FetchSession> by_use_;  // the longest unused first
  size_t bytes_ = 0;
  FetchSessionCounters counters_;
};

}  // namespace ringtail::kafka
