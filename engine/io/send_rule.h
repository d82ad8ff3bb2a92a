// The ways by which a range of a file can leave, and the rule that chooses one by size and by what
// is in the page cache. `ringtail lab` derives the rule for a machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ringtail::io {

enum class SendPath : uint8_t {
  kAuto,          // by the SendRule
  kSplice,        // file -> pipe -> socket, linked in the ring
  kSendfile,      // non-blocking sendfile of what is resident
  kMapped,        // ring send from a mapping of what is resident
  kSendZeroCopy,  // the same with SEND_ZC
  kCopy,          // read into a buffer, send from it
};
inline constexpr size_t kSendPathCount = 6;

// "auto", "splice", "sendfile", "mapped", "send_zc", "copy"
absl::string_view SendPathName(SendPath path);
bool ParseSendPath(absl::string_view name, SendPath* path);

struct SendRule {
  struct Step {
    int64_t bytes_max = std::numeric_limits<int64_t>::max();  // of what is left of the range
    SendPath path = SendPath::kSendfile;
    bool operator==(const Step&) const = default;
  };
  static constexpr size_t kStepsMax = 16;

  // For what is resident, in ascending order; the last one is for everything that is larger. The
  // default is derived by perf/micro/send_path_bench (header and range, hot, loopback; microseconds
  // of CPU a reply):
  //   bytes      1 Ki   4 Ki   16 Ki   64 Ki   256 Ki   1 Mi
  //   copy       1.04   2.01    4.7    12.6     43.6    168
  //   sendfile   1.14   1.38    2.5     8.1     27.6     74    (residency query included)
  //   mapped     5.6    5.8     6.9    12.9     39.7    151
  // So copying pays only for the smallest.
  std::vector<Step> hot = {{2 << 10, SendPath::kCopy}, {}};
  // kCopy or kSplice: the others would wait for the disk. What is copied is read around the page
  // cache, so that readers of old data do not evict what the others read.
  SendPath cold = SendPath::kCopy;

  bool operator==(const SendRule&) const = default;

  SendPath Choose(int64_t bytes_left, bool resident) const;
  // Up to here what is resident is copied, so that it need not be asked whether it is.
  int64_t copy_bytes_max() const {
    return hot.front().path == SendPath::kCopy ? hot.front().bytes_max : 0;
  }
};

// "2048=copy,*=sendfile,cold=copy": up to so many bytes, the rest, and what is not resident (which
// may be left out). InvalidArgument says what was expected and what came.
absl::StatusOr<SendRule> ParseSendRule(absl::string_view text);
std::string ToText(const SendRule& rule);

}  // namespace ringtail::io
