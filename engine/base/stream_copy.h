// Copying into memory that a device reads next, not this CPU: with stores that go around the
// caches.
//
// A direct write of a buffer leaves its lines in the caches of whatever has read them (a virtual
// machine's disk is another CPU), and a plain store to such a line first has to get it back. Frames
// of the journal are written over and over: a durable produce in batches of 64 KiB took 2.1 s of
// CPU per GB with memcpy, and takes 1.2 with these; see (h) in perf/README.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringtail::base {

// `to` must not be read right after: it is in no cache.
void StreamCopy(uint8_t* to, const void* from, size_t bytes);
void StreamZero(uint8_t* to, size_t bytes);
// What was streamed is in memory before anything that follows: before the device is told.
void StreamFence();

}  // namespace ringtail::base
