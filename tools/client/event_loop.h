// The loop a Client's calls drive: sockets by epoll, and times.
//
// Not a thread: whoever waits for something calls Turn until it happened. Handlers are called from
// Turn only, one after the other, and may add and remove handlers. Used by one thread at a time.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <vector>

#include "tools/client/clock.h"

namespace ringtail::client {

class EventLoop {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // The watched socket is ready: bits of EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP.
    virtual void OnReady(uint32_t events) = 0;
    // wake_at has come. Must move wake_at on.
    virtual void OnTime(Nanos now) = 0;

    Nanos wake_at = base::kNever;
  };

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // The handler's wake_at is heeded from now on until Remove.
  void Add(Handler* handler);
  void Remove(Handler* handler);

  // Level triggered. `fd` is no longer watched once closed or unwatched; one handler may watch one.
  void Watch(int fd, uint32_t events, Handler* handler);
  void Rewatch(int fd, uint32_t events, Handler* handler);
  void Unwatch(int fd, Handler* handler);

  // Waits for sockets and times until `until` at most, and calls the handlers due. Returns once any
  // was called, or at `until`. The first `spin` of the wait doesn't sleep.
  void Turn(Nanos until, Nanos spin = 0);

  // Readable whenever Turn would call a socket's handler: for use in another loop.
  int fd() const { return epoll_fd_; }
  // When Turn would call a time's handler.
  Nanos NextWake() const;

 private:
  bool RunTimes();
  int Wait(Nanos until, Nanos spin);
  void Forget(Handler* handler);

  int epoll_fd_;
  std::vector<Handler*> handlers_;  // holes are null
  std::array<epoll_event, 64> ready_;
  int ready_count_ = 0;
};

}  // namespace ringtail::client
