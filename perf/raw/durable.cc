#include "perf/raw/durable.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "perf/lib/check.h"
#include "perf/lib/clock.h"
#include "perf/lib/isolated.h"
#include "perf/lib/latencies.h"

namespace ringtail::raw {
namespace {

using perf::CheckCall;
using perf::Require;

constexpr int64_t kDirectFileBytes = 64 << 20;
constexpr int64_t kDirectBytesMax = 1 << 20;

void SleepUntil(int64_t at_ns) {
  const timespec at = {at_ns / perf::kNsPerSecond, at_ns % perf::kNsPerSecond};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

perf::Figures PacedWrites(const std::string& directory, double rate_per_s, int64_t writes) {
  prctl(PR_SET_TIMERSLACK, 1UL);
  DirectFile file(directory);
  const auto interval_ns = static_cast<int64_t>(1e9 / rate_per_s);
  perf::Latencies latencies;
  const int64_t cpu_ns = perf::SelfCpuNs();
  int64_t due_ns = perf::NowNs();
  for (int64_t i = 0; i < writes; ++i) {
    SleepUntil(due_ns);
    const int64_t start_ns = perf::NowNs();
    file.Write(kDurableBytes);
    const int64_t end_ns = perf::NowNs();
    latencies.Add(end_ns - start_ns);
    due_ns = std::max(due_ns + interval_ns, end_ns);
  }
  const auto count = static_cast<double>(writes);
  return {{"p50_us", latencies.PercentileUs(0.5)},
          {"p99_us", latencies.PercentileUs(0.99)},
          {"cpu_us_per_request", static_cast<double>(perf::SelfCpuNs() - cpu_ns) / 1e3 / count}};
}

}  // namespace

GrowingFiles::GrowingFiles(const std::string& directory, const std::string& name, int count,
                           int operations) {
  for (int i = 0; i < count; ++i) {
    const std::string path = directory + "/" + name + "-" + std::to_string(i);
    files_.emplace_back(
        CheckCall(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), "open"));
    unlink(path.c_str());
    CheckCall(fallocate(files_.back().get(), 0, 0, operations * kDurableBytes), "fallocate");
    CheckCall(fsync(files_.back().get()), "fsync");
  }
  // The caller is the eighth.
  for (int i = 1; i < kThreads; ++i) threads_.emplace_back([this] { RunWorker(); });
}

GrowingFiles::~GrowingFiles() {
  stopping_ = true;
  turn_.arrive_and_wait();
  for (std::thread& thread : threads_) thread.join();
}

void GrowingFiles::Write(const std::vector<const char*>& sources) {
  for (size_t i = 0; i < files_.size(); ++i) {
    const ssize_t written = pwrite(files_[i].get(), sources[i], kDurableBytes, position_);
    Require(CheckCall(written, "pwrite") == kDurableBytes, "pwrite wrote less");
  }
  position_ += kDurableBytes;
}

void GrowingFiles::SyncOneByOne() {
  for (const perf::Fd& file : files_) CheckCall(fdatasync(file.get()), "fdatasync");
}

void GrowingFiles::SyncEightAtOnce() {
  next_ = 0;
  turn_.arrive_and_wait();
  SyncShare();
  turn_.arrive_and_wait();
}

void GrowingFiles::SyncShare() {
  for (size_t i = next_++; i < files_.size(); i = next_++) {
    CheckCall(fdatasync(files_[i].get()), "fdatasync");
  }
}

void GrowingFiles::RunWorker() {
  while (true) {
    turn_.arrive_and_wait();
    if (stopping_) return;
    SyncShare();
    turn_.arrive_and_wait();
  }
}

DirectFile::DirectFile(const std::string& directory)
    : path_(directory + "/raw-direct-" + std::to_string(getpid())), buffer_(kDirectBytesMax) {
  const int flags = O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC;
  file_ = perf::Fd(CheckCall(open(path_.c_str(), flags, 0644), "open with O_DIRECT"));
  CheckCall(fallocate(file_.get(), 0, 0, kDirectFileBytes), "fallocate");
  std::memset(buffer_.data(), 'r', buffer_.size());
  while (position_ < kDirectFileBytes) {
    const ssize_t written = pwrite(file_.get(), buffer_.data(), buffer_.size(), position_);
    Require(CheckCall(written, "direct pwrite") == kDirectBytesMax, "pwrite wrote less");
    position_ += written;
  }
  CheckCall(fsync(file_.get()), "fsync");
}

DirectFile::~DirectFile() { unlink(path_.c_str()); }

void DirectFile::Write(int64_t bytes) {
  if (position_ + bytes > kDirectFileBytes) position_ = 0;
  const iovec vector = {buffer_.data(), static_cast<size_t>(bytes)};
  const ssize_t written = pwritev2(file_.get(), &vector, 1, position_, RWF_DSYNC);
  Require(CheckCall(written, "pwritev2 with RWF_DSYNC") == bytes, "pwritev2 wrote less");
  position_ += bytes;
}

perf::Figures RunPacedDirectWrites(const std::string& directory, double rate_per_s,
                                   int64_t writes) {
  return perf::RunIsolated([&] { return PacedWrites(directory, rate_per_s, writes); });
}

}  // namespace ringtail::raw
