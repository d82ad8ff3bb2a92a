// Where a broker listens: "host:port", "1.2.3.4:7092", "[::1]:7092".
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ringtail::client {

struct Address {
  std::string host;
  uint16_t port = 0;

  bool operator==(const Address&) const = default;
  std::string ToString() const;
};

struct SocketAddress {
  sockaddr_storage storage;
  socklen_t length;
  int family;
};

// Without ":port" the port is `default_port`. kInvalidArgument says what is wrong.
absl::StatusOr<Address> ParseAddress(absl::string_view text, uint16_t default_port);
// Comma separated.
absl::StatusOr<std::vector<Address>> ParseAddresses(absl::string_view text, uint16_t default_port);

// All addresses of the host, in the resolver's order. Blocks in the resolver for names, never for
// numbers. kUnavailable if there is none.
absl::StatusOr<std::vector<SocketAddress>> Resolve(const Address& address);

}  // namespace ringtail::client
