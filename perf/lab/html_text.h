// Text inside HTML.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace ringtail::lab {

// For content and quoted attributes alike; what is not printable is replaced before (Printable).
std::string Escape(absl::string_view text);

}  // namespace ringtail::lab
