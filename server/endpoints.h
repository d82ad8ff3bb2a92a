// Where clients find this broker: what Metadata tells them. Known once all listeners are bound.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/cluster/image.h"
#include "server/request_context.h"

namespace ringtail::server {

struct CorePorts {
  uint16_t kafka = 0;
  uint16_t native = 0;
};

struct Node {
  int32_t id = 0;
  uint32_t core = 0;
  std::string host;
  uint16_t port = 0;
};

struct Endpoints {
  bool advertise_cores = true;  // else the broker is one node at the shared port
  std::string host;
  CorePorts shared;
  std::vector<CorePorts> cores;

  // The nodes that clients of this listener kind are told of.
  std::vector<Node> Nodes(int32_t broker_id, ListenerKind kind) const {
    const auto port = [&](const CorePorts& ports) {
      return kind == ListenerKind::kKafka ? ports.kafka : ports.native;
    };
    std::vector<Node> nodes;
    if (!advertise_cores) {
      nodes.push_back({NodeId(broker_id, base::CoreId(0)), 0, host, port(shared)});
      return nodes;
    }
    for (uint32_t core = 0; core < cores.size(); ++core) {
      nodes.push_back({NodeId(broker_id, base::CoreId(core)), core, host, port(cores[core])});
    }
    return nodes;
  }
  // The node that serves partitions of `core`.
  int32_t NodeOf(int32_t broker_id, base::CoreId core) const {
    return NodeId(broker_id, advertise_cores ? core : base::CoreId(0));
  }
};

}  // namespace ringtail::server
