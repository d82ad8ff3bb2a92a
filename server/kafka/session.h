// The Kafka protocol on one connection: takes frames apart, asks the broker, puts responses
// together. Records are never copied: produced batches are appended from the frame they came in,
// fetched ones leave as ranges of segment files between the bytes of the response.
//
// To offer a further API: a handler here, its line in kApis (api_table.cc), its golden bytes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/broker.h"
#include "server/connection.h"
#include "server/endpoints.h"
#include "server/group/group_types.h"
#include "server/kafka/arena.h"
#include "server/kafka/call.h"
#include "server/kafka/core_state.h"
#include "server/kafka/error_map.h"
#include "server/kafka/frame.h"

namespace ringtail::kafka {

inline constexpr size_t kRequestBytesMax = 100 << 20;  // socket.request.max.bytes
// Elements of all arrays of a request: twice 10,000, so that a topic's partitions may all be named
// at once, or 10,000 partitions of as many topics.
inline constexpr size_t kRequestElementsMax = 20'000;
inline constexpr size_t kNameBytesShown = 100;    // of what is quoted in an error message
inline constexpr size_t kClientIdBytesMax = 255;  // kept for logs; longer ones are cut

class Session : public server::Session {
 public:
  // All outlive the session.
  Session(server::Broker& broker, const server::Endpoints& endpoints, CoreState& core_state);
  ~Session() override;

  size_t prefix_bytes() const override { return 4; }
  absl::StatusOr<size_t> FrameBytes(base::ByteView prefix) const override;
  task::Task<void> Handle(server::Exchange* exchange) override;
  bool FillTimedOut(server::Exchange* exchange, server::Reply* reply) override;
  absl::string_view client_id() const override { return client_id_; }

  using Handler = task::Task<void> (Session::*)(Call* call);
  task::Task<void> HandleApiVersions(Call* call);
  task::Task<void> HandleMetadata(Call* call);
  task::Task<void> HandleDescribeCluster(Call* call);
  task::Task<void> HandleFindCoordinator(Call* call);
  task::Task<void> HandleJoinGroup(Call* call);
  task::Task<void> HandleSyncGroup(Call* call);
  task::Task<void> HandleHeartbeat(Call* call);
  task::Task<void> HandleLeaveGroup(Call* call);
  task::Task<void> HandleOffsetCommit(Call* call);
  task::Task<void> HandleOffsetFetch(Call* call);
  task::Task<void> HandleOffsetDelete(Call* call);
  task::Task<void> HandleDescribeGroups(Call* call);
  task::Task<void> HandleConsumerGroupHeartbeat(Call* call);
  task::Task<void> HandleConsumerGroupDescribe(Call* call);
  task::Task<void> HandleListGroups(Call* call);
  task::Task<void> HandleDeleteGroups(Call* call);
  task::Task<void> HandleProduce(Call* call);
  task::Task<void> HandleInitProducerId(Call* call);
  task::Task<void> HandleFetch(Call* call);
  task::Task<void> HandleListOffsets(Call* call);
  task::Task<void> HandleOffsetForLeaderEpoch(Call* call);
  task::Task<void> HandleDescribeTopicPartitions(Call* call);
  task::Task<void> HandleDescribeLogDirs(Call* call);
  task::Task<void> HandleSaslHandshake(Call* call);
  task::Task<void> HandleSaslAuthenticate(Call* call);
  task::Task<void> HandleCreateTopics(Call* call);
  task::Task<void> HandleDeleteTopics(Call* call);
  task::Task<void> HandleDeleteRecords(Call* call);
  task::Task<void> HandleCreatePartitions(Call* call);
  task::Task<void> HandleDescribeConfigs(Call* call);
  task::Task<void> HandleAlterConfigs(Call* call);
  task::Task<void> HandleIncrementalAlterConfigs(Call* call);

 private:
  struct Altered;  // a resource of one of the two requests that change configs

  // A partition of a Fetch takes 48 bytes decoded; the broker's item, what waits for it, and the
  // response's entry come to some 350.
  static constexpr size_t kWorkPerDecodedByte = 8;

  // A request that is not what its API says costs the connection.
  void Close(Call* call, const absl::Status& why);
  // False: closed. Kafka reads what it knows of a request and no further, and librdkafka 2.16
  // relies on it: its Metadata requests for all topics have three bytes too many from version 9 on.
  template <class Request>
  bool DecodeBody(Call* call, Request* out) {
    const absl::Status status =
        Decode(call->request.body, call->version, call->arena, out,
               {.elements_max = kRequestElementsMax, .bytes_may_follow = true});
    if (!status.ok()) Close(call, status);
    call->exchange->connection->ChargeWork(call->exchange,
                                           call->arena.used_bytes() * kWorkPerDecodedByte);
    return status.ok();
  }
  template <class Response>
  void Respond(Call* call, const Response& response) {
    RespondInto(call, response, &call->exchange->reply);
  }
  // Holes are left in call->holes; only Fetch has any.
  template <class Response>
  void RespondInto(Call* call, const Response& response, server::Reply* reply) {
    const absl::StatusOr<EncodedSize> size = MeasureResponse(response, call->version);
    if (!size.ok()) return Close(call, size.status());
    call->holes.clear();
    reply->head = broker_.core().buffers().Take(size->buffer_bytes);
    EncodeResponse(response, call->version, call->request.header.correlation_id, *size,
                   reply->head.data(), &call->holes);
    if (call->holes.empty()) reply->AddMemory(reply->head.data(), reply->head.size());
  }

  // Of a request that names all that it wants; it may begin or end a fetch session.
  task::Task<void> FetchAll(Call* call, const FetchRequest& request);
  // Of one that names what changed since the session's last.
  task::Task<void> FetchChanges(Call* call, const FetchRequest& request);
  ErrorCode UpdateSession(Call* call, const FetchRequest& request);
  void BeginSession(Call* call, const FetchRequest& request, FetchResponse* response);
  server::FetchLimits LimitsOf(const FetchRequest& request) const;
  // Puts the planned ranges of files between the pieces of the response.
  void RespondWithRecords(Call* call, const FetchResponse& response);

  // Whoever asked is gone, or the broker stops: there is no answer.
  bool Gone(Call* call);
  // Whether the topic has this partition.
  base::Error CheckPartition(absl::string_view topic, int32_t partition) const;
  task::Task<group::FetchOffsetsReply> FetchOffsets(
      Call* call, group::FetchOffsetsRequest request,
      const std::optional<std::vector<group::OffsetQuery>>& queries);

  // By id where the version has one, else by name. kNone and the topic, or the error.
  base::Error FindTopic(absl::string_view name, const base::Uuid& id, bool by_id,
                        const server::TopicImage** topic) const;
  // Makes the unknown topics that the request names, where the broker is configured to.
  task::Task<void> CreateMissing(const MetadataRequest& request);
  void AddBrokers(Arena& arena, Array<MetadataResponse::MetadataResponseBroker>* brokers) const;
  void FillTopic(const server::TopicImage& topic, Arena& arena,
                 MetadataResponse::MetadataResponseTopic* out) const;
  // Partitions `first` and on of the topic, `count` of them, in a topic of Metadata's response or
  // of DescribeTopicPartitions'.
  template <class Topic>
  void FillPartitions(const server::TopicImage& topic, size_t first, size_t count, Arena& arena,
                      Topic* out) const {
    out->partitions.Reserve(arena, count);
    for (size_t index = first; index < first + count; ++index) {
      const server::PartitionImage& partition = topic.partitions[index];
      const int32_t node =
          endpoints_.NodeOf(broker_.image()->broker_id(), broker_.CoreOf(partition));
      auto& entry = out->partitions.Add(arena);
      entry.partition_index = static_cast<int32_t>(index);
      entry.leader_id = partition.leader_broker < 0 ? -1 : node;
      if (partition.leader_broker < 0) entry.error_code = Wire(ErrorCode::kLeaderNotAvailable);
      entry.leader_epoch = partition.leader_epoch;
      entry.replica_nodes.Add(arena) = node;
      entry.isr_nodes.Add(arena) = node;
      if constexpr (requires { entry.eligible_leader_replicas; }) {
        // Empty, not null: Java's admin client takes that for granted.
        entry.eligible_leader_replicas.emplace();
        entry.last_known_elr.emplace();
      }
    }
  }
  task::Task<void> CreateOne(Call* call, const CreateTopicsRequest::CreatableTopic& wanted,
                             bool validate_only, CreateTopicsResponse::CreatableTopicResult* out);
  absl::Status CheckBrokerName(absl::string_view name) const;
  void DescribeBroker(Call* call, const DescribeConfigsRequest& request,
                      const DescribeConfigsRequest::DescribeConfigsResource& wanted,
                      DescribeConfigsResponse::DescribeConfigsResult* out);
  void DescribeTopic(Call* call, const DescribeConfigsRequest& request,
                     const DescribeConfigsRequest::DescribeConfigsResource& wanted,
                     DescribeConfigsResponse::DescribeConfigsResult* out);
  task::Task<void> AlterBroker(Altered* resource, bool replace, bool validate_only);
  std::optional<server::AlterTopicProposal> ToProposal(Altered* resource) const;
  // `replace`: what a resource does not name goes back to its default.
  task::Task<void> AlterResources(std::vector<Altered>* resources, bool replace,
                                  bool validate_only);
  template <class Request, class Response>
  task::Task<void> AlterConfigs(Call* call, bool replace);

  server::Broker& broker_;
  const server::Endpoints& endpoints_;
  CoreState& core_state_;
  std::string client_id_;
};

}  // namespace ringtail::kafka
