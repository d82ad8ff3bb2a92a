#include "engine/base/check.h"

#include <signal.h>

#include "engine/base/backtrace.h"
#include "gtest/gtest.h"

namespace ringtail::base {

// Not in an anonymous namespace, so that the linker knows their names.
[[gnu::noinline]] int FunctionThatFailsItsCheck(int value) {
  RT_CHECK(value == 1);
  return value + 1;
}
[[gnu::noinline]] int FunctionThatRaises(int number) {
  raise(number);
  return number + 1;
}

namespace {

TEST(CheckDeathTest, SaysWhatFailedAndWhere) {
  EXPECT_EQ(FunctionThatFailsItsCheck(1), 2);
  EXPECT_DEATH(
      {
        InstallCrashHandler("check_test");
        printf("%d", FunctionThatFailsItsCheck(2));
      },
      "check_test.cc:[0-9]+: CHECK failed: value == 1\n(.|\n)*"
      "ringtail::base::FunctionThatFailsItsCheck");
}

// Sanitizers have handlers of their own.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
TEST(CrashHandlerDeathTest, FatalSignalsSayWhereAndEndTheProgram) {
  for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) {
    EXPECT_EXIT(
        {
          InstallCrashHandler("check_test");
          printf("%d", FunctionThatRaises(number));
        },
        testing::KilledBySignal(number), "\\*\\*\\* SIG(.|\n)*ringtail::base::FunctionThatRaises");
  }
}
#endif

}  // namespace
}  // namespace ringtail::base
