// Lookups in a segment's indexes: in memory, as in the active segment, and in the files that a
// sealed one has, from the page cache. Files lie below $RINGTAIL_PERF_DIR.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/result.h"
#include "engine/core/core.h"
#include "engine/log/file_cache.h"
#include "engine/log/offset_index.h"
#include "engine/log/time_index.h"
#include "perf/lib/engine_core.h"
#include "perf/lib/os.h"
#include "perf/lib/scattered.h"

namespace ringtail {
namespace {

constexpr int64_t kRecordsPerEntry = 4;
constexpr int64_t kBytesPerEntry = 4096;
constexpr int64_t kFirstTimestampMs = 1'700'000'000'000;
constexpr int64_t kMsPerEntry = 10;

std::vector<int64_t> ScatteredBelow(int64_t end) {
  std::vector<int64_t> numbers(4096);
  perf::Scattered scattered;
  for (int64_t& number : numbers) number = scattered.Below(end);
  return numbers;
}

task::Task<absl::Status> LookUpOffsets(benchmark::State* state, std::string directory) {
  io::Backend& io = core::Core::Current().io();
  log::FileCache files(io, /*open_files_max=*/16);
  log::OffsetIndex index(files, io, files.Add(directory + "/index"), base::Offset(0));
  const int64_t entries = state->range(0);
  for (int64_t i = 0; i < entries; ++i) {
    index.Append(base::Offset((i + 1) * kRecordsPerEntry - 1), i * kBytesPerEntry);
  }
  if (state->range(1) != 0) RT_CO_RETURN_IF_ERROR(co_await index.Save(INT64_MAX));
  const std::vector<int64_t> offsets = ScatteredBelow(entries * kRecordsPerEntry);
  size_t next = 0;
  for (auto _ : *state) {
    RT_CO_ASSIGN_OR_RETURN(const auto entry, co_await index.Lookup(base::Offset(offsets[next])));
    benchmark::DoNotOptimize(entry);
    next = (next + 1) % offsets.size();
  }
  state->SetItemsProcessed(state->iterations());
  co_return absl::OkStatus();
}

task::Task<absl::Status> LookUpTimes(benchmark::State* state, std::string directory) {
  io::Backend& io = core::Core::Current().io();
  log::FileCache files(io, /*open_files_max=*/16);
  log::TimeIndex index(files, io, files.Add(directory + "/timeindex"), base::Offset(0));
  const int64_t entries = state->range(0);
  for (int64_t i = 0; i < entries; ++i) {
    index.MaybeAppend(kFirstTimestampMs + i * kMsPerEntry,
                      base::Offset((i + 1) * kRecordsPerEntry - 1));
  }
  if (state->range(1) != 0) {
    RT_CO_RETURN_IF_ERROR(co_await index.Save(base::Offset(entries * kRecordsPerEntry)));
  }
  const std::vector<int64_t> times = ScatteredBelow(entries * kMsPerEntry);
  size_t next = 0;
  for (auto _ : *state) {
    RT_CO_ASSIGN_OR_RETURN(const auto entry,
                           co_await index.LookupBelow(kFirstTimestampMs + times[next]));
    benchmark::DoNotOptimize(entry);
    next = (next + 1) % times.size();
  }
  state->SetItemsProcessed(state->iterations());
  co_return absl::OkStatus();
}

void BM_OffsetLookup(benchmark::State& state) {
  const perf::ScratchDir directory(perf::ScratchParent());
  perf::RunOnCore([&] { return LookUpOffsets(&state, directory.path()); });
}

void BM_TimeLookup(benchmark::State& state) {
  const perf::ScratchDir directory(perf::ScratchParent());
  perf::RunOnCore([&] { return LookUpTimes(&state, directory.path()); });
}

// Of segments of 4 MiB and of 1 GiB, with an entry each 4 KiB.
void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"entries", "in_file"})->ArgsProduct({{1 << 10, 1 << 18}, {0, 1}});
}
BENCHMARK(BM_OffsetLookup)->Apply(Sizes);
BENCHMARK(BM_TimeLookup)->Apply(Sizes);

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
