// What the Kafka connections of one core share.
#pragma once

#include "server/kafka/call.h"
#include "server/kafka/fetch_session.h"

namespace ringtail::kafka {

struct CoreState {
  explicit CoreState(const FetchSessionLimits& limits) : fetch_sessions(limits) {}

  CallPool calls;
  FetchSessionCache fetch_sessions;
};

}  // namespace ringtail::kafka
