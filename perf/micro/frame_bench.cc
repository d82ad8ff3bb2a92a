// A frame of the journal: put together as each turn with durable appends does, and read back as a
// start after a crash does.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/check.h"
#include "engine/log/journal/frame_builder.h"
#include "engine/log/journal/journal_format.h"
#include "perf/lib/os.h"
#include "perf/micro/batch_maker.h"

namespace ringtail {
namespace {

const log::FramePlace kPlace = {
    .run = 1, .file_number = 1, .position = log::kJournalBlockBytes, .file_bytes = 1 << 30};

// `entries` of `payload_bytes` each, every one from bytes of its own, as appends of many logs are.
class Staged {
 public:
  Staged(int64_t entries, int64_t payload_bytes)
      : payloads_(static_cast<size_t>(entries),
                  micro::Bytes(static_cast<size_t>(payload_bytes), 0x5a)),
        memory_(log::kFrameBytesMax),
        builder_(reinterpret_cast<uint8_t*>(memory_.data())) {}

  base::ByteView Build() {
    builder_.Reset();
    log::EntryHeader entry;
    entry.type = static_cast<uint8_t>(log::EntryType::kAppend);
    entry.end_offset = 1;
    for (const micro::Bytes& payload : payloads_) {
      ++entry.partition;
      builder_.Add(entry, base::ByteView(payload));
    }
    return builder_.Finish(kPlace, /*seq=*/2, /*durable_seq=*/1, /*flags=*/0);
  }

 private:
  std::vector<micro::Bytes> payloads_;
  perf::Buffer memory_;
  log::FrameBuilder builder_;
};

void SetProcessed(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1));
}

void BM_BuildFrame(benchmark::State& state) {
  Staged staged(state.range(0), state.range(1));
  for (auto _ : state) {
    benchmark::DoNotOptimize(staged.Build().data());
    benchmark::ClobberMemory();
  }
  SetProcessed(state);
}

void BM_ReadFrame(benchmark::State& state) {
  Staged staged(state.range(0), state.range(1));
  const base::ByteView bytes = staged.Build();
  for (auto _ : state) {
    const auto frame = log::DecodeFrame(bytes, kPlace);
    RT_CHECK(frame.ok());
    for (const log::EntryHeader& entry : frame->entries) {
      RT_CHECK(log::PayloadIsWhole(bytes, entry));
    }
  }
  SetProcessed(state);
}

// A single record, a turn with some, and full frames of small and of large entries.
void Frames(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"entries", "bytes"});
  benchmark->Args({1, 1 << 10})->Args({16, 4 << 10})->Args({200, 4 << 10})->Args({12, 64 << 10});
}
BENCHMARK(BM_BuildFrame)->Apply(Frames);
BENCHMARK(BM_ReadFrame)->Apply(Frames);

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
