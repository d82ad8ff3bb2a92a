#include "tools/client/producer.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "tools/client/partitioner.h"

namespace ringtail::client {
namespace {

// What a record takes in a batch beside its key, value and headers, at most.
constexpr size_t kRecordOverheadBytes = 40;
// Between two looks at the socket while records keep coming.
constexpr Nanos kLookEvery = 100'000;

size_t RecordBytes(const ProducerRecord& record) {
  size_t bytes = kRecordOverheadBytes;
  if (record.key) bytes += record.key->size();
  if (record.value) bytes += record.value->size();
  for (const Header& header : record.headers) {
    bytes += header.key.size() + 10 + (header.value ? header.value->size() : 0);
  }
  return bytes;
}

absl::Status CheckOptions(const ProducerOptions& options) {
  if (options.batch_bytes < 1024 || options.batch_bytes > size_t{1} << 30) {
    return absl::InvalidArgumentError("batch_bytes must be between 1 KiB and 1 GiB");
  }
  if (options.buffer_bytes_max < options.batch_bytes) {
    return absl::InvalidArgumentError("buffer_bytes_max must not be below batch_bytes");
  }
  if (options.batches_in_flight_max < 1 || options.requests_in_flight_max < 1) {
    return absl::InvalidArgumentError("batches and requests in flight must be 1 or more");
  }
  if (options.idempotent && options.acks != Acks::kNone && options.batches_in_flight_max > 5) {
    return absl::InvalidArgumentError(
        "an idempotent producer has at most 5 batches of a partition in flight");
  }
  return absl::OkStatus();
}

ProducerOptions Settled(ProducerOptions options) {
  if (options.acks == Acks::kNone) options.idempotent = false;
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Producer>> Producer::Make(Client* client, ProducerOptions options) {
  RT_RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<Producer> producer(new Producer(client, Settled(std::move(options))));
  if (producer->options_.idempotent) RT_RETURN_IF_ERROR(producer->AwaitId());
  return producer;
}

Producer::Producer(Client* client, ProducerOptions options)
    : client_(client),
      options_(std::move(options)),
      delivery_timeout_(absl::ToInt64Nanoseconds(options_.delivery_timeout)),
      window_(options_.idempotent || options_.acks == Acks::kNone ? options_.batches_in_flight_max
                                                                  : 1),
      router_(client->NewRouter()),
      random_(static_cast<uint64_t>(Now()) | 1) {
  client_->loop()->Add(this);
}

Producer::~Producer() { client_->loop()->Remove(this); }

bool Producer::Partition::Any(Batch::State state) const {
  return std::any_of(sent.begin(), sent.end(),
                     [&](const std::unique_ptr<Batch>& batch) { return batch->state == state; });
}

absl::StatusOr<Producer::Topic*> Producer::FindTopic(absl::string_view name, size_t partitions,
                                                     Nanos deadline) {
  const auto found = topics_.find(name);
  if (found != topics_.end() && found->second->partitions.size() >= partitions) {
    return found->second.get();
  }
  RT_ASSIGN_OR_RETURN(const TopicInfo* info, client_->FindTopic(name, deadline));
  std::unique_ptr<Topic>& topic = topics_[info->name];
  if (topic == nullptr) topic = std::make_unique<Topic>();
  records::BuilderOptions builder;
  builder.compression = options_.compression;
  builder.batch_bytes_max = std::max(options_.batch_bytes, options_.record_bytes_max) +
                            log::kBatchHeaderBytes + kRecordOverheadBytes;
  while (topic->partitions.size() < info->partitions.size()) {
    auto partition = std::make_unique<Partition>(builder);
    partition->topic = info->name;
    partition->index = static_cast<int32_t>(topic->partitions.size());
    topic->partitions.push_back(std::move(partition));
  }
  return topic.get();
}

absl::StatusOr<Producer::Partition*> Producer::FindPartition(const ProducerRecord& record,
                                                             Nanos deadline) {
  const size_t wanted = record.partition < 0 ? 1 : static_cast<size_t>(record.partition) + 1;
  RT_ASSIGN_OR_RETURN(Topic * topic, FindTopic(record.topic, wanted, deadline));
  const size_t count = topic->partitions.size();
  if (count < wanted) {
    return absl::NotFoundError(absl::StrCat("topic '", record.topic, "' has ", count,
                                            " partitions, no partition ", record.partition));
  }
  size_t index = static_cast<size_t>(record.partition);
  if (record.partition < 0) {
    index = record.key ? static_cast<size_t>(PartitionOfKey(base::AsBytes(*record.key),
                                                            static_cast<int32_t>(count)))
                       : topic->sticky % count;
  }
  return topic->partitions[index].get();
}

absl::Status Producer::AwaitRoom(Nanos deadline) {
  while (buffered_bytes_ >= options_.buffer_bytes_max) {
    if (!fatal_.ok()) return fatal_;
    // A callback that sends can't wait for what is handled after it.
    if (delivering_ || Now() >= deadline) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the producer's buffer of ", options_.buffer_bytes_max, " bytes is full"));
    }
    Turn(deadline);
  }
  return absl::OkStatus();
}

absl::Status Producer::Append(Partition* partition, const ProducerRecord& record, Nanos now) {
  const size_t bytes = RecordBytes(record);
  if (bytes > options_.record_bytes_max + kRecordOverheadBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a record of ", bytes, " bytes: at most ",
                                                   options_.record_bytes_max, " are allowed"));
  }
  records::RecordBatchBuilder& builder = partition->builder;
  if (!builder.empty() && builder.size_bytes() + bytes > options_.batch_bytes) {
    RT_RETURN_IF_ERROR(Close(partition));
  }
  absl::InlinedVector<log::HeaderView, 8> headers;
  for (const Header& header : record.headers) {
    log::HeaderView& view = headers.emplace_back();
    view.key = base::AsBytes(header.key);
    if (header.value) view.value = base::AsBytes(*header.value);
  }
  records::RecordInput input;
  if (record.key) input.key = base::AsBytes(*record.key);
  if (record.value) input.value = base::AsBytes(*record.value);
  input.timestamp_ms = record.timestamp_ms >= 0 ? record.timestamp_ms : WallMillis();
  input.headers = headers;
  if (builder.empty()) {
    partition->open_first = partition->next_record;
    partition->open_born = now;
  }
  const size_t before = builder.empty() ? 0 : builder.size_bytes();
  if (builder.Append(input) != records::AppendResult::kAppended) {
    return absl::InvalidArgumentError(absl::StrCat("a record of ", bytes, " bytes: too large"));
  }
  buffered_bytes_ += builder.size_bytes() - before;
  ++partition->next_record;
  ++stats_.records_sent;
  if (builder.size_bytes() >= options_.batch_bytes) RT_RETURN_IF_ERROR(Close(partition));
  return absl::OkStatus();
}

absl::Status Producer::Close(Partition* partition) {
  auto batch = std::make_unique<Batch>();
  batch->charged = partition->builder.size_bytes();
  batch->first = partition->open_first;
  batch->count = static_cast<uint32_t>(partition->builder.record_count());
  batch->born = partition->open_born;
  if (has_id_) {
    partition->builder.SetProducer(producer_id_, producer_epoch_, partition->next_sequence);
    // Sequences go round from INT32_MAX to 0.
    partition->next_sequence = static_cast<int32_t>(
        (static_cast<uint32_t>(partition->next_sequence) + batch->count) & 0x7fffffff);
  }
  RT_ASSIGN_OR_RETURN(batch->bytes, partition->builder.Finish());
  partition->ready.push_back(std::move(batch));
  ++stats_.batches;
  const auto topic = topics_.find(partition->topic);
  if (topic->second->partitions[topic->second->sticky].get() == partition) {
    topic->second->sticky = (topic->second->sticky + 1) % topic->second->partitions.size();
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Producer::Enqueue(const ProducerRecord& record, Partition** partition) {
  if (!fatal_.ok()) return fatal_;
  const Nanos now = Now();
  const Nanos deadline = After(now, options_.delivery_timeout);
  if (buffered_bytes_ >= options_.buffer_bytes_max) RT_RETURN_IF_ERROR(AwaitRoom(deadline));
  RT_ASSIGN_OR_RETURN(*partition, FindPartition(record, deadline));
  const uint64_t number = (*partition)->next_record;
  RT_RETURN_IF_ERROR(Append(*partition, record, now));
  if (!(*partition)->in_lane && HasWork(**partition)) Offer(*partition);
  wake_at = std::min(wake_at, now + base::kNanosPerSecond);
  if (now - last_turn_ > kLookEvery) Turn(0);
  return number;
}

absl::StatusOr<uint64_t> Producer::Send(const ProducerRecord& record) {
  Partition* partition = nullptr;
  return Enqueue(record, &partition);
}

absl::StatusOr<int64_t> Producer::Produce(const ProducerRecord& record) {
  watch_ = Watch();
  Partition* partition = nullptr;
  // The reply can't come before this returns to the loop with the record's number known.
  RT_RETURN_IF_ERROR(fatal_);
  RT_ASSIGN_OR_RETURN(partition, FindPartition(record, After(Now(), options_.delivery_timeout)));
  watch_.partition = partition;
  watch_.record = partition->next_record;
  ProducerRecord placed = record;
  placed.partition = partition->index;
  const absl::StatusOr<uint64_t> queued = Enqueue(placed, &partition);
  if (!queued.ok()) watch_.partition = nullptr;
  RT_RETURN_IF_ERROR(queued.status());
  while (!watch_.settled) Turn(base::kNever);
  watch_.partition = nullptr;
  if (!watch_.status.ok()) return watch_.status;
  return watch_.offset;
}

absl::Status Producer::Flush(absl::Duration timeout) {
  const Nanos deadline = After(Now(), timeout);
  while (outstanding() > 0) {
    if (Now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat(outstanding(), " records are not acknowledged yet"));
    }
    Turn(deadline);
  }
  return std::exchange(first_failure_, absl::OkStatus());
}

void Producer::Poll(absl::Duration wait) { Turn(After(Now(), wait)); }

void Producer::Turn(Nanos until) {
  client_->Turn(until);
  last_turn_ = Now();
  RunDeliveries();
}

void Producer::RunDeliveries() {
  if (delivering_) return;
  delivering_ = true;
  while (!deliveries_.empty()) {
    std::vector<Delivery> deliveries = std::exchange(deliveries_, {});
    for (const Delivery& delivery : deliveries) options_.on_delivery(delivery);
  }
  delivering_ = false;
}

}  // namespace ringtail::client
