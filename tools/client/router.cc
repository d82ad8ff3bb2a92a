#include "tools/client/router.h"

namespace ringtail::client {

Connection* Router::For(int32_t node_id, const Metadata& metadata) {
  const NodeInfo* node = metadata.Node(node_id);
  if (node == nullptr || node->address.port == 0) return bootstrap();
  Own& own = nodes_[node_id];
  if (own.connection != nullptr && own.address != node->address) {
    retired_.push_back(std::move(own.connection));
  }
  if (own.connection == nullptr) {
    own.address = node->address;
    own.connection =
        std::make_unique<Connection>(loop_, std::vector<Address>{node->address}, options_, pool_);
  }
  Connection* connection = own.connection.get();
  if (connection->state() == Connection::State::kReady) return connection;
  if (connection->failures() == 0) return connection;  // it queues until it is connected
  // It failed before: try again in the background once its backoff is over, and go round it.
  if (connection->state() == Connection::State::kIdle) connection->Connect();
  return bootstrap();
}

}  // namespace ringtail::client
