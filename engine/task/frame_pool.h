// Freelists for coroutine frames, one set per thread: a nested Task call costs half with them.
// Frames never move between threads. Under AddressSanitizer every frame comes from the heap, so
// that a use after free is seen.
#pragma once

#include <cstddef>

namespace ringtail::task {

void* AllocateFrame(size_t bytes);
void FreeFrame(void* frame, size_t bytes);

}  // namespace ringtail::task
