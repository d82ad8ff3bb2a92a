// Fetches: plan on the owner cores, and where that is too little, wait there without polling.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "server/broker.h"

namespace ringtail::server {

using base::Error;

namespace {

// At most one part in this many of a core's open files belongs to a single fetch.
constexpr size_t kFilesShareOfOneFetch = 4;

}  // namespace

// The items of one owner core, while a fetch spans several (or one that is not this one).
struct Broker::FetchGroup {
  base::CoreId core;
  std::vector<FetchItem*> items;
  partition::CancelToken cancel;  // used on `core` only
  bool waiting = false;
};

struct Broker::FetchScratch {
  std::vector<FetchItem*> here;
  std::vector<std::unique_ptr<FetchGroup>> groups;  // by core
};

Broker::Broker(core::Core& core, BrokerGroup& group, const log::LogOptions& log_options)
    : core_(core),
      group_(group),
      options_(std::make_shared<const BrokerOptions>()),
      log_environment_(core.io(), log_options, &core) {
  log_environment_.reserve().set_on_change(&Broker::OnDiskChange, this);
}

Broker::~Broker() = default;

task::Task<bool> Broker::PlanLocal(FetchLimits limits, std::span<FetchItem* const> items,
                                   int64_t* planned_bytes) {
  // A plan keeps its file open until it is sent: a fetch of very many partitions gets the others'
  // records with its next request.
  const size_t plans_max = log_environment_.options().open_files_max / kFilesShareOfOneFetch + 1;
  size_t plans = 0;
  bool enough = false;
  for (FetchItem* item : items) {
    item->result = {};
    partition::Partition* partition = FindLocal(item->id, &item->result.error);
    if (partition != nullptr) {
      int64_t left = std::max<int64_t>(limits.bytes_max - *planned_bytes, 0);
      if (plans >= plans_max) left = 0;
      item->result = co_await partition->Fetch(item->offset, std::min(item->bytes_max, left),
                                               *planned_bytes == 0, item->leader_epoch);
      *planned_bytes += item->result.plan.bytes;
      if (item->result.plan.bytes > 0) ++plans;
    }
    if (item->result.error != Error::kNone || item->result.more) enough = true;
  }
  co_return enough || *planned_bytes >= limits.bytes_min;
}

task::Task<void> Broker::WaitLocal(std::span<FetchItem* const> items, base::Nanos deadline,
                                   partition::CancelToken* cancel) {
  auto spare = fetch_links_.Take();
  if (spare->count < items.size()) {
    *spare = {.links = std::make_unique<partition::FetchLink[]>(items.size()),
              .count = items.size()};
  }
  partition::FetchWait wait(cancel, {spare->links.get(), spare->count});
  for (FetchItem* item : items) {
    Error error;
    partition::Partition* partition = FindLocal(item->id, &error);
    // Gone, or moved on since the plan was made: look again.
    if (partition == nullptr || partition->high_watermark() != item->result.high_watermark) {
      co_return;
    }
    partition->Watch(wait);
  }
  ++counters_.fetch_waits;
  co_await wait.WaitUntil(deadline);
}

task::Task<void> Broker::WaitOn(FetchGroup* group, base::Nanos deadline,
                                partition::FetchWait* first, task::Latch* latch) {
  Broker* owner = group_.brokers[group->core.value()];
  co_await core::CallOn(group->core, [owner, group, deadline] {
    return owner->WaitLocal(group->items, deadline, &group->cancel);
  });
  group->waiting = false;
  first->Wake();
  latch->Done();
}

task::Task<void> Broker::FetchAcross(const RequestContext& context, const FetchLimits& limits,
                                     std::vector<std::unique_ptr<FetchGroup>>* groups) {
  while (true) {
    int64_t planned_bytes = 0;
    bool enough = false;
    // Each time another core is the first: where one has enough to fill all fetches, the others'
    // partitions would never come to their turn.
    const auto first_core = static_cast<uint32_t>(first_core_++ % groups->size());
    for (uint32_t i = 0; i < groups->size(); ++i) {
      FetchGroup* each = (*groups)[(first_core + i) % groups->size()].get();
      if (each->items.empty()) continue;
      Broker* owner = group_.brokers[each->core.value()];
      if (each->core != core_.id()) ++counters_.hops;
      enough |= co_await core::CallOn(each->core, [owner, each, &limits, &planned_bytes] {
        return owner->PlanLocal(limits, each->items, &planned_bytes);
      });
    }
    const bool cancelled = context.cancel != nullptr && context.cancel->cancelled();
    if (enough || cancelled || core_.now() >= limits.wait_until) co_return;
    // The first core to report ends the wait of the others.
    partition::FetchWait first(context.cancel);
    task::Latch latch;
    for (const auto& group : *groups) {
      if (group->items.empty()) continue;
      for (FetchItem* item : group->items) item->result.plan = {};
      group->waiting = true;
      latch.Add();
      task::Spawn("fetch wait", WaitOn(group.get(), limits.wait_until, &first, &latch));
    }
    co_await first.WaitUntil(limits.wait_until);
    for (const auto& group : *groups) {
      if (!group->waiting) continue;
      partition::CancelToken* token = &group->cancel;
      co_await core::CallOn(group->core, [token]() -> task::Task<void> {
        token->Cancel();
        co_return;
      });
    }
    co_await latch.Wait();
    for (const auto& group : *groups) group->cancel.Reset();
  }
}

task::Task<void> Broker::Fetch(const RequestContext& context, const FetchLimits& limits,
                               std::span<FetchItem> items) {
  ++counters_.fetch_requests;
  const base::Nanos started = core_.io().Now();
  co_await FetchItems(context, limits, items);
  latencies_.fetch.Record(static_cast<uint64_t>(core_.io().Now() - started));
}

task::Task<void> Broker::FetchItems(const RequestContext& context, const FetchLimits& limits,
                                    std::span<FetchItem> items) {
  auto scratch = fetch_scratch_.Take();
  std::vector<FetchItem*>& here = scratch->here;
  here.clear();
  bool elsewhere = false;
  bool failed = false;
  for (FetchItem& item : items) {
    base::CoreId core;
    item.result.error = Locate(item.id, &core);
    failed |= item.result.error != Error::kNone;
    if (item.result.error != Error::kNone) continue;
    elsewhere |= core != core_.id();
    here.push_back(&item);
  }
  FetchLimits effective = limits;
  // Who asks for more at least than at most has enough with the most.
  effective.bytes_min = std::min(limits.bytes_min, std::max<int64_t>(limits.bytes_max, 1));
  if (failed) effective.wait_until = 0;  // an error is told at once
  if (!elsewhere) {
    while (true) {
      int64_t planned_bytes = 0;
      const bool enough = co_await PlanLocal(effective, here, &planned_bytes);
      const bool cancelled = context.cancel != nullptr && context.cancel->cancelled();
      if (enough || cancelled || core_.now() >= effective.wait_until) co_return;
      for (FetchItem* item : here) item->result.plan = {};
      co_await WaitLocal(here, effective.wait_until, context.cancel);
    }
  }
  std::vector<std::unique_ptr<FetchGroup>>& groups = scratch->groups;
  while (groups.size() < core_.group().count()) groups.push_back(std::make_unique<FetchGroup>());
  for (uint32_t core = 0; core < groups.size(); ++core) {
    groups[core]->core = base::CoreId(core);
    groups[core]->items.clear();
  }
  for (FetchItem* item : here) {
    base::CoreId core;
    RT_CHECK(Locate(item->id, &core) == Error::kNone);
    groups[core.value()]->items.push_back(item);
  }
  co_await FetchAcross(context, effective, &groups);
}

}  // namespace ringtail::server
