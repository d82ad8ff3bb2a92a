// The frame of every measuring program: flags, and errors that end it with one line and exit
// status 1.
#pragma once

#include <functional>

namespace ringtail::perf {

// Parses the flags and runs `body`, whose result is the exit status. Progress and errors go to
// stderr.
int RunProgram(int argc, char** argv, const char* usage, const std::function<int()>& body);

}  // namespace ringtail::perf
