// Faults by rule: which operation is hit, and how. Rules are tried in the order they were added;
// the first that fires wins. Inline calls are matched as the operation they resemble: WriteInline
// is a kWrite, ReadNowait, ReadBlocking and Map are a kRead, Truncate is kTruncate.
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "engine/base/types.h"
#include "engine/io/op.h"
#include "tests/sim/random.h"

namespace ringtail::sim {

// Backend::Truncate has no operation of its own.
inline constexpr io::OpCode kTruncate = static_cast<io::OpCode>(200);

enum class FaultKind : uint8_t {
  kNone,
  kError,     // nothing is done, the result is -error
  kShort,     // reads and writes: only a part is done, at least one byte
  kFailSync,  // syncs: -error; a part became durable, all pages are clean from now on, as in Linux
  kHang,      // never completes until Faults::Release (not for inline calls, which it leaves alone)
  kDelay,     // delay_ns later than usual (inline: the clock moves)
  kPause,     // SimWorld::RunUntil returns before the operation is done: for cuts at every index
  // Writes succeed, the page cache is right, but on the medium...
  kBitFlip,      // ...one bit differs
  kZeroed,       // ...512 bytes, or an aligned 4 KiB, are zero
  kMisdirected,  // ...all went to another place of the same file
  kForgotten,    // ...nothing changed
};

struct FaultRule {
  FaultKind kind = FaultKind::kNone;
  int error = EIO;
  std::vector<io::OpCode> codes;  // empty: any
  std::string path;               // part of the path; empty: any
  std::string process;            // exact name; empty: any
  uint64_t skip = 0;              // this many matching operations pass first
  uint64_t count = 1;             // then it fires at most so often; 0: only counts what matches
  double probability = 1;
  base::Nanos delay_ns = 10 * base::kNanosPerMilli;
  // Called when it fires, before the operation does anything. It must not end a process: a core is
  // in its turn (kPause, and end it from outside).
  std::function<void()> hook;
};

class Faults {
 public:
  static constexpr uint64_t kAlways = UINT64_MAX;

  // Returns the rule's id.
  int Add(FaultRule rule);
  void Remove(int id);
  void Clear();
  // How many operations matched `codes`, `path` and `process` so far; how many were hit.
  uint64_t matched(int id) const;
  uint64_t fired(int id) const;
  // Operations that hang by this rule complete now; it hangs no more. -1: all rules.
  void Release(int id);
  bool released(int id) const;

  struct Hit {
    FaultKind kind = FaultKind::kNone;
    int error = 0;
    base::Nanos delay_ns = 0;
    int rule = -1;
  };
  Hit Match(io::OpCode code, absl::string_view path, absl::string_view process, Rng& rng);

  // Called by Release, for the world.
  std::function<void()> on_release;

 private:
  struct Entry {
    FaultRule rule;
    int id;
    uint64_t matched = 0;
    uint64_t fired = 0;
    bool released = false;
  };
  const Entry* Find(int id) const;

  std::vector<Entry> entries_;
  int next_id_ = 0;
};

}  // namespace ringtail::sim
