#include "tools/client/metadata.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/bytes.h"
#include "engine/base/result.h"

namespace ringtail::client {
namespace {

constexpr Nanos kAgeMax = 60 * base::kNanosPerSecond;
// Between two questions, so that many partitions with the same trouble ask once.
constexpr Nanos kPause = 50 * base::kNanosPerMilli;

}  // namespace

absl::Status ReadTopic(const wire::TopicMetadata& from, TopicInfo* to) {
  to->name = from.name();
  if (!base::Uuid::FromBytes(base::AsBytes(from.topic_id()), &to->id)) {
    return absl::InvalidArgumentError(
        absl::StrCat("metadata of topic '", from.name(), "': its id is not 16 bytes"));
  }
  to->partitions.assign(static_cast<size_t>(from.partitions_size()), {});
  for (const wire::PartitionMetadata& partition : from.partitions()) {
    if (partition.partition() >= to->partitions.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("metadata of topic '", from.name(), "': partitions are left out"));
    }
    to->partitions[partition.partition()] = {partition.leader_node(), partition.leader_epoch()};
  }
  return absl::OkStatus();
}

Metadata::Metadata(EventLoop* loop, Connection* connection, Nanos request_timeout)
    : loop_(loop), connection_(connection), request_timeout_(request_timeout) {
  loop_->Add(this);
}

Metadata::~Metadata() { loop_->Remove(this); }

const TopicInfo* Metadata::Find(absl::string_view topic) const {
  const auto found = topics_.find(topic);
  return found == topics_.end() ? nullptr : &found->second;
}

absl::Status Metadata::ErrorOf(absl::string_view topic) const {
  const auto found = errors_.find(topic);
  return found == errors_.end() ? absl::OkStatus() : found->second;
}

const NodeInfo* Metadata::Node(int32_t node_id) const {
  const auto found = nodes_.find(node_id);
  return found == nodes_.end() ? nullptr : &found->second;
}

void Metadata::Refresh(absl::string_view topic) {
  wanted_.emplace(topic);
  if (asking_) {
    ask_again_ = true;
  } else {
    wake_at = std::min(wake_at, last_asked_ == 0 ? 0 : last_asked_ + kPause);
  }
}

void Metadata::Forget(absl::string_view topic) {
  errors_.erase(topic);
  topics_.erase(topic);
}

void Metadata::OnTime(Nanos now) {
  wake_at = base::kNever;
  if (!asking_) Ask();
}

void Metadata::Ask() {
  asking_ = true;
  ask_again_ = false;
  last_asked_ = Now();
  wire::RequestHeader request;
  wire::MetadataRequest* metadata = request.mutable_metadata();
  asked_.assign(wanted_.begin(), wanted_.end());
  for (const std::string& topic : asked_) metadata->add_topics(topic);
  connection_->Call(&request, {}, last_asked_ + request_timeout_,
                    [this](const absl::Status& status, Reply* reply) { OnAnswer(status, reply); });
}

void Metadata::OnAnswer(const absl::Status& status, Reply* reply) {
  asking_ = false;
  if (!status.ok()) {
    for (const std::string& topic : asked_) {
      if (topics_.contains(topic)) continue;
      errors_.insert_or_assign(topic, Annotate(status, absl::StrCat("topic '", topic, "'")));
    }
    ask_again_ = true;
  } else {
    nodes_.clear();
    for (const wire::Node& node : reply->header->metadata().nodes()) {
      nodes_[node.node_id()] = {
          node.node_id(), node.core(), {node.host(), static_cast<uint16_t>(node.port())}};
    }
    for (const wire::TopicMetadata& topic : reply->header->metadata().topics()) {
      TopicInfo info;
      absl::Status error = ToStatus(topic.error(), absl::StrCat("topic '", topic.name(), "'"));
      if (error.ok()) error = ReadTopic(topic, &info);
      if (error.ok()) {
        errors_.erase(topic.name());
        topics_.insert_or_assign(topic.name(), std::move(info));
      } else {
        topics_.erase(topic.name());
        errors_.insert_or_assign(topic.name(), error);
      }
    }
  }
  ++version_;
  wake_at = Now() + (ask_again_ ? kPause : kAgeMax);
}

}  // namespace ringtail::client
