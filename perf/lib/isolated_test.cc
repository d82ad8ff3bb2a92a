#include "perf/lib/isolated.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/timed_work.h"

namespace ringtail::perf {
namespace {

// What RunIsolated says in its error; "" where there was none.
std::string ErrorOf(const std::function<Figures()>& body, double deadline_s = 0) {
  try {
    RunIsolated(body, deadline_s);
  } catch (const Unavailable& why) {
    return std::string("unavailable: ") + why.what();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(IsolatedTest, FiguresComeFromAnotherProcess) {
  const Figures figures =
      RunIsolated([] { return Figures{{"pid", getpid()}, {"third", 1.0 / 3}}; });
  EXPECT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures.at("third"), 1.0 / 3);
  EXPECT_NE(figures.at("pid"), getpid());
}

TEST(IsolatedTest, FiguresOfManyKilobytesComeWhole) {
  Figures wanted;
  for (int i = 0; i < 10'000; ++i) wanted["figure " + std::to_string(i)] = i;
  EXPECT_EQ(RunIsolated([&] { return wanted; }, 10), wanted);
}

TEST(IsolatedTest, ErrorsAndUnavailableKeepTheirWords) {
  EXPECT_EQ(ErrorOf([]() -> Figures { throw std::runtime_error("it broke"); }), "it broke");
  EXPECT_EQ(ErrorOf([]() -> Figures { throw Unavailable("no such device"); }),
            "unavailable: no such device");
}

TEST(IsolatedTest, AProcessThatDiesIsAnErrorThatSaysOfWhat) {
  EXPECT_EQ(ErrorOf([]() -> Figures { _exit(7); }), "a measured process ended with exit status 7");
  EXPECT_EQ(ErrorOf([]() -> Figures { _exit(0); }), "a measured process ended with exit status 0");
  EXPECT_EQ(ErrorOf([]() -> Figures {
              signal(SIGABRT, SIG_DFL);
              std::abort();
            }),
            "a measured process died of signal 6 (Aborted)");
}

TEST(IsolatedTest, WhatTakesLongerThanTheDeadlineIsKilledWithWhatItForked) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const std::string error = ErrorOf(
      [&]() -> Figures {
        const Child forked = Child::Fork([] { pause(); });
        pause();
        return {};
      },
      0.05);
  EXPECT_EQ(error, "a measured process had not ended after 0.05 s and was killed");
  // Both held the pipe's other end; the read ends when they have gone.
  close(ends[1]);
  char byte;
  EXPECT_EQ(read(ends[0], &byte, 1), 0);
  close(ends[0]);
}

TEST(TimedWorkTest, CountsWhatEndsWithinTheMeasuredTimeOnly) {
  TimedWork work(0.001, 3);
  int64_t counted = 0;
  while (!work.measuring()) ASSERT_TRUE(work.Count(100, 100));
  work.AddLatency(5000);
  while (work.Count(1, 10)) ++counted;
  EXPECT_TRUE(work.done());
  EXPECT_FALSE(work.Count(100, 100));
  work.AddLatency(9000);
  const double operations = static_cast<double>(counted + 1);
  EXPECT_GE(operations, 3);
  EXPECT_EQ(work.figures().at("p999_us"), 5);
  const double seconds = operations / work.figures().at("ops_per_s");
  EXPECT_GE(seconds, 0.001);
  EXPECT_NEAR(work.figures().at("gb_per_s") * 1e9 * seconds, 10 * operations, 1);
}

}  // namespace
}  // namespace ringtail::perf
