#include "engine/log/journal/core_journal.h"

#include <utility>

#include "engine/base/result.h"

namespace ringtail::log {

CoreJournal::CoreJournal(io::Backend& io, CoreJournalOptions options)
    : options_(std::move(options)),
      checkpoints_(io, options_.journal.directory, options_.checkpoint_slot,
                   options_.checkpoint_number) {}

CoreJournal::~CoreJournal() = default;

task::Task<absl::StatusOr<std::unique_ptr<CoreJournal>>> CoreJournal::Open(
    io::Backend& io, FileSystemSync* group, CoreJournalOptions options) {
  std::unique_ptr<CoreJournal> core(new CoreJournal(io, std::move(options)));
  CoreJournalOptions& kept = core->options_;
  RT_CO_ASSIGN_OR_RETURN(core->journal_, co_await Journal::Open(io, kept.journal));
  core->sync_ =
      std::make_unique<JournalSync>(io, *core->journal_, core->checkpoints_, group, kept.reclaim);
  core->sync_->SetCarried(std::move(kept.carried_records), std::move(kept.carried_held));
  co_return core;
}

bool CoreJournal::TakeBypass() {
  if (bypasses_ >= options_.bypasses_max) return false;
  ++bypasses_;
  return true;
}

task::Task<void> CoreJournal::WaitForBypass() {
  while (!TakeBypass()) co_await bypass_free_.Wait();
}

void CoreJournal::ReturnBypass() {
  --bypasses_;
  bypass_free_.NotifyOne();
}

task::Task<absl::Status> CoreJournal::Close() {
  co_await sync_->Stop();
  absl::Status status = co_await sync_->SyncAll();
  if (status.ok()) status = journal_->status();  // why it closed before, if it did
  co_await journal_->Stop();
  co_return status;
}

}  // namespace ringtail::log
