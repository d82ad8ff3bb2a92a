#include "server/kafka/fetch_session.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/endian.h"

namespace ringtail::kafka {
namespace {

// A hash table holds up to 8 entries in 7 of which each takes a control byte more, and has twice
// the room right after it grew.
constexpr size_t kTableFactor = 2;

template <class Map>
size_t TableBytes(const Map& map) {
  return map.capacity() * (sizeof(typename Map::value_type) + 1);
}

}  // namespace

// --- One session.

uint32_t FetchSession::FindTopic(const TopicKey& topic) const {
  if (by_id_) {
    const auto found = by_topic_id_.find(topic.id);
    return found == by_topic_id_.end() ? kEnd : found->second;
  }
  const auto found = by_name_.find(topic.name);
  return found == by_name_.end() ? kEnd : found->second;
}

uint32_t FetchSession::AddTopic(const TopicKey& topic) {
  if (free_topics_.empty()) {
    free_topics_.push_back(static_cast<uint32_t>(topics_.size()));
    topics_.push_back(std::make_unique<Topic>());
  }
  const uint32_t index = free_topics_.back();
  free_topics_.pop_back();
  Topic& added = *topics_[index];
  added.image_version = 0;
  if (by_id_) {
    added.id = topic.id;
    by_topic_id_.emplace(added.id, index);
  } else {
    added.name = std::string(topic.name);
    by_name_.emplace(added.name, index);
  }
  name_bytes_ += added.name.size();
  return index;
}

void FetchSession::RemoveTopic(uint32_t topic) {
  Topic& removed = *topics_[topic];
  name_bytes_ -= removed.name.size();
  if (by_id_) {
    by_topic_id_.erase(removed.id);
  } else {
    by_name_.erase(removed.name);
  }
  removed.name = std::string();
  free_topics_.push_back(topic);
}

void FetchSession::LinkLast(uint32_t slot) {
  Slot& each = slots_[slot];
  each.previous = last_;
  each.next = kEnd;
  (last_ == kEnd ? first_ : slots_[last_].next) = slot;
  last_ = slot;
}

void FetchSession::UnlinkSlot(uint32_t slot) {
  const Slot& each = slots_[slot];
  (each.previous == kEnd ? first_ : slots_[each.previous].next) = each.next;
  (each.next == kEnd ? last_ : slots_[each.next].previous) = each.previous;
}

uint32_t FetchSession::Want(const TopicKey& key, int32_t partition, const Wanted& wanted) {
  uint32_t topic = FindTopic(key);
  if (topic == kEnd) topic = AddTopic(key);
  const auto [entry, added] = by_partition_.try_emplace(PartitionKey{topic, partition}, kEnd);
  if (added) {
    if (free_slots_.empty()) {
      free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    entry->second = free_slots_.back();
    free_slots_.pop_back();
    slots_[entry->second] = {.topic = topic, .partition = partition};
    LinkLast(entry->second);
    ++topics_[topic]->partitions;
  }
  slots_[entry->second].wanted = wanted;
  return entry->second;
}

void FetchSession::Forget(const TopicKey& key, int32_t partition) {
  const uint32_t topic = FindTopic(key);
  if (topic == kEnd) return;
  const auto found = by_partition_.find(PartitionKey{topic, partition});
  if (found == by_partition_.end()) return;
  UnlinkSlot(found->second);
  free_slots_.push_back(found->second);
  by_partition_.erase(found);
  if (--topics_[topic]->partitions == 0) RemoveTopic(topic);
}

bool FetchSession::Tell(uint32_t slot, bool failed, const Told& told, bool has_records) {
  Slot& each = slots_[slot];
  bool news = has_records || each.told.high_watermark != told.high_watermark ||
              each.told.log_start != told.log_start;
  each.told = told;
  if (failed) {
    // When the error is gone, that is news, too.
    each.told.high_watermark = -1;
    news = true;
  }
  if (has_records) {
    UnlinkSlot(slot);
    LinkLast(slot);
  }
  return news;
}

const base::Uuid& FetchSession::TopicId(uint32_t index, const server::Image& image) {
  Topic& topic = *topics_[index];
  if (!by_id_ && topic.image_version != image.version()) {
    const server::TopicImage* found = image.FindByName(topic.name);
    topic.id = found == nullptr ? base::Uuid() : found->id;
    topic.image_version = image.version();
  }
  return topic.id;
}

size_t FetchSession::memory_bytes() const {
  return sizeof(FetchSession) + topics_.capacity() * sizeof(topics_[0]) +
         topics_.size() * sizeof(Topic) + name_bytes_ + free_topics_.capacity() * sizeof(uint32_t) +
         TableBytes(by_name_) + TableBytes(by_topic_id_) + slots_.capacity() * sizeof(Slot) +
         free_slots_.capacity() * sizeof(uint32_t) + TableBytes(by_partition_);
}

size_t FetchSession::BytesFor(size_t topics, size_t name_bytes, size_t partitions) {
  constexpr size_t kTopicEntry = sizeof(std::pair<base::Uuid, uint32_t>) + 1;
  constexpr size_t kPartitionEntry = sizeof(std::pair<PartitionKey, uint32_t>) + 1;
  return sizeof(FetchSession) + name_bytes +
         topics * (sizeof(Topic) + kTableFactor * (kTopicEntry + sizeof(std::unique_ptr<Topic>))) +
         partitions * kTableFactor * (sizeof(Slot) + kPartitionEntry);
}

// --- All of a core.

FetchSession* FetchSessionCache::Find(int32_t id) {
  const auto found = sessions_.find(id);
  if (found != sessions_.end()) return found->second.get();
  ++counters_.not_found;
  return nullptr;
}

void FetchSessionCache::Touch(FetchSession& session, base::Nanos now) {
  session.used_at_ = now;
  session.Unlink();
  by_use_.PushBack(session);
}

void FetchSessionCache::Recharge(FetchSession& session, size_t bytes) {
  bytes_ += bytes;
  bytes_ -= std::exchange(session.charged_, bytes);
}

void FetchSessionCache::Settle(FetchSession& session) { Recharge(session, session.memory_bytes()); }

void FetchSessionCache::Remove(int32_t id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  Recharge(*found->second, 0);
  sessions_.erase(found);
}

// Kafka's FetchSessionCache.tryEvict.
bool FetchSessionCache::EvictOne(size_t partitions, const FetchSession* but, base::Nanos now) {
  const FetchSession* victim = nullptr;
  by_use_.ForEach([&](const FetchSession& session) {
    if (&session == but || now - session.created_at_ < limits_.evict_after_ns) return;
    const bool stale = now - session.used_at_ > limits_.evict_after_ns;
    if (victim != nullptr && now - victim->used_at_ > limits_.evict_after_ns) return;
    if (stale ||
        (session.size() < partitions && (victim == nullptr || session.size() < victim->size()))) {
      victim = &session;
    }
  });
  if (victim == nullptr) return false;
  ++counters_.evicted;
  Remove(victim->id());
  return true;
}

int32_t FetchSessionCache::NewId() const {
  while (true) {
    const base::Uuid random = base::Uuid::Random();
    const int32_t id = base::LoadBe<int32_t>(random.bytes.data() + 10) & INT32_MAX;
    if (id != FetchSession::kNone && !sessions_.contains(id)) return id;
  }
}

FetchSession* FetchSessionCache::Create(bool by_id, size_t partitions, size_t bytes,
                                        base::Nanos now) {
  while (sessions_.size() >= limits_.sessions_max || bytes_ + bytes > limits_.bytes_max) {
    if (bytes <= limits_.bytes_max && EvictOne(partitions, nullptr, now)) continue;
    ++counters_.refused;
    return nullptr;
  }
  const int32_t id = NewId();
  auto& session = sessions_[id];
  session = std::make_unique<FetchSession>(id, by_id, now);
  Recharge(*session, bytes);
  Touch(*session, now);
  ++counters_.created;
  return session.get();
}

bool FetchSessionCache::Grow(FetchSession& session, size_t topics, size_t name_bytes,
                             size_t partitions, base::Nanos now) {
  const size_t bytes =
      std::max(session.charged_, FetchSession::BytesFor(session.topics_.size() + topics,
                                                        session.name_bytes_ + name_bytes,
                                                        session.slots_.size() + partitions));
  while (bytes_ - session.charged_ + bytes > limits_.bytes_max) {
    if (EvictOne(session.size(), &session, now)) continue;
    ++counters_.refused;
    Remove(session.id());
    return false;
  }
  Recharge(session, bytes);
  return true;
}

size_t FetchSessionCache::partition_count() const {
  size_t count = 0;
  for (const auto& [id, session] : sessions_) count += session->size();
  return count;
}

}  // namespace ringtail::kafka
