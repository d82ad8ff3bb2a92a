// What goes with every call to the broker: who asks, how, and until when.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "engine/partition/fetch_wait.h"

namespace ringtail::server {

enum class ListenerKind : uint8_t { kKafka, kNative };

struct RequestContext {
  absl::string_view principal = "User:ANONYMOUS";  // Kafka's name for whoever did not authenticate
  absl::string_view client_id;
  ListenerKind listener = ListenerKind::kNative;
  base::Nanos deadline = base::kNever;  // the reply is of no use after it
  size_t bytes = 0;                     // of the request, charged to its connection
  // Set when the connection is gone: what waits for the request's sake ends early.
  partition::CancelToken* cancel = nullptr;
};

}  // namespace ringtail::server
