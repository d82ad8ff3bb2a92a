// Connections by node. Each partition is asked for at the core that owns it (no hop inside the
// broker); where that core's own port can't be reached, at the bootstrap address, whose core passes
// the request on.
//
// Life: one for each user with its own order of replies: a fetch that waits must not hold up a
// produce. Connections are made when first used and live as long as the router.
#pragma once

#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tools/client/connection.h"
#include "tools/client/metadata.h"

namespace ringtail::client {

class Router {
 public:
  Router(EventLoop* loop, std::vector<Address> bootstrap, const ConnectionOptions* options,
         BufferPool* pool)
      : loop_(loop),
        options_(options),
        pool_(pool),
        bootstrap_(std::make_unique<Connection>(loop, std::move(bootstrap), options, pool)) {}

  Connection* bootstrap() { return bootstrap_.get(); }

  // Where to send what concerns a partition led by `node_id`; `metadata` knows its address. The
  // bootstrap connection for a node that is unknown or can't be reached at the moment.
  Connection* For(int32_t node_id, const Metadata& metadata);

 private:
  struct Own {
    Address address;
    std::unique_ptr<Connection> connection;
  };

  EventLoop* const loop_;
  const ConnectionOptions* const options_;
  BufferPool* const pool_;
  std::unique_ptr<Connection> bootstrap_;
  absl::flat_hash_map<int32_t, Own> nodes_;
  // To addresses that a node has left. They may be in the middle of a callback, so they stay.
  std::vector<std::unique_ptr<Connection>> retired_;
};

}  // namespace ringtail::client
