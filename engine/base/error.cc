#include "engine/base/error.h"

namespace ringtail::base {

namespace {

// Of consumer groups.
absl::string_view GroupErrorText(Error error) {
  switch (error) {
    case Error::kCoordinatorLoading:
      return "the group's records are being read; try again";
    case Error::kCoordinatorNotAvailable:
      return "nobody can serve the group at the moment; try again";
    case Error::kNotCoordinator:
      return "another broker serves the group; ask for its coordinator";
    case Error::kInvalidGroupId:
      return "a group has a name";
    case Error::kGroupNotFound:
      return "no such group";
    case Error::kGroupNotEmpty:
      return "the group has members";
    case Error::kGroupFull:
      return "the group has as many members, or groups take as much memory, as is allowed";
    case Error::kGroupSubscribed:
      return "the group's members subscribe to the topic";
    case Error::kIllegalGeneration:
      return "the group is in another generation; join it again";
    case Error::kInconsistentProtocol:
      return "the members of the group have no assignment protocol in common with this one";
    case Error::kInvalidSessionTimeout:
      return "the session timeout is not within the broker's bounds";
    case Error::kUnknownMember:
      return "the group has no such member; join it again";
    case Error::kMemberIdRequired:
      return "join once more, with the member id that was given";
    case Error::kFencedInstanceId:
      return "another member has taken this instance id";
    case Error::kRebalanceInProgress:
      return "the group rebalances; join it again";
    case Error::kOffsetMetadataTooLarge:
      return "the metadata of a committed offset is too large";
    case Error::kFencedMemberEpoch:
      return "the member's epoch is not the group's: give up all partitions and join again";
    case Error::kStaleMemberEpoch:
      return "the member's epoch is out of date; send a heartbeat first";
    case Error::kUnreleasedInstanceId:
      return "another member still has this instance id";
    case Error::kUnsupportedAssignor:
      return "this broker has no such assignor";
    case Error::kInvalidRegex:
      return "not a regular expression that RE2 takes";
    case Error::kUnsupportedVersion:
      return "a member of a consumer group needs a newer version of this request";
    default:
      return "unknown error";
  }
}

}  // namespace

absl::string_view ErrorText(Error error) {
  switch (error) {
    case Error::kNone:
      return "";
    case Error::kInvalidRequest:
      return "a field is missing, contradicts another one, or is out of range";
    case Error::kInvalidConfig:
      return "unknown config entry, or a value out of its range";
    case Error::kInvalidTopic:
      return "a topic name is 1 to 249 of A-Z, a-z, 0-9, '.', '_' and '-', and not '.' or '..'";
    case Error::kInternalTopic:
      return "the topic is the broker's own: clients may read it, and not write, delete or grow it";
    case Error::kInvalidPartitions:
      return "the number of partitions is out of range";
    case Error::kInvalidReplication:
      return "a single broker keeps 1 replica";
    case Error::kUnknownTopic:
      return "no such topic or partition; create it, or look at the list of topics";
    case Error::kUnknownTopicId:
      return "no topic has this id; refresh the metadata";
    case Error::kTopicExists:
      return "a topic of this name exists";
    case Error::kNotLeader:
      return "this broker does not lead the partition; refresh the metadata";
    case Error::kFencedLeaderEpoch:
      return "the leader epoch is outdated; refresh the metadata";
    case Error::kUnknownLeaderEpoch:
      return "the leader epoch is newer than the broker's; try again";
    case Error::kOffsetOutOfRange:
      return "the offset is not between the log start and the high watermark";
    case Error::kCorruptBatch:
      return "lengths, counts or the CRC32C of a batch do not hold";
    case Error::kUnsupportedFormat:
      return "only record batches of version 2 that are not control batches are taken";
    case Error::kUnsupportedCodec:
      return "unknown compression codec";
    case Error::kInvalidRecord:
      return "a record breaks a rule of the topic";
    case Error::kInvalidTimestamp:
      return "a timestamp is out of range";
    case Error::kBatchTooLarge:
      return "the batch is larger than the topic's max.message.bytes";
    case Error::kOutOfOrderSequence:
      return "the sequence number does not follow the last one of this producer";
    case Error::kDuplicateSequence:
      return "appended before; its offset is no longer remembered";
    case Error::kUnknownProducer:
      return "nothing is known of this producer id; get a new one";
    case Error::kProducerFenced:
      return "a newer epoch of this producer id exists";
    case Error::kTransactionsUnsupported:
      return "transactions are not supported by this version";
    case Error::kStorageError:
      return "a write or read failed; the broker's log names the file";
    case Error::kDiskFull:
      return "no space left for appends; nothing was appended";
    case Error::kTimedOut:
      return "the deadline passed; a produce may have been appended or not";
    case Error::kOverloaded:
      return "a budget is used up; nothing was done, try again later";
    case Error::kNotEnoughReplicas:
      return "fewer in-sync replicas than min.insync.replicas";
    case Error::kShuttingDown:
      return "the broker is shutting down";
    case Error::kInternal:
      return "a bug in the broker; its log has more";
    default:
      return GroupErrorText(error);
  }
}

bool IsRetriable(Error error) {
  switch (error) {
    case Error::kUnknownTopic:
    case Error::kUnknownTopicId:
    case Error::kNotLeader:
    case Error::kFencedLeaderEpoch:
    case Error::kUnknownLeaderEpoch:
    case Error::kCorruptBatch:
    case Error::kDiskFull:
    case Error::kTimedOut:
    case Error::kOverloaded:
    case Error::kNotEnoughReplicas:
    case Error::kShuttingDown:
    case Error::kCoordinatorLoading:
    case Error::kCoordinatorNotAvailable:
    case Error::kNotCoordinator:
      return true;
    default:
      return false;
  }
}

}  // namespace ringtail::base
