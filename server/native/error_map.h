// The broker's errors in the native protocol's terms: the one place where they are mapped.
#pragma once

#include <string>

#include "engine/base/error.h"
#include "proto/client.pb.h"

namespace ringtail::native {

proto::client::Error::Code ToCode(base::Error error);

// Leaves `out` unset for kNone. An empty message is replaced by the error's general text.
void FillError(base::Error error, const std::string& message, proto::client::Error* out);

}  // namespace ringtail::native
