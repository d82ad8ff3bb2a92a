// The checksum of batches and frames. Where crc32c.cc goes from one way to the other comes from
// here.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/crc32c.h"

namespace ringtail {
namespace {

void BM_Crc32c(benchmark::State& state) {
  std::vector<uint8_t> bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::DoNotOptimize(base::Crc32c(bytes));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32c)->Arg(16)->Arg(64)->Arg(128)->Arg(240)->Arg(256)->Arg(512);
BENCHMARK(BM_Crc32c)->Arg(1 << 10)->Arg(16 << 10)->Arg(64 << 10)->Arg(1 << 20);

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
