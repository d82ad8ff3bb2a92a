#include "engine/log/journal/recovery.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/log/journal/journal_manifest.h"
#include "engine/log/journal/recovery_run.h"
#include "engine/task/scheduler.h"
#include "engine/task/sync.h"

namespace ringtail::log {
namespace {

constexpr size_t kPartitionsAtOnce = 32;

}  // namespace

task::Task<absl::StatusOr<RecoveryResult>> RecoverJournals(io::Backend& io,
                                                           RecoveryOptions options) {
  const absl::StatusOr<Manifest> manifest = co_await ReadManifest(io, options.data_dir);
  if (absl::IsNotFound(manifest.status())) co_return co_await StartWithoutManifest(io, options);
  if (!manifest.ok()) {
    co_return absl::Status(manifest.status().code(),
                           absl::StrCat(manifest.status().message(),
                                        "; put it back from a copy of the data directory"));
  }
  RecoveryRun run(io, options, *manifest);
  co_return co_await run.Run();
}

task::Task<absl::StatusOr<RecoveryResult>> RecoveryRun::Run() {
  clean_ = manifest_.state == ManifestState::kClean;
  result_.origin = clean_ ? RecoveryResult::Origin::kClean : RecoveryResult::Origin::kReplayed;
  result_.dir_id = manifest_.dir_id;
  RT_CO_RETURN_IF_ERROR(co_await FindDirectories());
  RT_CO_RETURN_IF_ERROR(co_await LoadJournals());
  co_return co_await RecoverAll();
}

task::Task<absl::StatusOr<RecoveryResult>> RecoveryRun::RunWithoutJournals() {
  all_lost_ = true;
  result_.origin = RecoveryResult::Origin::kReplayed;
  result_.dir_id = manifest_.dir_id;
  RT_CO_RETURN_IF_ERROR(co_await FindDirectories());
  co_return co_await RecoverAll();
}

task::Task<absl::StatusOr<RecoveryResult>> RecoveryRun::RecoverAll() {
  const std::map<JournalKey, std::vector<OldJournal*>> owners = Owners();
  const Owned work(owners.begin(), owners.end());
  for (const auto& [key, journals] : work) outcomes_[key];
  if (options_.progress != nullptr) options_.progress->partitions_total = work.size();
  syncs_each_ = !CanSyncAtOnce();
  RT_CO_RETURN_IF_ERROR(co_await RecoverEach(work));
  if (!syncs_each_ && !(co_await SyncAtOnce()).ok()) {
    // Whose fault it was is told by a sync of each. All is done once more before that, as after a
    // crash: what was lost is dirty again, so that its sync cannot pass for a good one.
    syncs_each_ = true;
    Owned again;
    for (const auto& each : work) {
      Outcome& outcome = outcomes_[each.first];
      if (outcome.gone) continue;  // with its directory
      outcome = Outcome();
      again.push_back(each);
    }
    RT_CO_RETURN_IF_ERROR(co_await RecoverEach(again));
  }
  RT_CO_RETURN_IF_ERROR(co_await Switch());
  Tell();
  co_return std::move(result_);
}

task::Task<absl::Status> RecoveryRun::RecoverEach(const Owned& work) {
  if (options_.progress != nullptr) options_.progress->partitions_done = 0;
  co_await ForEachOnCores(work.size(), [&](io::Backend& io, size_t i) {
    return Recover(io, work[i].first, work[i].second, &outcomes_.find(work[i].first)->second);
  });
  for (const auto& [key, outcome] : outcomes_) {
    if (!outcome.status.ok()) co_return outcome.status;
  }
  co_return absl::OkStatus();
}

// Asked before anything is written: what is dirty then is other programs'.
bool RecoveryRun::CanSyncAtOnce() const {
  size_t changed = 0;
  for (const auto& journal : journals_) changed += journal->entries.size();
  return options_.file_system != nullptr && changed >= options_.sync.group_partitions_min &&
         options_.file_system->available(options_.sync.group_bytes_max);
}

task::Task<absl::Status> RecoveryRun::SyncAtOnce() {
  const absl::Status synced =
      co_await SyncAndFlush(io_, *options_.file_system, JournalSyncPath(options_.data_dir));
  if (!synced.ok()) RT_LOG(kError, "recovery: {}; files are synced one by one", synced.message());
  co_return synced;
}

// Every `step`-th from `first` on, on today's core that these fall to.
task::Task<void> RecoveryRun::WorkShare(const Work* work, size_t first, size_t step, size_t count,
                                        task::Latch* latch) {
  const auto core = static_cast<uint32_t>(first % options_.cores);
  // Not a coroutine, so that it may go while the share is worked on.
  co_await options_.run_on(core, [work, first, step, count](io::Backend& io) {
    return WorkThrough(work, &io, first, step, count);
  });
  latch->Done();
}

task::Task<void> RecoveryRun::WorkThrough(const Work* work, io::Backend* io, size_t first,
                                          size_t step, size_t count) {
  for (size_t i = first; i < count; i += step) co_await (*work)(*io, i);
}

task::Task<void> RecoveryRun::ForEachOnCores(size_t count, Work work) {
  if (options_.run_on == nullptr) {
    co_await WorkThrough(&work, &io_, 0, 1, count);
    co_return;
  }
  // On each core a few at a time; what is shared is only read meanwhile.
  const size_t workers = options_.cores * kPartitionsAtOnce;
  task::Latch latch;
  for (size_t first = 0; first < std::min(workers, count); ++first) {
    latch.Add();
    task::Spawn("recover", WorkShare(&work, first, workers, count, &latch));
  }
  co_await latch.Wait();
}

}  // namespace ringtail::log
