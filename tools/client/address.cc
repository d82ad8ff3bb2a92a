#include "tools/client/address.h"

#include <netdb.h>
#include <string.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/result.h"

namespace ringtail::client {
namespace {

absl::Status Malformed(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not an address: use host:port, 127.0.0.1:7092 or [::1]:7092"));
}

}  // namespace

std::string Address::ToString() const {
  const bool bracket = host.find(':') != std::string::npos;
  return absl::StrCat(bracket ? "[" : "", host, bracket ? "]" : "", ":", port);
}

absl::StatusOr<Address> ParseAddress(absl::string_view text, uint16_t default_port) {
  Address address;
  address.port = default_port;
  absl::string_view port;
  if (!text.empty() && text[0] == '[') {
    const size_t close = text.find(']');
    if (close == absl::string_view::npos) return Malformed(text);
    address.host = std::string(text.substr(1, close - 1));
    port = text.substr(close + 1);
    if (!port.empty() && port[0] != ':') return Malformed(text);
    if (!port.empty()) port.remove_prefix(1);
  } else {
    const size_t colon = text.rfind(':');
    if (colon != text.find(':')) return Malformed(text);
    address.host = std::string(text.substr(0, colon));
    if (colon != absl::string_view::npos) {
      port = text.substr(colon + 1);
      if (port.empty()) return Malformed(text);
    }
  }
  if (address.host.empty()) return Malformed(text);
  if (!port.empty()) {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(port, &number) || number == 0 || number > 65535) return Malformed(text);
    address.port = static_cast<uint16_t>(number);
  }
  return address;
}

absl::StatusOr<std::vector<Address>> ParseAddresses(absl::string_view text, uint16_t default_port) {
  std::vector<Address> addresses;
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    RT_ASSIGN_OR_RETURN(Address address,
                        ParseAddress(absl::StripAsciiWhitespace(part), default_port));
    addresses.push_back(std::move(address));
  }
  if (addresses.empty()) return Malformed(text);
  return addresses;
}

absl::StatusOr<std::vector<SocketAddress>> Resolve(const Address& address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(address.port);
  int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (error == EAI_ADDRFAMILY || error == EAI_NONAME || error == EAI_NODATA) {
    // AI_ADDRCONFIG hides loopback addresses on a machine that has no others.
    hints.ai_flags = AI_NUMERICSERV;
    error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  }
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot resolve host '", address.host, "': ", gai_strerror(error)));
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    SocketAddress& one = addresses.emplace_back();
    memcpy(&one.storage, info->ai_addr, info->ai_addrlen);
    one.length = info->ai_addrlen;
    one.family = info->ai_family;
  }
  freeaddrinfo(found);
  return addresses;
}

}  // namespace ringtail::client
