// Subscriptions by a regular expression (SubscribedTopicRegex of KIP-848), in RE2's syntax, which
// is that of Kafka's brokers. RE2 takes linear time, whatever the expression.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/cluster/image.h"

namespace ringtail::group {

// InvalidArgument says what is wrong with the expression: its syntax, or that its automaton would
// take too much memory.
absl::Status CheckTopicRegex(absl::string_view regex);

// The names of the topics that the expression matches from end to end, ascending. InvalidArgument
// as above.
absl::StatusOr<std::vector<std::string>> MatchTopics(absl::string_view regex,
                                                     const server::Image& image);

}  // namespace ringtail::group
