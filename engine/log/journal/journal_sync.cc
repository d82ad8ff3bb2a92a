#include "engine/log/journal/journal_sync.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/logging.h"
#include "engine/base/result.h"
#include "engine/io/file.h"
#include "engine/log/journal/mutants.h"
#include "engine/task/scheduler.h"

namespace ringtail::log {
namespace {

constexpr base::Nanos kOverdue = INT64_MIN / 2;  // for checkpoint_at_

base::Nanos NowOnCore() { return task::Scheduler::Current().now(); }

}  // namespace

JournalSync::JournalSync(io::Backend& io, Journal& journal, CheckpointWriter& checkpoints,
                         FileSystemSync* group, JournalReclaimOptions options)
    : io_(io),
      journal_(journal),
      checkpoints_(checkpoints),
      group_(group),
      options_(std::move(options)) {
  journal_.set_on_fill([](void* self) { static_cast<JournalSync*>(self)->Poke(); }, this);
}

JournalSync::~JournalSync() {
  journal_.set_on_fill(nullptr, nullptr);
  for (JournalPartition* partition : partitions_) partition->sync_ = nullptr;
}

void JournalSync::Add(JournalPartition* partition) {
  RT_CHECK(partition->sync_ == nullptr);
  RT_CHECK(keys_.insert({partition->topic_id_, partition->partition_}).second);  // J12
  partition->sync_ = this;
  partitions_.push_back(partition);
  changed_ = true;
}

task::Task<void> JournalSync::Remove(JournalPartition* partition) {
  while (partition->syncing_) co_await synced_.Wait();
  partition->Unlink();
  Forget(partition);
  changed_ = true;
  Poke();
}

void JournalSync::Forget(JournalPartition* partition) {
  partition->sync_ = nullptr;
  std::erase(partitions_, partition);
  keys_.erase({partition->topic_id_, partition->partition_});
}

void JournalSync::SetCarried(std::vector<CheckpointRecord> records, std::vector<HeldFile> held) {
  carried_records_ = std::move(records);
  carried_held_ = std::move(held);
  changed_ = true;
}

void JournalSync::Enlist(JournalPartition* partition) {
  partition->Unlink();
  if (partition->has_live_entries() && !partition->poisoned()) {
    lists_[partition->oldest_file()].PushBack(*partition);
  }
}

void JournalSync::Poison(JournalPartition* partition, const absl::Status& why) {
  if (partition->poisoned()) return;
  partition->set_poisoned();
  partition->Unlink();
  changed_ = true;
  // A page_cache log has nothing but this to tell the next start that its pages only look clean.
  checkpoint_at_ = kOverdue;
  poke_.NotifyAll();
  Poke();
  ++metrics_.poisoned;
  partition->log().OnPoisoned(why);
}

task::Task<absl::Status> JournalSync::RecordStart(JournalPartition* partition, uint64_t start) {
  while (partition->syncing_) co_await synced_.Wait();
  if (!partition->MoveStart(start)) {
    co_return absl::FailedPreconditionError("the journal has closed over what was pending");
  }
  partition->syncing_ = true;
  const JournalPartition::Mark mark = partition->Take();
  absl::Status status = co_await partition->log().SyncInPlace();
  if (status.ok()) {
    Publish(partition, mark);
    status = co_await WriteCheckpoint();
  }
  partition->syncing_ = false;
  synced_.NotifyAll();
  if (status.ok()) partition->durable_start_ = std::max(partition->durable_start_, start);
  co_return status;
}

uint32_t JournalSync::tail_file() const {
  for (const auto& [file, list] : lists_) {
    if (kMutantTailFromOnePartition) {
      const JournalPartition* one = partitions_.back();
      if (one->has_live_entries()) return one->oldest_file();
      break;
    }
    if (!list.empty()) return file;
  }
  return std::max(journal_.head_file(), uint32_t{1});
}

int JournalSync::FillPercent() const {
  return static_cast<int>(journal_.used_bytes() * 100 / journal_.capacity_bytes());
}

size_t JournalSync::bypass_bytes(size_t configured) const {
  return FillPercent() >= 75 ? std::min(configured, size_t{64} << 10) : configured;
}

// --- Pace.

// Below a quarter it sleeps by the clock; above, every frame may matter.
bool JournalSync::Hurry() const {
  return FillPercent() >= 25 || journal_.state() != Journal::State::kOpen;
}

void JournalSync::Poke() {
  if (stopping_) return;
  poked_ = true;
  if (running_) {
    if (Hurry()) poke_.NotifyAll();
    return;
  }
  running_ = true;
  background_.Add();
  task::Spawn("journal sync", Run());
}

// Which partitions to sync now, how many at a time; `next`: when to look again by the clock.
std::vector<JournalPartition*> JournalSync::Due(base::Nanos now, size_t* concurrency,
                                                base::Nanos* next) {
  while (!lists_.empty() && lists_.begin()->second.empty()) lists_.erase(lists_.begin());
  const int fill = FillPercent();
  const bool full = fill >= 50 || journal_.state() == Journal::State::kStalled;
  *concurrency = full ? 8 : fill >= 25 ? 2 : 1;
  std::vector<JournalPartition*> due;
  const bool hurry = full || fill >= 25;
  for (auto& [file, list] : lists_) {
    // The head's list frees nothing; it waits for its age, like all others when there is no hurry.
    const bool by_age = !hurry || file == journal_.head_file();
    list.ForEach([&](JournalPartition& partition) {
      const base::Nanos due_at = partition.live_since() + options_.sync_age_ns;
      if (by_age && due_at > now) {
        *next = std::min(*next, due_at);
      } else if (!partition.syncing_ && partition.Take().seq >= partition.oldest_seq()) {
        due.push_back(&partition);
      } else {
        *next = std::min(*next, now + options_.retry_ns);  // its op is not done yet
      }
    });
    if (hurry && !due.empty()) break;  // the oldest file first
  }
  return due;
}

// When the next checkpoint is due: at once where it frees a file, or when all is synced.
base::Nanos JournalSync::CheckpointDue() const {
  if (tail_file() > std::max(durable_tail_, uint32_t{1})) return checkpoint_after_;
  if (!changed_) return base::kNever;
  const bool idle = std::all_of(partitions_.begin(), partitions_.end(), [](JournalPartition* p) {
    return !p->has_live_entries() || p->poisoned();
  });
  return std::max(checkpoint_after_, idle ? 0 : checkpoint_at_ + options_.checkpoint_age_ns);
}

task::Task<void> JournalSync::Run() {
  while (!stopping_ && journal_.state() != Journal::State::kClosed) {
    poked_ = false;
    const base::Nanos now = NowOnCore();
    size_t concurrency = 1;
    base::Nanos next = base::kNever;
    const std::vector<JournalPartition*> due = Due(now, &concurrency, &next);
    bool progress = false;
    if (!due.empty()) {
      progress = co_await SyncThese(due, concurrency);
      if (!progress) next = std::min(next, now + options_.retry_ns);
    }
    if (stopping_) break;
    if (CheckpointDue() <= NowOnCore()) {
      const absl::Status status = co_await WriteCheckpoint();
      if (status.ok()) {
        progress = true;
      } else {
        RT_LOG_EVERY(10, kError, "journal: no checkpoint, its files cannot be used again: {}",
                     status.ToString());
        checkpoint_after_ = NowOnCore() + options_.retry_ns;
      }
    }
    if (progress) continue;
    next = std::min(next, CheckpointDue());
    if (next == base::kNever) {
      if (!poked_) break;
      continue;
    }
    if (poked_ && Hurry()) continue;  // while it was busy
    co_await poke_.WaitUntil(next);
  }
  running_ = false;
  background_.Done();
}

// --- Syncing.

struct JournalSync::Batch {
  std::vector<JournalPartition*> due;
  size_t next = 0;
  bool progress = false;
  task::Latch workers;
};

task::Task<bool> JournalSync::SyncThese(std::vector<JournalPartition*> due, size_t concurrency) {
  if (concurrency >= 8 && CanSyncAtOnce(due.size())) {
    co_return co_await SyncGroup(std::move(due));
  }
  Batch batch;
  batch.due = std::move(due);
  for (JournalPartition* partition : batch.due) partition->syncing_ = true;  // none goes away
  const size_t workers = std::min(concurrency, batch.due.size());
  for (size_t i = 0; i < workers; ++i) {
    batch.workers.Add();
    task::Spawn("journal sync one", SyncWorker(&batch));
  }
  co_await batch.workers.Wait();
  co_return batch.progress;
}

task::Task<void> JournalSync::SyncWorker(Batch* batch) {
  while (batch->next < batch->due.size()) {
    JournalPartition* partition = batch->due[batch->next++];
    if (co_await SyncOne(partition)) batch->progress = true;
    partition->syncing_ = false;
    synced_.NotifyAll();
  }
  batch->workers.Done();
}

task::Task<bool> JournalSync::SyncOne(JournalPartition* partition) {
  if (partition->poisoned()) co_return false;
  const JournalPartition::Mark mark = partition->Take();
  ++metrics_.syncs;
  absl::Status status = co_await partition->log().SyncInPlace();
  if (kMutantRetryFailedSync && !status.ok()) status = co_await partition->log().SyncInPlace();
  if (absl::IsResourceExhausted(status) && !partition->poisoned()) {
    co_return false;  // no space for an index, say: no sync has failed, tried again
  }
  if (!status.ok()) {
    Poison(partition, status);
    co_return true;
  }
  co_return Publish(partition, mark);
}

task::Task<bool> JournalSync::SyncGroup(std::vector<JournalPartition*> due) {
  std::vector<JournalPartition::Mark> marks;
  for (JournalPartition* partition : due) {
    partition->syncing_ = true;
    marks.push_back(partition->Take());
  }
  std::vector<bool> started;
  for (JournalPartition* partition : due) {
    started.push_back((co_await partition->log().StartWriteback()).ok());
  }
  ++metrics_.group_syncs;
  const absl::Status status = co_await SyncFileSystem();
  bool progress = false;
  for (size_t i = 0; i < due.size(); ++i) {
    // Whose fault it was is told by a sync of each.
    if (!status.ok() || !started[i] ? co_await SyncOne(due[i]) : Publish(due[i], marks[i]))
      progress = true;
    due[i]->syncing_ = false;
  }
  synced_.NotifyAll();
  co_return progress;
}

bool JournalSync::CanSyncAtOnce(size_t partitions) const {
  return group_ != nullptr && partitions >= options_.group_partitions_min &&
         group_->available(options_.group_bytes_max);
}

task::Task<absl::Status> JournalSync::SyncFileSystem() {
  co_return co_await SyncAndFlush(io_, *group_, options_.sync_path);
}

// XFS, its log clean, leaves data in the device's cache after syncfs; a sync of any file flushes
// it.
task::Task<absl::Status> SyncAndFlush(io::Backend& io, FileSystemSync& file_system,
                                      std::string path) {
  absl::Status status = co_await file_system.Sync();
  if (!status.ok() || kMutantNoFlushAfterSyncfs) co_return status;
  RT_CO_ASSIGN_OR_RETURN(const int fd, co_await io::OpenFile(io, path, O_RDWR | O_CREAT, 0644));
  status = co_await io::SyncFile(io, fd, path);
  co_await io::CloseFile(io, fd);
  co_return status;
}

bool JournalSync::Publish(JournalPartition* partition, const JournalPartition::Mark& mark) {
  if (partition->poisoned()) return false;
  if (mark.truncations != partition->log().truncation_count() && !kMutantPublishAfterTruncation) {
    ++metrics_.discarded;
    return false;
  }
  const uint64_t before = partition->oldest_seq();
  partition->Publish(mark);
  Enlist(partition);
  changed_ = true;
  partition->log().OnSynced(mark.seq, mark.end);
  return partition->oldest_seq() > before;
}

// --- Checkpoints.

Checkpoint JournalSync::Build(uint32_t tail) const {
  Checkpoint checkpoint;
  checkpoint.header.run = journal_.options().run;
  checkpoint.header.core = journal_.options().core;
  checkpoint.header.dir_id = journal_.options().dir_id;
  checkpoint.header.tail_file = tail;
  checkpoint.header.tail_seq = journal_.first_seq_of(tail);
  checkpoint.held = carried_held_;
  std::set<std::pair<base::Uuid, uint32_t>> present;
  for (JournalPartition* partition : partitions_) {
    partition->told_segment_ = 0;
    if (const auto record = partition->Record()) {
      checkpoint.records.push_back(*record);
      partition->told_segment_ = partition->NeededFrom(*record);
      present.emplace(record->topic_id, record->partition);
      // Nothing of it is in the journal that is not in place: a frame that is lost below cannot
      // have been its own.
      if (!partition->poisoned() && !partition->has_live_entries() &&
          partition->pending_ops() == 0) {
        checkpoint.records.back().sync_seq = std::max(record->sync_seq, journal_.durable_seq());
      }
    }
    if (!partition->poisoned()) continue;
    partition->VisitFiles([&](uint32_t file) {
      const HeldFile held = {journal_.options().run, journal_.options().core, file, 0};
      if (file < tail && std::find(checkpoint.held.begin(), checkpoint.held.end(), held) ==
                             checkpoint.held.end()) {
        checkpoint.held.push_back(held);
      }
    });
  }
  for (const CheckpointRecord& record : carried_records_) {
    if (!present.contains({record.topic_id, record.partition}))
      checkpoint.records.push_back(record);
  }
  return checkpoint;
}

task::Task<absl::Status> JournalSync::WriteCheckpoint() {
  co_await checkpointing_.Lock();
  const task::AsyncMutex::Held lock(checkpointing_);
  const uint32_t tail = tail_file();
  RT_CHECK(tail >= durable_tail_);  // only grows
  Checkpoint checkpoint = Build(tail);
  changed_ = false;
  checkpoint_at_ = NowOnCore();
  const std::vector<HeldFile> held = checkpoint.held;
  if (kMutantFreeBeforeCheckpoint) journal_.CheckpointIsDurable(tail, held);
  const absl::Status status = co_await checkpoints_.Write(std::move(checkpoint));
  if (!status.ok()) {
    changed_ = true;
    checkpoint_at_ = kOverdue;
    ++metrics_.checkpoint_failures;
    co_return status;
  }
  ++metrics_.checkpoints;
  for (JournalPartition* partition : partitions_) partition->CheckpointIsDurable();
  durable_tail_ = tail;
  if (journal_.state() != Journal::State::kClosed) journal_.CheckpointIsDurable(tail, held);
  co_return absl::OkStatus();
}

task::Task<absl::Status> JournalSync::Settle(JournalPartition* partition) {
  constexpr int kSlots = 2;
  for (int i = 0; i < kSlots; ++i) {
    const auto record = partition->Record();
    if (!record.has_value() || partition->settled_segment() >= partition->NeededFrom(*record)) {
      break;
    }
    RT_CO_RETURN_IF_ERROR(co_await WriteCheckpoint());
  }
  co_return absl::OkStatus();
}

task::Task<absl::Status> JournalSync::SyncAll() {
  std::vector<JournalPartition*> due;
  for (JournalPartition* partition : partitions_) {
    while (partition->syncing_) co_await synced_.Wait();
    if (partition->has_live_entries() && !partition->poisoned()) due.push_back(partition);
  }
  if (!due.empty()) co_await SyncThese(due, 8);
  RT_CO_RETURN_IF_ERROR(co_await WriteCheckpoint());
  for (JournalPartition* partition : partitions_) {
    if (partition->has_live_entries()) {
      co_return absl::FailedPreconditionError("not all partitions could be synced");
    }
  }
  co_return absl::OkStatus();
}

task::Task<void> JournalSync::Stop() {
  stopping_ = true;
  poke_.NotifyAll();
  co_await background_.Wait();
}

}  // namespace ringtail::log
