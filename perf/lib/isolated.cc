#include "perf/lib/isolated.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <string>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"

namespace ringtail::perf {
namespace {

// What goes over the pipe: one letter, then "name\nvalue\n" of each figure, or the words of an
// error.
constexpr char kFigures = 'F';
constexpr char kUnavailable = 'U';
constexpr char kError = 'E';

constexpr int64_t kNsPerMillisecond = 1'000'000;
constexpr int64_t kPollMsMax = 60'000;

void WriteAll(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(fd, text.data() + at, text.size() - at);
    if (written <= 0) return;  // the parent is gone
    at += static_cast<size_t>(written);
  }
}

// What comes until the end of the stream; false where that has not come by `deadline_ns`.
bool ReadAll(int fd, int64_t deadline_ns, std::string& all) {
  char some[4096];
  while (true) {
    const int64_t left_ms = (deadline_ns - NowNs() + kNsPerMillisecond - 1) / kNsPerMillisecond;
    pollfd readable = {fd, POLLIN, 0};
    const int wait_ms = static_cast<int>(std::clamp<int64_t>(left_ms, 0, kPollMsMax));
    const int ready = poll(&readable, 1, wait_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (CheckCall(ready, "poll") == 0) {
      if (left_ms <= 0) return false;
      continue;
    }
    const ssize_t got = CheckCall(read(fd, some, sizeof(some)), "read from a measured process");
    if (got == 0) return true;
    all.append(some, static_cast<size_t>(got));
  }
}

std::string EndOf(int status) {
  if (WIFEXITED(status)) return "ended with exit status " + std::to_string(WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  return "died of signal " + std::to_string(signal) + " (" + strsignal(signal) + ")";
}

std::string Encode(const Figures& figures) {
  std::string text(1, kFigures);
  for (const auto& [name, value] : figures) {
    char bytes[sizeof(value)];
    std::memcpy(bytes, &value, sizeof(value));
    text += name + '\n' + std::string(bytes, sizeof(bytes));
  }
  return text;
}

Figures Decode(const std::string& text) {
  Figures figures;
  for (size_t at = 1; at < text.size();) {
    const size_t end = text.find('\n', at);
    Require(end != std::string::npos && end + 1 + sizeof(double) <= text.size(),
            "a measured process ended amid its figures");
    double value;
    std::memcpy(&value, text.data() + end + 1, sizeof(value));
    figures[text.substr(at, end - at)] = value;
    at = end + 1 + sizeof(value);
  }
  return figures;
}

std::string Run(int cpu, const std::function<Figures()>& body) {
  try {
    PinToCpu(cpu);
    return Encode(body());
  } catch (const Unavailable& why) {
    return kUnavailable + std::string(why.what());
  } catch (const std::exception& error) {
    return kError + std::string(error.what());
  }
}

}  // namespace

Isolated::Isolated(int cpu, const std::function<Figures()>& body) {
  int ends[2];
  CheckCall(pipe2(ends, O_CLOEXEC), "pipe2");
  from_ = Fd(ends[0]);
  const Fd to(ends[1]);
  child_ = Child::Fork([&] { WriteAll(to.get(), Run(cpu, body)); });
}

Figures Isolated::Await(double deadline_s) {
  const int64_t deadline_ns =
      deadline_s > 0 ? NowNs() + static_cast<int64_t>(deadline_s * kNsPerSecond) : INT64_MAX;
  std::string answer;
  if (!ReadAll(from_.get(), deadline_ns, answer)) {
    child_.Kill();
    std::ostringstream what;
    what << "a measured process had not ended after " << deadline_s << " s and was killed";
    throw std::runtime_error(what.str());
  }
  const int status = child_.Wait();
  if (!answer.empty() && answer[0] == kUnavailable) throw Unavailable(answer.substr(1));
  if (!answer.empty() && answer[0] == kError) throw std::runtime_error(answer.substr(1));
  Require(!answer.empty() && status == 0, "a measured process " + EndOf(status));
  return Decode(answer);
}

Figures RunIsolated(const std::function<Figures()>& body, double deadline_s) {
  return Isolated(kServerCpu, body).Await(deadline_s);
}

}  // namespace ringtail::perf
