// The broker's errors as Kafka's codes: the one place where they are mapped.
#pragma once

#include "engine/base/error.h"
#include "server/kafka/errors.h"

namespace ringtail::kafka {

ErrorCode ToErrorCode(base::Error error);

}  // namespace ringtail::kafka
