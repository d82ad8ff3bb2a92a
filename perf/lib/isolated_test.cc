#include "perf/lib/isolated.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/timed_work.h"
#include "perf/lib/work_meter.h"

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

// The counts of another process are its own, not those of who measures.
TEST(WorkMeterTest, MeasuresTheProcessThatItIsGiven) {
  constexpr int kCalls = 1000;
  int begin[2], end[2];
  ASSERT_EQ(pipe(begin), 0);
  ASSERT_EQ(pipe(end), 0);
  const Child child = Child::Fork([&] {
    char byte = 0;
    Require(read(begin[0], &byte, 1) == 1, "read");
    for (int i = 0; i < kCalls; ++i) getppid();
    Require(write(end[1], &byte, 1) == 1, "write");
    pause();
  });
  WorkMeter meter(child.pid());
  char byte = 0;
  ASSERT_EQ(write(begin[1], &byte, 1), 1);
  ASSERT_EQ(read(end[0], &byte, 1), 1);
  const Figures figures = meter.Finish(1, 0);
  EXPECT_GT(figures.at("cpu_us_per_op"), 0);
  EXPECT_GE(figures.at("switches_per_op"), 1);
  // Where the machine lets them be counted.
  const auto calls = figures.find("syscalls_per_op");
  if (calls != figures.end()) EXPECT_GE(calls->second, kCalls);
  for (const int fd : {begin[0], begin[1], end[0], end[1]}) close(fd);
}

}  // namespace
}  // namespace ringtail::perf
