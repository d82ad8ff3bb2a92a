// Kafka's messages of the data path, in the newest versions that the broker offers: what it decodes
// and encodes for each request, and the other half, which its clients in C++ do.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/base/check.h"
#include "perf/micro/batch_maker.h"
#include "server/kafka/frame.h"
#include "server/kafka/messages.h"

namespace ringtail {
namespace {

using kafka::Arena;
using kafka::FetchResponse;
using kafka::ProduceRequest;
using kafka::Records;

constexpr int16_t kProduceVersion = 11;
constexpr int16_t kFetchVersion = 16;
constexpr size_t kPartitionsPerTopic = 16;
constexpr size_t kLengthBytes = sizeof(int32_t);  // in front of each frame

// So many partitions, in topics of 16, with the same records for each.
void FillProduce(size_t partitions, base::ByteView records, Arena& arena, ProduceRequest* request) {
  request->acks = -1;
  request->timeout_ms = 30'000;
  for (size_t i = 0; i < partitions; ++i) {
    if (i % kPartitionsPerTopic == 0) request->topic_data.Add(arena).name = "orders-of-the-day";
    auto& topic = request->topic_data[request->topic_data.size() - 1];
    auto& partition = topic.partition_data.Add(arena);
    partition.index = static_cast<int32_t>(i % kPartitionsPerTopic);
    partition.records = Records(records);
  }
}

// The same for what a fetch found: records that are sent from their files.
void FillFetch(size_t partitions, size_t records_bytes, Arena& arena, FetchResponse* response) {
  for (size_t i = 0; i < partitions; ++i) {
    if (i % kPartitionsPerTopic == 0) {
      response->responses.Add(arena).topic_id.bytes.fill(static_cast<uint8_t>(i));
    }
    auto& topic = response->responses[response->responses.size() - 1];
    auto& partition = topic.partitions.Add(arena);
    partition.partition_index = static_cast<int32_t>(i % kPartitionsPerTopic);
    partition.high_watermark = partition.last_stable_offset = 1'000'000;
    partition.log_start_offset = 0;
    partition.records =
        Records::Hole(static_cast<uint32_t>(records_bytes), static_cast<uint32_t>(i));
  }
}

std::vector<uint8_t> ProduceFrame(const ProduceRequest& request) {
  std::vector<uint8_t> frame;
  RT_CHECK(kafka::AppendRequest(request, kProduceVersion, 1, "bench", &frame).ok());
  return frame;
}

std::vector<uint8_t> FetchFrame(const FetchResponse& response,
                                std::vector<kafka::RecordsHole>* holes) {
  const auto size = kafka::MeasureResponse(response, kFetchVersion);
  RT_CHECK(size.ok());
  std::vector<uint8_t> frame(size->buffer_bytes);
  kafka::EncodeResponse(response, kFetchVersion, 1, *size, frame.data(), holes);
  return frame;
}

void SetProcessed(benchmark::State& state, size_t frame_bytes) {
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(frame_bytes));
}

// Header and body; the records are views into the frame. Items are partitions.
void BM_DecodeProduce(benchmark::State& state) {
  Arena made, arena;
  const micro::Bytes records = micro::MakeBatch(1, 1024);
  ProduceRequest request;
  FillProduce(static_cast<size_t>(state.range(0)), records, made, &request);
  const std::vector<uint8_t> frame = ProduceFrame(request);
  const base::ByteView bytes = base::ByteView(frame).subspan(kLengthBytes);
  for (auto _ : state) {
    arena.Reset();
    kafka::RequestFrame decoded;
    RT_CHECK(kafka::DecodeRequestFrame(bytes, &decoded).ok());
    ProduceRequest message;
    RT_CHECK(kafka::Decode(decoded.body, kProduceVersion, arena, &message).ok());
    benchmark::DoNotOptimize(message.topic_data.begin());
  }
  SetProcessed(state, frame.size());
}

// A client's: with a copy of the records.
void BM_EncodeProduce(benchmark::State& state) {
  Arena arena;
  const micro::Bytes records = micro::MakeBatch(1, 1024);
  ProduceRequest request;
  FillProduce(static_cast<size_t>(state.range(0)), records, arena, &request);
  std::vector<uint8_t> frame = ProduceFrame(request);
  for (auto _ : state) {
    frame.clear();
    RT_CHECK(kafka::AppendRequest(request, kProduceVersion, 1, "bench", &frame).ok());
    benchmark::DoNotOptimize(frame.data());
    benchmark::ClobberMemory();
  }
  SetProcessed(state, frame.size());
}

// All but the records, which are sent from their files: measured, then written.
void BM_EncodeFetch(benchmark::State& state) {
  Arena arena;
  FetchResponse response;
  FillFetch(static_cast<size_t>(state.range(0)), 64 << 10, arena, &response);
  std::vector<kafka::RecordsHole> holes;
  std::vector<uint8_t> frame = FetchFrame(response, &holes);
  for (auto _ : state) {
    holes.clear();
    const auto size = kafka::MeasureResponse(response, kFetchVersion);
    RT_CHECK(size.ok() && size->buffer_bytes == frame.size());
    kafka::EncodeResponse(response, kFetchVersion, 1, *size, frame.data(), &holes);
    benchmark::DoNotOptimize(frame.data());
    benchmark::ClobberMemory();
  }
  SetProcessed(state, frame.size());
}

// A client's. Partitions without records, so that the bytes are those that were encoded above.
void BM_DecodeFetch(benchmark::State& state) {
  Arena made, arena;
  FetchResponse response;
  FillFetch(static_cast<size_t>(state.range(0)), 0, made, &response);
  const std::vector<uint8_t> frame = FetchFrame(response, nullptr);
  const base::ByteView bytes = base::ByteView(frame).subspan(kLengthBytes);
  for (auto _ : state) {
    arena.Reset();
    int32_t correlation_id;
    FetchResponse message;
    RT_CHECK(kafka::DecodeResponse(bytes, kFetchVersion, arena, &correlation_id, &message).ok());
    benchmark::DoNotOptimize(message.responses.begin());
  }
  SetProcessed(state, frame.size());
}

void Partitions(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("partitions")->Arg(1)->Arg(16)->Arg(1024);
}
BENCHMARK(BM_DecodeProduce)->Apply(Partitions);
BENCHMARK(BM_EncodeProduce)->Apply(Partitions);
BENCHMARK(BM_EncodeFetch)->Apply(Partitions);
BENCHMARK(BM_DecodeFetch)->Apply(Partitions);

}  // namespace
}  // namespace ringtail

BENCHMARK_MAIN();
