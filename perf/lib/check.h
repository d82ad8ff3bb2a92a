// Errors of the measuring programs: they are exceptions, because a round that could not be measured
// must end the program with the system's own words and never become a figure.
#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

namespace ringtail::perf {

// Returns `result`, or throws errno's error with `what` where the call failed (-1).
template <typename T>
T CheckCall(T result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

// The same for calls that return the negated error themselves (liburing).
template <typename T>
T CheckRing(T result, const char* what) {
  if (result < 0) throw std::system_error(-static_cast<int>(result), std::generic_category(), what);
  return result;
}

// Something that this machine cannot do, with the reason; the others failed where they should not.
class Unavailable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void Require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

}  // namespace ringtail::perf
