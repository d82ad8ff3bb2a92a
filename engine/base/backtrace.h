// What a crash says: the signal, or the RT_CHECK that failed, and the calls that led there, by
// name, to stderr. Names come from the program's own symbol table, so it must not be stripped.
#pragma once

namespace ringtail::base {

// Once, first thing in main(): from now on a fatal signal prints a backtrace, and then ends the
// program as it would have without.
void InstallCrashHandler(const char* program);

// Of the calling thread. Nothing in it allocates or locks: for use in signal handlers, too.
void PrintBacktrace();

}  // namespace ringtail::base
