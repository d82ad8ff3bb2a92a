// What can go wrong with a request, in the broker's own terms. Each protocol maps these to its
// codes in one function (server/native/error_map.cc, server/kafka/error_map.cc).
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ringtail::base {

enum class Error : uint8_t {
  kNone,
  kInvalidRequest,
  kInvalidConfig,
  kInvalidTopic,
  kInternalTopic,
  kInvalidPartitions,
  kInvalidReplication,
  kUnknownTopic,
  kUnknownTopicId,
  kTopicExists,
  kNotLeader,
  kFencedLeaderEpoch,
  kUnknownLeaderEpoch,
  kOffsetOutOfRange,
  kCorruptBatch,
  kUnsupportedFormat,  // magic below 2, control batches
  kUnsupportedCodec,
  kInvalidRecord,  // whole, but breaks a rule of the topic or of the format
  kInvalidTimestamp,
  kBatchTooLarge,
  kOutOfOrderSequence,
  kDuplicateSequence,
  kUnknownProducer,
  kProducerFenced,
  kTransactionsUnsupported,
  kStorageError,
  kDiskFull,
  kTimedOut,
  kOverloaded,
  kNotEnoughReplicas,
  kShuttingDown,
  // Of consumer groups.
  kCoordinatorLoading,
  kCoordinatorNotAvailable,
  kNotCoordinator,
  kInvalidGroupId,
  kGroupNotFound,
  kGroupNotEmpty,
  kGroupFull,
  kGroupSubscribed,
  kIllegalGeneration,
  kInconsistentProtocol,
  kInvalidSessionTimeout,
  kUnknownMember,
  kMemberIdRequired,
  kFencedInstanceId,
  kRebalanceInProgress,
  kOffsetMetadataTooLarge,
  kFencedMemberEpoch,
  kStaleMemberEpoch,
  kUnreleasedInstanceId,
  kUnsupportedAssignor,
  kInvalidRegex,
  kUnsupportedVersion,  // of the request, by a member of a consumer group (KIP-848)
  kInternal,
};

// A sentence for people.
absl::string_view ErrorText(Error error);
// Whether the same request may succeed later, unchanged.
bool IsRetriable(Error error);

// An error with what is special about this case.
struct Failure {
  Error error = Error::kNone;
  std::string message;
  bool ok() const { return error == Error::kNone; }
};

}  // namespace ringtail::base
