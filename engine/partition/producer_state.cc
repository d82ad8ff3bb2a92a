#include "engine/partition/producer_state.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/crc32c.h"
#include "engine/base/endian.h"

namespace ringtail::partition {

struct Producer {
  struct Batch {
    int32_t first_sequence = -1;
    int32_t last_sequence = -1;
    base::Offset base_offset;
    base::Offset last_offset;
    int64_t timestamp_ms = -1;
    int16_t epoch = -1;
  };

  // Oldest first; only those of the last batch's epoch answer for duplicates.
  std::vector<Batch> batches;
  int64_t id = -1;
  int64_t transaction_first_offset = -1;
  int32_t coordinator_epoch = -1;
  ProducerState* state = nullptr;
  ProducerLink in_partition;
  ProducerLink in_core;
};

namespace {

using Batch = Producer::Batch;

// Looked at for one that may be forgotten: those with a write in flight or an open transaction, of
// which there are few, stay.
constexpr int kEvictionTriesMax = 64;

constexpr size_t kBatchesKept = 5;  // as in Kafka: max.in.flight.requests.per.connection's limit

// Kafka's ProducerSnapshot, version 1, big endian: the CRC covers all that follows it.
constexpr int16_t kSnapshotVersion = 1;
constexpr size_t kVersionAt = 0;  // int16
constexpr size_t kCrcAt = 2;      // uint32
constexpr size_t kCountAt = 6;    // int32
constexpr size_t kEntriesAt = 10;
constexpr size_t kProducerIdAt = 0;         // int64
constexpr size_t kEpochAt = 8;              // int16
constexpr size_t kLastSequenceAt = 10;      // int32
constexpr size_t kLastOffsetAt = 14;        // int64
constexpr size_t kOffsetDeltaAt = 22;       // int32: last offset - first offset of the last batch
constexpr size_t kTimestampAt = 26;         // int64
constexpr size_t kCoordinatorEpochAt = 34;  // int32
constexpr size_t kTransactionStartAt = 38;  // int64: -1 if none is open
constexpr size_t kEntryBytes = 46;
static_assert(kTransactionStartAt + sizeof(int64_t) == kEntryBytes);

int32_t NextSequence(int32_t last) {
  return last == std::numeric_limits<int32_t>::max() ? 0 : last + 1;
}

Batch DataBatch(const log::BatchHeader& batch) {
  return {.first_sequence = batch.base_sequence(),
          .last_sequence = batch.last_sequence(),
          .base_offset = batch.base_offset(),
          .last_offset = batch.last_offset(),
          .timestamp_ms = batch.max_timestamp_ms(),
          .epoch = batch.producer_epoch()};
}

// `delta` sequences before `last`; they run from 0 to INT32_MAX and start again.
int32_t SequenceBefore(int32_t last, int32_t delta) {
  if (last >= delta) return last - delta;
  return static_cast<int32_t>(int64_t{last} - delta + (int64_t{1} << 31));
}

}  // namespace

ProducerState::ProducerState(const ProducerStateOptions& options) : options_(options) {
  if (options_.budget != nullptr) return;
  own_budget_ = std::make_unique<ProducerBudget>(SIZE_MAX);
  options_.budget = own_budget_.get();
}

ProducerState::~ProducerState() { Clear(); }

ProducerVerdict ProducerState::Check(const log::BatchHeader& batch) const {
  ProducerVerdict verdict;
  if (!batch.has_producer()) {
    verdict.check = ProducerCheck::kNoProducer;
    return verdict;
  }
  if (batch.producer_epoch() < 0 || batch.base_sequence() < 0) {
    verdict.check = ProducerCheck::kInvalid;
    return verdict;
  }
  const auto found = producers_.find(batch.producer_id());
  if (found == producers_.end())
    return verdict;  // whatever its sequence: its past may have expired
  const Producer& producer = *found->second;
  const Batch& last = producer.batches.back();
  if (batch.producer_epoch() < last.epoch) {
    verdict.check = ProducerCheck::kFenced;
    return verdict;
  }
  if (batch.producer_epoch() > last.epoch) {
    verdict.expected_sequence = 0;
    if (batch.base_sequence() != 0) verdict.check = ProducerCheck::kOutOfOrder;
    return verdict;
  }
  for (const Batch& known : producer.batches) {
    if (known.epoch != last.epoch || known.first_sequence != batch.base_sequence() ||
        known.last_sequence != batch.last_sequence()) {
      continue;
    }
    verdict.check = ProducerCheck::kDuplicate;
    verdict.base_offset = known.base_offset;
    verdict.end_offset = known.last_offset + 1;
    verdict.timestamp_ms = known.timestamp_ms;
    return verdict;
  }
  verdict.expected_sequence = NextSequence(last.last_sequence);
  if (batch.base_sequence() != verdict.expected_sequence) {
    verdict.check = ProducerCheck::kOutOfOrder;
  }
  return verdict;
}

bool ProducerState::IsLast(const log::BatchHeader& batch) const {
  if (!batch.has_producer()) return false;
  const auto found = producers_.find(batch.producer_id());
  return found != producers_.end() && !found->second->batches.empty() &&
         found->second->batches.back().last_offset == batch.last_offset();
}

Producer& ProducerState::FindOrAdd(int64_t id) {
  auto& entry = producers_[id];
  if (entry != nullptr) return *entry;
  entry = std::make_unique<Producer>();
  Producer& producer = *entry;
  producer.id = id;
  producer.state = this;
  producer.in_partition.producer = producer.in_core.producer = &producer;
  ++options_.budget->count_;
  // The new one is in no list yet, so it is not what gives way.
  if (producers_.size() > options_.producers_max) EvictOne(by_use_);
  if (options_.budget->count_ > options_.budget->producers_max_) {
    EvictOne(options_.budget->by_use_);
  }
  return producer;
}

void ProducerState::Used(Producer& producer) {
  producer.in_partition.Unlink();
  producer.in_core.Unlink();
  by_use_.PushBack(producer.in_partition);
  options_.budget->by_use_.PushBack(producer.in_core);
}

void ProducerState::Erase(Map::iterator entry) {
  --options_.budget->count_;
  producers_.erase(entry);
}

void ProducerState::EvictOne(task::IntrusiveList<ProducerLink>& list) {
  Producer* victim = nullptr;
  for (int tries = 0; victim == nullptr; ++tries) {
    if (tries == kEvictionTriesMax || list.empty()) return;
    ProducerLink& link = list.front();
    const Producer& producer = *link.producer;
    if (producer.transaction_first_offset < 0 &&
        producer.batches.back().base_offset < producer.state->committed_end_) {
      victim = link.producer;
    } else {
      link.Unlink();
      list.PushBack(link);
    }
  }
  ProducerState& state = *victim->state;
  ++state.options_.budget->evicted_;
  state.Erase(state.producers_.find(victim->id));
}

void ProducerState::Update(const log::BatchHeader& batch) {
  if (!batch.has_producer()) return;
  Producer& producer = FindOrAdd(batch.producer_id());
  Used(producer);
  Batch added = DataBatch(batch);
  if (batch.control()) {
    // A marker ends the transaction; it has no sequence, but may carry a new epoch.
    producer.transaction_first_offset = -1;
    if (!producer.batches.empty() && producer.batches.back().epoch == added.epoch) return;
    added.first_sequence = added.last_sequence = -1;
  } else if (batch.transactional() && producer.transaction_first_offset < 0) {
    producer.transaction_first_offset = added.base_offset.value();
  }
  producer.batches.push_back(added);
  TrimBatches(producer);
}

void ProducerState::TrimBatches(Producer& producer) const {
  std::vector<Batch>& batches = producer.batches;
  const auto committed = std::find_if(batches.begin(), batches.end(), [&](const Batch& batch) {
    return batch.base_offset >= committed_end_;
  });
  const size_t count = static_cast<size_t>(committed - batches.begin());
  if (count == 0) return;
  const int16_t epoch = batches[count - 1].epoch;
  size_t first = count > kBatchesKept ? count - kBatchesKept : 0;
  while (batches[first].epoch != epoch) ++first;
  batches.erase(batches.begin(), batches.begin() + static_cast<ptrdiff_t>(first));
}

void ProducerState::CommitTo(base::Offset end) { committed_end_ = std::max(committed_end_, end); }

void ProducerState::TruncateTo(base::Offset end) {
  committed_end_ = std::min(committed_end_, end);
  for (auto it = producers_.begin(); it != producers_.end();) {
    Producer& producer = *it->second;
    while (!producer.batches.empty() && producer.batches.back().base_offset >= end) {
      producer.batches.pop_back();
    }
    if (producer.transaction_first_offset >= end.value()) producer.transaction_first_offset = -1;
    if (producer.batches.empty()) {
      Erase(it++);
    } else {
      ++it;
    }
  }
}

void ProducerState::Clear() {
  options_.budget->count_ -= producers_.size();
  producers_.clear();
  committed_end_ = base::Offset(0);
}

size_t ProducerState::Expire(int64_t now_ms) {
  size_t expired = 0;
  for (auto it = producers_.begin(); it != producers_.end();) {
    const Producer& producer = *it->second;
    const bool old = now_ms - producer.batches.back().timestamp_ms >= options_.expiration_ms;
    if (old && producer.transaction_first_offset < 0) {
      Erase(it++);
      ++expired;
    } else {
      ++it;
    }
  }
  return expired;
}

std::optional<base::Offset> ProducerState::HistoryStart(base::Offset from) const {
  std::optional<base::Offset> start;
  for (const auto& [id, producer] : producers_) {
    const std::vector<Batch>& batches = producer->batches;
    if (batches.size() == 1 || batches.back().last_offset < from) continue;
    const Batch& first = batches[batches.size() - std::min(batches.size(), kBatchesKept)];
    start = std::min(start.value_or(first.base_offset), first.base_offset);
  }
  if (start.has_value()) start = std::max(*start, from);
  return start;
}

void ProducerState::Recall(const log::BatchHeader& batch) {
  if (!batch.has_producer() || batch.control()) return;
  const auto found = producers_.find(batch.producer_id());
  if (found == producers_.end()) return;
  std::vector<Batch>& batches = found->second->batches;
  const Batch& last = batches.back();
  if (batch.base_offset() >= last.base_offset || batch.producer_epoch() != last.epoch) return;
  batches.insert(batches.end() - 1, DataBatch(batch));
  if (batches.size() > kBatchesKept) batches.erase(batches.begin());
}

std::string ProducerState::EncodeSnapshot(base::Offset end) const {
  std::vector<std::pair<const Producer*, const Batch*>> held;
  for (const auto& [id, producer] : producers_) {
    const std::vector<Batch>& batches = producer->batches;
    const auto last = std::find_if(batches.rbegin(), batches.rend(),
                                   [end](const Batch& batch) { return batch.last_offset < end; });
    if (last != batches.rend()) held.emplace_back(producer.get(), &*last);
  }
  std::sort(held.begin(), held.end(),
            [](const auto& a, const auto& b) { return a.first->id < b.first->id; });
  std::string bytes(kEntriesAt + held.size() * kEntryBytes, '\0');
  auto* at = reinterpret_cast<uint8_t*>(bytes.data());
  base::StoreBe<int16_t>(at + kVersionAt, kSnapshotVersion);
  base::StoreBe<int32_t>(at + kCountAt, static_cast<int32_t>(held.size()));
  uint8_t* entry = at + kEntriesAt;
  for (const auto& [producer, batch] : held) {
    const Batch& last = *batch;
    const int64_t transaction = producer->transaction_first_offset;
    const bool has_data = last.last_sequence >= 0;
    base::StoreBe<int64_t>(entry + kProducerIdAt, producer->id);
    base::StoreBe<int16_t>(entry + kEpochAt, last.epoch);
    base::StoreBe<int32_t>(entry + kLastSequenceAt, last.last_sequence);
    base::StoreBe<int64_t>(entry + kLastOffsetAt, has_data ? last.last_offset.value() : -1);
    base::StoreBe<int32_t>(entry + kOffsetDeltaAt,
                           static_cast<int32_t>(last.last_offset - last.base_offset));
    base::StoreBe<int64_t>(entry + kTimestampAt, last.timestamp_ms);
    base::StoreBe<int32_t>(entry + kCoordinatorEpochAt, producer->coordinator_epoch);
    base::StoreBe<int64_t>(entry + kTransactionStartAt,
                           transaction < end.value() ? transaction : -1);
    entry += kEntryBytes;
  }
  const base::ByteView covered = base::AsBytes(bytes).subspan(kCountAt);
  base::StoreBe<uint32_t>(at + kCrcAt, base::Crc32c(covered));
  return bytes;
}

absl::Status ProducerState::DecodeSnapshot(base::ByteView bytes) {
  if (bytes.size() < kEntriesAt ||
      base::LoadBe<int16_t>(bytes.data() + kVersionAt) != kSnapshotVersion) {
    return absl::DataLossError("producer snapshot: not version 1");
  }
  if (base::LoadBe<uint32_t>(bytes.data() + kCrcAt) != base::Crc32c(bytes.subspan(kCountAt))) {
    return absl::DataLossError("producer snapshot: bad checksum");
  }
  const int32_t count = base::LoadBe<int32_t>(bytes.data() + kCountAt);
  if (count < 0 || bytes.size() - kEntriesAt != static_cast<size_t>(count) * kEntryBytes) {
    return absl::DataLossError("producer snapshot: count and length do not agree");
  }
  struct Entry {
    int64_t id = -1;
    int32_t coordinator_epoch = -1;
    int64_t transaction_first_offset = -1;
    Batch last;
  };
  std::vector<Entry> entries(static_cast<size_t>(count));
  base::Offset end;
  const uint8_t* from = bytes.data() + kEntriesAt;
  for (Entry& entry : entries) {
    const int32_t delta = base::LoadBe<int32_t>(from + kOffsetDeltaAt);
    const int64_t last_offset = base::LoadBe<int64_t>(from + kLastOffsetAt);
    entry.id = base::LoadBe<int64_t>(from + kProducerIdAt);
    if (entry.id < 0 || delta < 0) return absl::DataLossError("producer snapshot: bad entry");
    Batch& last = entry.last;
    last.epoch = base::LoadBe<int16_t>(from + kEpochAt);
    last.last_sequence = base::LoadBe<int32_t>(from + kLastSequenceAt);
    if (last.last_sequence >= 0) {
      if (last_offset < delta) return absl::DataLossError("producer snapshot: bad offsets");
      last.first_sequence = SequenceBefore(last.last_sequence, delta);
      last.last_offset = base::Offset(last_offset);
      last.base_offset = last.last_offset - delta;
    }
    last.timestamp_ms = base::LoadBe<int64_t>(from + kTimestampAt);
    entry.coordinator_epoch = base::LoadBe<int32_t>(from + kCoordinatorEpochAt);
    entry.transaction_first_offset = base::LoadBe<int64_t>(from + kTransactionStartAt);
    end = std::max(end, last.last_offset + 1);
    from += kEntryBytes;
  }
  Clear();
  committed_end_ = end;
  // In the order in which they wrote, for the sake of what is forgotten first.
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.last.last_offset < b.last.last_offset; });
  for (const Entry& entry : entries) {
    Producer& producer = FindOrAdd(entry.id);
    producer.batches = {entry.last};
    producer.coordinator_epoch = entry.coordinator_epoch;
    producer.transaction_first_offset = entry.transaction_first_offset;
    Used(producer);
  }
  return absl::OkStatus();
}

}  // namespace ringtail::partition
