// What a batch costs the broker before it is appended (CRC, validation), and the ways to look
// inside.
//   bazel run --config=release //perf:batch_bench
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/bytes.h"
#include "engine/base/crc32c.h"
#include "engine/log/batch.h"
#include "engine/log/batch_records.h"
#include "engine/records/record_batch_builder.h"
#include "engine/records/record_reader.h"

namespace ringtail {
namespace {

using base::ByteView;
using Bytes = std::vector<uint8_t>;

// Text that compresses about threefold, as logs do.
std::string Value(size_t bytes, uint32_t seed) {
  std::string text;
  while (text.size() < bytes) {
    seed = seed * 1664525 + 1013904223;
    text += "level=info request=" + std::to_string(seed) + " path=/orders ";
  }
  text.resize(bytes);
  return text;
}

Bytes Batch(int64_t record_count, int64_t value_bytes, log::Codec codec) {
  records::RecordBatchBuilder builder(
      {.compression = {.codec = codec}, .batch_bytes_max = 64 << 20});
  for (int64_t i = 0; i < record_count; ++i) {
    const std::string value = Value(static_cast<size_t>(value_bytes), static_cast<uint32_t>(i));
    builder.Append({.value = base::AsBytes(value), .timestamp_ms = 1'700'000'000'000 + i});
  }
  return *builder.Finish();
}

void BM_Crc32c(benchmark::State& state) {
  Bytes bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::DoNotOptimize(base::Crc32c(bytes));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32c)->Arg(16)->Arg(64)->Arg(128)->Arg(240)->Arg(256)->Arg(512);
BENCHMARK(BM_Crc32c)->Arg(1 << 10)->Arg(16 << 10)->Arg(64 << 10)->Arg(1 << 20);

// What a produce request costs per batch: bounds, rules, one pass for the CRC.
void BM_ParseAndValidate(benchmark::State& state) {
  const Bytes bytes = Batch(state.range(0), state.range(1), log::Codec::kNone);
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
  const Bytes one = Batch(1, state.range(0), log::Codec::kNone);
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
  const Bytes bytes = Batch(state.range(0), state.range(1), log::Codec::kNone);
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
  const std::string value = Value(1024, 1);
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
  const Bytes bytes = Batch(64, 1024, static_cast<log::Codec>(state.range(0)));
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
