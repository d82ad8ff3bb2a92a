// A round in a process of its own, so that nothing but the round is in its CPU time, and what it
// allocates, maps or leaves in flight ends with it.
#pragma once

#include <functional>

#include "perf/lib/os.h"
#include "perf/lib/rounds.h"

namespace ringtail::perf {

// A process that measures and hands its figures over. Dies with the object.
class Isolated {
 public:
  // Forks, pins the child to the n-th CPU and runs `body` there. The caller must have no threads
  // that hold locks.
  Isolated(int cpu, const std::function<Figures()>& body);

  pid_t pid() const { return child_.pid(); }

  // Its figures; once. What `body` throws is thrown here in the same words, as Unavailable where it
  // was one; a process that died is an error that says of what. One that takes longer than
  // `deadline_s` from now (0: there is no deadline) is killed, with all that it has forked, and
  // that is an error, too.
  Figures Await(double deadline_s = 0);

 private:
  Fd from_;
  Child child_;
};

// The figures of `body`, run in a process of its own on kServerCpu.
Figures RunIsolated(const std::function<Figures()>& body, double deadline_s = 0);

// The deadline of what should measure for `seconds`: by then it has gone wrong.
inline double DeadlineSeconds(double seconds) { return 10 + 10 * seconds; }

}  // namespace ringtail::perf
