// Producer, second half: which batches go into which request, and what becomes of them.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/crc32c.h"
#include "engine/base/endian.h"
#include "engine/base/result.h"
#include "tools/client/producer.h"

namespace ringtail::client {
namespace {

constexpr Nanos kRetryMin = 10 * base::kNanosPerMilli;
constexpr Nanos kRetryMax = base::kNanosPerSecond;
constexpr Nanos kMetadataPause = 50 * base::kNanosPerMilli;

wire::Acks WireAcks(Acks acks) {
  switch (acks) {
    case Acks::kAll:
      return wire::ACKS_ALL;
    case Acks::kLeader:
      return wire::ACKS_LEADER;
    case Acks::kNone:
      return wire::ACKS_NONE;
  }
  return wire::ACKS_ALL;
}

}  // namespace

template <class Visit>
void Producer::ForEachPartition(Visit visit) {
  for (auto& [name, topic] : topics_) {
    for (std::unique_ptr<Partition>& partition : topic->partitions) visit(partition.get());
  }
}

absl::Status Producer::AwaitId() {
  const Nanos deadline = After(Now(), options_.delivery_timeout);
  RequestId();
  client_->RunUntil(deadline, [&] { return has_id_ || !fatal_.ok(); });
  if (has_id_) return absl::OkStatus();
  if (!fatal_.ok()) return fatal_;
  return absl::DeadlineExceededError(
      absl::StrCat("no producer id from the broker within the deadline",
                   id_error_.ok() ? "" : "; the last answer was ", id_error_.message()));
}

void Producer::RequestId() {
  requesting_id_ = true;
  wire::RequestHeader request;
  request.mutable_init_producer();
  router_->bootstrap()->Call(
      &request, {}, Now() + client_->request_timeout(),
      [this](const absl::Status& status, Reply* reply) { OnId(status, reply); });
}

void Producer::OnId(const absl::Status& status, Reply* reply) {
  requesting_id_ = false;
  if (status.ok()) return TakeId(reply->header->init_producer());
  id_error_ = status;
  if (IsRetriable(status)) {
    wake_at = std::min(wake_at, Now() + kMetadataPause);
  } else {
    FailAll(Annotate(status, "no producer id (ProducerOptions::idempotent needs one)"));
  }
}

void Producer::TakeId(const wire::InitProducerResponse& id) {
  producer_id_ = id.producer_id();
  producer_epoch_ = static_cast<int16_t>(id.producer_epoch());
  has_id_ = true;
  renew_ = false;
  ForEachPartition([&](Partition* partition) {
    partition->next_sequence = 0;
    partition->broken = false;
    // With another producer id the broker can't tell a repetition any more.
    for (size_t i = 0; i < partition->sent.size();) {
      Batch* batch = partition->sent[i].get();
      if (!batch->in_doubt) {
        Stamp(partition, batch);
        ++i;
        continue;
      }
      Settle({partition, batch},
             absl::AbortedError(absl::StrCat("the records may or may not have been appended: ",
                                             batch->error.message())),
             -1);
    }
    for (std::unique_ptr<Batch>& batch : partition->ready) Stamp(partition, batch.get());
    partition->retry_at = 0;
  });
  ForEachPartition([&](Partition* partition) {
    if (HasWork(*partition)) Offer(partition);
  });
  wake_at = 0;
}

void Producer::Stamp(Partition* partition, Batch* batch) {
  uint8_t* bytes = batch->bytes.data();
  base::StoreBe<int64_t>(bytes + log::kProducerIdAt, producer_id_);
  base::StoreBe<int16_t>(bytes + log::kProducerEpochAt, producer_epoch_);
  base::StoreBe<int32_t>(bytes + log::kBaseSequenceAt, partition->next_sequence);
  base::StoreBe<uint32_t>(bytes + log::kCrcAt,
                          base::Crc32c(base::ByteView(batch->bytes).subspan(log::kAttributesAt)));
  partition->next_sequence = static_cast<int32_t>(
      (static_cast<uint32_t>(partition->next_sequence) + batch->count) & 0x7fffffff);
}

// A new producer id is asked for when no batch with the old one can be acknowledged any more, or
// is waiting to be sent again where that still makes sense.
void Producer::RenewIfDrained() {
  if (!options_.idempotent || requesting_id_ || !fatal_.ok() || (has_id_ && !renew_)) return;
  bool drained = true;
  ForEachPartition([&](Partition* partition) {
    const bool busy =
        partition->broken ? partition->Any(Batch::State::kSent) : !partition->sent.empty();
    drained = drained && !busy;
  });
  if (drained) RequestId();
}

bool Producer::HasWork(const Partition& partition) const {
  if (partition.sent.empty()) return !partition.ready.empty() || !partition.builder.empty();
  if (static_cast<int>(partition.sent.size()) < window_ && !partition.ready.empty()) return true;
  return partition.Any(Batch::State::kRetry);
}

// The partition's next batch to send, now among its sent ones; null if there is none.
Producer::Batch* Producer::Next(Partition* partition) {
  if (partition->broken) return nullptr;
  // One at a time while it fails: what follows a failed batch is refused too.
  if (partition->failures > 0 && partition->Any(Batch::State::kSent)) return nullptr;
  for (std::unique_ptr<Batch>& batch : partition->sent) {
    if (batch->state != Batch::State::kRetry) continue;
    batch->state = Batch::State::kSent;
    ++stats_.retries;
    return batch.get();
  }
  if (renew_ || static_cast<int>(partition->sent.size()) >= window_) return nullptr;
  if (partition->ready.empty()) {
    if (!partition->sent.empty() || partition->builder.empty()) return nullptr;
    const absl::Status status = Close(partition);
    if (!status.ok()) {
      FailAll(Annotate(status, "compress a batch"));
      return nullptr;
    }
  }
  partition->sent.push_back(std::move(partition->ready.front()));
  partition->ready.pop_front();
  return partition->sent.back().get();
}

// Finds the partition's lane. False: nothing can be sent now; it is parked.
bool Producer::Place(Partition* partition, Nanos now) {
  if (options_.idempotent && (!has_id_ || partition->broken)) {
    Park(partition, now + kMetadataPause);
    return false;
  }
  if (partition->retry_at > now) {
    Park(partition, partition->retry_at);
    return false;
  }
  const TopicInfo* info = client_->metadata()->Find(partition->topic);
  const auto index = static_cast<size_t>(partition->index);
  if (info == nullptr || index >= info->partitions.size() ||
      info->partitions[index].leader_node < 0) {
    client_->metadata()->Refresh(partition->topic);
    Park(partition, now + kMetadataPause);
    return false;
  }
  // While a batch is on the way the rest follows it, so that they can't overtake it.
  if (partition->lane != nullptr && partition->Any(Batch::State::kSent)) return true;
  const int32_t node = info->partitions[index].leader_node;
  std::unique_ptr<Lane>& lane = lanes_[node];
  if (lane == nullptr) {
    lane = std::make_unique<Lane>();
    lane->node = node;
  }
  partition->lane = lane.get();
  return true;
}

void Producer::Offer(Partition* partition) {
  if (partition->in_lane || partition->parked || !Place(partition, Now())) return;
  partition->in_lane = true;
  partition->lane->waiting.push_back(partition);
  Pump(partition->lane);
}

void Producer::Park(Partition* partition, Nanos until) {
  partition->retry_at = std::max(partition->retry_at, until);
  wake_at = std::min(wake_at, partition->retry_at);
  if (partition->parked) return;
  partition->parked = true;
  parked_.push_back(partition);
}

void Producer::Unpark(Nanos now) {
  std::vector<Partition*> parked = std::exchange(parked_, {});
  for (Partition* partition : parked) {
    if (partition->retry_at > now) {
      parked_.push_back(partition);
      wake_at = std::min(wake_at, partition->retry_at);
    } else {
      partition->parked = false;
      Offer(partition);
    }
  }
}

std::vector<Producer::Item> Producer::Gather(Lane* lane, Nanos now) {
  size_t limit = options_.request_bytes_max;
  const wire::Limits& limits = client_->hello().limits();
  if (limits.payload_bytes_max() > 0) {
    limit = std::min<size_t>(limit, limits.payload_bytes_max());
  }
  std::vector<Item> items;
  size_t bytes = 0;
  for (size_t left = lane->waiting.size(); left > 0; --left) {
    if (!items.empty() && bytes + options_.batch_bytes > limit) break;
    Partition* partition = lane->waiting.front();
    lane->waiting.pop_front();
    partition->in_lane = false;
    if (!Place(partition, now)) continue;
    if (partition->lane != lane) {
      Offer(partition);
      continue;
    }
    Batch* batch = Next(partition);
    if (batch == nullptr) continue;
    items.push_back({partition, batch});
    bytes += batch->bytes.size();
    if (HasWork(*partition)) {
      partition->in_lane = true;
      lane->waiting.push_back(partition);
    }
  }
  return items;
}

void Producer::Pump(Lane* lane) {
  while (lane->requests < options_.requests_in_flight_max && !lane->waiting.empty()) {
    // What a lost connection took away fails one after the other: a batch that is sent before all
    // have failed would overtake those of its partition that have not.
    if (lane->requests > 0 && lane->connection->state() != Connection::State::kReady) return;
    const Nanos now = Now();
    std::vector<Item> items = Gather(lane, now);
    if (items.empty()) return;
    SendRequest(lane, std::move(items), now);
  }
}

void Producer::SendRequest(Lane* lane, std::vector<Item> items, Nanos now) {
  const Metadata& metadata = *client_->metadata();
  if (lane->requests == 0) lane->connection = router_->For(lane->node, metadata);
  arena_.Reset();
  auto* request = google::protobuf::Arena::CreateMessage<wire::RequestHeader>(&arena_);
  wire::ProduceRequest* produce = request->mutable_produce();
  produce->set_acks(WireAcks(options_.acks));
  std::vector<base::ByteView> payload;
  payload.reserve(items.size());
  for (const Item& item : items) {
    const TopicInfo* info = metadata.Find(item.partition->topic);
    wire::PartitionBatches* batches = produce->add_partitions();
    batches->set_topic_id(info->id.bytes.data(), info->id.bytes.size());
    batches->set_partition(static_cast<uint32_t>(item.partition->index));
    batches->set_payload_bytes(static_cast<uint32_t>(item.batch->bytes.size()));
    payload.push_back(item.batch->bytes);
  }
  ++lane->requests;
  ++stats_.requests;
  if (lane->connection != router_->bootstrap()) ++stats_.owner_requests;
  const Nanos deadline = now + client_->request_timeout();
  auto on_reply = [this, lane, items = std::move(items)](const absl::Status& status, Reply* reply) {
    OnReply(lane, items, status, reply);
  };
  if (options_.acks == Acks::kNone) {
    lane->connection->Post(request, payload, deadline, std::move(on_reply));
  } else {
    lane->connection->Call(request, payload, deadline, std::move(on_reply));
  }
}

void Producer::OnReply(Lane* lane, const std::vector<Item>& items, const absl::Status& status,
                       Reply* reply) {
  --lane->requests;
  if (!status.ok()) {
    // Lost on the way, or refused as a whole.
    const bool told = ErrorCodeOf(status) != wire::Error::INTERNAL;
    const bool in_doubt = !told || ErrorCodeOf(status) == wire::Error::TIMED_OUT;
    const bool again = options_.acks != Acks::kNone &&
                       (IsRetriable(status) || (absl::IsDeadlineExceeded(status) && !told));
    for (const Item& item : items) {
      client_->metadata()->Refresh(item.partition->topic);
      if (again) {
        Retry(item, status, in_doubt);
      } else {
        OnRefused(item, status);
      }
    }
  } else if (options_.acks == Acks::kNone) {
    for (const Item& item : items) Settle(item, absl::OkStatus(), -1);
  } else {
    const wire::ProduceResponse& response = reply->header->produce();
    const bool whole = static_cast<size_t>(response.partitions_size()) == items.size();
    for (size_t i = 0; i < items.size(); ++i) {
      if (whole) {
        OnResult(items[i], response.partitions(static_cast<int>(i)));
      } else {
        OnRefused(items[i], absl::InternalError("the broker's answer leaves partitions out"));
      }
    }
  }
  for (const Item& item : items) {
    if (HasWork(*item.partition)) Offer(item.partition);
  }
  if (renew_) RenewIfDrained();
  Pump(lane);
}

void Producer::OnResult(const Item& item, const wire::PartitionProduced& result) {
  const wire::Error::Code code = result.error().code();
  if (code == wire::Error::OK) return Settle(item, absl::OkStatus(), result.base_offset());
  if (code == wire::Error::DUPLICATE_SEQUENCE) return Settle(item, absl::OkStatus(), -1);
  const absl::Status error = ToStatus(
      result.error(),
      absl::StrCat("topic '", item.partition->topic, "' partition ", item.partition->index));
  if (code == wire::Error::OUT_OF_ORDER_SEQUENCE &&
      item.partition->sent.front().get() != item.batch) {
    // The batch before it failed; it follows that one.
    return Retry(item, error, false);
  }
  if (options_.idempotent &&
      (code == wire::Error::OUT_OF_ORDER_SEQUENCE || code == wire::Error::UNKNOWN_PRODUCER)) {
    // Refused for sure, and so is all that follows. It can be sent under another producer id.
    renew_ = true;
    item.partition->broken = true;
    item.batch->in_doubt = false;
    return Retry(item, error, false);
  }
  if (code == wire::Error::PRODUCER_FENCED) {
    item.batch->state = Batch::State::kRetry;
    return FailAll(Annotate(error, "another producer took over this producer id"));
  }
  if (IsRetriable(error)) {
    client_->metadata()->Refresh(item.partition->topic);
    return Retry(item, error, code == wire::Error::TIMED_OUT);
  }
  OnRefused(item, error);
}

void Producer::OnRefused(const Item& item, const absl::Status& error) {
  Partition* partition = item.partition;
  Settle(item, error, -1);
  if (!options_.idempotent || !fatal_.ok()) return;
  // The batch's sequence numbers are missing from now on.
  renew_ = true;
  partition->broken = true;
}

void Producer::Retry(const Item& item, const absl::Status& why, bool in_doubt) {
  Partition* partition = item.partition;
  if (!fatal_.ok()) return Settle(item, fatal_, -1);
  item.batch->state = Batch::State::kRetry;
  item.batch->in_doubt = item.batch->in_doubt || in_doubt;
  item.batch->error = why;
  const Nanos now = Now();
  if (item.batch == partition->sent.front().get()) {
    const int doublings = std::min(partition->failures++, 12);
    const Nanos full = std::min(kRetryMax, kRetryMin << doublings);
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const Nanos backoff = full / 2 + static_cast<Nanos>(random_ % static_cast<uint64_t>(full / 2));
    const Nanos asked = Nanos{RetryAfterMillis(why)} * base::kNanosPerMilli;
    partition->retry_at = now + std::max(backoff, asked);
  }
  Park(partition, partition->retry_at);
}

void Producer::Settle(const Item& item, const absl::Status& status, int64_t base_offset) {
  Partition* partition = item.partition;
  const auto found =
      std::find_if(partition->sent.begin(), partition->sent.end(),
                   [&](const std::unique_ptr<Batch>& batch) { return batch.get() == item.batch; });
  RT_CHECK(found != partition->sent.end());
  const std::unique_ptr<Batch> batch = std::move(*found);
  partition->sent.erase(found);
  buffered_bytes_ -= batch->charged;
  if (status.ok()) {
    partition->failures = 0;
    stats_.records_acked += batch->count;
  } else {
    stats_.records_failed += batch->count;
    if (first_failure_.ok()) first_failure_ = status;
  }
  if (watch_.partition == partition && watch_.record >= batch->first &&
      watch_.record < batch->first + batch->count) {
    watch_.settled = true;
    watch_.status = status;
    const auto delta = static_cast<int64_t>(watch_.record - batch->first);
    watch_.offset = base_offset < 0 ? -1 : base_offset + delta;
  }
  if (!options_.on_delivery) return;
  deliveries_.push_back(
      {partition->topic, partition->index, batch->first, batch->count, base_offset, status});
}

// Gives up on what is older than the delivery timeout and isn't on the way.
void Producer::Expire(Nanos now) {
  const Nanos born_before = now - std::min(delivery_timeout_, now);
  ForEachPartition([&](Partition* partition) {
    if (partition->Any(Batch::State::kSent)) return;
    if (!partition->builder.empty() && partition->open_born < born_before &&
        !Close(partition).ok()) {
      return;
    }
    while (true) {
      std::deque<std::unique_ptr<Batch>>& from =
          partition->sent.empty() ? partition->ready : partition->sent;
      if (from.empty() || from.front()->born >= born_before) return;
      if (partition->sent.empty()) {
        partition->sent.push_back(std::move(partition->ready.front()));
        partition->ready.pop_front();
      }
      Batch* batch = partition->sent.front().get();
      const absl::string_view why = batch->error.message();
      OnRefused(
          {partition, batch},
          absl::DeadlineExceededError(absl::StrCat(
              "topic '", partition->topic, "' partition ", partition->index,
              ": not acknowledged within the delivery timeout", why.empty() ? "" : ": ", why)));
    }
  });
  if (renew_) RenewIfDrained();
}

void Producer::FailAll(const absl::Status& why) {
  if (fatal_.ok()) fatal_ = why;
  ForEachPartition([&](Partition* partition) {
    if (!partition->builder.empty() && !Close(partition).ok()) return;
    while (!partition->ready.empty()) {
      partition->sent.push_back(std::move(partition->ready.front()));
      partition->ready.pop_front();
      partition->sent.back()->state = Batch::State::kRetry;
    }
    // What is on the way is settled by its reply.
    for (size_t i = 0; i < partition->sent.size();) {
      Batch* batch = partition->sent[i].get();
      if (batch->state == Batch::State::kSent) {
        ++i;
      } else {
        Settle({partition, batch}, fatal_, -1);
      }
    }
  });
}

void Producer::OnTime(Nanos now) {
  wake_at = outstanding() > 0 ? now + base::kNanosPerSecond : base::kNever;
  if (!fatal_.ok()) return;
  Expire(now);
  Unpark(now);
  RenewIfDrained();
}

}  // namespace ringtail::client
