// What went wrong, as an absl::Status that still knows the protocol's own code.
//
// An error that the broker reported carries its code and its retriable flag as a payload, so that
// ErrorCodeOf and IsRetriable answer exactly; errors born in the client (connection lost, deadline)
// are judged by their absl code.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/client.pb.h"

namespace ringtail::client {

namespace wire = ::ringtail::proto::client;

// OK for an Error that says OK. `context` names what was attempted ("create topic 'a'"), and leads
// the message.
absl::Status ToStatus(const wire::Error& error, absl::string_view context);

// OFFSET_OUT_OF_RANGE, with the offsets that `context` - a partition - has.
absl::Status OutsideLog(absl::string_view context, int64_t offset, int64_t log_start_offset,
                        int64_t high_watermark);

// The broker's code; OK for an OK status; INTERNAL for what didn't come from a broker.
wire::Error::Code ErrorCodeOf(const absl::Status& status);

// Whether the same call may succeed later, unchanged: by the broker's flag, else kUnavailable.
bool IsRetriable(const absl::Status& status);

// The broker's wish of when to retry, in ms; 0 if it has none.
uint32_t RetryAfterMillis(const absl::Status& status);

// The message of `status` behind "context: ", with its payload kept.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace ringtail::client
