#include "tools/client/consumer.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace ringtail::client {
namespace {

constexpr Nanos kRetryMin = 10 * base::kNanosPerMilli;
constexpr Nanos kRetryMax = base::kNanosPerSecond;

std::string NameOf(absl::string_view topic, int32_t partition) {
  return absl::StrCat("topic '", topic, "' partition ", partition);
}

std::optional<absl::string_view> Text(const std::optional<base::ByteView>& bytes) {
  if (!bytes) return std::nullopt;
  return base::AsText(*bytes);
}

}  // namespace

Consumer::Consumer(Client* client, ConsumerOptions options)
    : client_(client), options_(options), router_(client->NewRouter()) {
  client_->loop()->Add(this);
}

Consumer::~Consumer() { client_->loop()->Remove(this); }

Consumer::Partition* Consumer::Find(absl::string_view topic, int32_t partition) const {
  for (const std::unique_ptr<Partition>& one : partitions_) {
    if (one->index == partition && one->topic == topic) return one.get();
  }
  return nullptr;
}

absl::Status Consumer::FindStarts(const std::vector<Assignment>& assignments) {
  // One question for each topic and kind of start.
  std::map<std::tuple<std::string, StartAt::Kind, int64_t>, std::vector<size_t>> groups;
  for (size_t i = 0; i < assignments.size(); ++i) {
    const Assignment& one = assignments[i];
    groups[{one.topic, one.at.kind, one.at.value}].push_back(i);
  }
  for (const auto& [key, indexes] : groups) {
    const StartAt at = {std::get<1>(key), std::get<2>(key)};
    const std::string& topic = std::get<0>(key);
    std::vector<int32_t> partitions;
    for (const size_t index : indexes) partitions.push_back(assignments[index].partition);
    RT_ASSIGN_OR_RETURN(const int32_t count, client_->PartitionCount(topic));
    for (const int32_t partition : partitions) {
      if (partition >= 0 && partition < count) continue;
      return absl::NotFoundError(
          absl::StrCat("topic '", topic, "' has ", count, " partitions, no partition ", partition));
    }
    RT_ASSIGN_OR_RETURN(std::vector<int64_t> offsets, client_->ListOffsets(topic, partitions, at));
    // After the last record's time: what comes next.
    if (std::find(offsets.begin(), offsets.end(), -1) != offsets.end()) {
      RT_ASSIGN_OR_RETURN(const std::vector<int64_t> ends,
                          client_->ListOffsets(topic, partitions, StartAt::End()));
      for (size_t i = 0; i < offsets.size(); ++i) {
        if (offsets[i] == -1) offsets[i] = ends[i];
      }
    }
    for (size_t i = 0; i < indexes.size(); ++i) {
      Partition* partition = partitions_[indexes[i]].get();
      partition->fetch_offset = partition->position = offsets[i];
    }
  }
  return absl::OkStatus();
}

absl::Status Consumer::Assign(const std::vector<Assignment>& assignments) {
  // Answers to fetches of the old assignment are ignored when they come.
  ++assignment_;
  while (!ready_.empty()) DropFront();
  // A fetch that waits at the broker would hold up the new ones.
  for (const auto& [node, lane] : lanes_) {
    if (!lane->fetching) continue;
    router_ = client_->NewRouter();
    break;
  }
  lanes_.clear();
  errors_.clear();
  partitions_.clear();
  for (const Assignment& one : assignments) {
    auto partition = std::make_unique<Partition>();
    partition->topic = one.topic;
    partition->index = one.partition;
    partitions_.push_back(std::move(partition));
  }
  const absl::Status status = FindStarts(assignments);
  if (!status.ok()) {
    ++assignment_;
    partitions_.clear();
    return status;
  }
  Pump();
  return absl::OkStatus();
}

absl::Status Consumer::Seek(absl::string_view topic, int32_t partition, int64_t offset) {
  Partition* found = Find(topic, partition);
  if (found == nullptr) return absl::NotFoundError(NameOf(topic, partition) + " isn't assigned");
  Move(found, offset);
  Pump();
  return absl::OkStatus();
}

void Consumer::Move(Partition* partition, int64_t offset) {
  ++partition->generation;
  partition->fetch_offset = partition->position = offset;
  partition->stopped = false;
  partition->retry_at = 0;
}

int64_t Consumer::Position(absl::string_view topic, int32_t partition) const {
  const Partition* found = Find(topic, partition);
  return found == nullptr ? -1 : found->position;
}

int64_t Consumer::HighWatermark(absl::string_view topic, int32_t partition) const {
  const Partition* found = Find(topic, partition);
  return found == nullptr ? -1 : found->high_watermark;
}

// Sends a fetch to every core that has none on the way.
void Consumer::Pump() {
  if (ready_bytes_ >= options_.prefetch_bytes) return;
  const Nanos now = Now();
  absl::flat_hash_map<int32_t, std::vector<Partition*>> due;
  for (const std::unique_ptr<Partition>& partition : partitions_) {
    if (partition->stopped) continue;
    if (partition->retry_at > now) {
      wake_at = std::min(wake_at, partition->retry_at);
      continue;
    }
    const TopicInfo* info = client_->metadata()->Find(partition->topic);
    const auto index = static_cast<size_t>(partition->index);
    if (info == nullptr || index >= info->partitions.size() ||
        info->partitions[index].leader_node < 0) {
      client_->metadata()->Refresh(partition->topic);
      Backoff(partition.get());
      continue;
    }
    due[info->partitions[index].leader_node].push_back(partition.get());
  }
  for (auto& [node, partitions] : due) {
    std::unique_ptr<Lane>& lane = lanes_[node];
    if (lane == nullptr) {
      lane = std::make_unique<Lane>();
      lane->node = node;
    }
    if (!lane->fetching) Fetch(lane.get(), partitions, now);
  }
}

void Consumer::Fetch(Lane* lane, const std::vector<Partition*>& partitions, Nanos now) {
  const Metadata& metadata = *client_->metadata();
  arena_.Reset();
  auto* request = google::protobuf::Arena::CreateMessage<wire::RequestHeader>(&arena_);
  wire::FetchRequest* fetch = request->mutable_fetch();
  fetch->set_max_bytes(options_.fetch_bytes_max);
  fetch->set_min_bytes(options_.fetch_bytes_min);
  const Nanos wait = absl::ToInt64Nanoseconds(options_.fetch_wait_max);
  fetch->set_max_wait_ms(static_cast<uint32_t>(wait / base::kNanosPerMilli));
  std::vector<Asked> asked;
  asked.reserve(partitions.size());
  // The answer's room goes to the first ones; each partition is first in its turn.
  const size_t first = lane->turn++;
  for (size_t i = 0; i < partitions.size(); ++i) {
    Partition* partition = partitions[(first + i) % partitions.size()];
    const TopicInfo* info = metadata.Find(partition->topic);
    wire::PartitionFetch* one = fetch->add_partitions();
    one->set_topic_id(info->id.bytes.data(), info->id.bytes.size());
    one->set_partition(static_cast<uint32_t>(partition->index));
    one->set_offset(partition->fetch_offset);
    one->set_max_bytes(options_.partition_bytes_max);
    asked.push_back({partition, partition->generation, partition->fetch_offset});
  }
  Connection* connection = router_->For(lane->node, metadata);
  lane->fetching = true;
  ++stats_.fetches;
  if (connection != router_->bootstrap()) ++stats_.owner_fetches;
  connection->Call(request, {}, now + wait + client_->request_timeout(),
                   [this, lane, asked = std::move(asked), assignment = assignment_](
                       const absl::Status& status, Reply* reply) {
                     OnReply(lane, asked, assignment, status, reply);
                   });
}

void Consumer::OnReply(Lane* lane, const std::vector<Asked>& asked, uint64_t assignment,
                       const absl::Status& status, Reply* reply) {
  lane->fetching = false;
  if (assignment != assignment_) return Pump();
  if (!status.ok()) {
    const bool told = ErrorCodeOf(status) != wire::Error::INTERNAL;
    const bool again = IsRetriable(status) || !told;
    for (const Asked& one : asked) {
      if (one.generation != one.partition->generation) continue;
      if (again && !absl::IsUnimplemented(status)) {
        client_->metadata()->Refresh(one.partition->topic);
        Backoff(one.partition);
      } else {
        Stop(one.partition, Annotate(status, NameOf(one.partition->topic, one.partition->index)));
      }
    }
    return Pump();
  }
  const wire::FetchResponse& response = reply->header->fetch();
  auto fetched = std::make_unique<Fetched>();
  fetched->payload = std::move(reply->payload);
  const base::ByteView payload = fetched->payload.view();
  size_t at = 0;
  for (size_t i = 0; i < asked.size(); ++i) {
    const bool there = static_cast<int>(i) < response.partitions_size();
    const size_t bytes = there ? response.partitions(static_cast<int>(i)).payload_bytes() : 0;
    if (!there || bytes > payload.size() - at) {
      Stop(asked[i].partition,
           absl::InternalError("the broker's answer to a fetch doesn't add up"));
      continue;
    }
    OnPartition(asked[i], response.partitions(static_cast<int>(i)), payload.subspan(at, bytes),
                fetched.get());
    at += bytes;
  }
  stats_.bytes += payload.size();
  if (fetched->slices.empty()) {
    client_->pool()->Give(std::move(fetched->payload));
  } else {
    ready_bytes_ += payload.size();
    ready_.push_back(std::move(fetched));
  }
  Pump();
}

void Consumer::OnPartition(const Asked& asked, const wire::PartitionFetched& result,
                           base::ByteView batches, Fetched* fetched) {
  Partition* partition = asked.partition;
  if (asked.generation != partition->generation) return;
  if (result.error().code() != wire::Error::OK) return OnError(partition, result);
  partition->failures = 0;
  partition->high_watermark = result.high_watermark();
  if (batches.empty()) return;
  int64_t next = 0;
  absl::Status status = NextOffset(*partition, batches, &next);
  if (!status.ok()) return Stop(partition, std::move(status));
  fetched->slices.push_back(
      {partition, asked.generation, asked.offset, result.high_watermark(), batches});
  partition->fetch_offset = next;
}

absl::Status Consumer::NextOffset(const Partition& partition, base::ByteView batches,
                                  int64_t* next) const {
  log::BatchWalker walker(batches);
  log::BatchRules rules = log::BatchRules::Verbatim();
  rules.check_crc = options_.check_crc;
  while (walker.Next()) {
    const log::BatchError error = log::ValidateBatch(walker.batch(), rules);
    if (error != log::BatchError::kNone) {
      return absl::DataLossError(
          absl::StrCat(NameOf(partition.topic, partition.index), ": batch at offset ",
                       walker.batch().base_offset().value(), ": ", log::BatchErrorText(error)));
    }
    *next = walker.batch().next_offset().value();
  }
  if (walker.error() != log::BatchError::kNone || *next <= partition.fetch_offset) {
    return absl::DataLossError(absl::StrCat(
        NameOf(partition.topic, partition.index), ": the broker's answer to a fetch at offset ",
        partition.fetch_offset, " is damaged: ", log::BatchErrorText(walker.error())));
  }
  return absl::OkStatus();
}

void Consumer::OnError(Partition* partition, const wire::PartitionFetched& result) {
  const bool out_of_range = result.error().code() == wire::Error::OFFSET_OUT_OF_RANGE;
  if (out_of_range && options_.out_of_range != ConsumerOptions::OutOfRange::kFail) {
    const bool beginning = options_.out_of_range == ConsumerOptions::OutOfRange::kBeginning;
    return Move(partition, beginning ? result.log_start_offset() : result.high_watermark());
  }
  const std::string name = NameOf(partition->topic, partition->index);
  if (out_of_range) {
    return Stop(partition, OutsideLog(name, partition->fetch_offset, result.log_start_offset(),
                                      result.high_watermark()));
  }
  absl::Status status = ToStatus(result.error(), name);
  if (!IsRetriable(status)) return Stop(partition, std::move(status));
  client_->metadata()->Refresh(partition->topic);
  Backoff(partition);
}

void Consumer::Backoff(Partition* partition) {
  const Nanos pause = std::min(kRetryMax, kRetryMin << std::min(partition->failures++, 12));
  partition->retry_at = Now() + pause;
  wake_at = std::min(wake_at, partition->retry_at);
  ++stats_.retries;
}

void Consumer::Stop(Partition* partition, absl::Status why) {
  partition->stopped = true;
  errors_.push_back(std::move(why));
}

void Consumer::OnTime(Nanos now) {
  wake_at = base::kNever;
  Pump();
}

void Consumer::DropFront() {
  current_ = nullptr;
  ready_bytes_ -= ready_.front()->payload.size();
  client_->pool()->Give(std::move(ready_.front()->payload));
  ready_.pop_front();
}

// The next slice that is still wanted; null after the deadline.
absl::StatusOr<const Consumer::Slice*> Consumer::AwaitSlice(Nanos deadline) {
  bool looked = false;
  while (true) {
    while (!ready_.empty()) {
      Fetched* front = ready_.front().get();
      if (front->next == front->slices.size()) {
        DropFront();
        Pump();
        continue;
      }
      const Slice* slice = &front->slices[front->next++];
      if (slice->generation != slice->partition->generation) continue;
      // What else has arrived makes the next fetch go out before this one is worked on.
      if (!looked && ready_bytes_ < options_.prefetch_bytes / 2) client_->Turn(0);
      return slice;
    }
    if (!errors_.empty()) {
      absl::Status error = std::move(errors_.front());
      errors_.pop_front();
      return error;
    }
    if (looked && Now() >= deadline) return nullptr;
    looked = true;
    client_->Turn(deadline);
  }
}

absl::StatusOr<const ConsumerSlice*> Consumer::PollSlice(absl::Duration wait) {
  current_ = nullptr;
  RT_ASSIGN_OR_RETURN(const Slice* slice, AwaitSlice(After(Now(), wait)));
  if (slice == nullptr) return nullptr;
  Partition* partition = slice->partition;
  slice_ = {partition->topic, partition->index, slice->offset, slice->high_watermark,
            slice->batches};
  int64_t next = partition->position;
  for (log::BatchWalker walker(slice->batches); walker.Next();) {
    next = walker.batch().next_offset().value();
  }
  partition->position = next;
  return &slice_;
}

absl::Status Consumer::Decode(const log::BatchView& batch) {
  Partition* partition = current_->partition;
  const int64_t from = partition->position;
  partition->position = batch.next_offset().value();
  if (batch.control()) return absl::OkStatus();
  absl::Status status = reader_.Open(batch);
  while (status.ok() && reader_.Next()) {
    const records::Record& record = reader_.record();
    if (record.offset.value() < from) continue;
    records_.push_back({partition->topic, partition->index, record.offset.value(),
                        record.timestamp_ms, Text(record.key()), Text(record.value()),
                        record.fields});
  }
  if (status.ok()) status = reader_.status();
  if (status.ok()) return status;
  records_.clear();
  partition->stopped = true;
  ++partition->generation;
  return Annotate(status, absl::StrCat(NameOf(partition->topic, partition->index),
                                       ": batch at offset ", batch.base_offset().value()));
}

absl::StatusOr<std::span<const ConsumerRecord>> Consumer::Poll(absl::Duration wait) {
  const Nanos deadline = After(Now(), wait);
  records_.clear();
  while (true) {
    if (current_ != nullptr && current_->generation != current_->partition->generation) {
      current_ = nullptr;
    }
    if (current_ == nullptr) {
      RT_ASSIGN_OR_RETURN(current_, AwaitSlice(deadline));
      if (current_ == nullptr) return std::span<const ConsumerRecord>();
      walker_ = log::BatchWalker(current_->batches);
    }
    while (walker_.Next()) {
      if (walker_.batch().next_offset().value() <= current_->partition->position) continue;
      RT_RETURN_IF_ERROR(Decode(walker_.batch()));
      if (!records_.empty()) return std::span<const ConsumerRecord>(records_);
    }
    current_ = nullptr;
  }
}

}  // namespace ringtail::client
