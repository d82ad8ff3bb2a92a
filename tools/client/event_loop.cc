#include "tools/client/event_loop.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "engine/base/check.h"

namespace ringtail::client {
namespace {

// Nanosecond timeouts (Linux 5.11), or where the kernel is older, milliseconds rounded up.
int EpollWait(int fd, epoll_event* events, int count, Nanos timeout) {
  const timespec time = {timeout / base::kNanosPerSecond, timeout % base::kNanosPerSecond};
  const int result = epoll_pwait2(fd, events, count, &time, nullptr);
  if (result >= 0 || errno != ENOSYS) return result;
  const Nanos millis = (timeout + base::kNanosPerMilli - 1) / base::kNanosPerMilli;
  return epoll_wait(fd, events, count, static_cast<int>(millis));
}

}  // namespace

EventLoop::EventLoop() : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)) { RT_CHECK(epoll_fd_ >= 0); }

EventLoop::~EventLoop() { close(epoll_fd_); }

void EventLoop::Add(Handler* handler) {
  const auto hole = std::find(handlers_.begin(), handlers_.end(), nullptr);
  if (hole != handlers_.end()) {
    *hole = handler;
  } else {
    handlers_.push_back(handler);
  }
}

void EventLoop::Remove(Handler* handler) {
  const auto found = std::find(handlers_.begin(), handlers_.end(), handler);
  if (found != handlers_.end()) *found = nullptr;
  Forget(handler);
}

void EventLoop::Watch(int fd, uint32_t events, Handler* handler) {
  epoll_event event = {.events = events, .data = {.ptr = handler}};
  RT_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0);
}

void EventLoop::Rewatch(int fd, uint32_t events, Handler* handler) {
  epoll_event event = {.events = events, .data = {.ptr = handler}};
  RT_CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event) == 0);
}

void EventLoop::Unwatch(int fd, Handler* handler) {
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  Forget(handler);
}

void EventLoop::Forget(Handler* handler) {
  for (int i = 0; i < ready_count_; ++i) {
    if (ready_[i].data.ptr == handler) ready_[i].data.ptr = nullptr;
  }
}

Nanos EventLoop::NextWake() const {
  Nanos next = base::kNever;
  for (const Handler* handler : handlers_) {
    if (handler != nullptr) next = std::min(next, handler->wake_at);
  }
  return next;
}

bool EventLoop::RunTimes() {
  const Nanos now = Now();
  bool ran = false;
  for (size_t i = 0; i < handlers_.size(); ++i) {
    if (handlers_[i] == nullptr || handlers_[i]->wake_at > now) continue;
    handlers_[i]->OnTime(now);
    ran = true;
  }
  return ran;
}

int EventLoop::Wait(Nanos until, Nanos spin) {
  const Nanos start = Now();
  until = std::min(until, NextWake());
  int count = 0;
  for (Nanos now = start; now < start + spin && now < until && count == 0; now = Now()) {
    count = EpollWait(epoll_fd_, ready_.data(), ready_.size(), 0);
  }
  if (count != 0) return count;
  const Nanos now = spin > 0 ? Now() : start;
  // A wait has an end even where nobody set one, so that the sum above can't overflow.
  const Nanos wait = std::clamp<Nanos>(until - now, 0, 3600 * base::kNanosPerSecond);
  return EpollWait(epoll_fd_, ready_.data(), ready_.size(), wait);
}

void EventLoop::Turn(Nanos until, Nanos spin) {
  while (true) {
    ready_count_ = std::max(0, Wait(until, spin));
    const bool any = ready_count_ > 0;
    for (int i = 0; i < ready_count_; ++i) {
      auto* handler = static_cast<Handler*>(ready_[i].data.ptr);
      if (handler != nullptr) handler->OnReady(ready_[i].events);
    }
    ready_count_ = 0;
    if (RunTimes() || any || Now() >= until) return;
  }
}

}  // namespace ringtail::client
