// HTTP for a few pages, on one thread of its own. cpp-httplib parses the request and writes the
// reply; sockets, deadlines and bounds are here, because its own loop bounds neither the size of
// all headers together nor the time that a slow peer may take.
//
//   GET only, one request a connection, 16 KiB of request, 5 s from its first byte to its reply's
//   last. A peer that sends nothing waits beside the others and holds up nobody; the oldest of more
//   than 32 such is closed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ringtail::server::admin {

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

class HttpServer {
 public:
  // Called on the server's thread, with the path without its query.
  using Handler = std::function<HttpReply(const std::string& path)>;

  // host: an address literal. port 0: the kernel picks. time: for a request to come in, and for its
  // reply to go out. An error names the address.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& host, uint16_t port,
                                                           std::chrono::milliseconds time,
                                                           Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const { return port_; }
  // Ends the thread and closes all connections; the one being served when its handler has returned.
  void Stop();

 private:
  struct Parser;
  class Sockets;

  HttpServer();
  void Run();

  std::unique_ptr<Parser> parser_;
  std::unique_ptr<Sockets> sockets_;
  uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace ringtail::server::admin
