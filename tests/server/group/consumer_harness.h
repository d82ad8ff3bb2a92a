// A consumer group in simulated time, without a broker: with topics that come and go, and a log of
// what it wants recorded, from which it can be restarted.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "proto/catalog.pb.h"
#include "server/cluster/image.h"
#include "server/group/consumer_group.h"
#include "tests/server/group/group_harness.h"

namespace ringtail::group {

// A heartbeat that owns what it says.
struct Beat {
  std::string member;
  int32_t epoch = kJoinEpoch;
  std::optional<std::vector<std::string>> topics;
  std::optional<std::string> regex;
  std::optional<PartitionSet> owned;
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::string> instance;
  std::optional<std::string> assignor;
  std::optional<std::string> rack;
};

inline Beat Joining(std::string member, std::vector<std::string> topics) {
  return {.member = std::move(member),
          .topics = std::move(topics),
          .owned = PartitionSet(),
          .rebalance_timeout_ms = 60'000};
}

class ConsumerHarness {
 public:
  explicit ConsumerHarness(ConsumerOptions options = {}) : options_(std::move(options)) {
    SetTopics({{"t", 4}});
    Restart();
  }

  ConsumerGroup& group() { return *group_; }
  Budget& budget() { return budget_; }
  const GroupCounters& counters() const { return counters_; }
  Instant at() const { return at_; }

  // Partitions by name. A topic that goes and comes back has another id.
  void SetTopics(const std::map<std::string, int>& topics) {
    proto::catalog::CatalogFile file;
    file.set_version(++version_);
    file.set_cluster_id(std::string(16, 'c'));
    std::erase_if(ids_, [&](const auto& each) { return !topics.contains(each.first); });
    for (const auto& [name, partitions] : topics) {
      if (!ids_.contains(name)) {
        base::Uuid id;
        id.bytes[1] = ++last_id_;
        ids_[name] = id;
      }
      auto* topic = file.add_topics();
      topic->set_name(name);
      topic->set_topic_id(std::string(ids_[name].bytes.begin(), ids_[name].bytes.end()));
      for (int i = 0; i < partitions; ++i) topic->add_partitions();
    }
    image_ = server::Image::FromProto(file).value();
  }
  base::Uuid Id(const std::string& topic) const { return ids_.at(topic); }
  PartitionSet Partitions(const std::string& topic, const std::vector<int32_t>& numbers) const {
    PartitionSet partitions;
    for (const int32_t number : numbers) partitions.push_back({Id(topic), number});
    Normalize(&partitions);
    return partitions;
  }

  // Stores wait for Record() from now on.
  void HoldStores() { holds_ = true; }
  void Record(base::Error error = base::Error::kNone) {
    holds_ = false;
    if (taken_.has_value()) Stored(error);
    Settle();
  }
  // What comes next is not appended.
  void FailStores(bool fail) { fails_ = fail; }
  const std::vector<ConsumerGroup::Record>& log() const { return log_; }

  std::unique_ptr<ConsumerPending> Send(const Beat& beat) {
    auto pending = std::make_unique<ConsumerPending>();
    std::vector<absl::string_view> topics;
    ConsumerHeartbeat request{.group_id = "g",
                              .member_id = beat.member,
                              .member_epoch = beat.epoch,
                              .rebalance_timeout_ms = beat.rebalance_timeout_ms,
                              .owned = beat.owned,
                              .client_id = "client",
                              .client_host = "/127.0.0.1",
                              .names_itself = true};
    if (beat.topics.has_value()) {
      topics.assign(beat.topics->begin(), beat.topics->end());
      request.topics = topics;
    }
    if (beat.regex.has_value()) request.regex = *beat.regex;
    if (beat.instance.has_value()) request.instance_id = *beat.instance;
    if (beat.assignor.has_value()) request.assignor = *beat.assignor;
    if (beat.rack.has_value()) request.rack_id = *beat.rack;
    const base::Failure failure = CheckHeartbeat(request, options_);
    if (!failure.ok()) {
      pending->Answer({.error = failure.error, .message = failure.message});
      return pending;
    }
    group_->Heartbeat(request, pending.get(), {at_, *image_});
    Settle();
    return pending;
  }
  ConsumerHeartbeatReply Ask(const Beat& beat) {
    auto pending = Send(beat);
    EXPECT_TRUE(pending->answered());
    return std::move(pending->reply());
  }
  ConsumerHeartbeatReply Join(const std::string& member, std::vector<std::string> topics = {"t"}) {
    return Ask(Joining(member, std::move(topics)));
  }
  ConsumerHeartbeatReply Beats(const std::string& member, int32_t epoch,
                               std::optional<PartitionSet> owned = std::nullopt) {
    return Ask({.member = member, .epoch = epoch, .owned = std::move(owned)});
  }
  // --- Members of the classic protocol.
  std::unique_ptr<JoinPending> SendJoin(const Joiner& joiner) {
    auto pending = std::make_unique<JoinPending>();
    std::vector<ProtocolView> protocols;
    for (const auto& [name, metadata] : joiner.protocols) protocols.push_back({name, metadata});
    group_->Join({.group_id = "g",
                  .member = Name(joiner.member_id, joiner.instance_id),
                  .client_id = joiner.client_id,
                  .client_host = "/127.0.0.1",
                  .session_timeout_ms = joiner.session_timeout_ms,
                  .rebalance_timeout_ms = joiner.rebalance_timeout_ms,
                  .protocol_type = joiner.protocol_type,
                  .protocols = protocols,
                  .takes_member_id = joiner.takes_member_id},
                 pending.get(), {at_, *image_});
    Settle();
    return pending;
  }
  JoinReply JoinClassic(const Joiner& joiner) {
    auto pending = SendJoin(joiner);
    EXPECT_TRUE(pending->answered());
    return std::move(pending->reply());
  }
  SyncReply SyncClassic(const SyncRequest& request) {
    SyncPending pending;
    group_->Sync(request, &pending, {at_, *image_});
    Settle();
    EXPECT_TRUE(pending.answered());
    return std::move(pending.reply());
  }
  SyncReply SyncClassic(const std::string& member, int32_t generation) {
    return SyncClassic({.member = {member, std::nullopt}, .generation = generation});
  }
  base::Error BeatClassic(const std::string& member, int32_t generation,
                          const std::optional<std::string>& instance = std::nullopt) {
    const base::Error error = group_->HeartbeatClassic(
        {.member = Name(member, instance), .generation = generation}, {at_, *image_});
    Settle();
    return error;
  }
  base::Error LeaveClassic(const std::string& member,
                           const std::optional<std::string>& instance = std::nullopt) {
    const base::Error error = group_->LeaveClassic(Name(member, instance), {at_, *image_});
    Settle();
    return error;
  }

  // What was a classic group.
  void Adopt(ConsumerGroupImage image) {
    taken_.reset();
    group_ = std::make_unique<ConsumerGroup>("g", options_, budget_, counters_);
    group_->Restore(std::move(image), at_);
    group_->RecordAnew();
  }
  const server::Image& image() const { return *image_; }

  DescribedConsumer Described(const std::string& member) const {
    for (DescribedConsumer& each : group_->Describe().members) {
      if (each.member_id == member) return each;
    }
    ADD_FAILURE() << "no member " << member;
    return {};
  }

  // Deadline by deadline.
  void Advance(int64_t ms) {
    const base::Nanos end = at_.now + ms * base::kNanosPerMilli;
    while (group_->next_deadline() <= end) {
      MoveTo(std::max(group_->next_deadline(), at_.now));
      group_->Tick({at_, *image_});
      Settle();
    }
    MoveTo(end);
  }

  // As a broker that starts: from what is recorded.
  void Restart() {
    taken_.reset();
    group_ = std::make_unique<ConsumerGroup>("g", options_, budget_, counters_);
    ConsumerGroupImage image;
    for (const ConsumerGroup::Record& each : log_) {
      std::optional<base::ByteView> value;
      if (each.value.has_value()) value = base::AsBytes(*each.value);
      ASSERT_TRUE(image.Apply({each.kind, "g", each.name}, value).ok());
    }
    group_->Restore(std::move(image), at_);
  }

 private:
  static MemberName Name(const std::string& member, const std::optional<std::string>& instance) {
    MemberName name{.member_id = member};
    if (instance.has_value()) name.instance_id = *instance;
    return name;
  }
  void MoveTo(base::Nanos now) {
    at_.wall_ms += (now - at_.now) / base::kNanosPerMilli;
    at_.now = now;
  }
  void Stored(base::Error error) {
    if (error == base::Error::kNone) log_.insert(log_.end(), taken_->begin(), taken_->end());
    taken_.reset();
    group_->Stored(error, at_);
  }
  void Settle() {
    while (!taken_.has_value()) {
      taken_ = group_->TakeStore(at_);
      if (!taken_.has_value() || holds_) return;
      Stored(fails_ ? base::Error::kCoordinatorNotAvailable : base::Error::kNone);
      if (fails_) return;
    }
  }

  const ConsumerOptions options_;
  Instant at_{.now = 1, .wall_ms = 1'700'000'000'000};
  Budget budget_{64u << 20};
  GroupCounters counters_;
  uint64_t version_ = 0;
  uint8_t last_id_ = 0;
  std::map<std::string, base::Uuid> ids_;
  server::ImagePtr image_;
  bool holds_ = false;
  bool fails_ = false;
  std::optional<ConsumerGroup::Store> taken_;
  std::vector<ConsumerGroup::Record> log_;
  std::unique_ptr<ConsumerGroup> group_;
};

}  // namespace ringtail::group
