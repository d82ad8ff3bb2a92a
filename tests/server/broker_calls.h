// What a broker is asked in tests, from outside of its cores: each call runs the world until it is
// answered.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "tests/engine/log/batch_maker.h"
#include "tests/server/sim_server.h"

namespace ringtail::server {

// The bytes that a plan names, read on the core that got it.
inline std::string ReadPlanned(io::Backend& io, const log::ReadPlan& plan) {
  std::string bytes(static_cast<size_t>(plan.bytes), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const int64_t got = io.ReadBlocking(plan.fd, bytes.data() + at, bytes.size() - at,
                                        plan.position.value() + static_cast<int64_t>(at));
    RT_CHECK(got > 0);
    at += static_cast<size_t>(got);
  }
  return bytes;
}

inline std::vector<partition::ProduceResult> ProduceAll(
    SimServer& server, uint32_t core,
    std::vector<std::pair<partition::PartitionId, std::string>> wanted,
    partition::AckPolicy acks = partition::AckPolicy::kAll) {
  auto body = [&server, core, acks,
               wanted]() mutable -> task::Task<std::vector<partition::ProduceResult>> {
    std::vector<ProduceItem> items;
    for (auto& [id, batches] : wanted) items.push_back({.id = id, .batches = log::Bytes(batches)});
    co_await server.broker(core).Produce(acks, items);
    std::vector<partition::ProduceResult> results;
    for (ProduceItem& item : items) results.push_back(item.result);
    co_return results;
  };
  auto results = server.sim().Get<std::vector<partition::ProduceResult>>(core, std::move(body));
  RT_CHECK(results.has_value());
  return *std::move(results);
}

inline partition::ProduceResult ProduceOne(SimServer& server, uint32_t core,
                                           const partition::PartitionId& id, std::string batches) {
  return ProduceAll(server, core, {{id, std::move(batches)}})[0];
}

struct Fetched {
  base::Error error = base::Error::kNone;
  int64_t high_watermark = -1;
  std::string bytes;
  base::Nanos took_ns = 0;
};

struct FetchCall {
  std::vector<std::pair<partition::PartitionId, int64_t>> from;
  int64_t bytes_min = 1;
  int64_t bytes_max = 50 << 20;
  base::Nanos wait_ns = 0;
  partition::CancelToken* cancel = nullptr;  // of the core that is asked
};

inline task::Task<std::vector<Fetched>> FetchTask(SimServer& server, uint32_t core,
                                                  FetchCall call) {
  const base::Nanos started = core::Core::Current().now();
  std::vector<FetchItem> items;
  for (const auto& [id, offset] : call.from) {
    items.push_back({.id = id, .offset = base::Offset(offset), .bytes_max = call.bytes_max});
  }
  RequestContext context;
  context.cancel = call.cancel;
  co_await server.broker(core).Fetch(context,
                                     {.bytes_min = call.bytes_min,
                                      .bytes_max = call.bytes_max,
                                      .wait_until = started + call.wait_ns},
                                     items);
  std::vector<Fetched> results;
  for (FetchItem& item : items) {
    results.push_back({.error = item.result.error,
                       .high_watermark = item.result.high_watermark.value(),
                       .bytes = ReadPlanned(core::Core::Current().io(), item.result.plan),
                       .took_ns = core::Core::Current().now() - started});
  }
  co_return results;
}

inline std::vector<Fetched> FetchAll(SimServer& server, uint32_t core, FetchCall call) {
  auto results = server.sim().Get<std::vector<Fetched>>(
      core, [&server, core, call] { return FetchTask(server, core, call); });
  RT_CHECK(results.has_value());
  return *std::move(results);
}

inline Fetched FetchOne(SimServer& server, uint32_t core, const partition::PartitionId& id,
                        int64_t offset) {
  return FetchAll(server, core, {.from = {{id, offset}}})[0];
}

// The values of all records, those of one batch being equal: "a" of a batch with fill 'a'.
inline std::string FillsOf(const std::string& bytes) {
  std::string fills;
  log::BatchWalker walker(base::AsBytes(bytes));
  while (walker.Next()) {
    const base::ByteView records = walker.batch().records();
    for (int32_t i = 0; i < walker.batch().record_count(); ++i) {
      fills.push_back(static_cast<char>(records[records.size() - 2]));
    }
  }
  RT_CHECK(walker.error() == log::BatchError::kNone);
  return fills;
}

}  // namespace ringtail::server
