#include "server/native/error_map.h"

namespace ringtail::native {

using base::Error;
using Wire = proto::client::Error;

namespace {

// Of consumer groups.
Wire::Code ToGroupCode(Error error) {
  switch (error) {
    case Error::kCoordinatorLoading:
    case Error::kCoordinatorNotAvailable:
    case Error::kNotCoordinator:
      return Wire::COORDINATOR_NOT_READY;
    case Error::kGroupNotFound:
      return Wire::UNKNOWN_GROUP;
    case Error::kGroupNotEmpty:
    case Error::kGroupSubscribed:
      return Wire::GROUP_NOT_EMPTY;
    // Of requests that this protocol does not have.
    case Error::kInvalidGroupId:
    case Error::kGroupFull:
    case Error::kIllegalGeneration:
    case Error::kInconsistentProtocol:
    case Error::kInvalidSessionTimeout:
    case Error::kUnknownMember:
    case Error::kMemberIdRequired:
    case Error::kFencedInstanceId:
    case Error::kRebalanceInProgress:
    case Error::kOffsetMetadataTooLarge:
    case Error::kFencedMemberEpoch:
    case Error::kStaleMemberEpoch:
    case Error::kUnreleasedInstanceId:
    case Error::kUnsupportedAssignor:
    case Error::kInvalidRegex:
    case Error::kUnsupportedVersion:
      return Wire::INVALID_REQUEST;
    default:
      return Wire::INTERNAL;
  }
}

}  // namespace

Wire::Code ToCode(Error error) {
  switch (error) {
    case Error::kNone:
      return Wire::OK;
    case Error::kInvalidRequest:
    case Error::kInvalidPartitions:
    case Error::kInvalidReplication:
      return Wire::INVALID_REQUEST;
    case Error::kInvalidConfig:
      return Wire::INVALID_CONFIG;
    case Error::kInvalidTopic:
    case Error::kInternalTopic:
      return Wire::INVALID_TOPIC;
    case Error::kUnknownTopic:
    case Error::kUnknownTopicId:
      return Wire::UNKNOWN_TOPIC;
    case Error::kTopicExists:
      return Wire::TOPIC_EXISTS;
    case Error::kNotLeader:
      return Wire::NOT_LEADER;
    case Error::kFencedLeaderEpoch:
      return Wire::FENCED_LEADER_EPOCH;
    case Error::kUnknownLeaderEpoch:
      return Wire::UNKNOWN_LEADER_EPOCH;
    case Error::kOffsetOutOfRange:
      return Wire::OFFSET_OUT_OF_RANGE;
    case Error::kCorruptBatch:
      return Wire::CORRUPT_BATCH;
    case Error::kUnsupportedFormat:
    case Error::kUnsupportedCodec:
    case Error::kTransactionsUnsupported:
      return Wire::UNSUPPORTED_FORMAT;
    case Error::kInvalidRecord:
    case Error::kInvalidTimestamp:
      return Wire::INVALID_REQUEST;
    case Error::kBatchTooLarge:
      return Wire::BATCH_TOO_LARGE;
    case Error::kOutOfOrderSequence:
      return Wire::OUT_OF_ORDER_SEQUENCE;
    case Error::kDuplicateSequence:
      return Wire::DUPLICATE_SEQUENCE;
    case Error::kUnknownProducer:
      return Wire::UNKNOWN_PRODUCER;
    case Error::kProducerFenced:
      return Wire::PRODUCER_FENCED;
    case Error::kStorageError:
      return Wire::STORAGE_ERROR;
    case Error::kDiskFull:
      return Wire::DISK_FULL;
    case Error::kTimedOut:
      return Wire::TIMED_OUT;
    case Error::kOverloaded:
      return Wire::OVERLOADED;
    case Error::kNotEnoughReplicas:
      return Wire::NOT_ENOUGH_REPLICAS;
    case Error::kShuttingDown:
      return Wire::SHUTTING_DOWN;
    case Error::kInternal:
      return Wire::INTERNAL;
    default:
      return ToGroupCode(error);
  }
}

void FillError(Error error, const std::string& message, Wire* out) {
  if (error == Error::kNone) return;
  out->set_code(ToCode(error));
  out->set_retriable(base::IsRetriable(error));
  if (message.empty()) {
    const absl::string_view text = base::ErrorText(error);
    out->set_message(text.data(), text.size());
  } else {
    out->set_message(message);
  }
}

}  // namespace ringtail::native
