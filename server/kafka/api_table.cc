#include "server/kafka/api_table.h"

namespace ringtail::kafka {
namespace {

// Produce is advertised from 0 and served from 3: librdkafka up to 2.11.0 otherwise sends without
// compression, silently (KAFKA-18659).
constexpr Api kApis[] = {
    {ProduceRequest::kApiKey, 0, 11, 3, &Session::HandleProduce},
    {FetchRequest::kApiKey, 4, 16, 4, &Session::HandleFetch},
    {ListOffsetsRequest::kApiKey, 1, 8, 1, &Session::HandleListOffsets},
    {MetadataRequest::kApiKey, 0, 13, 0, &Session::HandleMetadata},
    {OffsetCommitRequest::kApiKey, 2, 9, 2, &Session::HandleOffsetCommit},
    {OffsetFetchRequest::kApiKey, 1, 9, 1, &Session::HandleOffsetFetch},
    {FindCoordinatorRequest::kApiKey, 0, 6, 0, &Session::HandleFindCoordinator},
    {JoinGroupRequest::kApiKey, 0, 9, 0, &Session::HandleJoinGroup},
    {HeartbeatRequest::kApiKey, 0, 4, 0, &Session::HandleHeartbeat},
    {LeaveGroupRequest::kApiKey, 0, 5, 0, &Session::HandleLeaveGroup},
    {SyncGroupRequest::kApiKey, 0, 5, 0, &Session::HandleSyncGroup},
    {DescribeGroupsRequest::kApiKey, 0, 6, 0, &Session::HandleDescribeGroups},
    {ListGroupsRequest::kApiKey, 0, 5, 0, &Session::HandleListGroups},
    {SaslHandshakeRequest::kApiKey, 0, 1, 0, &Session::HandleSaslHandshake},
    {ApiVersionsRequest::kApiKey, 0, 4, 0, &Session::HandleApiVersions},
    {CreateTopicsRequest::kApiKey, 2, 7, 2, &Session::HandleCreateTopics},
    {DeleteTopicsRequest::kApiKey, 1, 6, 1, &Session::HandleDeleteTopics},
    {DeleteRecordsRequest::kApiKey, 0, 2, 0, &Session::HandleDeleteRecords},
    {InitProducerIdRequest::kApiKey, 0, 5, 0, &Session::HandleInitProducerId},
    {DescribeConfigsRequest::kApiKey, 1, 4, 1, &Session::HandleDescribeConfigs},
    {AlterConfigsRequest::kApiKey, 0, 2, 0, &Session::HandleAlterConfigs},
    {CreatePartitionsRequest::kApiKey, 0, 3, 0, &Session::HandleCreatePartitions},
    {DeleteGroupsRequest::kApiKey, 0, 2, 0, &Session::HandleDeleteGroups},
    {OffsetDeleteRequest::kApiKey, 0, 0, 0, &Session::HandleOffsetDelete},
    {IncrementalAlterConfigsRequest::kApiKey, 0, 1, 0, &Session::HandleIncrementalAlterConfigs},
    {OffsetForLeaderEpochRequest::kApiKey, 2, 4, 2, &Session::HandleOffsetForLeaderEpoch},
    {DescribeLogDirsRequest::kApiKey, 1, 4, 1, &Session::HandleDescribeLogDirs},
    {SaslAuthenticateRequest::kApiKey, 0, 2, 0, &Session::HandleSaslAuthenticate},
    {DescribeClusterRequest::kApiKey, 0, 2, 0, &Session::HandleDescribeCluster},
    {ConsumerGroupHeartbeatRequest::kApiKey, 0, 1, 0, &Session::HandleConsumerGroupHeartbeat},
    {ConsumerGroupDescribeRequest::kApiKey, 0, 1, 0, &Session::HandleConsumerGroupDescribe},
    {DescribeTopicPartitionsRequest::kApiKey, 0, 0, 0, &Session::HandleDescribeTopicPartitions},
};

}  // namespace

std::span<const Api> OfferedApis() { return kApis; }

const Api* FindApi(int16_t key) {
  for (const Api& api : kApis) {
    if (api.key == key) return &api;
  }
  return nullptr;
}

}  // namespace ringtail::kafka
