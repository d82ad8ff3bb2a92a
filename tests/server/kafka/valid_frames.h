// A request that makes sense for every API and version that is offered, for tests that damage them.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "server/group/group_types.h"
#include "server/kafka/api_table.h"
#include "tests/engine/log/batch_maker.h"
#include "tests/server/kafka/kafka_dialogue.h"
#include "tests/server/kafka/message_fill.h"

namespace ringtail::kafka {

// Values that a client might send, by the field's name; all of topic "t".
class PlausibleSource {
 public:
  PlausibleSource(const base::Uuid& topic_id, bool nulls) : topic_id_(topic_id), nulls_(nulls) {}

  bool Null() const { return nulls_; }
  uint32_t Count() const { return 1; }

  void Value(const char*, uint32_t, Pool&, bool& value) { value = true; }
  void Value(const char*, uint32_t, Pool&, double& value) { value = 0.5; }
  template <std::integral T>
  void Value(const char* name, uint32_t, Pool&, T& value) {
    static constexpr std::pair<absl::string_view, int64_t> kValues[] = {
        {"Acks", -1},
        {"CurrentLeaderEpoch", -1},
        {"Count", 5},
        {"EndpointType", 1},
        {"GenerationId", -1},
        {"GenerationIdOrMemberEpoch", -1},
        {"RebalanceTimeoutMs", 10},
        {"RetentionTimeMs", -1},
        {"SessionTimeoutMs", 10},
        {"MaxBytes", 100'000},
        {"MaxWaitMs", 5},
        {"MinBytes", 1},
        {"NumPartitions", 2},
        {"PartitionMaxBytes", 100'000},
        {"ProducerId", -1},
        {"ProducerEpoch", -1},
        {"ReplicaId", -1},
        {"ReplicaEpoch", -1},
        {"ReplicationFactor", 1},
        {"ResponsePartitionLimit", 10},
        {"SessionEpoch", -1},
        {"TimeoutMs", 1'000},
        {"TransactionTimeoutMs", 1'000},
        {"LastFetchedEpoch", -1}};
    const auto* found = std::find_if(std::begin(kValues), std::end(kValues),
                                     [&](const auto& entry) { return entry.first == name; });
    value = static_cast<T>(found == std::end(kValues) ? 0 : found->second);
  }
  void Value(const char*, uint32_t, Pool&, base::Uuid& value) { value = topic_id_; }
  void Value(const char* name, uint32_t, Pool&, absl::string_view& value) {
    const absl::string_view field(name);
    value = field == "TransactionalId" ? "tx" : field == "MemberId" ? "" : "t";
  }
  void Value(const char*, uint32_t, Pool& pool, Bytes& value) {
    value = Bytes(base::AsBytes(pool.Keep("bytes")));
  }
  void Value(const char*, uint32_t, Pool& pool, Records& value) {
    value = Records(base::AsBytes(pool.Keep(log::MakeBatch({.records = 2}))));
  }

 private:
  const base::Uuid topic_id_;
  const bool nulls_;
};

// Of a broker that is asked thousands of such: groups come to an end, as nobody answers for them.
inline group::GroupOptions ShortLivedGroups() {
  return {.limits = {.initial_rebalance_delay_ms = 0}, .session_timeout_min_ms = 1};
}

struct ValidFrame {
  int16_t key;
  int16_t version;
  std::string bytes;  // with its length
};

constexpr bool IsRequest(absl::string_view message) {
  constexpr absl::string_view kEnd = "Request";
  return message.size() > kEnd.size() && message.substr(message.size() - kEnd.size()) == kEnd;
}

// With `nulls`, what may be null is.
inline std::vector<ValidFrame> ValidFrames(const base::Uuid& topic_id, bool nulls) {
  std::vector<ValidFrame> frames;
  for (const Api& api : OfferedApis()) {
    ForEachMessage([&]<class Message>(std::type_identity<Message>) {
      if constexpr (IsRequest(Message::kName)) {
        if (Message::kApiKey != api.key) return;
        for (int v = api.version_first; v <= api.version_max; ++v) {
          const auto version = static_cast<int16_t>(v);
          PlausibleSource source(topic_id, nulls);
          Pool pool;
          Message message;
          VisitFields(message, Filler<PlausibleSource>(source, version, pool));
          frames.push_back({api.key, version, KafkaFrame(message, version, 7)});
        }
      }
    });
  }
  return frames;
}

// Thousands of partitions are fine for a broker (tests/server/broker_test.cc), but the simulated
// disk looks at all its files at every sync: such a request would take minutes here.
inline bool TooSlowHere(absl::string_view frame) {
  constexpr int32_t kPartitionsMax = 64;
  RequestFrame request;
  if (frame.size() < 4 || !DecodeRequestFrame(base::AsBytes(frame.substr(4)), &request).ok()) {
    return false;
  }
  const int16_t version = request.header.request_api_version;
  const auto any = [&]<class Message>(std::type_identity<Message>, auto too_many) {
    if (request.header.request_api_key != Message::kApiKey || version < Message::kVersionMin ||
        version > Message::kVersionMax) {
      return false;
    }
    Arena arena;
    Message message;
    if (!Decode(request.body, version, arena, &message).ok()) return false;
    return std::any_of(message.topics.begin(), message.topics.end(), too_many);
  };
  return any(std::type_identity<CreateTopicsRequest>(),
             [](const auto& topic) {
               return topic.num_partitions > kPartitionsMax ||
                      topic.assignments.size() > size_t{kPartitionsMax};
             }) ||
         any(std::type_identity<CreatePartitionsRequest>(),
             [](const auto& topic) { return topic.count > kPartitionsMax; });
}

}  // namespace ringtail::kafka
