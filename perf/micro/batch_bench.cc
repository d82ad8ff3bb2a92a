// What a batch costs the broker before it is appended (validation, with the CRC), and the ways to
// look inside.
#include <cstdint>
#include <string>

#include "benchmark/benchmark.h"
#include "engine/base/bytes.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"
#include "engine/records/record_batch_builder.h"
#include "engine/records/record_reader.h"
#include "perf/micro/batch_maker.h"

namespace ringtail {
namespace {

using micro::Bytes;
using micro::LogText;
using micro::MakeBatch;

// What a produce request costs per batch: bounds, rules, one pass for the CRC.
void BM_ParseAndValidate(benchmark::State& state) {
  const Bytes bytes = MakeBatch(state.range(0), state.range(1), log::Codec::kNone);
  const log::BatchRules rules = log::BatchRules::Producer(64 << 20);
  for (auto _ : state) {
    const auto parsed = log::ParseBatch(bytes);
    const log::BatchError error = log::ValidateBatch(parsed.batch, rules);
    if (error != log::BatchError::kNone) state.SkipWithError("the batch is refused");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(BM_ParseAndValidate)->Args({1, 1})->Args({1, 1024})->Args({64, 1024})->Args({1000, 1024});

// What a lookup or recovery without CRC costs per batch.
void BM_BatchWalker(benchmark::State& state) {
  const Bytes one = MakeBatch(1, state.range(0), log::Codec::kNone);
  Bytes log;
  for (int i = 0; i < 1000; ++i) log.insert(log.end(), one.begin(), one.end());
  for (auto _ : state) {
    int64_t sum = 0;
    for (log::BatchWalker walker(log); walker.Next();) sum += walker.batch().max_timestamp_ms() & 1;
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_BatchWalker)->Arg(100)->Arg(1024);

void BM_CheckRecords(benchmark::State& state) {
  const Bytes bytes = MakeBatch(state.range(0), state.range(1), log::Codec::kNone);
  const log::BatchView batch = log::ParseBatch(bytes).batch;
  for (auto _ : state) {
    const auto error = log::CheckRecords(batch, batch.records(), log::OffsetDeltas::kDense);
    if (error != log::BatchError::kNone) state.SkipWithError("the records are refused");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(BM_CheckRecords)->Args({1000, 10})->Args({1000, 100})->Args({1000, 1024});

// One batch of 64 KiB, built and finished; the argument is the codec.
void BM_Build(benchmark::State& state) {
  const std::string value = LogText(1024, 1);
  records::RecordBatchBuilder builder(
      {.compression = {.codec = static_cast<log::Codec>(state.range(0))}});
  for (auto _ : state) {
    for (int i = 0; i < 64; ++i) {
      builder.Append({.value = base::AsBytes(value), .timestamp_ms = 1'700'000'000'000});
    }
    benchmark::DoNotOptimize(builder.Finish());
  }
  state.SetItemsProcessed(state.iterations() * 64);
  state.SetBytesProcessed(state.iterations() * 64 * 1024);
}
BENCHMARK(BM_Build)->DenseRange(0, log::kCodecMax);

// The same batch read back; bytes are those of the plain values.
void BM_Read(benchmark::State& state) {
  const Bytes bytes = MakeBatch(64, 1024, static_cast<log::Codec>(state.range(0)));
  const log::BatchView batch = log::ParseBatch(bytes).batch;
  records::RecordReader reader;
  for (auto _ : state) {
    if (!reader.Open(batch).ok()) state.SkipWithError("the batch is refused");
    while (reader.Next()) benchmark::DoNotOptimize(reader.record().offset);
  }
  state.SetItemsProcessed(state.iterations() * 64);
  state.SetBytesProcessed(state.iterations() * 64 * 1024);
}
BENCHMARK(BM_Read)->DenseRange(0, log::kCodecMax);

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
