// What the client knows of the cluster: nodes, and the topics somebody asked for. Refreshed when a
// reply shows that it is outdated, and once in a while.
//
// Life: the Client's. Never blocks; who waits for an answer turns the loop.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "tools/client/address.h"
#include "tools/client/connection.h"

namespace ringtail::client {

struct NodeInfo {
  int32_t node_id = 0;  // 1000 * broker + core
  uint32_t core = 0;
  Address address;
};

struct PartitionInfo {
  int32_t leader_node = -1;  // -1: no leader now
  int32_t leader_epoch = -1;
};

struct TopicInfo {
  std::string name;
  base::Uuid id;
  std::vector<PartitionInfo> partitions;
};

// Sets all but the error. kInvalidArgument if the broker's answer makes no sense.
absl::Status ReadTopic(const wire::TopicMetadata& from, TopicInfo* to);

class Metadata : public EventLoop::Handler {
 public:
  Metadata(EventLoop* loop, Connection* connection, Nanos request_timeout);
  ~Metadata() override;

  // The topic, if it is known to exist. Gone with the next change of version().
  const TopicInfo* Find(absl::string_view topic) const;
  // Why a topic that was asked for isn't there: kNotFound, or why asking failed. OK: not known yet.
  absl::Status ErrorOf(absl::string_view topic) const;
  const NodeInfo* Node(int32_t node_id) const;

  // Asks for the topic soon (at once unless it just did), and keeps it up to date from then on.
  void Refresh(absl::string_view topic);
  // Forgets an error, so that ErrorOf answers OK until the broker was asked again.
  void Forget(absl::string_view topic);

  // Rises with every answer.
  uint64_t version() const { return version_; }

  void OnReady(uint32_t) override {}
  void OnTime(Nanos now) override;

 private:
  void Ask();
  void OnAnswer(const absl::Status& status, Reply* reply);

  EventLoop* const loop_;
  Connection* const connection_;
  const Nanos request_timeout_;
  absl::flat_hash_map<int32_t, NodeInfo> nodes_;
  absl::flat_hash_map<std::string, TopicInfo> topics_;
  absl::flat_hash_map<std::string, absl::Status> errors_;
  absl::flat_hash_set<std::string> wanted_;  // all that were ever asked for
  std::vector<std::string> asked_;           // in the request under way
  uint64_t version_ = 0;
  bool asking_ = false;
  bool ask_again_ = false;
  Nanos last_asked_ = 0;
};

}  // namespace ringtail::client
