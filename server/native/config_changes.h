// Alterations name configs to set and configs to reset (proto/client.proto).
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "server/cluster/topic_config.h"

namespace ringtail::native {

// `request` has set() and reset(). Returns a name that stands there twice; empty: none does.
template <class Request>
std::string TakeChanges(const Request& request, std::vector<server::ConfigChange>* changes) {
  absl::flat_hash_set<absl::string_view> named;
  std::string twice;
  for (const auto& entry : request.set()) {
    if (!named.insert(entry.name()).second) twice = entry.name();
    changes->push_back({.name = entry.name(), .value = entry.value()});
  }
  for (const std::string& name : request.reset()) {
    if (!named.insert(name).second) twice = name;
    changes->push_back({.name = name, .op = server::ConfigChange::Op::kDelete});
  }
  return twice;
}

}  // namespace ringtail::native
