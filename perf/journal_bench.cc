// One core makes 4 KiB of each of N partitions durable: through the journal (staged, segments
// written to the page cache, both awaited), beside the least that must be done for it and the ways
// that need no journal. All contenders take turns, operation by operation; medians in µs.
//   tools/dev build //perf:all; bazel-bin/perf/journal_bench --directory=/var/tmp
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/check.h"
#include "engine/io/file.h"
#include "engine/io/uring_backend.h"
#include "engine/log/journal/journal.h"
#include "engine/task/scheduler.h"
#include "engine/task/task.h"

ABSL_FLAG(std::string, directory, "/var/tmp", "where the files go; no tmpfs");
ABSL_FLAG(std::string, partitions, "1,8,64,256", "how many partitions, a list");
ABSL_FLAG(int, iterations, 300, "operations of each contender and size");
ABSL_FLAG(int, depth, 2, "frames in flight");

namespace ringtail {
namespace {

constexpr size_t kBytes = 4096;
constexpr int64_t kSegmentBytes = 8 << 20;  // overwritten round and round: blocks are allocated

class Loop {
 public:
  Loop() {
    auto made = io::UringBackend::Create({});
    RT_CHECK(made.ok());
    backend_ = *std::move(made);
  }
  ~Loop() {
    const task::Scheduler::Scope scope(*scheduler_);
    backend_->DropOperations();
    scheduler_.reset();
  }
  io::Backend& io() { return *backend_; }
  void Run(task::Task<void> task) {
    const task::Scheduler::Scope scope(*scheduler_);
    bool done = false;
    task::Spawn("bench", Mark(std::move(task), &done));
    while (!done) {
      scheduler_->AdvanceTo(backend_->Now());
      scheduler_->RunReady(1000);
      if (done) break;
      backend_->Poll(scheduler_->ready_count() > 0 ? 0 : scheduler_->next_deadline());
    }
  }

 private:
  static task::Task<void> Mark(task::Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  std::unique_ptr<io::Backend> backend_;
  std::unique_ptr<task::Scheduler> scheduler_ = std::make_unique<task::Scheduler>();
};

struct Files {
  std::vector<int> segments;
  int64_t position = 0;
  int raw = -1;  // O_DIRECT, written once
  int64_t raw_position = 0;
  uint8_t* buffer = nullptr;
  std::string payload = std::string(kBytes, 'r');
};

constexpr int64_t kRawBytes = 64 << 20;

int OpenFilled(const std::string& path, int flags, int64_t bytes, uint8_t* zeros) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0644);
  RT_CHECK(fd >= 0);
  constexpr size_t kChunk = 1 << 20;
  for (int64_t at = 0; at < bytes; at += kChunk) {
    RT_CHECK(pwrite(fd, zeros, kChunk, at) == static_cast<ssize_t>(kChunk));
  }
  RT_CHECK(fsync(fd) == 0);
  return fd;
}

void WriteSegments(Files& files, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    RT_CHECK(pwrite(files.segments[i], files.payload.data(), kBytes, files.position) ==
             static_cast<ssize_t>(kBytes));
  }
  files.position = (files.position + static_cast<int64_t>(kBytes)) % kSegmentBytes;
}

void RawFrames(Files& files, size_t count) {
  for (size_t left = count; left > 0;) {
    const size_t entries = std::min<size_t>(left, 250);  // what a frame holds
    const size_t bytes = log::FrameBytesFor(entries * kBytes, entries);
    if (files.raw_position + static_cast<int64_t>(bytes) > kRawBytes) files.raw_position = 0;
    const iovec vector = {files.buffer, bytes};
    RT_CHECK(pwritev2(files.raw, &vector, 1, files.raw_position, RWF_DSYNC) ==
             static_cast<ssize_t>(bytes));
    files.raw_position += static_cast<int64_t>(bytes);
    left -= entries;
  }
}

void SyncOneByOne(Files& files, size_t count) {
  WriteSegments(files, count);
  for (size_t i = 0; i < count; ++i) RT_CHECK(fdatasync(files.segments[i]) == 0);
}

task::Task<void> SyncWorker(io::Backend& io, Files* files, size_t* next, size_t count,
                            task::Latch* latch) {
  while (*next < count) {
    io::Op op;
    op.code = io::OpCode::kSync;
    op.fd = files->segments[(*next)++];
    RT_CHECK(co_await io::Run(io, &op) == 0);
  }
  latch->Done();
}

task::Task<void> SyncEightAtOnce(io::Backend& io, Files* files, size_t count) {
  WriteSegments(*files, count);
  task::Latch latch;
  size_t next = 0;
  for (int i = 0; i < 8; ++i) {
    latch.Add();
    task::Spawn("sync", SyncWorker(io, files, &next, count, &latch));
  }
  co_await latch.Wait();
}

task::Task<void> ThroughJournal(log::Journal* journal, Files* files, size_t count,
                                bool with_segments) {
  uint64_t last = 0;
  for (size_t i = 0; i < count; ++i) {
    log::EntryHeader entry;
    entry.partition = static_cast<uint32_t>(i);
    entry.type = static_cast<uint8_t>(log::EntryType::kAppend);
    entry.end_offset = 1;
    for (;;) {
      const log::StageResult staged =
          journal->Stage(entry, base::AsBytes(files->payload), nullptr, 0);
      if (staged.ok()) {
        last = staged.seq;
        break;
      }
      RT_CHECK(staged.error != log::StageError::kClosed);
      journal->CheckpointIsDurable(journal->head_file(), {});
      RT_CHECK(co_await journal->WaitForRoom(kBytes, base::kNever));
    }
  }
  journal->Flush();
  if (with_segments) {
    // The frame goes out with the next turn; the page cache is written meanwhile.
    co_await task::Yield();
    WriteSegments(*files, count);
  }
  RT_CHECK((co_await journal->WaitDurable(last)).ok());
}

double Median(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Measure(Loop& loop, log::Journal* journal, Files& files, size_t count) {
  struct Contender {
    const char* name;
    std::function<void()> run;
    std::vector<double> us;
  };
  std::vector<Contender> contenders;
  contenders.push_back({"raw frame", [&] { RawFrames(files, count); }, {}});
  contenders.push_back({"page cache", [&] { WriteSegments(files, count); }, {}});
  contenders.push_back(
      {"journal", [&] { loop.Run(ThroughJournal(journal, &files, count, false)); }, {}});
  contenders.push_back(
      {"journal+segments", [&] { loop.Run(ThroughJournal(journal, &files, count, true)); }, {}});
  contenders.push_back({"fdatasync each", [&] { SyncOneByOne(files, count); }, {}});
  contenders.push_back(
      {"fdatasync 8", [&] { loop.Run(SyncEightAtOnce(loop.io(), &files, count)); }, {}});
  const int iterations = absl::GetFlag(FLAGS_iterations);
  for (int i = 0; i < iterations; ++i) {
    // The slow ones need fewer to be known.
    const bool all = i % 5 == 0 || count < 64;
    const size_t among = all ? contenders.size() : 4;
    for (size_t turn = 0; turn < among; ++turn) {
      const size_t c = (static_cast<size_t>(i) + turn) % among;  // none is always the one behind
      const base::Nanos started = loop.io().Now();
      contenders[c].run();
      contenders[c].us.push_back(static_cast<double>(loop.io().Now() - started) / 1000);
    }
  }
  printf("%4zu", count);
  for (Contender& contender : contenders) printf("  %16.0f", Median(contender.us));
  const double floor = std::max(Median(contenders[0].us), Median(contenders[1].us));
  printf("  %5.2f %6.1f %6.1f\n", Median(contenders[3].us) / floor,
         Median(contenders[4].us) / Median(contenders[3].us),
         Median(contenders[5].us) / Median(contenders[3].us));
}

void Main() {
  std::string directory = absl::StrCat(absl::GetFlag(FLAGS_directory), "/journal_bench_XXXXXX");
  RT_CHECK(mkdtemp(directory.data()) != nullptr);
  std::vector<size_t> counts;
  for (const auto& text : absl::StrSplit(absl::GetFlag(FLAGS_partitions), ',')) {
    size_t count = 0;
    RT_CHECK(absl::SimpleAtoi(text, &count) && count > 0);
    counts.push_back(count);
  }
  Files files;
  files.buffer = static_cast<uint8_t*>(aligned_alloc(4096, 1 << 20));
  std::fill(files.buffer, files.buffer + (1 << 20), uint8_t{0});
  files.raw = OpenFilled(directory + "/raw", O_DIRECT, kRawBytes, files.buffer);
  for (size_t i = 0; i < *std::max_element(counts.begin(), counts.end()); ++i) {
    files.segments.push_back(
        OpenFilled(absl::StrCat(directory, "/", i), 0, kSegmentBytes, files.buffer));
  }
  Loop loop;
  log::JournalOptions options;
  options.directory = directory + "/core-0000";
  options.dir_id = base::Uuid::Random();
  options.depth = static_cast<size_t>(absl::GetFlag(FLAGS_depth));
  options.bytes_max = int64_t{256} << 20;
  std::unique_ptr<log::Journal> journal;
  loop.Run([](io::Backend& io, log::JournalOptions options,
              std::unique_ptr<log::Journal>* journal) -> task::Task<void> {
    auto opened = co_await log::Journal::Open(io, options);
    RT_CHECK(opened.ok());
    *journal = *std::move(opened);
    co_await task::Scheduler::Current().SleepUntil(io.Now() + base::kNanosPerSecond);  // zeros
  }(loop.io(), options, &journal));
  printf("   N  %16s  %16s  %16s  %16s  %16s  %16s  ratio  each/j    8/j\n", "raw frame",
         "page cache", "journal", "journal+segments", "fdatasync each", "fdatasync 8");
  for (const size_t count : counts) Measure(loop, journal.get(), files, count);
  const log::JournalMetrics& metrics = journal->metrics();
  printf(
      "frames %llu, entries per frame p50 %llu, frame p50/p99 %llu/%llu us, submit p50 %llu us, "
      "stalls %llu, %s\n",
      static_cast<unsigned long long>(metrics.frames),
      static_cast<unsigned long long>(metrics.entries_per_frame.Percentile(50)),
      static_cast<unsigned long long>(metrics.frame_us.Percentile(50)),
      static_cast<unsigned long long>(metrics.frame_us.Percentile(99)),
      static_cast<unsigned long long>(metrics.submit_us.Percentile(50)),
      static_cast<unsigned long long>(metrics.stalls),
      journal->sync_mode() == log::JournalSyncMode::kDataSync ? "O_DIRECT|RWF_DSYNC"
                                                              : "write + fdatasync");
  loop.Run(
      [](log::Journal* journal) -> task::Task<void> { co_await journal->Stop(); }(journal.get()));
  for (const int fd : files.segments) close(fd);
  close(files.raw);
  free(files.buffer);
  const std::string command = "rm -r " + directory;
  RT_CHECK(system(command.c_str()) == 0);
}

}  // namespace
}  // namespace ringtail

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  ringtail::Main();
}
