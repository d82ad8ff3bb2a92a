// Changes of the configuration while the broker runs. Flags and the file say what holds at a start;
// what was set since (the catalog keeps it, by the knob's name) holds instead until it is deleted,
// over restarts, too: Kafka's dynamic broker configs (KIP-226), of the whole broker. Which knobs
// may be set so is said by `live` in proto/config.proto.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/cluster/image.h"
#include "server/config.h"
#include "server/live_options.h"

namespace ringtail::server {

class LiveConfig {
 public:
  // `connections_max`: what the limit of descriptors allows a core.
  explicit LiveConfig(LoadedConfig start, size_t connections_max = SIZE_MAX);

  // InvalidArgument names the knob, what it takes and what came.
  absl::Status Check(const Settings& set) const;
  // What of `set` this program does not take, as a newer one may have set it, is left out, and
  // said.
  std::shared_ptr<const LiveOptions> Under(const Settings& set,
                                           std::vector<std::string>* left_out = nullptr) const;

 private:
  static absl::Status Set(const std::string& name, const std::string& value, LoadedConfig* config);
  // The start's configuration with what of `set` can be taken; why not in *refused.
  LoadedConfig Overlay(const Settings& set, std::vector<std::string>* refused) const;

  const LoadedConfig start_;
  const size_t connections_max_;
};

}  // namespace ringtail::server
