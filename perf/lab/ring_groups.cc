// What set-up flags of a ring and registration cost and save, beside what a read through a core of
// the engine costs: the loop, the tasks and the backend's bookkeeping are the difference.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/core/core.h"
#include "engine/io/op.h"
#include "engine/task/sync.h"
#include "engine/task/task.h"
#include "perf/lab/families.h"
#include "perf/lib/check.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/isolated.h"
#include "perf/lib/os.h"
#include "perf/lib/timed_work.h"
#include "perf/raw/page_file.h"
#include "perf/raw/ring_flags.h"

namespace ringtail::lab {
namespace {

using core::Core;
using task::Task;

constexpr int64_t kFileBytes = 16 << 20;

enum Work : int64_t { kNop, kHotRead, kDirectRead, kBusyPoll };

// A number of tasks on one core, each with one operation in flight. One in every round of them
// looks at the clock.
struct EngineRound {
  EngineRound(raw::PageFile* file, double seconds) : file(file), work(seconds) {}

  raw::PageFile* file;  // nullptr: the operations are NOPs
  perf::TimedWork work;
  int64_t ended_since_look = 0;
  int running = 0;
  absl::Status status;
  task::WaitList ended;
};

absl::Status CheckRead(int32_t result, const char* page, int64_t position) {
  try {
    raw::PageFile::Check(result, page, position);
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::DataLossError(error.what());
  }
}

Task<absl::Status> RunOperations(EngineRound* round, bool looks_at_clock) {
  const Core& core = Core::Current();
  const perf::Buffer page(raw::kPageBytes);
  const iovec vector = {page.data(), page.size()};
  while (!round->work.done() && round->status.ok()) {
    io::Op op;
    if (round->file != nullptr) {
      op.code = io::OpCode::kRead;
      op.fd = round->file->fd();
      op.position = round->file->NextPosition();
      op.vectors = &vector;
      op.vector_count = 1;
    }
    // The clock as of the turn costs nothing.
    const base::Nanos start = core.now();
    const int32_t result = co_await io::Run(Core::Current().io(), &op);
    if (round->file != nullptr) {
      absl::Status status = CheckRead(result, page.data(), op.position);
      if (!status.ok()) co_return status;
      round->work.AddLatency(core.now() - start);
    } else if (result != 0) {
      co_return absl::InternalError("a NOP failed");
    }
    ++round->ended_since_look;
    if (!looks_at_clock) continue;
    round->work.Count(round->ended_since_look, 0);
    round->ended_since_look = 0;
  }
  co_return absl::OkStatus();
}

Task<void> RunOperationsAndTell(EngineRound* round, bool looks_at_clock) {
  absl::Status status = co_await RunOperations(round, looks_at_clock);
  if (!status.ok()) round->status = status;
  if (--round->running == 0) round->ended.NotifyAll();
}

Task<absl::Status> RunTasks(EngineRound* round, int depth) {
  round->running = depth;
  for (int i = 0; i < depth; ++i) {
    task::Spawn("operations", RunOperationsAndTell(round, /*looks_at_clock=*/i == 0));
  }
  while (round->running > 0) co_await round->ended.Wait();
  co_return round->status;
}

perf::Figures RunEngine(raw::PageFile* file, int depth, double seconds) {
  EngineRound round(file, seconds);
  perf::RunOnCore([&] { return RunTasks(&round, depth); });
  return round.work.figures();
}

perf::Figures Measure(const std::function<perf::Figures()>& body, double seconds) {
  const auto among_threads = [&] {
    const perf::SharedDescriptors shared;
    return body();
  };
  return perf::RunIsolated(among_threads, perf::DeadlineSeconds(seconds));
}

Cell MakeCell(const std::string& path, bool engine, std::function<perf::Figures(double)> run) {
  return {path, engine, Promise::kNone, [run = std::move(run)](double seconds) {
            return Measure([&] { return run(seconds); }, seconds);
          }};
}

// The same with a directory of its own for the file.
Cell MakeReadCell(const std::string& path, bool engine, const std::string& directory,
                  const raw::PageReads& reads,
                  std::function<perf::Figures(const raw::PageReads&)> run) {
  return {path, engine, Promise::kNone, [=](double seconds) {
            const perf::ScratchDir scratch(directory);
            raw::PageReads these = reads;
            these.directory = scratch.path();
            these.seconds = seconds;
            return Measure([&] { return run(these); }, seconds);
          }};
}

Group NopGroup(int batch) {
  Group group;
  group.family = "ring";
  group.parameters = {{"work", kNop, "NOP"}, {"batch", batch, std::to_string(batch)}};
  for (const raw::RingVariant& variant : raw::NopVariants()) {
    group.cells.push_back(MakeCell(variant.name, /*engine=*/false, [=](double seconds) {
      return raw::RunNops(variant, batch, seconds);
    }));
  }
  group.cells.push_back(MakeCell("through a core", /*engine=*/true, [=](double seconds) {
    return RunEngine(nullptr, batch, seconds);
  }));
  return group;
}

Group ReadGroup(const Selection& selection, bool direct, int depth) {
  Group group;
  group.family = "ring";
  group.parameters = {direct ? Parameter{"work", kDirectRead, "4 KiB, O_DIRECT"}
                             : Parameter{"work", kHotRead, "4 KiB of a hot file"},
                      {"depth", depth, std::to_string(depth)}};
  raw::PageReads reads;
  reads.file_bytes = std::min(kFileBytes, selection.space_bytes);
  reads.direct = direct;
  reads.depth = depth;
  const auto add = [&](const std::string& path, bool engine,
                       std::function<perf::Figures(const raw::PageReads&)> run) {
    group.cells.push_back(MakeReadCell(path, engine, selection.directory, reads, std::move(run)));
  };
  // One at a time, whatever the depth: what the ring has to beat.
  if (!direct) add("pread", /*engine=*/false, &raw::RunPreads);
  for (const raw::RingVariant& variant :
       direct ? raw::DirectReadVariants() : raw::HotReadVariants()) {
    add(variant.name, /*engine=*/false,
        [=](const raw::PageReads& these) { return raw::RunRingReads(variant, these); });
  }
  add("through a core", /*engine=*/true, [](const raw::PageReads& these) {
    raw::PageFile file(these.directory, these.file_bytes, these.direct);
    return RunEngine(&file, these.depth, these.seconds);
  });
  return group;
}

Group BusyPollGroup() {
  Group group;
  group.family = "ring";
  group.parameters = {{"work", kBusyPoll, "busy polling of a network device"}};
  group.cells.push_back(
      {"IORING_REGISTER_NAPI", /*engine=*/false, Promise::kNone, [](double) -> perf::Figures {
         throw perf::Unavailable(
             "IORING_REGISTER_NAPI: all traffic of the lab is over loopback, "
             "which has no device queue that could be polled");
       }});
  return group;
}

}  // namespace

std::vector<Group> RingGroups(const Selection& selection) {
  const std::vector<int> counts = selection.quick ? std::vector<int>{32} : std::vector<int>{1, 32};
  std::vector<Group> groups;
  for (const int batch : counts) groups.push_back(NopGroup(batch));
  for (const bool direct : {false, true}) {
    for (const int depth : counts) groups.push_back(ReadGroup(selection, direct, depth));
  }
  groups.push_back(BusyPollGroup());
  return groups;
}

}  // namespace ringtail::lab
