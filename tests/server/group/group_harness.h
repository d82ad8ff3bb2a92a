// A group in simulated time, without a broker: what it wants recorded is taken at once, unless the
// test holds it back.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/group/group.h"

namespace ringtail::group {

// A consumer's subscription to these topics (ConsumerProtocolSubscription, version 0).
inline std::string Subscription(const std::vector<std::string>& topics) {
  const auto number = [](size_t value, int bytes) {
    std::string out;
    for (int at = bytes - 1; at >= 0; --at) out.push_back(static_cast<char>(value >> (8 * at)));
    return out;
  };
  std::string bytes = number(0, 2) + number(topics.size(), 4);
  for (const std::string& topic : topics) bytes += number(topic.size(), 2) + topic;
  return bytes + number(0, 4);
}

struct Joiner {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id = "client";
  std::vector<std::pair<std::string, std::string>> protocols = {{"range", Subscription({"t"})}};
  std::string protocol_type = "consumer";
  int32_t session_timeout_ms = 10'000;
  int32_t rebalance_timeout_ms = 60'000;
  bool takes_member_id = false;
  bool skips_assignment = true;
};

class GroupHarness {
 public:
  explicit GroupHarness(GroupLimits limits = {.initial_rebalance_delay_ms = 0})
      : limits_(limits), group_("g", limits_, budget_, counters_, at_) {}

  Group& group() { return group_; }
  Budget& budget() { return budget_; }
  const GroupCounters& counters() const { return counters_; }
  Instant at() const { return at_; }
  // Stores wait for Record() from now on.
  void HoldStores() { holds_ = true; }
  size_t held() const { return stores_.size(); }
  void Record(base::Error error = base::Error::kNone) {
    Take();
    for (const Group::Store& store : std::exchange(stores_, {})) {
      group_.Stored(store, error, at_);
      recorded_.push_back(store.record);
    }
    Settle();
  }
  const std::vector<GroupRecord>& recorded() const { return recorded_; }

  std::unique_ptr<JoinPending> Join(const Joiner& joiner) {
    auto pending = std::make_unique<JoinPending>();
    std::vector<ProtocolView> protocols;
    for (const auto& [name, metadata] : joiner.protocols) protocols.push_back({name, metadata});
    std::optional<absl::string_view> instance_id;
    if (joiner.instance_id.has_value()) instance_id = *joiner.instance_id;
    group_.Join({.group_id = "g",
                 .member = {joiner.member_id, instance_id},
                 .client_id = joiner.client_id,
                 .client_host = "/127.0.0.1",
                 .session_timeout_ms = joiner.session_timeout_ms,
                 .rebalance_timeout_ms = joiner.rebalance_timeout_ms,
                 .protocol_type = joiner.protocol_type,
                 .protocols = protocols,
                 .takes_member_id = joiner.takes_member_id,
                 .skips_assignment = joiner.skips_assignment},
                pending.get(), at_);
    Settle();
    return pending;
  }
  std::unique_ptr<SyncPending> Sync(
      const std::string& member_id, int32_t generation,
      const std::vector<std::pair<std::string, std::string>>& assignments = {},
      std::optional<std::string> instance_id = std::nullopt) {
    auto pending = std::make_unique<SyncPending>();
    std::vector<AssignmentView> views;
    for (const auto& [id, assignment] : assignments) views.push_back({id, assignment});
    std::optional<absl::string_view> instance;
    if (instance_id.has_value()) instance = *instance_id;
    group_.Sync({.group_id = "g",
                 .member = {member_id, instance},
                 .generation = generation,
                 .assignments = views},
                pending.get(), at_);
    Settle();
    return pending;
  }
  base::Error Heartbeat(const std::string& member_id, int32_t generation) {
    const base::Error error = group_.Heartbeat(
        {.group_id = "g", .member = {member_id, std::nullopt}, .generation = generation}, at_);
    Settle();
    return error;
  }
  base::Error Leave(const std::string& member_id,
                    std::optional<absl::string_view> instance_id = std::nullopt) {
    const base::Error error = group_.Leave({member_id, instance_id}, at_);
    Settle();
    return error;
  }
  base::Error Commit(const std::string& member_id, int32_t generation) {
    return group_.AdmitCommit(
        {.group_id = "g", .member = {member_id, std::nullopt}, .generation = generation}, at_);
  }

  // Deadline by deadline.
  void Advance(int64_t ms) {
    const base::Nanos end = at_.now + ms * base::kNanosPerMilli;
    while (group_.next_deadline() <= end) {
      MoveTo(std::max(group_.next_deadline(), at_.now));
      group_.Tick(at_);
      Settle();
    }
    MoveTo(end);
  }

 private:
  void MoveTo(base::Nanos now) {
    at_.wall_ms += (now - at_.now) / base::kNanosPerMilli;
    at_.now = now;
  }
  void Take() {
    while (std::optional<Group::Store> store = group_.TakeStore()) {
      stores_.push_back(*std::move(store));
    }
  }
  void Settle() {
    Take();
    if (!holds_ && !stores_.empty()) Record();
  }

  Instant at_{.now = 1, .wall_ms = 1'700'000'000'000};
  GroupLimits limits_;
  Budget budget_{64u << 20};
  GroupCounters counters_;
  bool holds_ = false;
  std::vector<Group::Store> stores_;
  std::vector<GroupRecord> recorded_;
  Group group_;
};

}  // namespace ringtail::group
