#include "server/kafka/error_map.h"

namespace ringtail::kafka {

using base::Error;

namespace {

// Of consumer groups.
ErrorCode ToGroupErrorCode(Error error) {
  switch (error) {
    case Error::kCoordinatorLoading:
      return ErrorCode::kCoordinatorLoadInProgress;
    case Error::kCoordinatorNotAvailable:
      return ErrorCode::kCoordinatorNotAvailable;
    case Error::kNotCoordinator:
      return ErrorCode::kNotCoordinator;
    case Error::kInvalidGroupId:
      return ErrorCode::kInvalidGroupId;
    case Error::kGroupNotFound:
      return ErrorCode::kGroupIdNotFound;
    case Error::kGroupNotEmpty:
      return ErrorCode::kNonEmptyGroup;
    case Error::kGroupFull:
      return ErrorCode::kGroupMaxSizeReached;
    case Error::kGroupSubscribed:
      return ErrorCode::kGroupSubscribedToTopic;
    case Error::kIllegalGeneration:
      return ErrorCode::kIllegalGeneration;
    case Error::kInconsistentProtocol:
      return ErrorCode::kInconsistentGroupProtocol;
    case Error::kInvalidSessionTimeout:
      return ErrorCode::kInvalidSessionTimeout;
    case Error::kUnknownMember:
      return ErrorCode::kUnknownMemberId;
    case Error::kMemberIdRequired:
      return ErrorCode::kMemberIdRequired;
    case Error::kFencedInstanceId:
      return ErrorCode::kFencedInstanceId;
    case Error::kRebalanceInProgress:
      return ErrorCode::kRebalanceInProgress;
    case Error::kOffsetMetadataTooLarge:
      return ErrorCode::kOffsetMetadataTooLarge;
    case Error::kFencedMemberEpoch:
      return ErrorCode::kFencedMemberEpoch;
    case Error::kStaleMemberEpoch:
      return ErrorCode::kStaleMemberEpoch;
    case Error::kUnreleasedInstanceId:
      return ErrorCode::kUnreleasedInstanceId;
    case Error::kUnsupportedAssignor:
      return ErrorCode::kUnsupportedAssignor;
    case Error::kInvalidRegex:
      return ErrorCode::kInvalidRegularExpression;
    case Error::kUnsupportedVersion:
      return ErrorCode::kUnsupportedVersion;
    default:
      return ErrorCode::kUnknownServerError;
  }
}

}  // namespace

ErrorCode ToErrorCode(Error error) {
  switch (error) {
    case Error::kNone:
      return ErrorCode::kNone;
    case Error::kInvalidRequest:
      return ErrorCode::kInvalidRequest;
    case Error::kInvalidConfig:
      return ErrorCode::kInvalidConfig;
    case Error::kInvalidTopic:
    case Error::kInternalTopic:
      return ErrorCode::kInvalidTopicException;
    case Error::kInvalidPartitions:
      return ErrorCode::kInvalidPartitions;
    case Error::kInvalidReplication:
      return ErrorCode::kInvalidReplicationFactor;
    case Error::kUnknownTopic:
      return ErrorCode::kUnknownTopicOrPartition;
    case Error::kUnknownTopicId:
      return ErrorCode::kUnknownTopicId;
    case Error::kTopicExists:
      return ErrorCode::kTopicAlreadyExists;
    case Error::kNotLeader:
    case Error::kShuttingDown:
      return ErrorCode::kNotLeaderOrFollower;
    case Error::kFencedLeaderEpoch:
      return ErrorCode::kFencedLeaderEpoch;
    case Error::kUnknownLeaderEpoch:
      return ErrorCode::kUnknownLeaderEpoch;
    case Error::kOffsetOutOfRange:
      return ErrorCode::kOffsetOutOfRange;
    case Error::kCorruptBatch:
      return ErrorCode::kCorruptMessage;
    case Error::kUnsupportedFormat:
      return ErrorCode::kUnsupportedForMessageFormat;
    case Error::kUnsupportedCodec:
      return ErrorCode::kUnsupportedCompressionType;
    case Error::kInvalidRecord:
      return ErrorCode::kInvalidRecord;
    case Error::kInvalidTimestamp:
      return ErrorCode::kInvalidTimestamp;
    case Error::kBatchTooLarge:
      return ErrorCode::kMessageTooLarge;
    case Error::kOutOfOrderSequence:
      return ErrorCode::kOutOfOrderSequenceNumber;
    case Error::kDuplicateSequence:
      return ErrorCode::kDuplicateSequenceNumber;
    case Error::kUnknownProducer:
      return ErrorCode::kUnknownProducerId;
    case Error::kProducerFenced:
      return ErrorCode::kInvalidProducerEpoch;
    case Error::kTransactionsUnsupported:
      // Fatal to every client: they do not retry for ever (see FindCoordinator).
      return ErrorCode::kTransactionalIdAuthorizationFailed;
    case Error::kStorageError:
    case Error::kDiskFull:
      return ErrorCode::kKafkaStorageError;
    case Error::kTimedOut:
      return ErrorCode::kRequestTimedOut;
    case Error::kOverloaded:
      return ErrorCode::kThrottlingQuotaExceeded;
    case Error::kNotEnoughReplicas:
      return ErrorCode::kNotEnoughReplicas;
    case Error::kInternal:
      return ErrorCode::kUnknownServerError;
    default:
      return ToGroupErrorCode(error);
  }
}

}  // namespace ringtail::kafka
