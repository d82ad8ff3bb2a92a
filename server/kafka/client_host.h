// A member's address as Java writes one that was not looked up: "/127.0.0.1".
#pragma once

#include <string>

#include "absl/strings/str_cat.h"

namespace ringtail::kafka {

inline std::string ClientHost(const std::string& peer) {
  return absl::StrCat("/", peer.substr(0, peer.rfind(':')));
}

}  // namespace ringtail::kafka
