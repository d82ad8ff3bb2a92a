#include "engine/base/backtrace.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

#include "absl/debugging/symbolize.h"

namespace ringtail::base {
namespace {

constexpr int kFramesMax = 64;
constexpr int kSignals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

// A failed RT_CHECK prints before it aborts.
volatile sig_atomic_t printed = 0;

void Write(const char* text, int length) {
  if (length > 0) (void)!write(STDERR_FILENO, text, static_cast<size_t>(length));
}

void OnCrash(int number, siginfo_t* info, void*) {
  char line[200];
  char thread[16] = "?";
  pthread_getname_np(pthread_self(), thread, sizeof(thread));
  Write(line,
        snprintf(line, sizeof(line), "*** SIG%s (signal %d, code %d, address %p) in thread %s\n",
                 sigabbrev_np(number), number, info->si_code, info->si_addr, thread));
  if (printed == 0) PrintBacktrace();
  // The handler is gone (SA_RESETHAND): the signal comes again once this returns.
  raise(number);
}

}  // namespace

void PrintBacktrace() {
  printed = 1;
  void* frames[kFramesMax];
  const int count = backtrace(frames, kFramesMax);
  for (int i = 0; i < count; ++i) {
    char name[512] = "?";
    // A return address may be the first byte of the next function.
    absl::Symbolize(static_cast<char*>(frames[i]) - 1, name, sizeof(name));
    char line[600];
    Write(line, snprintf(line, sizeof(line), "    @ %p  %s\n", frames[i], name));
  }
}

void InstallCrashHandler(const char* program) {
  absl::InitializeSymbolizer(program);
  // Its first call loads the unwinder, which a signal handler must not.
  void* frame;
  backtrace(&frame, 1);
  struct sigaction action = {};
  action.sa_sigaction = &OnCrash;
  action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals) sigaction(number, &action, nullptr);
}

}  // namespace ringtail::base
