#include "perf/lib/isolated.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "perf/lib/check.h"
#include "perf/lib/os.h"

namespace ringtail::perf {
namespace {

// What goes over the pipe: one letter, then "name\nvalue\n" of each figure, or the words of an
// error.
constexpr char kFigures = 'F';
constexpr char kUnavailable = 'U';
constexpr char kError = 'E';

void WriteAll(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(fd, text.data() + at, text.size() - at);
    if (written <= 0) return;  // the parent is gone
    at += static_cast<size_t>(written);
  }
}

std::string ReadAll(int fd) {
  std::string all;
  char some[4096];
  while (true) {
    const ssize_t got = CheckCall(read(fd, some, sizeof(some)), "read from a measured process");
    if (got == 0) return all;
    all.append(some, static_cast<size_t>(got));
  }
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

std::string Run(const std::function<Figures()>& body) {
  try {
    PinToCpu(kServerCpu);
    return Encode(body());
  } catch (const Unavailable& why) {
    return kUnavailable + std::string(why.what());
  } catch (const std::exception& error) {
    return kError + std::string(error.what());
  }
}

}  // namespace

Figures RunIsolated(const std::function<Figures()>& body) {
  int ends[2];
  CheckCall(pipe2(ends, O_CLOEXEC), "pipe2");
  const Fd from(ends[0]);
  Fd to(ends[1]);
  Child child = Child::Fork([&] { WriteAll(to.get(), Run(body)); });
  to.Close();
  const std::string answer = ReadAll(from.get());
  Require(!answer.empty(), "a measured process ended without figures");
  if (answer[0] == kUnavailable) throw Unavailable(answer.substr(1));
  if (answer[0] == kError) throw std::runtime_error(answer.substr(1));
  return Decode(answer);
}

}  // namespace ringtail::perf
