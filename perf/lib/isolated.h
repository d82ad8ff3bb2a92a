// A round in a process of its own, so that nothing but the round is in its CPU time, and what it
// allocates, maps or leaves in flight ends with it.
#pragma once

#include <functional>

#include "perf/lib/rounds.h"

namespace ringtail::perf {

// Forks, pins the child to kServerCpu, runs `body` there and hands its figures over. What `body`
// throws is thrown here in the same words, as Unavailable where it was one. The caller must have no
// threads that hold locks.
Figures RunIsolated(const std::function<Figures()>& body);

}  // namespace ringtail::perf
